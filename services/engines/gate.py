"""The gate before the engines: requests that run are counted, and those that come during a switch wait in line.

enter ──► running ──► released
  │          │ cut (its engine is being taken away): begin anew, first in line
  └─held──► waiting ──opened──► running, or the error that says why there is no model
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from services.engines.states import Endpoint
from services.errors import PortalError


@dataclass(frozen=True)
class QueuePlace:
    """Where a waiting request stands: place 1 is next, of all that wait for the same role.

    reason: switching (to another model) or loading (one that was unloaded); typical_s: how long that takes here.
    """

    place: int
    of: int
    reason: str
    typical_s: float


@dataclass(frozen=True, eq=False)
class Hold:
    """Somebody's hold on some roles; another one over the same role takes its place."""

    roles: tuple[str, ...]
    reason: str
    typical_s: float


@dataclass(eq=False)
class _Ticket:
    """What the gate knows of a request. A dropped lease gives it back, so the gate must not hold the lease itself."""

    role: str
    endpoint: Endpoint | None = None
    revoked: bool = False
    failure: PortalError | None = None


class Lease:
    """One request's right to ask an engine. Release it, or drop it."""

    def __init__(self, gate: Gate, ticket: _Ticket) -> None:
        self._gate = gate
        self._ticket = ticket
        self._over = False

    @property
    def role(self) -> str:
        return self._ticket.role

    @property
    def granted(self) -> bool:
        return self._ticket.endpoint is not None

    @property
    def endpoint(self) -> Endpoint:
        """Of a granted lease."""
        if self._ticket.endpoint is None:
            raise RuntimeError("the lease waits for its model")
        return self._ticket.endpoint

    @property
    def revoked(self) -> bool:
        """The engine is being taken away: the answer begins anew, with another lease."""
        return self._ticket.revoked

    @property
    def place(self) -> QueuePlace | None:
        """None when it does not wait."""
        return self._gate.place_of(self._ticket)

    def wait(self, timeout_s: float) -> bool:
        """Whether it is granted now, or becomes so in this time. Raises why not when there is no model any more."""
        self._gate.wait_for(lambda: self.granted or self._ticket.failure is not None, timeout_s)
        if self._ticket.failure is not None:
            raise self._ticket.failure
        return self.granted

    def release(self) -> None:
        if not self._over:
            self._over = True
            self._gate.release(self._ticket)

    def __enter__(self) -> Lease:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def __del__(self) -> None:
        if not self._over:
            self._gate.drop(self._ticket)


class Gate:
    """Thread-safe; all changes under one lock. Dropped leases are put aside without it: a destructor may run anywhere,
    also in the middle of a change, or while another lock is held.
    """

    def __init__(self, endpoint_of: Callable[[str], Endpoint]) -> None:
        """endpoint_of: of the model that answers for a role now; raises why there is none."""
        self._endpoint_of = endpoint_of
        self._changed = threading.Condition()
        self._dropped: deque[_Ticket] = deque()
        self._holds: dict[str, Hold] = {}
        self._waiting: list[_Ticket] = []
        self._running: dict[int, list[_Ticket]] = {}
        self._last_use: dict[int, float] = {}

    def enter(self, role: str, *, first: bool = False) -> Lease:
        """A lease, granted at once or waiting. first: before all others that wait (its answer was cut off).

        Raises what endpoint_of raises, when nothing is held.
        """
        ticket = _Ticket(role)
        with self._changed:
            self._collect()
            if role in self._holds:
                self._waiting.insert(0 if first else len(self._waiting), ticket)
            else:
                self._grant(ticket)
        return Lease(self, ticket)

    def hold(self, roles: tuple[str, ...], *, reason: str, typical_s: float) -> Hold:
        """Whoever comes for these roles waits from now on, until the hold is opened."""
        hold = Hold(roles, reason, typical_s)
        with self._changed:
            self._holds |= dict.fromkeys(roles, hold)
        return hold

    def held(self, role: str) -> bool:
        return role in self._holds

    def open(self, hold: Hold | None) -> None:
        """Let those who wait by this hold in, in their order; without a model they learn why.

        Nothing happens to roles that somebody else has held since.
        """
        with self._changed:
            self._collect()
            roles = [role for role, found in self._holds.items() if found is hold]
            for role in roles:
                del self._holds[role]
            let_in = [ticket for ticket in self._waiting if ticket.role in roles]
            self._waiting = [ticket for ticket in self._waiting if ticket.role not in roles]
            for ticket in let_in:
                try:
                    self._grant(ticket)
                except PortalError as error:
                    ticket.failure = error
            self._changed.notify_all()

    def cut(self, deployment_id: int) -> int:
        """Tell those that still run on the deployment that its engine is taken away; how many they were."""
        with self._changed:
            self._collect()
            running = self._running.get(deployment_id, [])
            for ticket in running:
                ticket.revoked = True
            return len(running)

    def running(self, deployment_id: int) -> int:
        with self._changed:
            self._collect()
            return len(self._running.get(deployment_id, []))

    def queued(self, roles: tuple[str, ...]) -> int:
        with self._changed:
            self._collect()
            return sum(ticket.role in roles for ticket in self._waiting)

    def wait_idle(self, deployment_id: int, timeout_s: float) -> bool:
        """Whether nothing runs on the deployment now, or within this time."""
        return self.wait_for(lambda: not self._running.get(deployment_id), timeout_s)

    def idle_s(self, deployment_id: int, since: float) -> float | None:
        """Seconds since the last request on the deployment ended, or since that monotonic time; None while one runs."""
        with self._changed:
            self._collect()
            if self._running.get(deployment_id):
                return None
            return time.monotonic() - max(since, self._last_use.get(deployment_id, 0.0))

    # For leases

    def place_of(self, ticket: _Ticket) -> QueuePlace | None:
        with self._changed:
            self._collect()
            line = [waiting for waiting in self._waiting if waiting.role == ticket.role]
            hold = self._holds.get(ticket.role)
            if ticket not in line or hold is None:
                return None
            return QueuePlace(line.index(ticket) + 1, len(line), hold.reason, hold.typical_s)

    def wait_for(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        with self._changed:
            self._collect()
            return self._changed.wait_for(condition, timeout_s)

    def release(self, ticket: _Ticket) -> None:
        with self._changed:
            self._remove(ticket)
            self._changed.notify_all()

    def drop(self, ticket: _Ticket) -> None:
        """From a destructor: put aside, to be released by whoever next has the lock."""
        self._dropped.append(ticket)

    def _collect(self) -> None:
        while self._dropped:
            self._remove(self._dropped.popleft())

    def _remove(self, ticket: _Ticket) -> None:
        if ticket in self._waiting:
            self._waiting.remove(ticket)
        if ticket.endpoint is not None:
            self._running[ticket.endpoint.deployment_id].remove(ticket)
            self._last_use[ticket.endpoint.deployment_id] = time.monotonic()

    def _grant(self, ticket: _Ticket) -> None:
        ticket.endpoint = self._endpoint_of(ticket.role)
        deployment_id = ticket.endpoint.deployment_id
        self._running.setdefault(deployment_id, []).append(ticket)
        self._last_use[deployment_id] = time.monotonic()
