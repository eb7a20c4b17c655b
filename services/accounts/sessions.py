"""Sessions of browsers: a random cookie, its hash in the database, idle and absolute expiry."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, select, update

from db.account_tables import Person, PersonSession
from db.database import Database
from db.tables import utc_now
from services.accounts.tokens import hashed, new_token
from services.permissions import Actor, Role
from services.settings import Settings

SEEN_EVERY_S = 60  # seen_at is written no more often than this
KEPT_DAYS = 31  # ended sessions: Streamlit's cookie of a single sign-on lives for 30 days


@dataclass(frozen=True)
class SessionView:
    """A session as its owner sees it. id: the first digits of the token's hash."""

    id: str
    address: str
    browser: str
    created_at: datetime
    seen_at: datetime
    current: bool


class Sessions:
    """Repository of sessions. Thread-safe. Tokens are given out once and never stored."""

    def __init__(self, database: Database, settings: Settings, clock: Callable[[], datetime] = utc_now) -> None:
        self._database = database
        self._idle = timedelta(minutes=settings.session_idle_minutes)
        self._lifetime = timedelta(hours=settings.session_hours)
        self._clock = clock

    def begin(self, person_id: str, *, method: str, address: str, browser: str, token: str | None = None) -> str:
        """Start a session, with a new token unless the browser has one of its own; returns the token."""
        token = token or new_token()
        now = self._clock()
        with self._database.session(writing=True) as session:
            session.execute(delete(PersonSession).where(PersonSession.created_at < now - timedelta(days=KEPT_DAYS)))
            session.add(
                PersonSession(
                    token_hash=hashed(token),
                    person_id=person_id,
                    method=method,
                    address=address,
                    browser=browser[:200],
                    created_at=now,
                    seen_at=now,
                )
            )
        return token

    def actor(self, token: str, *, address: str, active: bool = True) -> Actor | None:
        """Who the token belongs to, as they are at this moment; None when the session or the account is over.

        active: a person did something; False: a page refreshed itself, which keeps nobody signed in.
        """
        now = self._clock()
        with self._database.session() as session:
            row = session.get(PersonSession, hashed(token))
            if row is None or not self._valid(row, now):
                return None
            person = session.get(Person, row.person_id)
            if person.disabled:
                return None
            if active and (now - row.seen_at).total_seconds() > SEEN_EVERY_S:
                row.seen_at = now
        return actor_of(person, address)

    def known(self, token: str) -> bool:
        """Whether there ever was a session of this token, also one that is over."""
        with self._database.session() as session:
            return session.get(PersonSession, hashed(token)) is not None

    def of(self, person_id: str, current: str | None = None) -> list[SessionView]:
        """The person's running sessions, last used first."""
        now = self._clock()
        query = select(PersonSession).where(PersonSession.person_id == person_id).order_by(PersonSession.seen_at.desc())
        with self._database.session() as session:
            rows = [row for row in session.scalars(query) if self._valid(row, now)]
        return [
            SessionView(
                id=row.token_hash[:12],
                address=row.address,
                browser=row.browser,
                created_at=row.created_at,
                seen_at=row.seen_at,
                current=current is not None and row.token_hash == hashed(current),
            )
            for row in rows
        ]

    def end(self, token: str) -> None:
        self._end(PersonSession.token_hash == hashed(token))

    def end_all(self, person_id: str, *, but: str | None = None) -> int:
        """End the person's sessions, all or all but one; how many there were."""
        others = [] if but is None else [PersonSession.token_hash != hashed(but)]
        return self._end(PersonSession.person_id == person_id, *others)

    def _end(self, *which) -> int:
        with self._database.session(writing=True) as session:
            running = update(PersonSession).where(*which, PersonSession.ended_at.is_(None))
            return session.execute(running.values(ended_at=self._clock())).rowcount

    def _valid(self, row: PersonSession, now: datetime) -> bool:
        return row.ended_at is None and now - row.seen_at <= self._idle and now - row.created_at <= self._lifetime


def actor_of(person: Person, address: str) -> Actor:
    roles = frozenset(Role(role) for role in person.roles)
    return Actor(id=person.id, name=person.full_name or person.name, roles=roles, address=address)
