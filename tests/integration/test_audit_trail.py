"""Every act leaves one event, however it ends; what cannot be recorded is not done."""

from __future__ import annotations

import gc
import shutil
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy import inspect

from db.audit_tables import TRIGGERS, AuditBase
from services.audit.details import AskDetail, FileDetail
from services.audit.events import Action, EventOutcome
from services.errors import AuditKeyMissing, AuditUnavailable, Denied, NotFound
from tests.audit_setup import ANNA, BEN, KEY, NOON, Audit, audit_settings


@pytest.fixture
def audit(tmp_path):
    opened = Audit(audit_settings(tmp_path))
    yield opened
    opened.close()


def pending(audit: Audit) -> int:
    with audit.raw() as connection:
        return connection.execute("SELECT count(*) FROM pending").fetchone()[0]


def test_the_migrated_file_has_the_tables_and_triggers_that_the_code_names(audit):
    found = inspect(audit.database.engine)
    for table in AuditBase.metadata.sorted_tables:
        assert {column["name"] for column in found.get_columns(table.name)} >= {
            column.name for column in table.columns if column.computed is None
        }
        assert {index["name"] for index in found.get_indexes(table.name)} == {index.name for index in table.indexes}
    with audit.raw() as connection:
        assert dict(connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'")) == TRIGGERS
        assert connection.execute("SELECT day FROM events").fetchall() == []


def test_an_act_becomes_an_event_with_all_its_fields(audit):
    with audit.trail.act(BEN, Action.UPLOAD, "handbook.pdf", FileDetail(title="handbook.pdf")) as act:
        act.detail = FileDetail(document_id=3, title="handbook.pdf", size_bytes=9)
    [event] = audit.events()
    assert (event.id, event.at, event.action, event.outcome) == (1, NOON, "upload", "succeeded")
    assert (event.actor_id, event.actor_name, event.address) == ("ben", "李本", "10.0.0.6")
    assert (event.target, event.request_id) == ("handbook.pdf", act.request_id)
    assert event.detail == {"document_id": 3, "title": "handbook.pdf", "size_bytes": 9}
    assert event.duration_ms >= 0
    assert pending(audit) == 0


def test_the_columns_that_are_filtered_are_those_of_the_body(audit):
    audit.write(1)
    with audit.raw() as connection:
        row = connection.execute("SELECT at, day, actor_id, action, outcome, target FROM events").fetchone()
    assert row == ("2026-11-22T12:00:00.000000Z", "2026-11-22", "anna", "ask", "succeeded", "target 0")


@pytest.mark.parametrize(
    ("raised", "outcome", "error"),
    [
        (Denied("no"), "denied", "Denied"),
        (NotFound("gone"), "failed", "NotFound"),
        (ZeroDivisionError(), "failed", "bug"),
        (KeyboardInterrupt(), "cancelled", None),
        (GeneratorExit(), "cancelled", None),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_how_a_block_is_left_is_the_outcome(audit, raised, outcome, error):
    with pytest.raises(type(raised)), audit.trail.act(ANNA, Action.DELETE):
        raise raised
    [event] = audit.events()
    assert (event.outcome, event.detail.get("error")) == (outcome, error)


def test_an_outcome_that_was_set_inside_is_kept(audit):
    with audit.trail.act(None, Action.SIGN_IN) as act:
        act.outcome = EventOutcome.FAILED
        act.target = "mallory"
    [event] = audit.events()
    assert (event.outcome, event.actor_id, event.target) == ("failed", "", "mallory")


def test_an_act_ended_twice_is_ended_once(audit):
    act = audit.trail.begin(ANNA, Action.ASK)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: act.end(EventOutcome.FAILED), range(8)))
    act.end()
    assert [event.outcome for event in audit.events()] == ["failed"]


def test_a_generator_may_end_its_act_in_another_thread(audit):
    def stream():
        with audit.trail.act(ANNA, Action.ASK):
            yield 1
            yield 2

    deltas = stream()
    next(deltas)
    thread = threading.Thread(target=lambda: list(deltas))
    thread.start()
    thread.join()
    assert [event.outcome for event in audit.events()] == ["succeeded"]


def test_a_generator_that_is_dropped_is_cancelled(audit):
    def stream():
        with audit.trail.act(ANNA, Action.ASK):
            yield 1
            yield 2

    deltas = stream()
    next(deltas)
    del deltas
    assert [event.outcome for event in audit.events()] == ["cancelled"]


def test_an_act_that_nobody_ends_is_cancelled(audit):
    act = audit.trail.begin(ANNA, Action.ASK)
    act.itself = act  # a cycle: its end comes from the garbage collector
    del act
    gc.collect()
    assert [event.outcome for event in audit.events()] == ["cancelled"]
    assert pending(audit) == 0


def test_an_act_dropped_while_the_same_thread_writes_holds_nothing_up(audit):
    left = audit.trail.begin(ANNA, Action.ASK)
    acts = [left]
    del left
    audit.trail._journal.write(lambda ledger: acts.clear())  # its destructor runs within the transaction
    assert [event.outcome for event in audit.events()] == ["cancelled"]


def test_an_act_already_over_is_recorded_at_once(audit):
    audit.trail.record(ANNA, Action.SIGN_OUT, EventOutcome.SUCCEEDED)
    assert [event.action for event in audit.events()] == ["sign_out"]


def test_eight_writers_make_one_chain(audit):
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: audit.write(25), range(8)))
    assert [event.id for event in audit.events()] == list(range(1, 201))
    assert audit.verify().ok


