"""The thread that carries out the orders of one role (states.py draws the transitions)."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from functools import partial
from pathlib import Path
from typing import Protocol

from services.engines.desk import Desk, Order
from services.engines.engine import Engine, EngineHome
from services.engines.launchers.base import Launcher
from services.engines.probe import BackgroundCall
from services.engines.process import EngineProcess
from services.engines.start_times import StartTimes
from services.engines.states import EngineState
from services.errors import EngineError, EngineStartFailed, ModelFilesError, PortalError
from services.settings import Settings
from services.translation import N_

POLL_S = 0.2
ADOPTION_PATIENCE_S = 60.0  # an engine that was ready before must answer again within this time

log = logging.getLogger(__name__)


class NamedModel(Protocol):
    @property
    def name(self) -> str: ...


class ReadyModels(Protocol):
    """What is needed of services.engines.models.ModelStore."""

    def ready(self, model_id: str) -> bool: ...
    def path(self, model_id: str) -> Path: ...
    def entry(self, model_id: str) -> NamedModel: ...


@dataclass(frozen=True)
class Equipment:
    """What supervisors work with. launcher_for: the launcher of a model id."""

    settings: Settings
    models: ReadyModels
    launcher_for: Callable[[str], Launcher]
    starts: StartTimes


class End(Enum):
    """How a phase of an engine's life ended."""

    READY = auto()
    SUPERSEDED = auto()  # another order came, or the portal closes
    DIED = auto()
    TOO_SLOW = auto()


@dataclass(frozen=True)
class Ended:
    """An engine that ended by itself. again: whether another try is worth it; served_s: how long it was ready."""

    failure: EngineStartFailed
    again: bool
    served_s: float = 0.0


