"""SIGKILL (and a hang) to each process of a real engine and of its portal: what is left, and when is the model back?

    .venv/bin/python -m tests.benchmarks.kill_matrix [--only NAME…]      (a quarter of an hour on two cores)

vLLM with SmolLM2. Noticed: the status is no longer ready. Serving: a question is answered again; that includes loading
the model, which is shown beside it. The portal that is killed is a child; this process is the next one, which adopts.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from services.engines.deployments import Deployments
from services.engines.process import EngineProcess, Identity
from services.engines.run_record import RunRecords
from tests.benchmarks.real_engines import SMALL, Machine, RealBench, answer, await_quiet, memory_mib, real_bench
from tests.benchmarks.tables import table

START_TIMEOUT_S = 600
NOTICE_TIMEOUT_S = 120
SETTLE_S = 15  # an engine that has just started is not killed at once: its first probe comes after 10 s
TITLES = {"EngineCor": "engine core", "Worker": "worker"}
SHARED_MEMORY = Path("/dev/shm")
TOLERANCE_MIB = 200
COLUMNS = ("case", "noticed_s", "serving_s", "of_which_loading_s", "adopted", "orphans", "segments", "state", "ok")
STABLE_S = 1  # crashes are forgotten at once: these are many in a row, which is not what is tried here


@dataclass(frozen=True)
class Tree:
    """An engine's processes, taken while it lives. pids: by what they are; segments: its files in /dev/shm."""

    identity: Identity
    pids: dict[str, int]
    names: dict[int, str]
    segments: frozenset[str]
    memory_mib: float

    @classmethod
    def of(cls, bench: RealBench) -> Tree:
        records = RunRecords(bench.settings.engines_dir)
        record = records.load(records.deployment_ids()[0])
        process = EngineProcess(record.identity)
        members = process.members()
        names = {pid: psutil.Process(pid).name() for pid in members}
        pids = {"API server": record.pid} | {_title(name): pid for pid, name in names.items() if _title(name)}
        named = {str(path) for path in SHARED_MEMORY.iterdir() if _of_one_of(path.name, members)}
        segments = frozenset({*process.shared_memory(), *named})
        return cls(record.identity, pids, names, segments, memory_mib(members))

    def left(self) -> tuple[list[int], list[str]]:
        """Its live processes, and its segments that still exist."""
        orphans = EngineProcess(self.identity).members()
        return orphans, sorted(path for path in self.segments if Path(path).exists())


