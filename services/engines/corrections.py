"""What earlier starts teach about estimates: predicted against measured memory, and the factor that follows."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select

from db.database import Database
from db.engine_tables import EngineStart

LEAST, MOST = 0.5, 2.0  # what a start says beyond that is about something else (a crash, a leak), not the estimate
REMEMBERED = 20  # starts of a model and engine
LOOKED_AT = 1000  # rows


@dataclass(frozen=True)
class Accuracy:
    """One start. predicted_mib: uncorrected; corrected_mib: as the starts before it would have corrected it."""

    model_id: str
    engine: str
    device: str
    context_tokens: int
    max_num_seqs: int
    predicted_mib: float
    corrected_mib: float
    measured_mib: float
    started_at: datetime

    @property
    def error(self) -> float:
        return self.predicted_mib / self.measured_mib - 1

    @property
    def corrected_error(self) -> float:
        return self.corrected_mib / self.measured_mib - 1


@dataclass(frozen=True)
class Observation:
    model_id: str
    engine: str
    device: str
    predicted_mib: float
    measured_mib: float

    @property
    def ratio(self) -> float:
        return self.measured_mib / self.predicted_mib


class Corrections:
    """Recomputed from the rows each time: nothing to keep up to date."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def factor(self, model_id: str, engine: str, device: str) -> float:
        """Measured by predicted."""
        return factor(self.observations(), model_id, engine, device)

    def observations(self) -> list[Observation]:
        """Newest first."""
        return [_observation(row) for row in self._rows()]

    def accuracy(self, limit: int = 100) -> list[Accuracy]:
        """Newest first."""
        rows = self._rows()
        seen = [_observation(row) for row in rows]
        return [_accuracy(row, seen[index + 1 :]) for index, row in enumerate(rows[:limit])]

    def _rows(self) -> Sequence[EngineStart]:
        """Newest first, of starts of which both figures are known."""
        wanted = (
            select(EngineStart)
            .where(EngineStart.ready, EngineStart.predicted_mib > 0, EngineStart.measured_mib > 0)
            .order_by(EngineStart.started_at.desc(), EngineStart.id.desc())
            .limit(LOOKED_AT)
        )
        with self._database.session() as session:
            return session.scalars(wanted).all()


def factor(observations: Iterable[Observation], model_id: str, engine: str, device: str) -> float:
    """Median of what starts of the same model on that engine and device showed, else of other models, else 1.

    observations: newest first. Of other models each counts once, with its own median: a model started a hundred times
    says no more about another than one started once.
    """
    by_model: dict[str, list[float]] = {}
    for seen in observations:
        if (seen.engine, seen.device) == (engine, device):
            by_model.setdefault(seen.model_id, []).append(seen.ratio)
    medians = {model: statistics.median(ratios[:REMEMBERED]) for model, ratios in by_model.items()}
    learnt = medians.get(model_id) or (statistics.median(medians.values()) if medians else 1.0)
    return min(MOST, max(LEAST, learnt))


def _observation(row: EngineStart) -> Observation:
    return Observation(
        row.model_id, row.launcher, row.device or "cpu", row.predicted_mib or 0.0, row.measured_mib or 0.0
    )


def _accuracy(row: EngineStart, before: list[Observation]) -> Accuracy:
    seen = _observation(row)
    return Accuracy(
        model_id=seen.model_id,
        engine=seen.engine,
        device=seen.device,
        context_tokens=row.context_tokens or 0,
        max_num_seqs=row.max_num_seqs or 0,
        predicted_mib=seen.predicted_mib,
        corrected_mib=seen.predicted_mib * factor(before, seen.model_id, seen.engine, seen.device),
        measured_mib=seen.measured_mib,
        started_at=row.started_at,
    )
