"""One-time links: whoever holds one may set a password, once and for a limited time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete
from sqlalchemy.orm import Session

from db.account_tables import OneTimeLink, Person
from db.database import Database
from db.tables import utc_now
from services.accounts.tokens import hashed, new_token
from services.errors import SignInRefused
from services.settings import Settings
from services.translation import N_


@dataclass(frozen=True)
class Invited:
    """Whom a link is for: a person by name, or ("") the first administrator, who is yet to choose a name."""

    person_id: str | None
    name: str


class Links:
    """Repository of one-time links. The token is part of the address and stored only as its hash."""

    def __init__(self, database: Database, settings: Settings, clock: Callable[[], datetime] = utc_now) -> None:
        self._database = database
        self._lifetime = timedelta(hours=settings.link_hours)
        self._clock = clock

    def make(self, person_id: str | None, created_by: str) -> str:
        """A new token for the person; older ones for the same person are void."""
        token = new_token()
        with self._database.session(writing=True) as session:
            session.execute(delete(OneTimeLink).where(OneTimeLink.person_id.is_not_distinct_from(person_id)))
            expires_at = self._clock() + self._lifetime
            session.add(
                OneTimeLink(token_hash=hashed(token), person_id=person_id, created_by=created_by, expires_at=expires_at)
            )
        return token

    def look(self, token: str) -> Invited:
        """Whom the link is for, without using it up (mail scanners open links). Raises SignInRefused."""
        with self._database.session() as session:
            return self._invited(session, token)[1]

    def use(self, session: Session, token: str) -> Invited:
        """Use the link up, as part of the transaction that sets the password. Raises SignInRefused."""
        row, invited = self._invited(session, token)
        session.delete(row)
        return invited

    def _invited(self, session: Session, token: str) -> tuple[OneTimeLink, Invited]:
        row = session.get(OneTimeLink, hashed(token))
        person = session.get(Person, row.person_id) if row and row.person_id else None
        closed = row is None or row.expires_at < self._clock() or (person is not None and person.disabled)
        if closed or (row.person_id is None and session.query(Person).first()):
            raise SignInRefused(
                N_("This link has been used or is too old."),
                hint=N_("Ask an administrator for a new one."),
            )
        return row, Invited(row.person_id, person.name if person else "")
