"""Eight askers without a pause while a role is switched: requests lost, the longest wait, the time nobody was served.

    .venv/bin/python -m tests.benchmarks.switching [--real] [--mode beside|in_place] [--runs 1]

A fake engine whose old model loads 5 s and whose candidate loads 8 s, or with --real vLLM and SmolLM2 →
Qwen2.5-Coder 0.5B (a quarter of an hour on two cores). Nobody was served: no engine worked on any request. The
candidate's load time is what the portal records of every start: from launch to the first token.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

from sqlalchemy import select

from db.database import Database
from db.engine_tables import EngineStart
from services.engines.deployments import Deployments
from services.engines.options import DeploymentSettings
from services.engines.views import Mode, Step
from tests.benchmarks import real_engines
from tests.benchmarks.askers import Askers
from tests.benchmarks.real_engines import Machine, RealBench, await_quiet, real_bench
from tests.benchmarks.rollout_watch import RolloutWatch
from tests.engine_bench import MODEL, Bench

FAKE_OTHER = "other-model"
OLD_LOADS_S, CANDIDATE_LOADS_S = "5", "8"
TOKEN_S = "0.05"  # 12 pieces an answer
SWITCH_TIMEOUT_S = 900
BOUND_S = {Mode.BESIDE: 0.0, Mode.IN_PLACE: 2.0}  # more than the load time, and in all
TOLERANCE_S = 0.1  # between an answer and the same asker's next question


def fake(home: Path, mode: Mode) -> dict:
    bench = Bench(home, engine_start_timeout_s=60, drain_timeout_s=120, engine_stop_timeout_s=15)
    bench.launcher.options = ("--token-seconds", TOKEN_S)
    bench.launcher.by_model = {
        MODEL: ("--load-seconds", OLD_LOADS_S),
        FAKE_OTHER: ("--load-seconds", CANDIDATE_LOADS_S),
    }
    with closing(bench):
        portal = bench.portal()
        portal.start("chat", MODEL)
        portal.wait_rollout(60)
        return {"engine": "fake"} | measure(bench, portal, FAKE_OTHER, DeploymentSettings(), mode)


def real(home: Path, mode: Mode) -> dict:
    with real_bench(home) as bench:
        await_quiet()
        portal = bench.ready_portal()
        return {"engine": "vllm"} | measure(bench, portal, real_engines.OTHER, real_engines.SETTINGS, mode)


def measure(
    bench: Bench | RealBench, portal: Deployments, model_id: str, settings: DeploymentSettings, mode: Mode
) -> dict:
    if mode is Mode.IN_PLACE:
        bench.memory.only_one_fits()
    before, earlier = Machine.now(), portal.rollout()
    with Askers(portal, bench.settings) as askers:
        watch = RolloutWatch(portal, not_this=earlier.started_at if earlier else None)
        asked_at = time.monotonic()
        view = portal.switch("chat", model_id, settings)
        assert view.mode is mode, view.mode
        watch.join(SWITCH_TIMEOUT_S)
        assert portal.rollout().step is Step.DONE, portal.rollout()
        askers.wait_for_answers(16, 600, model_id)
    load_s = _load_s(bench.database, model_id)
    unserved_s, began, _ended = askers.unserved_s()
    beyond_s = unserved_s - (load_s if mode is Mode.IN_PLACE else 0.0)
    return {
        "mode": str(mode),
        "requests": len(askers.answered),
        "lost": len(askers.lost),
        "errors": askers.lost[:3],
        "begun_anew": sum(answer.begun_anew for answer in askers.answered),
        "longest_wait_s": round(max(answer.waited_s for answer in askers.answered), 2),
        "waited_and_saw_their_place": sum(answer.place_shown for answer in askers.answered),
        "load_s": round(load_s, 2),
        "unserved_s": round(unserved_s, 2),
        "unserved_from_s": round(began - asked_at, 2) if unserved_s else None,
        "unserved_beyond_load_s": round(beyond_s, 2),
        "no_token_s": round(askers.silent_s(), 2),
        "steps_s": watch.steps_s,
        "ok": not askers.lost and beyond_s <= BOUND_S[mode] + TOLERANCE_S,
        "machine": [asdict(before), asdict(Machine.now())],
    }


def _load_s(database: Database, model_id: str) -> float:
    with database.session() as session:
        newest = select(EngineStart).where(EngineStart.model_id == model_id).order_by(EngineStart.id.desc()).limit(1)
        return session.scalars(newest).one().duration_s


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--real", action="store_true")
    parser.add_argument("--mode", choices=(Mode.BESIDE, Mode.IN_PLACE), type=Mode)
    parser.add_argument("--runs", type=int, default=1)
    options = parser.parse_args()
    for chosen in [options.mode] if options.mode else [Mode.BESIDE, Mode.IN_PLACE]:
        for _ in range(options.runs):
            with tempfile.TemporaryDirectory() as folder:
                print(json.dumps((real if options.real else fake)(Path(folder), chosen)), flush=True)
