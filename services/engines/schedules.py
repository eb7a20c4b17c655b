"""Switches at a time of day: a large model for the night's batch, the usual one for the morning."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from db.database import Database
from db.engine_tables import ScheduledSwitch
from db.tables import utc_now
from services.engines.options import DeploymentSettings
from services.errors import BadInput, NotFound, PortalError, RolloutInProgress
from services.permissions import Actor
from services.translation import N_

CHECK_S = 10.0
LATEST_S = 600.0  # a switch that was missed by more than this (the portal was off) is left out

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Schedule:
    """at: HH:MM in the server's time zone; days: 0 Monday … 6 Sunday."""

    id: int
    role: str
    model_id: str
    settings: DeploymentSettings
    at: str
    days: tuple[int, ...]
    created_by_name: str
    last_run_at: datetime | None
    last_error: PortalError | None


class Schedules:
    """switch: orders one, and returns at once. close() ends the thread."""

    def __init__(
        self,
        database: Database,
        switch: Callable[[Schedule], None],
        *,
        clock: Callable[[], datetime] = lambda: datetime.now().astimezone(),
    ) -> None:
        self._database = database
        self._switch = switch
        self._clock = clock
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="schedules", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._closed.set()
        if self._thread is not None:
            self._thread.join()

    def list(self) -> list[Schedule]:
        with self._database.session() as session:
            rows = session.scalars(select(ScheduledSwitch).order_by(ScheduledSwitch.at, ScheduledSwitch.id))
            return [_schedule(row) for row in rows]

    def add(
        self, role: str, model_id: str, settings: DeploymentSettings, *, at: str, days: tuple[int, ...], by: Actor
    ) -> int:
        """The new schedule's id. Raises BadInput for a time that is none, or no day."""
        if not re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d", at):
            raise BadInput(N_("A time of day is written like 22:30."))
        if not days or not set(days) <= set(range(7)):
            raise BadInput(N_("Choose at least one day of the week."))
        row = ScheduledSwitch(
            role=role,
            model_id=model_id,
            settings=settings.model_dump(mode="json"),
            at=at,
            days=sorted(set(days)),
            created_by=by.id,
            created_by_name=by.name,
            last_run_at=utc_now(),  # a time that has passed today is tomorrow's
        )
        with self._database.session() as session:
            session.add(row)
            session.flush()
            return row.id

    def remove(self, schedule_id: int) -> Schedule:
        """The one that was removed. Raises NotFound."""
        with self._database.session() as session:
            row = session.get(ScheduledSwitch, schedule_id)
            if row is None:
                raise NotFound(N_("There is no such planned switch."))
            session.delete(row)
            return _schedule(row)

    def run_due(self) -> None:
        """Order every switch whose time has come since it last ran."""
        now = self._clock()
        for schedule in self.list():
            due = _last_due(schedule, now)
            if due is None or (schedule.last_run_at is not None and schedule.last_run_at >= due):
                continue
            if (now - due).total_seconds() <= LATEST_S:
                self._order(schedule, now)
            else:
                self._note(schedule.id, now, None)

    def _order(self, schedule: Schedule, now: datetime) -> None:
        """One that meets another switch is tried again until it would be too late."""
        try:
            self._switch(schedule)
        except RolloutInProgress as error:
            log.info("the planned switch of %s to %s waits: %s", schedule.role, schedule.model_id, error)
        except PortalError as error:
            log.warning("the planned switch of %s to %s: %s", schedule.role, schedule.model_id, error)
            self._note(schedule.id, now, error)
        else:
            self._note(schedule.id, now, None)

    def _note(self, schedule_id: int, now: datetime, error: PortalError | None) -> None:
        with self._database.session() as session:
            row = session.get(ScheduledSwitch, schedule_id)
            if row is not None:
                row.last_run_at, row.last_error = now, error.to_record() if error else None

    def _run(self) -> None:
        while not self._closed.wait(CHECK_S):
            try:
                self.run_due()
            except SQLAlchemyError:
                log.exception("the planned switches could not be looked at")


def _last_due(schedule: Schedule, now: datetime) -> datetime | None:
    """The last moment before now at which it should have run; None when that was more than a week ago."""
    hour, minute = map(int, schedule.at.split(":"))
    for back in range(8):
        moment = (now - timedelta(days=back)).replace(hour=hour, minute=minute, second=0, microsecond=0)
        if moment <= now and moment.weekday() in schedule.days:
            return moment
    return None


def _schedule(row: ScheduledSwitch) -> Schedule:
    return Schedule(
        id=row.id,
        role=row.role,
        model_id=row.model_id,
        settings=DeploymentSettings.model_validate(row.settings),
        at=row.at,
        days=tuple(row.days),
        created_by_name=row.created_by_name,
        last_run_at=row.last_run_at,
        last_error=PortalError.from_record(row.last_error) if row.last_error else None,
    )
