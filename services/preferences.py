"""What each person chose, by name; kept in the database."""

from __future__ import annotations

from db.database import Database
from db.tables import Preference
from services.permissions import Actor


class Preferences:
    """Values of one actor are never another's: every call takes the actor."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, actor: Actor, name: str) -> str | None:
        """The value, or None when the person never chose."""
        with self._database.session() as session:
            row = session.get(Preference, (actor.id, name))
            return row.value if row else None

    def set(self, actor: Actor, name: str, value: str) -> None:
        with self._database.session() as session:
            session.merge(Preference(actor_id=actor.id, name=name, value=value))
