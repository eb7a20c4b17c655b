"""One run of an engine: its process, its log, its probe and the record by which it can be found again."""

from __future__ import annotations

import secrets
import socket
import time
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

from services.engines.engine_log import EngineLog, decisive_lines
from services.engines.launchers.base import Launcher, LaunchPlan, LaunchRequest, fingerprint
from services.engines.options import Spec
from services.engines.probe import EngineProbe
from services.engines.process import Elsewhere, EngineProcess, Process, remove_shared_memory
from services.engines.run_record import RunRecord, RunRecords
from services.engines.states import Endpoint
from services.errors import EngineStartFailed
from services.translation import N_


class EngineHome:
    """Where the engine of one deployment keeps its record, its log and its caches."""

    def __init__(self, folder: Path, deployment_id: int, log_limit_mib: int) -> None:
        self.deployment_id = deployment_id
        self.records = RunRecords(folder)
        self.log = EngineLog(folder / f"{deployment_id}.log", log_limit_mib)
        self.cache_dir = folder.resolve() / "cache"
        self.work_dir = folder.resolve() / "work"
        self.run_dir = folder.resolve() / "run"  # sockets

    def request(self, spec: Spec, model_path: Path, *, port: int = 0, api_key: str = "") -> LaunchRequest:
        return LaunchRequest(spec.model_id, model_path, port, api_key, self.cache_dir, spec.settings)

    def fingerprint(self, launcher: Launcher, spec: Spec, model_path: Path) -> str:
        return fingerprint(launcher, self.request(spec, model_path))


