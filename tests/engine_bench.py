"""Portals over one home with the fake engine as a real child process, as the engine tests need them."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import select

from db.database import Database
from db.engine_tables import EngineStart
from services.engines.deployments import Deployments, EngineState
from services.engines.process import EngineProcess
from services.engines.run_record import RunRecord, RunRecords
from services.settings import Settings
from tests.fakes import FakeLauncher, FakeModels

MODEL = "fake-model"


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
        self.portals: list[Deployments] = []

    def portal(self) -> Deployments:
        portal = Deployments(self.database, self.settings, self.models, launcher_for=lambda _model: self.launcher)
        self.portals.append(portal)
        return portal

    def ready_portal(self, *options: str) -> Deployments:
        self.launcher.options = options
        portal = self.portal()
        portal.start("chat", MODEL)
        assert portal.wait_ready("chat", 10).state is EngineState.READY
        return portal

    def record(self) -> RunRecord | None:
        return RunRecords(self.settings.engines_dir).load("chat")

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