class Supervisor:
    """Owns the engine of one role. Only its thread touches the engine."""

    def __init__(self, desk: Desk, home: EngineHome, equipment: Equipment) -> None:
        self._desk = desk
        self._home = home
        self._settings = equipment.settings
        self._models = equipment.models
        self._launcher_for = equipment.launcher_for
        self._starts = equipment.starts
        self._adopted: Engine | None = None
        self._thread: threading.Thread | None = None

    def ensure_running(self, adopted: Engine | None = None) -> None:
        """Start the thread if there is none; call under the deployments' lock."""
        if self._thread is None or not self._thread.is_alive():
            self._adopted = adopted
            self._thread = threading.Thread(target=self._run, name=f"engine-{self._desk.role}", daemon=True)
            self._thread.start()

    def join(self) -> None:
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        try:
            while not self._desk.closed:
                order = self._desk.order
                if order.model_id is not None:
                    self._carry_out(order, order.model_id)
                elif not self._desk.leave_if_done(order):
                    continue
                self._desk.wait_for_change(order)
        finally:
            if not self._desk.closed:  # a bug is on its way to the log; nobody shall wait for this thread
                self._desk.abandon(_unsupervised())

    def _carry_out(self, order: Order, model_id: str) -> None:
        """Keep the model served until the order is superseded or the engine has failed for good."""
        restarts = 0
        while self._desk.wants(order):
            try:
                end = self._live_once(order, model_id, restarts)
            except PortalError as error:
                self._fail(error)
                return
            if end is None:
                return
            if end.served_s >= self._settings.engine_stable_s:
                restarts = 0
            if not end.again or restarts >= self._settings.engine_max_restarts:
                self._fail(end.failure)
                return
            restarts += 1
            self._enter_restart(restarts)
            if self._desk.wait_for_change(order, self._settings.engine_restart_backoff_s * 2 ** (restarts - 1)):
                return

    def _live_once(self, order: Order, model_id: str, restarts: int) -> Ended | None:
        """One life of an engine, from its start to its end; None when the order was superseded.

        Raises PortalError when there is nothing to start.
        """
        engine, self._adopted = self._adopted or self._launch(model_id, restarts), None
        name = self._models.entry(model_id).name
        end = self._await_readiness(engine, order)
        if end is End.READY:
            self._note_ready(engine)
            ready_at = time.monotonic()
            end = self._watch(engine, order)
            if end is End.DIED:
                return self._crashed(engine, name, time.monotonic() - ready_at)
        if end is End.SUPERSEDED:
            self._part_with(engine)
            return None
        failure = self._failed_start(engine, name, end)
        return Ended(failure, again=bool(restarts) or engine.record.was_ready or engine.lost_its_port())

    def _crashed(self, engine: Engine, name: str, served_s: float) -> Ended:
        log.warning("engine %d of role %s ended unexpectedly", engine.process.pid, self._desk.role)
        self._desk.enter(EngineState.STARTING, attempt=1, attempts=self._settings.engine_max_restarts, endpoint=None)
        self._end(engine, 0)
        return Ended(engine.crash(name), again=True, served_s=served_s)

    def _enter_restart(self, restarts: int) -> None:
        attempts = self._settings.engine_max_restarts
        self._desk.enter(EngineState.STARTING, attempt=restarts, attempts=attempts, pid=None, endpoint=None)

    def _fail(self, failure: PortalError) -> None:
        self._desk.enter(EngineState.FAILED, failure=failure, pid=None, endpoint=None)

    def _launch(self, model_id: str, restarts: int) -> Engine:
        entry = self._models.entry(model_id)
        self._desk.enter(
            EngineState.STARTING,
            model_id=model_id,
            model_name=entry.name,
            typical_start_s=self._starts.typical_s(model_id),
            attempt=restarts,
            attempts=self._settings.engine_max_restarts,
            pid=None,
            endpoint=None,
        )
        if not self._models.ready(model_id):
            raise ModelFilesError(
                N_("The model {name} is not on this machine."),
                hint=N_("Fetch it first: cli.py models fetch {id}"),
                name=entry.name,
                id=model_id,
            )
        self._end_recorded()
        engine = Engine.launch(self._home, self._launcher_for(model_id), model_id, self._models.path(model_id))
        self._desk.note_pid(engine.process.pid)
        return engine

    def _end_recorded(self) -> None:
        """Never two engines of one role: end one that is still recorded, however it came to be forgotten."""
        record = self._home.records.load(self._desk.role)
        if record is not None:
            EngineProcess(record.identity).stop(self._settings.engine_stop_timeout_s)
            self._home.records.remove(self._desk.role)

    def _await_readiness(self, engine: Engine, order: Order) -> End:
        limit_s = ADOPTION_PATIENCE_S if engine.record.was_ready else self._settings.engine_start_timeout_s
        known_s = 0.0 if engine.record.was_ready else engine.running_s
        deadline = time.monotonic() + limit_s - known_s
        call: BackgroundCall | None = None
        while time.monotonic() < deadline:
            if not self._desk.wants(order):
                return End.SUPERSEDED
            if not engine.process.alive():
                return End.DIED
            if call is None or call.result is False:
                call = BackgroundCall(partial(engine.answers, self._settings.engine_probe_timeout_s), self._desk.wake)
            if call.result:
                return End.READY
            self._desk.wait_for_change(order, POLL_S)
        return End.TOO_SLOW

    def _note_ready(self, engine: Engine) -> None:
        if not engine.record.was_ready:
            self._starts.record(engine.record.model_id, engine.record.launcher, ready=True, duration_s=engine.running_s)
            engine.note_ready()
        self._desk.take_suspicion()
        self._desk.enter(EngineState.READY, pid=engine.process.pid, endpoint=engine.endpoint)

    def _failed_start(self, engine: Engine, name: str, end: End) -> EngineStartFailed:
        """Clear the engine away and say why it did not become ready."""
        duration_s = engine.running_s
        self._end(engine, 0 if end is End.DIED else self._settings.engine_stop_timeout_s)
        failure = engine.too_slow(name, duration_s) if end is End.TOO_SLOW else engine.failure(name)
        record = engine.record
        self._starts.record(record.model_id, record.launcher, ready=False, duration_s=duration_s, reason=str(failure))
        return failure

    def _watch(self, engine: Engine, order: Order) -> End:
        """SUPERSEDED or DIED: the process ended, or the engine behind the API makes no tokens any more."""
        check_at = time.monotonic() + self._settings.engine_health_interval_s
        call: BackgroundCall | None = None
        while self._desk.wants(order):
            if not engine.process.alive():
                return End.DIED
            if call is not None and call.done:
                if not call.result:
                    return End.DIED
                call, check_at = None, time.monotonic() + self._settings.engine_health_interval_s
            if call is None:
                call = self._check(engine, due=time.monotonic() >= check_at)
            engine.home.log.rotate_if_large()
            self._desk.wait_for_news(order, POLL_S)
        return End.SUPERSEDED

    def _check(self, engine: Engine, *, due: bool) -> BackgroundCall | None:
        """A token when somebody suspects the engine; else, when due, its own opinion, and a token if that is bad."""
        timeout_s = self._settings.engine_probe_timeout_s
        if self._desk.take_suspicion():
            return BackgroundCall(partial(engine.probe.lives, timeout_s), self._desk.wake)
        if due:
            return BackgroundCall(lambda: engine.probe.healthy() or engine.probe.lives(timeout_s), self._desk.wake)
        return None

    def _part_with(self, engine: Engine) -> None:
        """The order is superseded: leave the engine to the next portal, or end it."""
        if self._desk.closed:
            return
        if engine.record.was_ready and self._desk.order.drain_s:
            self._drain(engine, self._desk.order.drain_s)
        self._desk.enter(EngineState.STOPPING, endpoint=None)
        self._end(engine, self._settings.engine_stop_timeout_s)

    def _drain(self, engine: Engine, limit_s: float) -> None:
        self._desk.enter(EngineState.DRAINING, endpoint=None)
        deadline = time.monotonic() + limit_s
        while time.monotonic() < deadline and engine.process.alive() and engine.probe.running_requests():
            time.sleep(POLL_S)

    def _end(self, engine: Engine, timeout_s: float) -> None:
        """Stop until nothing lives. A process that even SIGKILL does not end keeps everything here waiting, visibly."""
        while not engine.stop(timeout_s):
            log.error("processes %s do not end after SIGKILL", engine.process.members())


def _unsupervised() -> EngineError:
    return EngineError(
        N_("The portal has stopped looking after the model because of an error of its own."),
        hint=N_("See the portal's log, and restart the portal."),
    )
