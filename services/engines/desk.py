"""Where orders for a role are put down and its situation is read: the meeting point of everybody and its supervisor."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from services.engines.states import Endpoint, EngineState, EngineStatus, not_ready, restarting
from services.errors import EngineError, PortalError

SETTLED = (EngineState.STOPPED, EngineState.FAILED)

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Order:
    """What shall run; model_id None: nothing. Two orders are the same only when they are one object.

    drain_s: how long a running engine may go on with the answers it is giving before it is stopped.
    """

    model_id: str | None
    drain_s: float = 0.0


@dataclass(frozen=True)
class Situation:
    """What a status is made of.

    since: monotonic time; attempt: how often the engine that is starting was restarted, of `attempts` allowed;
    failure: of FAILED.
    """

    state: EngineState = EngineState.STOPPED
    since: float = 0.0
    model_id: str = ""
    model_name: str = ""
    typical_start_s: float | None = None
    attempt: int = 0
    attempts: int = 0
    pid: int | None = None
    endpoint: Endpoint | None = None
    failure: PortalError | None = None

    def explain(self, elapsed_s: float) -> PortalError | None:
        """Why there is no answer to be had; None when there is."""
        if self.state is EngineState.READY:
            return None
        if self.failure is not None:
            return self.failure
        if self.state is EngineState.STARTING and self.attempt:
            return restarting(elapsed_s, self.typical_start_s or 0, self.attempt, self.attempts)
        return not_ready(self.state, elapsed_s, self.typical_start_s or 0)


class Desk:
    """Thread-safe. Orders and situations change under one lock; reading the situation takes none."""

    def __init__(self, role: str) -> None:
        self.role = role
        self._changed = threading.Condition()
        self._order = Order(None)
        self._situation = Situation(since=time.monotonic())
        self._suspected = False
        self._closed = False

    def order_model(self, model_id: str, describe: Callable[[], dict[str, object]]) -> None:
        """Order the model unless that is the order already and it has not failed.

        describe: facts about the model for the situation, asked for only when the order is new.
        """
        with self._changed:
            state = self._situation.state
            if self._order.model_id == model_id and state is not EngineState.FAILED:
                return
            self.give(Order(model_id))
            if state in SETTLED:
                self.enter(EngineState.STARTING, attempt=0, pid=None, **describe())

    def order_nothing(self, *, drain_s: float, wait: bool) -> None:
        """Order that nothing runs; with `wait`, return when that is so or another order has come."""
        with self._changed:
            if self._order.model_id is None and self._situation.state is EngineState.STOPPED:
                return
            order = Order(None, drain_s)
            self.give(order)
            if not wait:
                return
            self._changed.wait_for(lambda: self._order is not order or self._situation.state is EngineState.STOPPED)

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
        log.info("engine of role %s: %s", self.role, self.status().reason or state)

    def note_pid(self, pid: int) -> None:
        with self._changed:
            self._situation = replace(self._situation, pid=pid)

    def leave_if_done(self, order: Order) -> bool:
        """STOPPED, in one step with making sure that `order` (nothing) is still what is wanted."""
        with self._changed:
            if self._order is not order:
                return False
            self.enter(EngineState.STOPPED, model_id="", model_name="", typical_start_s=None, pid=None, endpoint=None)
            return True

    def abandon(self, failure: PortalError) -> None:
        """FAILED, and no order any more: nobody is there to carry one out until the next start."""
        with self._changed:
            self.give(Order(None))
            self.enter(EngineState.FAILED, failure=failure, pid=None, endpoint=None)

    def status(self) -> EngineStatus:
        now = self._situation
        elapsed_s = time.monotonic() - now.since
        error = now.explain(elapsed_s)
        return EngineStatus(
            role=self.role,
            state=now.state,
            reason=str(error) if error else "",
            error=error,
            model_id=now.model_id,
            model_name=now.model_name,
            elapsed_s=elapsed_s,
            typical_start_s=now.typical_start_s,
            pid=now.pid,
            base_url=now.endpoint.base_url if now.endpoint else None,
        )

    def endpoint(self) -> Endpoint:
        """Raises what status() explains when there is none."""
        now = self._situation
        error = now.explain(time.monotonic() - now.since)
        if error is not None:
            raise error
        if now.endpoint is None:
            raise EngineError("the engine of role {role} is ready without an endpoint", role=self.role)
        return now.endpoint

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
