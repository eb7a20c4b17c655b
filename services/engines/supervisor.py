"""The thread that carries out the orders of one deployment (states.py draws the transitions)."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from enum import Enum, auto
from functools import partial
from pathlib import Path
from typing import Protocol

from services.engines.background import BackgroundCall
from services.engines.deployment_rows import DeploymentRows, StartReport
from services.engines.desk import Desk, Order
from services.engines.engine import Engine, EngineHome
from services.engines.launchers.base import Launcher
from services.engines.launchers.masking import masked
from services.engines.observer import Observer
from services.engines.options import DeploymentSettings, EngineKind
from services.engines.process import EngineProcess, remove_shared_memory
from services.engines.states import EngineState
from services.errors import EngineError, EngineStartFailed, ModelFilesError, PortalError
from services.settings import Settings
from services.translation import N_

POLL_S = 0.2
ADOPTION_PATIENCE_S = 60.0  # an engine that was ready before must answer again within this time
FIRST_TOKEN_PATIENCE_S = 120.0  # of an engine that has just loaded
LONGEST_BACKOFF_S = 60.0
UNUSED_STOP_TIMEOUT_S = 2.0  # between SIGTERM and SIGKILL of an engine that nobody was ever sent to

log = logging.getLogger(__name__)


class NamedModel(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def roles(self) -> tuple[str, ...]: ...
    @property
    def context_tokens(self) -> int: ...


class SuitsEngines(Protocol):
    @property
    def engines(self) -> tuple[EngineKind, ...]: ...


class ReadyModels(Protocol):
    """What is needed of services.engines.models.ModelStore."""

    def ready(self, model_id: str) -> bool: ...
    def path(self, model_id: str) -> Path: ...
    def entry(self, model_id: str) -> NamedModel: ...
    def variant(self, model_id: str) -> SuitsEngines: ...
    def variants_of(self, model_id: str) -> list[str]: ...
    def verify(self, model_id: str) -> None: ...


@dataclass(frozen=True)
class Equipment:
    """What supervisors work with.

    launcher_for: the launcher of a model id with these settings; predict: MiB by the estimate, None when it has none.
    """

    settings: Settings
    models: ReadyModels
    launcher_for: Callable[[str, DeploymentSettings], Launcher]
    rows: DeploymentRows
    predict: Callable[[str, DeploymentSettings], float | None] = lambda _model, _settings: None


class End(Enum):
    """How a phase of an engine's life ended."""

    READY = auto()
    SUPERSEDED = auto()  # another order came, or the portal closes
    IDLE = auto()  # nobody asked for long enough
    DIED = auto()
    TOO_SLOW = auto()


@dataclass(frozen=True)
class Ended:
    """An engine that ended by itself. again: whether another try is worth it; served_s: how long it was ready."""

    failure: EngineStartFailed
    again: bool
    served_s: float = 0.0


