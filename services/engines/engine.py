"""One run of an engine: its process, its log, its probe and the record by which it can be found again."""

from __future__ import annotations

import secrets
import socket
import time
from dataclasses import asdict
from pathlib import Path

from services.engines.engine_log import EngineLog, decisive_lines
from services.engines.launchers.base import Launcher, LaunchRequest, fingerprint
from services.engines.probe import EngineProbe
from services.engines.process import EngineProcess
from services.engines.run_record import RunRecord, RunRecords
from services.engines.states import Endpoint
from services.errors import EngineStartFailed
from services.translation import N_


class EngineHome:
    """Where engines of one role keep their record, their log and their caches."""

    def __init__(self, folder: Path, role: str, log_limit_mib: int) -> None:
        self.role = role
        self.records = RunRecords(folder)
        self.log = EngineLog(folder / f"{role}.log", log_limit_mib)
        self.cache_dir = folder.resolve() / "cache"
        self.work_dir = folder.resolve() / "work"

    def fingerprint(self, launcher: Launcher, model_id: str, model_path: Path) -> str:
        return fingerprint(launcher, model_id, model_path, self.cache_dir)


class Engine:
    """A run that this portal launched or adopted."""

    def __init__(self, home: EngineHome, record: RunRecord, process: EngineProcess, model_path: Path) -> None:
        self.home = home
        self.record = record
        self.process = process
        self.probe = EngineProbe(record.port, record.api_key, record.model_id)
        self.endpoint = Endpoint(f"http://127.0.0.1:{record.port}/v1", record.api_key, record.model_id, model_path)

    @classmethod
    def launch(cls, home: EngineHome, launcher: Launcher, model_id: str, model_path: Path) -> Engine:
        """Start a process for the model and record it. Raises EngineStartFailed when there is nothing to run."""
        request = LaunchRequest(model_id, model_path, _free_port(), secrets.token_urlsafe(32), home.cache_dir)
        plan = launcher.plan(request)
        log_offset = home.log.size()
        try:
            process = EngineProcess.spawn(plan, log_path=home.log.path, work_dir=home.work_dir)
        except OSError as error:
            raise EngineStartFailed(
                N_("The engine's program could not be run: {cause}"),
                hint=N_("Set the portal up again: make setup"),
                cause=str(error),
                log="",
            ) from error
        record = RunRecord(
            role=home.role,
            model_id=model_id,
            launcher=launcher.name,
            fingerprint=home.fingerprint(launcher, model_id, model_path),
            **asdict(process.identity),
            port=request.port,
            api_key=request.api_key,
            command=plan.command,
            started_at=time.time(),
            log_offset=log_offset,
        )
        home.records.save(record)
        return cls(home, record, process, model_path)

    @property
    def running_s(self) -> float:
        """Seconds since it was started, by whichever portal."""
        return max(0.0, time.time() - self.record.started_at)

    def note_ready(self) -> None:
        self.record = self.record.became_ready()
        self.home.records.save(self.record)

    def answers(self, timeout_s: float) -> bool:
        """Readiness: healthy, and a one-token completion succeeds (or others' answers grow)."""
        return self.probe.healthy() and self.probe.lives(timeout_s)

    def stop(self, timeout_s: float) -> bool:
        """End it; True, and the record gone, when no process of it lives any more."""
        gone = self.process.stop(timeout_s)
        if gone:
            self.home.records.remove(self.home.role)
        return gone

    def decisive_lines(self) -> list[str]:
        return decisive_lines(self.home.log.since(self.record.log_offset))

    def failure(self, model_name: str) -> EngineStartFailed:
        """Why it ended, told by its log and its exit status. Call it when it has ended."""
        lines = self.decisive_lines()
        return EngineStartFailed(
            N_("The model {name} could not be started: {cause}"),
            hint=N_("The engine's log says more: cli.py engine logs {role}"),
            name=model_name,
            cause=lines[-1] if lines else self._exit_in_words(),
            role=self.home.role,
            log="\n".join(lines),
        )

    def too_slow(self, model_name: str, limit_s: float) -> EngineStartFailed:
        return EngineStartFailed(
            N_("The model {name} was not ready after {limit:.0f} s."),
            hint=N_("On a slow machine set PORTAL_ENGINE_START_TIMEOUT_S higher. Log: cli.py engine logs {role}"),
            name=model_name,
            limit=limit_s,
            role=self.home.role,
            log="\n".join(self.decisive_lines()),
        )

    def crash(self, model_name: str) -> EngineStartFailed:
        """Why it ended after it had been ready. Call it when it has ended."""
        lines = self.decisive_lines()
        return EngineStartFailed(
            N_("The model {name} ended unexpectedly, more often than it may be restarted: {cause}"),
            hint=N_("The engine's log says more: cli.py engine logs {role}"),
            name=model_name,
            cause=lines[-1] if lines else self._exit_in_words(),
            role=self.home.role,
            log="\n".join(lines),
        )

    def lost_its_port(self) -> bool:
        """Whether another program took the port between our choosing it and the engine's binding it."""
        return any("address already in use" in line.lower() for line in self.decisive_lines())

    def _exit_in_words(self) -> str:
        code = self.process.exit_code
        if code is None:
            return "it stopped answering"
        return f"killed by signal {-code}" if code < 0 else f"exit status {code}"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
