"""Where orders for a deployment are put down and its situation is read: where everybody meets its supervisor."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass, replace

from services.engines.options import Spec
from services.engines.states import Endpoint, EngineState, EngineStatus, not_ready, restarting, unloaded
from services.errors import EngineError, PortalError
from services.translation import N_

SETTLED = (EngineState.STOPPED, EngineState.FAILED)
STOP_PATIENCE_S = 120.0

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Order:
    """Whether the deployment shall run. Two orders are the same only when they are one object.

    drain_s: how long a running engine may go on with the answers it is giving before it is stopped;
    failure: what is wrong with it, when that is why it is stopped.
    """

    run: bool
    drain_s: float = 0.0
    failure: PortalError | None = None


@dataclass(frozen=True)
class Situation:
    """What a status is made of.

    since: monotonic time; attempt: how often the engine that is starting was restarted, of `attempts` allowed;
    failure: of FAILED; idle: STOPPED because nobody asked, and started again by the next who does.
    """

    state: EngineState = EngineState.STOPPED
    since: float = 0.0
    typical_start_s: float | None = None
    attempt: int = 0
    attempts: int = 0
    pid: int | None = None
    endpoint: Endpoint | None = None
    failure: PortalError | None = None
    idle: bool = False

    def explain(self, elapsed_s: float) -> PortalError | None:
        """Why there is no answer to be had; None when there is."""
        if self.state is EngineState.READY:
            return None
        if self.failure is not None:
            return self.failure
        if self.idle:
            return unloaded()
        if self.state is EngineState.STARTING and self.attempt:
            return restarting(elapsed_s, self.typical_start_s or 0, self.attempt, self.attempts)
        return not_ready(self.state, elapsed_s, self.typical_start_s or 0)


class Desk:
    """Thread-safe. Orders and situations change under one lock; reading the situation takes none."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self._changed = threading.Condition()
        self._order = Order(run=False)
        self._situation = Situation(since=time.monotonic())
        self._suspected = False
        self._closed = False

    def order_run(self, typical_start_s: float) -> None:
        """Order that it runs, unless that is the order already and it has not failed."""
        with self._changed:
            state = self._situation.state
            if self._order.run and state is not EngineState.FAILED:
                return
            self.give(Order(run=True))
            if state in SETTLED:
                self.enter(EngineState.STARTING, attempt=0, pid=None, typical_start_s=typical_start_s, idle=False)

    def order_stop(self, *, drain_s: float = 0.0, wait: bool = True, failure: PortalError | None = None) -> None:
        """Order that nothing runs; with `wait`, return when that is so or another order has come.

        Raises EngineError when the engine does not end. failure: the deployment ends FAILED with it.
        """
        with self._changed:
            if not self._order.run and self._situation.state is EngineState.STOPPED and failure is None:
                self._situation = replace(self._situation, idle=False)
                return
            order = Order(run=False, drain_s=drain_s, failure=failure)
            self.give(order)
            if wait and not self._changed.wait_for(
                lambda: self._order is not order or self._situation.state in SETTLED, drain_s + STOP_PATIENCE_S
            ):
                raise EngineError(
                    N_("The engine of {name} does not end, not even when it is killed."),
                    hint=N_("The system may be stuck in a driver: look at its log (dmesg), or restart the machine."),
                    name=self.spec.model_name,
                )

    def give(self, order: Order) -> None:
        with self._changed:
            self._order = order
            self._changed.notify_all()

    def enter(self, state: EngineState, **facts: object) -> None:
        """Change the situation; facts that are not named stay as they are, except the failure."""
        with self._changed:
            fresh = {"state": state, "since": time.monotonic(), "failure": None}
            self._situation = replace(self._situation, **(fresh | facts))
            self._changed.notify_all()
        log.info("deployment %d (%s): %s", self.spec.id, self.spec.model_id, self.status().reason or state)

    def note_pid(self, pid: int | None) -> None:
        with self._changed:
            self._situation = replace(self._situation, pid=pid)

    def leave_if_done(self, order: Order) -> bool:
        """STOPPED (or FAILED), in one step with making sure that `order` (nothing) is still what is wanted."""
        with self._changed:
            if self._order is not order:
                return False
            if self._situation.idle:
                return True
            state = EngineState.FAILED if order.failure else EngineState.STOPPED
            self.enter(state, failure=order.failure, pid=None, endpoint=None, idle=False)
            return True

    def leave_idle(self, order: Order) -> None:
        """STOPPED until somebody asks again, unless another order has come."""
        with self._changed:
            if self._order is order:
                self._order = Order(run=False)
                self.enter(EngineState.STOPPED, pid=None, endpoint=None, idle=True)

    def abandon(self, failure: PortalError) -> None:
        """FAILED, and no order any more: nobody is there to carry one out until the next start."""
        with self._changed:
            self.give(Order(run=False))
            self.enter(EngineState.FAILED, failure=failure, pid=None, endpoint=None)

    def status(self, role: str = "") -> EngineStatus:
        now = self._situation
        elapsed_s = time.monotonic() - now.since
        error = now.explain(elapsed_s)
        return EngineStatus(
            role=role,
            state=now.state,
            reason=str(error) if error else "",
            error=error,
            model_id=self.spec.model_id,
            model_name=self.spec.model_name,
            elapsed_s=elapsed_s,
            typical_start_s=now.typical_start_s,
            pid=now.pid,
            base_url=now.endpoint.base_url if now.endpoint else None,
            deployment_id=self.spec.id,
            unloaded=now.idle,
        )

    def endpoint(self) -> Endpoint:
        """Raises what status() explains when there is none."""
        now = self._situation
        error = now.explain(time.monotonic() - now.since)
        if error is not None:
            raise error
        if now.endpoint is None:
            raise EngineError("deployment {id} is ready without an endpoint", id=self.spec.id)
        return now.endpoint

    @property
    def state(self) -> EngineState:
        return self._situation.state

    @property
    def idle(self) -> bool:
        return self._situation.idle

    def wait_for_state(self, states: tuple[EngineState, ...], timeout_s: float) -> EngineStatus:
        """The status as soon as it is in one of the states, or when the time is up."""
        with self._changed:
            self._changed.wait_for(lambda: self._situation.state in states, timeout_s)
            return self.status()

    # For the supervisor

    @property
    def order(self) -> Order:
        return self._order

    def wants(self, order: Order) -> bool:
        """Whether this is still the last order, and somebody is still there to carry it out."""
        return self._order is order and not self._closed

    def wait_for_change(self, order: Order, timeout_s: float | None = None) -> bool:
        """Wait until the order is no longer wanted; False when the time is up before."""
        with self._changed:
            return self._changed.wait_for(lambda: not self.wants(order), timeout_s)

    def wait_for_news(self, order: Order, timeout_s: float) -> None:
        """Like wait_for_change, and suspicion is news too."""
        with self._changed:
            self._changed.wait_for(lambda: self._suspected or not self.wants(order), timeout_s)

    def wake(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def suspect(self) -> None:
        """A request found the engine dead or hanging."""
        with self._changed:
            self._suspected = True
            self._changed.notify_all()

    def take_suspicion(self) -> bool:
        """Whether somebody suspected the engine since the last call."""
        with self._changed:
            suspected, self._suspected = self._suspected, False
            return suspected

    @property
    def closed(self) -> bool:
        return self._closed

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()
