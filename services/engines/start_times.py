"""How long starts take on this machine, remembered in the database."""

from __future__ import annotations

from statistics import median

from sqlalchemy import select

from db.database import Database
from db.engine_tables import EngineStart

GUESS_S = 90.0
REMEMBERED = 5


class StartTimes:
    def __init__(self, database: Database) -> None:
        self._database = database

    def record(self, model_id: str, launcher: str, *, ready: bool, duration_s: float, reason: str = "") -> None:
        with self._database.session() as session:
            session.add(
                EngineStart(model_id=model_id, launcher=launcher, ready=ready, duration_s=duration_s, reason=reason)
            )

    def typical_s(self, model_id: str) -> float:
        """Median of the model's last five starts that became ready; a guess before the first."""
        newest = (
            select(EngineStart.duration_s)
            .where(EngineStart.model_id == model_id, EngineStart.ready)
            .order_by(EngineStart.id.desc())
            .limit(REMEMBERED)
        )
        with self._database.session() as session:
            durations = session.scalars(newest).all()
        return median(durations) if durations else GUESS_S
