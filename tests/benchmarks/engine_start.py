"""What the portal adds to the engine's own start: the same command by hand, and ordered from the portal, in turn.

    .venv/bin/python -m tests.benchmarks.engine_start [--pairs 2]      (two to four minutes a pair on two cores)

vLLM with SmolLM2. By hand: the command is run, then /health is asked and one token, every tenth of a second. From the
portal: Deployments.start until the status is ready, hashes of the model's files read and all. The portal's one look at
the engine's --help (once per version of the engine) is over before.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import statistics
import subprocess
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

import httpx

from services.engines.launchers.base import LaunchRequest
from services.engines.process import EngineProcess, Identity, remove_shared_memory
from tests.benchmarks.real_engines import SETTINGS, SMALL, Machine, RealBench, await_quiet, real_bench
from tests.portal_process import free_port

POLL_S = 0.1
START_TIMEOUT_S = 600
REST_S = 5
BOUND_S = 2.0


def by_hand(bench: RealBench, folder: Path) -> float:
    """Seconds from running the command to its first token."""
    port, key = free_port(), secrets.token_urlsafe(16)
    cache_dir = bench.settings.engines_dir.resolve() / "cache"
    request = LaunchRequest(SMALL, bench.models.path(SMALL), port, key, cache_dir, SETTINGS)
    plan = bench.launcher(SMALL).plan(request)
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PORTAL_")}
    began = time.monotonic()
    with (folder / "by-hand.log").open("ab") as log:
        child = subprocess.Popen(
            plan.command, env=inherited | plan.environment, cwd=folder, stdout=log, stderr=log, start_new_session=True
        )
    try:
        _await_token(child, f"http://127.0.0.1:{port}", key)
        return time.monotonic() - began
    finally:
        _end(child)


def by_the_portal(bench: RealBench) -> float:
    """Seconds from the order to READY."""
    portal = bench.portal()
    began = time.monotonic()
    portal.start("chat", SMALL, SETTINGS)
    status = portal.wait_ready("chat", START_TIMEOUT_S)
    took_s = time.monotonic() - began
    assert status.ready, status.reason
    portal.wait_rollout(START_TIMEOUT_S)
    portal.stop("chat")
    portal.close(stop_engines=True)
    bench.portals.remove(portal)
    return took_s


def measure(folder: Path, pairs: int) -> dict:
    """Each pair the other way round, so that neither profits from being second.

    Before them, a start that does not count: vLLM looks at a model's class once and keeps what it saw in its cache.
    """
    hand, portal, machine = [], [], []
    with real_bench(folder / "home") as bench:
        by_hand(bench, folder)
        for number in range(pairs):
            for portal_now in (number % 2 == 0, number % 2 == 1):
                await_quiet()
                time.sleep(REST_S)
                (portal if portal_now else hand).append(by_the_portal(bench) if portal_now else by_hand(bench, folder))
                machine.append(asdict(Machine.now()))
                print(json.dumps({"portal": portal_now, "seconds": (portal if portal_now else hand)[-1]}), flush=True)
    added_s = statistics.median(portal) - statistics.median(hand)
    return {
        "by_hand_s": [round(seconds, 1) for seconds in hand],
        "by_the_portal_s": [round(seconds, 1) for seconds in portal],
        "added_s": round(added_s, 2),
        "ok": added_s <= BOUND_S,
        "machine": machine,
    }


def _await_token(child: subprocess.Popen, root: str, key: str) -> None:
    body = {"model": SMALL, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1, "temperature": 0.0}
    deadline = time.monotonic() + START_TIMEOUT_S
    with httpx.Client(headers={"Authorization": f"Bearer {key}"}, timeout=120, trust_env=False) as client:
        while True:
            assert child.poll() is None, "the engine ended"
            assert time.monotonic() < deadline, "the engine did not become ready"
            try:
                healthy = client.get(f"{root}/health").status_code == httpx.codes.OK
                if healthy and client.post(f"{root}/v1/chat/completions", json=body).is_success:
                    return
            except httpx.TransportError:
                pass
            time.sleep(POLL_S)


def _end(child: subprocess.Popen) -> None:
    identity = Identity.of(child.pid)
    if identity is None:
        return
    process = EngineProcess(identity, child)
    segments = process.shared_memory()
    process.stop(15)
    remove_shared_memory(segments)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--pairs", type=int, default=2)
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(measure(Path(folder), parser.parse_args().pairs)))