class Supervisor:
    """Owns the engine of one deployment. Only its thread touches the engine."""

    def __init__(self, desk: Desk, home: EngineHome, equipment: Equipment, observer: Observer) -> None:
        self._desk = desk
        self._spec = desk.spec
        self._home = home
        self._equipment = equipment
        self._settings = equipment.settings
        self._observer = observer
        self._adopted: Engine | None = None
        self._thread: threading.Thread | None = None

    def ensure_running(self, adopted: Engine | None = None) -> None:
        """Start the thread if there is none; call under the deployments' lock."""
        if self._thread is None or not self._thread.is_alive():
            self._adopted = adopted
            self._thread = threading.Thread(target=self._run, name=f"engine-{self._spec.id}", daemon=True)
            self._thread.start()

    def join(self) -> None:
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        try:
            while not self._desk.closed:
                order = self._desk.order
                if order.run:
                    self._carry_out(order)
                elif not self._desk.leave_if_done(order):
                    continue
                self._desk.wait_for_change(order)
        finally:
            if not self._desk.closed:  # a bug is on its way to the log; nobody shall wait for this thread
                self._desk.abandon(_unsupervised())

    def _carry_out(self, order: Order) -> None:
        """Keep the model served until the order is superseded or the engine has failed for good."""
        restarts = 0
        while self._desk.wants(order):
            try:
                end = self._live_once(order, restarts)
            except PortalError as error:
                self._fail(error)
                return
            if end is None:
                return
            if end.served_s >= self._settings.engine_stable_s:
                restarts = 0
            elsewhere = self._spec.settings.engine == "external"
            if not elsewhere and (not end.again or restarts >= self._settings.engine_max_restarts):
                self._fail(end.failure)
                return
            restarts += 1
            self._enter_restart(restarts)
            backoff_s = self._settings.engine_restart_backoff_s * 2 ** (restarts - 1)
            if self._desk.wait_for_change(order, min(backoff_s, LONGEST_BACKOFF_S)):
                return

    def _live_once(self, order: Order, restarts: int) -> Ended | None:
        """One life of an engine, from its start to its end; None when it was superseded, or unloaded.

        Raises PortalError when there is nothing to start, or when its files were changed.
        """
        verified = bool(restarts or self._adopted)
        engine, self._adopted = self._adopted or self._launch(restarts), None
        with ExitStack() as undo:
            undo.callback(self._end, engine, 0)  # a failure here, or a bug, must not leave it running
            ended = self._live(engine, order, None if verified else self._verification(), restarts)
            undo.pop_all()
        return ended

    def _live(self, engine: Engine, order: Order, verification: BackgroundCall | None, restarts: int) -> Ended | None:
        end = self._await_readiness(engine, order, verification)
        if end is End.READY:
            self._note_ready(engine)
            ready_at = time.monotonic()
            end = self._watch(engine, order)
            if end is End.DIED:
                return self._crashed(engine, time.monotonic() - ready_at)
        if end is End.SUPERSEDED:
            self._part_with(engine)
            return None
        if end is End.IDLE:
            self._unload(engine, order)
            return None
        failure = self._failed_start(engine, end)
        return Ended(failure, again=bool(restarts) or engine.record.was_ready or engine.lost_its_port())

    def _crashed(self, engine: Engine, served_s: float) -> Ended:
        log.warning("engine %d of deployment %d ended unexpectedly", engine.process.pid, self._spec.id)
        self._desk.enter(EngineState.STARTING, attempt=1, attempts=self._settings.engine_max_restarts, endpoint=None)
        self._end(engine, 0)
        return Ended(engine.crash(self._spec.model_name), again=True, served_s=served_s)

    def _enter_restart(self, restarts: int) -> None:
        attempts = self._settings.engine_max_restarts
        self._desk.enter(EngineState.STARTING, attempt=restarts, attempts=attempts, pid=None, endpoint=None)

    def _fail(self, failure: PortalError) -> None:
        self._desk.enter(EngineState.FAILED, failure=failure, pid=None, endpoint=None)

    def _launch(self, restarts: int) -> Engine:
        spec, models = self._spec, self._equipment.models
        self._desk.enter(
            EngineState.STARTING,
            typical_start_s=self._equipment.rows.typical_start_s(spec.model_id),
            attempt=restarts,
            attempts=self._settings.engine_max_restarts,
            pid=None,
            endpoint=None,
            idle=False,
        )
        if not models.ready(spec.model_id):
            raise ModelFilesError(
                N_("The model {name} is not on this machine."),
                hint=N_("Fetch it first: cli.py models fetch {id}"),
                name=spec.model_name,
                id=spec.model_id,
            )
        self._end_recorded()
        launcher = self._equipment.launcher_for(spec.model_id, spec.settings)
        engine = Engine.launch(self._home, launcher, spec, models.path(spec.model_id))
        self._observer.launched(launcher)
        self._desk.note_pid(engine.process.pid or None)
        return engine

    def _verification(self) -> BackgroundCall | None:
        """The model's files are read and compared while the engine loads them: no time is lost."""
        return BackgroundCall(partial(self._equipment.models.verify, self._spec.model_id), self._desk.wake)

    def _end_recorded(self) -> None:
        """Never two engines of one deployment: end one that is still recorded, however it came to be forgotten."""
        record = self._home.records.load(self._spec.id)
        if record is None:
            return
        process = EngineProcess(record.identity)
        while not process.stop(self._settings.engine_stop_timeout_s):
            log.error("processes %s do not end after SIGKILL", process.members())
        remove_shared_memory(record.shared_memory)
        self._home.records.remove(self._spec.id)

    def _await_readiness(self, engine: Engine, order: Order, verification: BackgroundCall | None) -> End:
        """READY when it makes a token and its files are what they should be. Raises VerificationFailed."""
        limit_s = ADOPTION_PATIENCE_S if engine.record.was_ready else self._settings.engine_start_timeout_s
        known_s = 0.0 if engine.record.was_ready else engine.running_s
        deadline = time.monotonic() + limit_s - known_s
        call: BackgroundCall | None = None
        while time.monotonic() < deadline:
            if not self._desk.wants(order):
                return End.SUPERSEDED
            if verification and verification.done:
                _require_verified(verification, self._spec.model_name)
            if not engine.process.alive():
                return End.DIED
            if call is None or (call.done and not call.result):
                call = BackgroundCall(partial(engine.answers, FIRST_TOKEN_PATIENCE_S), self._desk.wake)
            if call.result and (verification is None or verification.done):
                return End.READY
            self._desk.wait_for_change(order, POLL_S)
        return End.TOO_SLOW

    def _note_ready(self, engine: Engine) -> None:
        if not engine.record.was_ready:
            engine.note_ready()
            self._equipment.rows.note_ready(self._spec.id)
            self._observer.ready(engine, self._record_start(engine, ready=True))
        else:
            self._observer.ready(engine, None)
        self._desk.take_suspicion()
        self._desk.enter(EngineState.READY, pid=engine.process.pid or None, endpoint=engine.endpoint)

    def _record_start(self, engine: Engine, *, ready: bool, reason: str = "") -> int:
        command, environment = masked(engine.plan) if engine.plan else ([], {})
        report = StartReport(
            launcher=engine.record.launcher,
            ready=ready,
            duration_s=engine.running_s,
            reason=reason,
            command=tuple(command),
            environment=environment,
            engine_version=self._observer.engine_version,
            device=self._observer.device,
            predicted_mib=self._predicted_mib() if ready else None,
        )
        return self._equipment.rows.record_start(self._spec, report)

    def _predicted_mib(self) -> float | None:
        with suppress(ModelFilesError):  # an engine may read what the estimate cannot
            return self._equipment.predict(self._spec.model_id, self._spec.settings)
        return None

    def _failed_start(self, engine: Engine, end: End) -> EngineStartFailed:
        """Clear the engine away and say why it did not become ready."""
        duration_s = engine.running_s
        self._end(engine, 0 if end is End.DIED else self._stop_timeout_s(engine))
        name = self._spec.model_name
        failure = engine.too_slow(name, duration_s) if end is End.TOO_SLOW else engine.failure(name)
        self._record_start(engine, ready=False, reason=str(failure))
        return failure

    def _watch(self, engine: Engine, order: Order) -> End:
        """SUPERSEDED, IDLE, or DIED: the process ended, or the engine behind the API makes no tokens any more."""
        check_at = time.monotonic() + self._settings.engine_health_interval_s
        call: BackgroundCall | None = None
        while self._desk.wants(order):
            if not engine.process.alive():
                return End.DIED
            if self._observer.idle_too_long(self._spec.settings.idle_unload_minutes * 60):
                return End.IDLE
            if call is not None and call.done:
                if not call.result:
                    return End.DIED
                call, check_at = None, time.monotonic() + self._settings.engine_health_interval_s
            if call is None and (self._desk.take_suspicion() or time.monotonic() >= check_at):
                call = BackgroundCall(
                    partial(engine.probe.lives, self._settings.engine_probe_timeout_s), self._desk.wake
                )
            self._observer.observe(engine)
            with suppress(OSError):  # a full disk must not end the service
                engine.home.log.rotate_if_large()
            self._desk.wait_for_news(order, POLL_S)
        return End.SUPERSEDED

    def _unload(self, engine: Engine, order: Order) -> None:
        self._desk.enter(EngineState.STOPPING, endpoint=None)
        self._end(engine, self._settings.engine_stop_timeout_s)
        self._desk.leave_idle(order)

    def _part_with(self, engine: Engine) -> None:
        """The order is superseded: leave the engine to the next portal, or end it."""
        if self._desk.closed:
            return
        if engine.record.was_ready and self._desk.order.drain_s:
            self._drain(engine, self._desk.order.drain_s)
        self._desk.enter(EngineState.STOPPING, endpoint=None)
        pids = engine.process.members()
        self._end(engine, self._stop_timeout_s(engine))
        if not self._observer.gpu_memory_is_back(pids) and not self._desk.order.run:
            self._desk.give(Order(run=False, failure=_gpu_memory_kept()))

    def _drain(self, engine: Engine, limit_s: float) -> None:
        self._desk.enter(EngineState.DRAINING, endpoint=None)
        deadline = time.monotonic() + limit_s
        while time.monotonic() < deadline and engine.process.alive():
            if not (self._observer.running() or engine.probe.running_requests()):
                return
            time.sleep(POLL_S)

    def _stop_timeout_s(self, engine: Engine) -> float:
        limit_s = self._settings.engine_stop_timeout_s
        return limit_s if engine.record.was_ready else min(limit_s, UNUSED_STOP_TIMEOUT_S)

    def _end(self, engine: Engine, timeout_s: float) -> None:
        """Stop until nothing lives. A process that even SIGKILL does not end keeps everything here waiting, visibly."""
        while not engine.stop(timeout_s):
            log.error("processes %s do not end after SIGKILL", engine.process.members())


def _require_verified(verification: BackgroundCall, name: str) -> None:
    """Raises VerificationFailed, or ModelFilesError when the files could not even be read."""
    if verification.failure is not None:
        raise verification.failure
    if verification.result is False:
        raise ModelFilesError(
            N_("The files of the model {name} could not be read."),
            hint=N_("The disk may be damaged, or the files not ours to read: see the portal's log."),
            name=name,
        )


def _unsupervised() -> EngineError:
    return EngineError(
        N_("The portal has stopped looking after the model because of an error of its own."),
        hint=N_("See the portal's log, and restart the portal."),
    )


def _gpu_memory_kept() -> EngineError:
    return EngineError(
        N_("The model has stopped, but its GPU memory did not come back."),
        hint=N_("Another process may hold it: look at the processes on the GPU (nvidia-smi)."),
    )