class Portal:
    """A portal in a process of its own, with SmolLM2 ready."""

    def __init__(self, home: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.benchmarks.kill_matrix", "--portal", str(home)],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline().strip() == "ready", "the portal's engine did not become ready"

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


def be_a_portal(home: Path) -> None:
    """Until it is killed."""
    with real_bench(home) as bench:
        portal = bench.portal()
        portal.adopt()
        portal.resume(SMALL)
        assert portal.wait_ready("chat", START_TIMEOUT_S).ready, portal.status("chat").reason
        answer(portal, bench.settings)
        print("ready", flush=True)
        signal.pause()


def kill(bench: RealBench, portal: Deployments, title: str, number: signal.Signals) -> dict:
    """Of one process of a ready engine."""
    time.sleep(SETTLE_S)
    tree = Tree.of(bench)
    if title not in tree.pids:
        return {"case": title, "note": f"there is no such process: {sorted(tree.names.values())}"}
    began = time.monotonic()
    os.kill(tree.pids[title], number)
    noticed = _until(lambda: not portal.status("chat").ready, NOTICE_TIMEOUT_S)
    told = portal.status("chat").reason
    return _after(bench, portal, tree, began) | {"case": f"{number.name} {title}", "noticed_s": noticed, "told": told}


def kill_portal(bench: RealBench) -> tuple[Deployments, dict]:
    """The portal alone: its engine must go on, and be adopted."""
    killed = Portal(bench.settings.home)
    tree, began = Tree.of(bench), time.monotonic()
    killed.kill()
    portal = bench.portal()
    portal.adopt()
    portal.resume(SMALL)
    row = _serving(bench, portal, began)
    adopted = portal.status("chat").pid == tree.identity.pid
    members, _ = tree.left()
    same = {*tree.names} == {*members}
    return portal, row | {"case": "SIGKILL portal", "adopted": adopted, "ok": adopted and same, "orphans": 0}


def kill_portal_and_engine(bench: RealBench, portal: Deployments) -> tuple[Deployments, dict]:
    """The portal, and then the API process while no portal looks: the rest of the engine is an orphan."""
    portal.close(stop_engines=False)
    bench.portals.remove(portal)
    killed = Portal(bench.settings.home)
    tree, began = Tree.of(bench), time.monotonic()
    killed.kill()
    os.kill(tree.pids["API server"], signal.SIGKILL)
    time.sleep(1)
    orphaned = len(tree.left()[0])
    portal = bench.portal()
    portal.adopt()
    portal.resume(SMALL)
    row = _after(bench, portal, tree, began)
    return portal, row | {"case": "SIGKILL portal and API server", "orphaned_before": orphaned}


def stop(bench: RealBench, portal: Deployments, before: Machine) -> dict:
    """Ordered: nothing is left, and the memory is back."""
    tree, began = Tree.of(bench), time.monotonic()
    portal.stop("chat")
    stopped_s = round(time.monotonic() - began, 2)
    time.sleep(2)
    orphans, segments = tree.left()
    now = Machine.now()
    gone_mib = tree.memory_mib - memory_mib(orphans)
    return {
        "case": "stop",
        "stopped_s": stopped_s,
        "orphans": len(orphans),
        "segments": segments,
        "engine_mib": tree.memory_mib,
        "still_held_mib": round(tree.memory_mib - gone_mib),
        "available_before_and_after_mib": [before.available_mib, now.available_mib],
        "engines_of_others_before_and_after": [before.engines, now.engines],
        "state": str(portal.status("chat").state),
        "ok": not orphans and not segments and tree.memory_mib - gone_mib <= TOLERANCE_MIB,
    }


def measure(bench: RealBench, only: set[str], show: Callable[[dict], None]) -> None:
    await_quiet()
    before = Machine.now()
    _begin_with_small(bench)
    portal, row = kill_portal(bench)
    show(row)
    tree = Tree.of(bench)
    show({"case": "tree", "processes": tree.names, "segments": sorted(tree.segments), "mib": tree.memory_mib})
    cases = [(title, signal.SIGKILL) for title in ("API server", "engine core", "worker")]
    cases += [(title, signal.SIGSTOP) for title in ("engine core", "worker")]
    for title, number in cases:
        if not only or f"{number.name} {title}" in only:
            show(kill(bench, portal, title, number))
    if not only or "SIGKILL portal and API server" in only:
        portal, row = kill_portal_and_engine(bench, portal)
        show(row)
    show(stop(bench, portal, before))


def _begin_with_small(bench: RealBench) -> None:
    """The chat role points at SmolLM2 with the settings of all benchmarks, and nothing runs."""
    portal = bench.ready_portal()
    portal.close(stop_engines=False)
    bench.portals.remove(portal)


def _after(bench: RealBench, portal: Deployments, tree: Tree, began: float) -> dict:
    """Back in service, and nothing left of the engine as it was."""
    row = _serving(bench, portal, began)
    orphans, segments = tree.left()
    row |= {"orphans": len(orphans), "segments": segments, "held_by_old_mib": memory_mib(orphans)}
    return row | {"ok": not orphans and not segments and row["state"] == "ready"}


def _serving(bench: RealBench, portal: Deployments, began: float) -> dict:
    portal.wait_ready("chat", START_TIMEOUT_S)
    answered = bool(answer(portal, bench.settings))
    serving_s = round(time.monotonic() - began, 2)
    status = portal.status("chat")
    load_s = portal.role("chat").deployment.load_s
    return {
        "serving_s": serving_s,
        "of_which_loading_s": round(load_s, 1) if load_s else None,
        "answered": answered,
        "state": str(status.state),
        "machine": asdict(Machine.now()),
    }


def _until(condition: Callable[[], bool], timeout_s: float) -> float | None:
    """Seconds until it held; None when it did not in time."""
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > timeout_s:
            return None
        time.sleep(0.02)
    return round(time.monotonic() - began, 2)


def _title(name: str) -> str:
    """What a process is, by the name that vLLM gives it."""
    return next((title for part, title in TITLES.items() if part in name), "")


def _of_one_of(name: str, pids: list[int]) -> bool:
    """Intel's OpenMP names a segment after its process: __KMP_REGISTERED_LIB_<pid>_<uid>."""
    return bool({str(pid) for pid in pids} & set(name.replace("-", "_").split("_")))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--portal", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.portal:
        be_a_portal(options.portal)
    else:
        rows: list[dict] = []

        def show(row: dict) -> None:
            rows.append(row)
            print(json.dumps(row), flush=True)

        with tempfile.TemporaryDirectory() as folder, real_bench(Path(folder), engine_stable_s=STABLE_S) as bench:
            measure(bench, set(options.only), show)
        print(table(rows, COLUMNS))
