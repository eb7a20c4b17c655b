"""What auditors read, and that the reading is an event too."""

from __future__ import annotations

from datetime import timedelta

import pytest

from services.audit.details import AskDetail
from services.audit.events import Action, EventOutcome
from services.audit.filters import Filter
from services.errors import BadInput, Denied, NotFound
from tests.audit_setup import ANNA, AUDITOR, BEN, NOON, Audit, audit_settings

ADMIN_ACTIONS = (Action.UPLOAD, Action.DELETE)


@pytest.fixture
def audit(tmp_path):
    """Two days: Anna asks in both languages and fails once, Ben uploads; events 1–6, a seal 7, 8–9."""
    opened = Audit(audit_settings(tmp_path))
    ask(opened, "年假有多少天？")
    ask(opened, "How do I book a meeting room? apt-get")
    opened.write(1, Action.UPLOAD, BEN)
    opened.trail.record(ANNA, Action.ASK, EventOutcome.FAILED, "c9")
    opened.trail.record(None, Action.SIGN_IN, EventOutcome.FAILED, "mallory")
    opened.clock.pass_time(hours=1)
    opened.write(1, Action.DELETE, BEN)
    opened.clock.pass_time(days=1)
    ask(opened, '病假要交什么材料？ 100% "sure" OR NOT')
    ask(opened, "年假可以跨年吗？")
    yield opened
    opened.close()


def ask(audit: Audit, question: str) -> None:
    with audit.trail.act(ANNA, Action.ASK, "c1", AskDetail(question, "See the handbook.")):
        audit.clock.pass_time(seconds=1)


def found(audit: Audit, **conditions) -> list[int]:
    """ids, oldest first, without what the reading itself left."""
    page = audit.log.search(Filter(**conditions), AUDITOR)
    return [event.id for event in reversed(page.events) if event.action != "audit.read"]


@pytest.mark.parametrize(
    ("conditions", "ids"),
    [
        ({}, [1, 2, 3, 4, 5, 6, 7, 8, 9]),
        ({"actor": "ben"}, [3, 6]),
        ({"actor": ""}, [5, 7]),
        ({"action": "ask"}, [1, 2, 4, 8, 9]),
        ({"outcome": "failed"}, [4, 5]),
        ({"outcome": "failed", "actor": "anna"}, [4]),
        ({"outcome": "failed", "actor": "ben"}, []),
        ({"action": "ask", "actor": "anna", "outcome": "succeeded"}, [1, 2, 8, 9]),
        ({"text": "年假"}, [1, 9]),
        ({"text": "年假 跨年"}, [9]),
        ({"text": "meeting rooms"}, [2]),
        ({"text": "apt-get"}, [2]),
        ({"text": "mallory"}, [5]),
        ({"text": "李本"}, [3, 6]),
        ({"text": "handbook", "actor": "ben"}, []),
        ({"text": "handbook", "actor": "anna", "outcome": "succeeded"}, [1, 2, 8, 9]),
        ({"text": "unheard"}, []),
        ({"text": "？！"}, []),
        ({"text": '" OR NOT ('}, [8]),
        ({"since": NOON + timedelta(hours=1)}, [6, 7, 8, 9]),
        ({"until": NOON + timedelta(hours=1)}, [1, 2, 3, 4, 5]),
        ({"since": NOON + timedelta(seconds=2), "until": NOON + timedelta(hours=2)}, [2, 3, 4, 5, 6]),
        ({"since": NOON + timedelta(days=1), "text": "年假"}, [9]),
        ({"since": NOON + timedelta(days=50)}, []),
        ({"until": NOON - timedelta(days=50), "text": "年假"}, []),
    ],
    ids=str,
)
def test_a_filter_finds_what_it_says(audit, conditions, ids):
    assert found(audit, **conditions) == ids


def test_an_event_whose_clock_went_back_is_found_on_its_day(audit):
    audit.clock.now = NOON - timedelta(days=3)
    audit.write(1, Action.PREVIEW, BEN)
    assert found(audit, until=NOON - timedelta(days=1)) == [10]