def test_two_processes_make_one_chain(audit, tmp_path):
    other = Audit(audit_settings(tmp_path))  # as cli.py beside the portal: connections of its own
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda one: one.write(25), (audit, other)))
    other.close()
    assert len(audit.events()) == 50
    assert audit.verify().ok


def test_a_locked_file_refuses_the_act_before_it_begins(tmp_path):
    audit = Audit(audit_settings(tmp_path), busy_timeout_s=0.1)
    began = []
    with audit.raw() as connection:
        connection.execute("BEGIN IMMEDIATE")
        with pytest.raises(AuditUnavailable) as caught, audit.trail.act(ANNA, Action.DELETE):
            began.append(True)
        connection.execute("ROLLBACK")
    assert not began
    assert "holds the audit file" in caught.value.hint
    audit.write(1)
    assert len(audit.events()) == 1
    audit.close()


def test_an_end_that_cannot_be_written_is_written_with_the_next(tmp_path):
    audit = Audit(audit_settings(tmp_path), busy_timeout_s=0.1)
    act = audit.trail.begin(ANNA, Action.DELETE, "a.pdf")
    with audit.raw() as connection:
        connection.execute("BEGIN IMMEDIATE")
        with pytest.raises(AuditUnavailable):
            act.end()
        connection.execute("ROLLBACK")
    audit.write(1)
    assert [event.target for event in audit.events()] == ["a.pdf", "target 0"]
    assert pending(audit) == 0
    assert audit.verify().ok
    audit.close()


def test_a_failure_is_not_hidden_by_an_audit_that_fails_too(tmp_path):
    audit = Audit(audit_settings(tmp_path), busy_timeout_s=0.1)
    with audit.raw() as connection, pytest.raises(NotFound), audit.trail.act(ANNA, Action.DELETE):  # noqa: PT012
        connection.execute("BEGIN IMMEDIATE")
        raise NotFound("gone")
    audit.close()
    assert [event.outcome for event in audit.events()] == ["failed"]


def test_a_file_that_was_moved_away_refuses_acts(audit):
    audit.write(1)
    away = audit.database.file.with_suffix(".away")
    shutil.move(audit.database.file, away)
    with pytest.raises(AuditUnavailable):
        audit.write(1)
    shutil.move(away, audit.database.file)
    audit.write(1)
    assert len(audit.events()) == 2


def test_one_work_that_fails_does_not_take_the_others_with_it(audit):
    journal = audit.trail._journal
    waiting = threading.Event()

    def slow(ledger):
        waiting.wait(5)

    def bad(ledger):
        raise ZeroDivisionError

    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(journal.write, slow)
        others = [pool.submit(journal.write, work) for work in (bad, lambda ledger: 7)]
        while len(journal._queue) < 2:
            pass
        waiting.set()
        first.result()
        with pytest.raises(AuditUnavailable):
            others[0].result()
        assert others[1].result() == 7


def test_a_closed_trail_refuses_acts(audit):
    audit.trail.close()
    with pytest.raises(AuditUnavailable):
        audit.write(1)


def test_a_clock_that_goes_back_leaves_ids_and_chain_right(audit):
    audit.write_days(2)
    audit.clock.pass_time(days=-5)
    audit.write(3)
    audit.clock.pass_time(days=400)
    audit.write(1)
    audit.clock.pass_time(days=-396)
    audit.write_days(3)
    events = audit.events()
    assert [event.id for event in events] == list(range(1, len(events) + 1))
    assert audit.verify().ok


def test_a_finished_day_is_sealed_with_the_first_event_of_a_later_one(audit):
    audit.write(3)
    audit.clock.pass_time(days=3)
    audit.write(1)
    with audit.raw() as connection:
        seals = connection.execute("SELECT day, first_id, last_id, count FROM seals").fetchall()
    assert seals == [("2026-11-22", 1, 3, 3)]
    sealing = audit.events()[3]
    assert (sealing.action, sealing.target, sealing.detail["last_id"]) == ("audit.seal", "2026-11-22", 3)


def test_recovery_seals_a_finished_day(audit):
    audit.write(2)
    audit.clock.pass_time(days=1)
    assert audit.trail.recover() == 0
    assert [event.action for event in audit.events()] == ["ask", "ask", "audit.seal"]


