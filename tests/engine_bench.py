"""Portals over one home with the fake engine as a real child process, as the engine tests need them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import select

from db.database import Database
from db.engine_tables import EngineStart
from services.engines.deployment_rows import DeploymentRows
from services.engines.deployments import Deployments, EngineState
from services.engines.golden import GoldenPrompt
from services.engines.memory import Estimate
from services.engines.options import DeploymentSettings
from services.engines.process import EngineProcess
from services.engines.run_record import RunRecord, RunRecords
from services.engines.supervisor import Equipment
from services.settings import Settings
from tests.fakes import FakeLauncher, FakeModels

MODEL = "fake-model"


@dataclass
class FakeMemory:
    """An estimator for a machine with room for one model, or for several."""

    needed_mib: float = 1000
    available_mib: float = 100_000
    engine_mib: float = 1000
    by_model: dict[str, float] = field(default_factory=dict)  # what models need that need something else

    def __call__(self, model_id: str, settings: DeploymentSettings, freed_mib: float) -> Estimate:
        available_mib = self.available_mib + (self.engine_mib if freed_mib else 0)
        needed_mib = self.by_model.get(model_id, self.needed_mib)
        return Estimate("cpu", {"weights": needed_mib}, needed_mib, 1.0, needed_mib, available_mib)

    def only_one_fits(self) -> None:
        self.available_mib = self.needed_mib / 2


class Bench:
    """Portals over one home, each a Deployments as bootstrap would build it."""

    def __init__(self, home: Path, **settings: object) -> None:
        quick = {
            "engine_stop_timeout_s": 1,
            "engine_restart_backoff_s": 0.1,
            "engine_start_timeout_s": 10,
            "engine_probe_timeout_s": 1,
            "engine_health_interval_s": 0.3,
            "engine_log_mib": 1,
        }
        self.settings = Settings(home=home, **quick | settings)
        self.database = Database.open(self.settings.database_path)
        self.launcher = FakeLauncher()
        self.models = FakeModels(home / "models", MODEL, "other-model", missing=("absent-model",))
        self.memory = FakeMemory()
        self.golden: list[GoldenPrompt] = []
        self.portals: list[Deployments] = []

    def portal(self) -> Deployments:
        equipment = Equipment(
            self.settings, self.models, lambda _model, _settings: self.launcher, DeploymentRows(self.database)
        )
        portal = Deployments(
            equipment,
            estimate=self.memory,
            memory_of=lambda _pids, _device: 1000.0,
            golden_prompts=lambda _model: self.golden,
        )
        self.portals.append(portal)
        return portal

    def ready_portal(self, *options: str) -> Deployments:
        self.launcher.options = options
        portal = self.portal()
        portal.start("chat", MODEL)
        assert portal.wait_ready("chat", 10).state is EngineState.READY
        portal.wait_rollout(10)
        return portal

    def record(self) -> RunRecord | None:
        """Of the engine that was started first, of those that run."""
        records = RunRecords(self.settings.engines_dir)
        return next((records.load(id_) for id_ in records.deployment_ids()), None)

    def session(self) -> EngineProcess:
        record = self.record()
        assert record is not None
        return EngineProcess(record.identity)

    def starts(self) -> list[EngineStart]:
        with self.database.session() as session:
            return list(session.scalars(select(EngineStart).order_by(EngineStart.id)))

    def close(self) -> None:
        for portal in self.portals:
            portal.close(stop_engines=True)
        self.database.close()


def until(condition: Callable[[], object], timeout_s: float = 10) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)