def test_pages_follow_each_other_without_gap_or_repeat(audit):
    audit.write(30, Action.PREVIEW, BEN)
    for chosen in (Filter(), Filter(actor="ben"), Filter(actor="ben", action="preview"), Filter(text="target")):
        seen, before, more = [], None, True
        while more:
            page = audit.log.search(chosen, AUDITOR, before, limit=7)
            seen += [event.id for event in page.events]
            before, more = page.next_before_id, page.more
        assert seen == sorted(set(seen), reverse=True)
        assert seen == [event.id for event in audit.log.search(chosen, AUDITOR, limit=500).events]
        assert len(seen) >= 30


@pytest.mark.parametrize(
    ("by", "conditions", "rows"),
    [
        ("day", {"actor": "anna"}, [("2026-11-22", 3), ("2026-11-23", 2)]),
        ("day", {"since": NOON + timedelta(hours=1), "actor": "ben"}, [("2026-11-22", 1)]),
        ("actor", {"until": NOON + timedelta(days=1)}, [("Anna", 3), ("李本", 2), ("", 1)]),
        ("action", {"actor": "ben"}, [("delete", 1), ("upload", 1)]),
        ("outcome", {"actor": "anna"}, [("succeeded", 4), ("failed", 1)]),
        ("day", {"text": "年假"}, [("2026-11-22", 1), ("2026-11-23", 1)]),
        ("day", {"text": "。"}, []),
        ("actor", {"text": "handbook", "outcome": "succeeded"}, [("Anna", 4)]),
    ],
    ids=str,
)
def test_counts_are_those_of_the_filter(audit, by, conditions, rows):
    assert audit.log.counts(Filter(**conditions), AUDITOR, by) == rows


def test_who_ever_did_something_can_be_chosen_from(audit):
    assert audit.log.actors(AUDITOR) == [("", ""), ("anna", "Anna"), ("ben", "李本")]


def test_reading_is_recorded_once_per_filter_and_not_per_page(audit):
    first, other = Filter(actor="anna"), Filter(action="ask")
    for chosen in (first, first, other):
        page = audit.log.search(chosen, AUDITOR, limit=2)
        audit.log.search(chosen, AUDITOR, page.next_before_id, limit=2)
        audit.log.counts(chosen, AUDITOR)
        audit.log.event(3, AUDITOR)
    readings = [event for event in audit.events() if event.action == "audit.read"]
    assert [event.detail for event in readings] == [
        {"filter": {"actor": "anna"}},
        {"event_id": 3},
        {"filter": {"action": "ask"}},
    ]
    assert {event.actor_id for event in readings} == {"aud"}


@pytest.mark.parametrize(
    "read",
    [
        lambda log, actor: log.search(Filter(), actor),
        lambda log, actor: log.event(1, actor),
        lambda log, actor: log.counts(Filter(), actor),
        lambda log, actor: log.actors(actor),
        lambda log, actor: log.saved(actor),
        lambda log, actor: log.save(actor, "mine", Filter()),
        lambda log, actor: log.forget(actor, "mine"),
        lambda log, actor: log.verify(actor),
        lambda log, actor: log.head(actor),
    ],
)
def test_nobody_else_reads_and_the_attempt_is_recorded(audit, read):
    with pytest.raises(Denied):
        read(audit.log, BEN)
    last = audit.events()[-1]
    assert (last.actor_id, last.outcome, last.action[:6]) == ("ben", "denied", "audit.")


def test_an_event_that_is_not_there_is_not_found(audit):
    with pytest.raises(NotFound):
        audit.log.event(99, AUDITOR)


def test_filters_are_saved_for_each_auditor(audit):
    chosen = Filter(since=NOON, actor="", text="年假")
    audit.log.save(AUDITOR, "  leave \n", chosen)
    audit.log.save(AUDITOR, "empty", Filter())
    assert audit.log.saved(AUDITOR) == {"empty": Filter(), "leave": chosen}
    audit.log.save(AUDITOR, "leave", Filter(action="ask"))
    audit.log.forget(AUDITOR, "empty")
    assert audit.log.saved(AUDITOR) == {"leave": Filter(action="ask")}
    with pytest.raises(BadInput):
        audit.log.save(AUDITOR, " ", Filter())


def test_the_head_can_be_printed_and_read_again(audit):
    head = audit.log.head(AUDITOR)
    assert head == audit.head()
    assert audit.log.verify(AUDITOR, str(head)).ok
