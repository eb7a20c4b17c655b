"""Switches to candidates that do not do: when does the old model serve again, and what is shown?

    .venv/bin/python -m tests.benchmarks.broken_candidates [--real] [--only NAME…]

Eight askers all the while. noticed_s: from the failure, where its moment is arranged, to the rollout's turning back.
back_s: from there to the next request that the old model takes; 0 when it was never stopped. In place it has to load
again: that time is shown, and back_s without it. With --real: vLLM and SmolLM2 (a quarter of an hour on two cores).
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path

from sqlalchemy import select

from db.database import Database
from db.engine_tables import EngineStart
from services.engines.deployments import Deployments, EngineState
from services.engines.golden import GoldenPrompt
from services.engines.options import DeploymentSettings
from services.engines.views import Mode, Step
from services.errors import PortalError
from tests.benchmarks import real_engines
from tests.benchmarks.askers import Askers
from tests.benchmarks.real_engines import SMALL, Machine, RealBench, await_quiet, real_bench
from tests.benchmarks.rollout_watch import RolloutWatch
from tests.benchmarks.tables import table
from tests.engine_bench import MODEL, Bench
from tests.fakes import FakeModels
from tests.portal_process import ROOT

FAKE_OTHER = "other-model"
OLD_LOADS_S = 5
START_TIMEOUT_S = 30
REAL_LOG = ROOT / "tests/fixtures/engine_logs/kv_cache.log"  # of a vLLM whose KV cache did not fit
GPU_LOG = (
    "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.90 GiB. GPU 0 has a total capacity of 23.6 GiB"
)
FAKE_GOLDEN = [GoldenPrompt("What is this?", any_of=("fake engine",))]
IMPOSSIBLE = [GoldenPrompt("What is a printer?", any_of=("no model says this",))]
TOO_MUCH_GIB = 1000.0
BOUND_S = 5.0
MODES = (Mode.BESIDE, Mode.IN_PLACE)
TIMES = ("noticed_s", "back_s", "old_loads_s", "back_without_loading_s")
COLUMNS = ("case", "mode", *TIMES, "lost", "state", "error", "ok")


class VanishingModels(FakeModels):
    """Those of `vanishing` are there when the switch is planned, and not when their engine is to be started."""

    def __init__(self, folder: Path, *ready: str, missing: tuple[str, ...] = ()) -> None:
        super().__init__(folder, *ready, missing=missing)
        self.vanishing: set[str] = set()
        self._looked: set[str] = set()

    def ready(self, model_id: str) -> bool:
        gone = model_id in self.vanishing and model_id in self._looked
        self._looked.add(model_id)
        return super().ready(model_id) and not gone


def change_a_byte(bench: RealBench) -> None:
    path = bench.own_copy(real_engines.OTHER) / "model.safetensors"
    with path.open("r+b") as file:
        file.seek(-1000, 2)
        byte = file.read(1)
        file.seek(-1, 1)
        file.write(bytes([byte[0] ^ 1]))


def lose_a_file(bench: RealBench) -> None:
    (bench.own_copy(real_engines.OTHER) / "tokenizer.json").unlink(missing_ok=True)


@dataclass(frozen=True)
class Broken:
    """A candidate. prepare: done to the bench before the switch; refused: by the plan, so that nothing happens."""

    name: str
    model_id: str = FAKE_OTHER
    options: tuple[str, ...] = ()
    prepare: Callable[[Bench | RealBench], object] = lambda _bench: None
    settings: DeploymentSettings = field(default_factory=DeploymentSettings)
    refused: bool = False
    fails_after_s: float | None = None  # of its start; None: not to be told from outside


ENDLESS = ("--load-seconds", "600")
OUT_OF_MEMORY = ("--exit-after", "3", "--stderr-file")
FAKE_CASES = (
    Broken("file missing, seen when planned", model_id="absent-model", refused=True),
    Broken("file missing, seen when started", prepare=lambda bench: bench.models.vanishing.add(FAKE_OTHER)),
    Broken("wrong hash", options=("--load-seconds", "8"), prepare=lambda bench: bench.models.tampered.add(FAKE_OTHER)),
    Broken("out of memory (vLLM on a CPU)", options=(*ENDLESS, *OUT_OF_MEMORY, str(REAL_LOG)), fails_after_s=3),
    Broken("out of memory (CUDA)", options=(*ENDLESS, *OUT_OF_MEMORY, "{gpu_log}"), fails_after_s=3),
    Broken("crashes after 20 s", options=(*ENDLESS, "--exit-after", "20"), fails_after_s=20),
    Broken("never ready", options=ENDLESS, fails_after_s=START_TIMEOUT_S),
    Broken("never ready, deaf to SIGTERM", options=(*ENDLESS, "--ignore-sigterm"), fails_after_s=START_TIMEOUT_S),
    Broken("garbage", options=("--reply", "!" * 40)),
    Broken("wrong answer", options=("--reply", "The capital is Rome.")),
)

REAL_CASES = (
    Broken("file missing", model_id=real_engines.OTHER, prepare=lose_a_file, refused=True),
    Broken("wrong hash", model_id=real_engines.OTHER, prepare=change_a_byte),
    Broken(
        "out of memory",
        model_id=SMALL,
        settings=real_engines.SETTINGS.model_copy(update={"kv_cache_gib": TOO_MUCH_GIB}),
    ),
    Broken(
        "wrong answer",
        model_id=SMALL,
        settings=real_engines.SETTINGS.model_copy(update={"context_tokens": 1024}),
        prepare=lambda bench: setattr(bench, "golden", IMPOSSIBLE),
    ),
)


def fake(broken: Broken, mode: Mode, home: Path) -> dict:
    bench = Bench(home, engine_start_timeout_s=START_TIMEOUT_S, engine_stop_timeout_s=15, drain_timeout_s=120)
    bench.models = VanishingModels(home / "models", MODEL, FAKE_OTHER, missing=("absent-model",))
    bench.golden = FAKE_GOLDEN
    (home / "gpu.log").write_text(GPU_LOG)
    options = tuple(option.format(gpu_log=home / "gpu.log") for option in broken.options)
    bench.launcher.options = ("--token-seconds", "0.05")
    bench.launcher.by_model = {MODEL: ("--load-seconds", str(OLD_LOADS_S)), FAKE_OTHER: options}
    with closing(bench):
        portal = bench.portal()
        portal.start("chat", MODEL)
        portal.wait_rollout(START_TIMEOUT_S)
        if mode is Mode.IN_PLACE:
            bench.memory.only_one_fits()
        return measure(bench, portal, broken, mode)


def real(home: Path, only: set[str]) -> Iterator[dict]:
    """One portal for all: its old model must be there after each of them anyway."""
    with real_bench(home) as bench:
        await_quiet()
        portal, plenty, golden = bench.ready_portal(), bench.memory.available_mib, bench.golden
        for broken in [case for case in REAL_CASES if not only or case.name in only]:
            for mode in MODES:
                bench.memory.available_mib, bench.golden = plenty, golden
                if mode is Mode.IN_PLACE:
                    bench.memory.only_one_fits()
                yield measure(bench, portal, broken, mode)


def measure(bench: Bench | RealBench, portal: Deployments, broken: Broken, mode: Mode) -> dict:
    broken.prepare(bench)
    row = {"case": broken.name, "mode": str(mode)}
    old = portal.status("chat")
    with Askers(portal, bench.settings) as askers:
        if broken.refused:
            row |= _refused(portal, broken)
        else:
            row |= _rolled_back(bench, portal, askers, broken, mode)
        askers.wait_for_answers(len(askers.answered) + 8, 600)
    now, spec = portal.status("chat"), portal.rows.spec(portal.status("chat").deployment_id)
    return row | {
        "state": str(now.state),
        "serves": spec.model_id,
        "never_stopped": now.pid == old.pid,
        "lost": len(askers.lost),
        "errors": askers.lost[:2],
        "unserved_s": round(askers.unserved_s()[0], 2),
        "ok": now.state is EngineState.READY
        and now.deployment_id == old.deployment_id
        and not askers.lost
        and row["noticed_s"] + row["back_without_loading_s"] <= BOUND_S,
        "machine": asdict(Machine.now()),
    }


def _refused(portal: Deployments, broken: Broken) -> dict:
    try:
        portal.switch("chat", broken.model_id, broken.settings)
    except PortalError as error:
        times = dict.fromkeys(TIMES, 0.0)
        return times | {"error": type(error).__name__, "shown": str(error)}
    raise AssertionError(f"{broken.name}: the switch was not refused")


def _rolled_back(bench: Bench | RealBench, portal: Deployments, askers: Askers, broken: Broken, mode: Mode) -> dict:
    earlier, old = portal.rollout(), portal.status("chat")
    watch = RolloutWatch(portal, not_this=earlier.started_at if earlier else None)
    view = portal.switch("chat", broken.model_id, broken.settings)
    assert view.mode is mode, view.mode
    watch.join(900)
    assert portal.rollout().step is Step.FAILED, portal.rollout()
    found_at = watch.began.get(Step.ROLLING_BACK, watch.began[Step.FAILED])
    reloaded = portal.status("chat").pid != old.pid
    back_s = _next_granted(askers, found_at) - found_at if reloaded else 0.0
    loads_s = _last_load_s(bench.database, old.model_id) if reloaded else 0.0
    started_at = watch.began.get(Step.STARTING, found_at)
    noticed_s = found_at - started_at - broken.fails_after_s if broken.fails_after_s else 0.0
    error = portal.rollout().error
    return {
        "noticed_s": round(noticed_s, 2),
        "back_s": round(back_s, 2),
        "old_loads_s": round(loads_s, 2),
        "back_without_loading_s": round(back_s - loads_s, 2),
        "steps_s": watch.steps_s,
        "error": type(error).__name__,
        "shown": str(error),
    }


def _next_granted(askers: Askers, since: float) -> float:
    deadline = time.monotonic() + 120
    while True:
        later = [begin for answer in list(askers.answered) for begin, _end in answer.running if begin >= since]
        if later:
            return min(later)
        assert time.monotonic() < deadline, f"nobody was answered again: {askers.lost[:3]}"
        time.sleep(0.05)


def _last_load_s(database: Database, model_id: str) -> float:
    """Of the newest start that became ready."""
    with database.session() as session:
        newest = (
            select(EngineStart)
            .where(EngineStart.model_id == model_id, EngineStart.ready)
            .order_by(EngineStart.id.desc())
            .limit(1)
        )
        return session.scalars(newest).one().duration_s


def main(*, with_vllm: bool, only: set[str]) -> None:
    rows = []
    if with_vllm:
        with tempfile.TemporaryDirectory() as folder:
            for row in real(Path(folder), only):
                rows.append(row)
                print(json.dumps(row), flush=True)
    else:
        for broken in [case for case in FAKE_CASES if not only or case.name in only]:
            for mode in MODES:
                with tempfile.TemporaryDirectory() as folder:
                    rows.append(fake(broken, mode, Path(folder)))
                    print(json.dumps(rows[-1]), flush=True)
    print(table(rows, COLUMNS))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--real", action="store_true")
    parser.add_argument("--only", nargs="*", default=[])
    options = parser.parse_args()
    main(with_vllm=options.real, only=set(options.only))
