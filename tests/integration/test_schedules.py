"""Planned switches: at their time, on their days, once."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from db.database import Database
from services.engines.options import DeploymentSettings
from services.engines.schedules import Schedule, Schedules
from services.errors import BadInput, NotFound, RolloutInProgress
from services.settings import Settings
from tests.fakes import ADMIN, FakeClock

NIGHT = DeploymentSettings(context_tokens=2048)
EVERY_DAY = tuple(range(7))


class Plan:
    """Schedules at 2026-11-20 (a Friday) 04:00, and what they ordered."""

    def __init__(self, database: Database) -> None:
        self.ordered: list[str] = []
        self.error: Exception | None = None
        self.clock = FakeClock()
        self.schedules = Schedules(database, self._switch, clock=self.clock)

    def add(self, at: str, days: tuple[int, ...] = EVERY_DAY) -> int:
        id_ = self.schedules.add("chat", "big", NIGHT, at=at, days=days, by=ADMIN)
        self._set_added(id_)
        return id_

    def later(self, **by: float) -> list[str]:
        self.clock.forward(**by)
        self.schedules.run_due()
        return self.ordered

    def _switch(self, schedule: Schedule) -> None:
        if self.error:
            raise self.error
        self.ordered.append(schedule.model_id)

    def _set_added(self, id_: int) -> None:
        """Added now by this clock, not by that on the wall."""
        self.schedules._note(id_, self.clock(), None)


@pytest.fixture
def plan(tmp_path: Path) -> Iterator[Plan]:
    database = Database.open(Settings(home=tmp_path).database_path)
    yield Plan(database)
    database.close()


def test_a_switch_is_ordered_at_its_time_and_once(plan: Plan) -> None:
    plan.add("04:30")
    assert plan.later(minutes=29) == []
    assert plan.later(minutes=1) == ["big"]
    assert plan.later(seconds=20) == ["big"]
    assert plan.later(days=1) == ["big", "big"]


def test_a_time_that_has_passed_today_is_tomorrows(plan: Plan) -> None:
    plan.add("03:30")
    assert plan.later(minutes=1) == []
    assert plan.later(hours=23, minutes=30) == ["big"]


def test_it_keeps_to_its_days(plan: Plan) -> None:
    plan.add("04:30", days=(0,))
    assert plan.later(minutes=31) == []
    assert plan.later(days=2) == []
    assert plan.later(days=1) == ["big"]


def test_a_switch_that_was_missed_while_the_portal_was_off_is_left_out(plan: Plan) -> None:
    plan.add("04:30")
    assert plan.later(hours=3) == []
    assert plan.later(hours=21, minutes=31) == ["big"]


def test_what_came_of_it_is_kept(plan: Plan) -> None:
    plan.add("04:30")
    plan.error = NotFound("There is no model {id}.", id="big")
    plan.later(minutes=30)
    (schedule,) = plan.schedules.list()
    assert str(schedule.last_error) == "There is no model big."
    assert schedule.last_run_at == datetime(2026, 11, 20, 4, 30, tzinfo=UTC)
    assert (schedule.settings, schedule.created_by_name) == (NIGHT, "adam")


def test_one_that_meets_another_switch_is_tried_again(plan: Plan) -> None:
    plan.add("04:30")
    plan.error = RolloutInProgress("{who} is switching.", who="Li")
    assert plan.later(minutes=30) == []
    plan.error = None
    assert plan.later(minutes=2) == ["big"]
    assert plan.later(minutes=2) == ["big"]


def test_a_removed_one_does_nothing(plan: Plan) -> None:
    id_ = plan.add("04:30")
    plan.schedules.remove(id_)
    assert plan.later(minutes=30) == []
    with pytest.raises(NotFound):
        plan.schedules.remove(id_)


@pytest.mark.parametrize(("at", "days"), [("24:00", (0,)), ("4:30", (0,)), ("04:30", ()), ("04:30", (7,)), ("x", (0,))])
def test_a_time_that_is_none_is_refused(plan: Plan, at: str, days: tuple[int, ...]) -> None:
    with pytest.raises(BadInput):
        plan.schedules.add("chat", "big", NIGHT, at=at, days=days, by=ADMIN)


def test_the_thread_runs_and_ends(plan: Plan) -> None:
    plan.schedules.start()
    began = datetime.now(UTC)
    plan.schedules.close()
    assert datetime.now(UTC) - began < timedelta(seconds=2)