def test_recovery_turns_what_a_killed_portal_had_begun_into_events(audit):
    act = audit.trail.begin(ANNA, Action.UPLOAD, "a.pdf", FileDetail(title="a.pdf"))
    assert audit.trail.recover() == 0, "this trail lives and will end it"
    with audit.raw() as connection:
        connection.execute("UPDATE pending SET owner = '999999:1:another boot:aaaa'")
    audit.clock.pass_time(minutes=5)
    assert audit.trail.recover() == 1
    [event] = audit.events()
    assert (event.outcome, event.target, event.request_id) == ("failed", "a.pdf", act.request_id)
    assert event.detail == {"title": "a.pdf", "interrupted": True, "begun_at": "2026-11-22T12:00:00.000000Z"}
    assert event.at == NOON + timedelta(minutes=5)
    assert pending(audit) == 0


def test_retention_removes_whole_sealed_days_and_leaves_stubs(tmp_path):
    audit = Audit(audit_settings(tmp_path, audit_keep_days=3))
    audit.write_days(10)
    audit.write(1)
    with audit.raw() as connection:
        stubs = [row[0] for row in connection.execute("SELECT day FROM stubs ORDER BY day")]
        words = connection.execute("SELECT count(*) FROM events_fts").fetchone()[0]
    assert stubs == [f"2026-11-{day}" for day in range(22, 29)]
    assert {str(event.at.date()) for event in audit.events()} == {
        f"2026-{d}" for d in ("11-29", "11-30", "12-01", "12-02")
    }
    assert words == len(audit.events())
    assert audit.verify().ok
    audit.write_days(20)
    assert audit.verify().ok
    audit.close()


def test_a_clock_that_jumps_ahead_removes_nothing(tmp_path):
    audit = Audit(audit_settings(tmp_path, audit_keep_days=30))
    audit.write_days(3)
    audit.clock.pass_time(days=36500)
    audit.write(1)
    audit.trail.recover()
    assert len([event for event in audit.events() if event.action == "ask"]) == 10
    audit.close()


def test_retention_zero_keeps_everything(audit):
    audit.write_days(3)
    audit.clock.pass_time(days=9999)
    audit.trail.recover()
    assert len([event for event in audit.events() if event.action == "ask"]) == 9


@pytest.mark.parametrize("table", ["events", "seals"])
@pytest.mark.parametrize(
    "change",
    [
        "UPDATE {table} SET rowid = rowid",
        "DELETE FROM {table}",
        "INSERT OR REPLACE INTO {table} SELECT * FROM {table} LIMIT 1",
        "REPLACE INTO {table} ({columns}) SELECT {columns} FROM {table} LIMIT 1",
    ],
)
def test_triggers_refuse_every_change(audit, table, change):
    audit.write_days(2)
    audit.write(1)
    columns = "id, body, hash" if table == "events" else "*"
    statement = change.format(table=table, columns=columns).replace("(*)", "")
    with audit.raw() as connection, pytest.raises(sqlite3.DatabaseError):
        connection.execute(statement)
    assert audit.verify().ok


@pytest.mark.parametrize(("mode", "question"), [("full", "mail anna@example.com"), ("masked", None), ("none", None)])
def test_texts_are_stored_as_the_setting_says(tmp_path, mode, question):
    audit = Audit(audit_settings(tmp_path, audit_text=mode))
    with audit.trail.act(ANNA, Action.ASK, detail=AskDetail("mail anna@example.com", answer_sha256="00")):
        pass
    [event] = audit.events()
    stored = audit.database.file.read_bytes() + audit.database.file.with_name("audit.sqlite3-wal").read_bytes()
    assert event.detail["answer_sha256"] == "00"
    assert (event.detail.get("question") == question) == (mode != "masked")
    assert (b"anna@example" in stored) == (mode == "full")
    audit.close()


def test_a_huge_text_is_cut_and_says_so(audit):
    with audit.trail.act(
        ANNA, Action.ASK, "t" * 9000, AskDetail("长" * 50_000, chunks=[{"id": n} for n in range(900)])
    ):
        pass
    [event] = audit.events()
    assert event.detail["question"] == "长" * 20_000
    assert len(event.detail["chunks"]) == 500
    assert event.detail["cut"] == {"question": 50_000, "chunks": 900}
    assert len(event.target) == 500
    assert audit.verify().ok


def test_text_that_is_no_text_is_recorded_all_the_same(audit):
    with audit.trail.act(ANNA, Action.ASK, "half \ud800 and \x00", AskDetail("\udfff 年假")):
        pass
    assert audit.events()[0].target == "half ? and \x00"
    assert audit.verify().ok


def test_without_its_key_nothing_is_done(tmp_path):
    keyed = Audit(audit_settings(tmp_path, key=KEY))
    keyed.write(2)
    keyed.close()
    for settings in (
        audit_settings(tmp_path),
        audit_settings(tmp_path, key="another key, long enough"),
        audit_settings(tmp_path, key="short"),
        audit_settings(tmp_path, audit_key_file=tmp_path / "nowhere"),
    ):
        audit = Audit(settings)
        with pytest.raises(AuditKeyMissing):
            audit.write(1)
        audit.close()
    again = Audit(audit_settings(tmp_path, key=KEY))
    again.write(1)
    assert again.verify().ok
    assert len(again.events()) == 3
    again.close()
