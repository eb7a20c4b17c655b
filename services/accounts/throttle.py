"""Wrong passwords cost time: growing waits per name and per address, counted in the database.

An attempt is counted before its password is looked at and forgotten when it was right, so that a hundred attempts at
once are throttled like a hundred in a row. A name that nobody has is counted like any other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete

from db.account_tables import SignInFailures
from db.database import Database
from db.tables import utc_now
from services.errors import TooManyAttempts
from services.translation import N_


@dataclass(frozen=True)
class Rule:
    """free: failures without a wait; then 1 s, doubling up to longest_s. After forget_s all is forgotten."""

    free: int
    longest_s: float
    forget_s: float

    def wait_s(self, failures: int) -> float:
        return 0.0 if failures < self.free else min(2.0 ** min(failures - self.free, 30), self.longest_s)


BY_NAME = Rule(free=5, longest_s=900, forget_s=24 * 3600)
BY_ADDRESS = Rule(free=30, longest_s=300, forget_s=3600)  # a whole office may share one


class Throttle:
    """Counts attempts. Thread-safe."""

    def __init__(self, database: Database, clock: Callable[[], datetime] = utc_now) -> None:
        self._database = database
        self._clock = clock

    def attempt(self, name: str, address: str) -> int:
        """Count an attempt; the attempts of that name in a row, this one included.

        Raises TooManyAttempts, without counting, while a wait is running.
        """
        now = self._clock()
        counted = ((f"name:{name}", BY_NAME), (f"address:{address}", BY_ADDRESS))
        with self._database.session(writing=True) as session:
            rows = []
            for key, rule in counted:
                row = session.get(SignInFailures, key) or SignInFailures(key=key, count=0, last_at=now)
                if now - row.last_at > timedelta(seconds=rule.forget_s):
                    row.count = 0
                left_s = rule.wait_s(row.count) - (now - row.last_at).total_seconds()
                if left_s > 0:
                    raise _too_many(left_s)
                rows.append(row)
            for row in rows:
                row.count, row.last_at = row.count + 1, now
                session.add(row)
            return rows[0].count

    def succeeded(self, name: str, address: str) -> None:
        """The attempt was right: the name starts anew, and the address is not charged for it."""
        with self._database.session(writing=True) as session:
            self._forget(session, name)
            if row := session.get(SignInFailures, f"address:{address}"):
                row.count = max(0, row.count - 1)

    def forget(self, name: str) -> None:
        """Start anew for a name, when an administrator lifted its lock or gave a new password."""
        with self._database.session(writing=True) as session:
            self._forget(session, name)

    def _forget(self, session, name: str) -> None:
        session.execute(delete(SignInFailures).where(SignInFailures.key == f"name:{name}"))


def _too_many(left_s: float) -> TooManyAttempts:
    return TooManyAttempts(
        N_("Too many attempts. Try again in {seconds} seconds."),
        hint=N_("An administrator can give you a link for a new password."),
        seconds=int(left_s) + 1,
    )