class Engine:
    """A run that this portal launched or adopted. plan: what was launched; None for an adopted one."""

    def __init__(
        self,
        home: EngineHome,
        record: RunRecord,
        process: Process,
        endpoint: Endpoint,
        *,
        device: str,
        plan: LaunchPlan | None = None,
    ) -> None:
        self.home = home
        self.record = record
        self.process = process
        self.endpoint = endpoint
        self.plan = plan
        self.probe = EngineProbe(endpoint, pids=process.members, device=device)

    @classmethod
    def launch(cls, home: EngineHome, launcher: Launcher, spec: Spec, model_path: Path) -> Engine:
        """Start a process for the model and record it, or reach out to the server elsewhere that the plan names.

        Raises EngineUnavailable (settings that the engine does not have), EngineStartFailed (nothing to run).
        """
        port, api_key = _free_port(), secrets.token_urlsafe(32)
        plan = launcher.plan(home.request(spec, model_path, port=port, api_key=api_key))
        if not plan.command:
            return cls._reach_out(home, launcher, spec, plan)
        home.run_dir.mkdir(parents=True, exist_ok=True)
        log_offset, alike = home.log.size(), home.fingerprint(launcher, spec, model_path)
        process = _spawn(plan, home)
        with ExitStack() as undo:
            undo.callback(process.kill)  # what is not recorded nobody would find again
            record = RunRecord(
                deployment_id=spec.id,
                model_id=spec.model_id,
                launcher=launcher.name,
                fingerprint=alike,
                **asdict(process.identity),
                port=port,
                api_key=api_key,
                command=plan.command,
                served_name=plan.served_name or spec.model_id,
                started_at=time.time(),
                log_offset=log_offset,
            )
            home.records.save(record)
            undo.pop_all()
        return cls(home, record, process, _loopback(record, model_path), device=launcher.device, plan=plan)

    @classmethod
    def adopt(cls, home: EngineHome, record: RunRecord, launcher: Launcher, model_path: Path) -> Engine:
        """An engine that another portal started, by its record."""
        process = EngineProcess(record.identity)
        return cls(home, record, process, _loopback(record, model_path), device=launcher.device)

    @classmethod
    def _reach_out(cls, home: EngineHome, launcher: Launcher, spec: Spec, plan: LaunchPlan) -> Engine:
        process = Elsewhere()
        record = RunRecord(
            deployment_id=spec.id,
            model_id=spec.model_id,
            launcher=launcher.name,
            fingerprint="",
            **asdict(process.identity),
            port=0,
            api_key="",
            command=[],
            served_name="",
            started_at=time.time(),
            log_offset=0,
        )
        served = plan.served_name or spec.model_id
        endpoint = Endpoint(plan.base_url, plan.api_key, spec.model_id, Path(), served, spec.id, "external")
        return cls(home, record, process, endpoint, device=launcher.device, plan=plan)

    @property
    def running_s(self) -> float:
        """Seconds since it was started, by whichever portal."""
        return max(0.0, time.time() - self.record.started_at)

    def note_ready(self) -> None:
        self.record = self.record.became_ready(self.process.shared_memory())
        if self.process.pid:
            self.home.records.save(self.record)

    def answers(self, timeout_s: float) -> bool:
        """Readiness: healthy, and a one-token completion succeeds (of an adopted one: or others' answers grow)."""
        makes_tokens = self.probe.lives if self.record.was_ready else self.probe.one_token
        return self.probe.healthy() and makes_tokens(timeout_s)

    def stop(self, timeout_s: float) -> bool:
        """End it; True, and the record gone, when no process of it lives any more."""
        segments = {*self.record.shared_memory, *self.process.shared_memory()}
        gone = self.process.stop(timeout_s)
        if gone:
            remove_shared_memory(segments)
            self.home.records.remove(self.home.deployment_id)
        return gone

    def decisive_lines(self) -> list[str]:
        return decisive_lines(self.home.log.since(self.record.log_offset))

    def failure(self, model_name: str) -> EngineStartFailed:
        """Why it ended, told by its log and its exit status. Call it when it has ended."""
        return self._ended(N_("The model {name} could not be started: {cause}"), model_name)

    def crash(self, model_name: str) -> EngineStartFailed:
        """Why it ended after it had been ready. Call it when it has ended."""
        message = N_("The model {name} ended unexpectedly, more often than it may be restarted: {cause}")
        return self._ended(message, model_name)

    def _ended(self, message: str, model_name: str) -> EngineStartFailed:
        lines = self.decisive_lines()
        return EngineStartFailed(
            message,
            hint=N_("The engine's log says more: Model Manager, or cli.py engine logs"),
            name=model_name,
            cause=lines[-1] if lines else self._exit_in_words(),
            log="\n".join(lines),
        )

    def too_slow(self, model_name: str, limit_s: float) -> EngineStartFailed:
        return EngineStartFailed(
            N_("The model {name} was not ready after {limit:.0f} s."),
            hint=N_("On a slow machine set PORTAL_ENGINE_START_TIMEOUT_S higher. Log: cli.py engine logs"),
            name=model_name,
            limit=limit_s,
            log="\n".join(self.decisive_lines()),
        )

    def lost_its_port(self) -> bool:
        """Whether another program took the port between our choosing it and the engine's binding it."""
        signs = ("address already in use", "couldn't bind")
        return any(sign in line.lower() for line in self.decisive_lines() for sign in signs)

    def _exit_in_words(self) -> str:
        code = self.process.exit_code
        if code is None:
            return "it stopped answering"
        return f"killed by signal {-code}" if code < 0 else f"exit status {code}"


def _spawn(plan: LaunchPlan, home: EngineHome) -> EngineProcess:
    try:
        return EngineProcess.spawn(plan, log_path=home.log.path, work_dir=home.work_dir)
    except OSError as error:
        raise EngineStartFailed(
            N_("The engine's program could not be run: {cause}"),
            hint=N_("Set the portal up again: make setup"),
            cause=str(error),
            log="",
        ) from error


def _loopback(record: RunRecord, model_path: Path) -> Endpoint:
    base_url = f"http://127.0.0.1:{record.port}/v1"
    return Endpoint(
        base_url,
        record.api_key,
        record.model_id,
        model_path,
        record.served_name,
        record.deployment_id,
        record.launcher,
    )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
