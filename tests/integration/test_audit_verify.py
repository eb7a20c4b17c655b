"""The tamper matrix: what somebody does who can write to the audit file, and the row that the verification names."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from services.audit.chain import GENESIS, Chain, Head
from services.audit.events import Action
from services.audit.verification import verify
from services.errors import AuditKeyMissing
from tests.audit_setup import ANNA, AUDITOR, KEY, Audit, audit_settings


@pytest.fixture(params=[None, KEY], ids=["without key", "with key"])
def audit(tmp_path, request):
    """Four days with three acts each: events 1–3, a seal 4, 5–7, a seal 8, …, and the last day open."""
    opened = Audit(audit_settings(tmp_path, key=request.param))
    opened.write_days(3)
    opened.write(3)
    yield opened
    opened.close()


def rehash(connection, start: int, chain: Chain) -> None:
    """Compute the hashes anew from an event on: what somebody can do who knows the key, or when there is none."""
    row = connection.execute("SELECT hash FROM events WHERE id = ?", (start - 1,)).fetchone()
    previous = row[0] if row else GENESIS
    rows = connection.execute("SELECT id, body FROM events WHERE id >= ? ORDER BY id", (start,)).fetchall()
    for event_id, body in rows:
        previous = chain.digest(previous, event_id, body.encode())
        connection.execute("UPDATE events SET hash = ? WHERE id = ?", (previous, event_id))


def edit(connection) -> None:
    connection.execute("UPDATE events SET body = replace(body, 'anna', 'ben') WHERE id = 6")


def edit_with_its_own_hash(connection) -> None:
    edit(connection)
    body, before = connection.execute(
        "SELECT body, (SELECT hash FROM events WHERE id = 5) FROM events WHERE id = 6"
    ).fetchone()
    connection.execute("UPDATE events SET hash = ? WHERE id = 6", (Chain().digest(before, 6, body.encode()),))


def empty(connection) -> None:
    connection.execute("UPDATE events SET hash = x'', body = '{}' WHERE id = 6")


def delete(connection) -> None:
    connection.execute("DELETE FROM events WHERE id = 6")


def delete_first(connection) -> None:
    connection.execute("DELETE FROM events WHERE id <= 3")


def delete_and_close_up(connection) -> None:
    connection.execute("DELETE FROM events WHERE id = 6")
    for event_id in range(7, 16):
        connection.execute("UPDATE events SET id = ? WHERE id = ?", (event_id - 1, event_id))


def insert(connection) -> None:
    for event_id in range(15, 5, -1):
        connection.execute("UPDATE events SET id = ? WHERE id = ?", (event_id + 1, event_id))
    connection.execute("INSERT INTO events (id, body, hash) SELECT 6, body, hash FROM events WHERE id = 5")


def insert_before_the_first(connection) -> None:
    connection.execute("INSERT INTO events (id, body, hash) SELECT 0, body, hash FROM events WHERE id = 1")


def append_a_forged_one(connection) -> None:
    connection.execute("INSERT INTO events (id, body, hash) SELECT 16, body, hash FROM events WHERE id = 15")


def swap(connection) -> None:
    for old, new in ((6, -1), (10, 6), (-1, 10)):
        connection.execute("UPDATE events SET id = ? WHERE id = ?", (new, old))


def truncate(connection) -> None:
    connection.execute("DELETE FROM events WHERE id > 13")


def truncate_all(connection) -> None:
    connection.execute("DELETE FROM events")


def pretend_retention(connection) -> None:
    connection.execute("INSERT INTO stubs SELECT *, sealed_at, 14 FROM seals WHERE first_id = 1")
    connection.execute("DELETE FROM events WHERE id <= 3")


def change_seal(connection) -> None:
    connection.execute("UPDATE seals SET sealed_at = '2026-01-01T00:00:00.000000Z' WHERE first_id = 4")


def delete_seal(connection) -> None:
    connection.execute("DELETE FROM seals WHERE first_id = 4")


def delete_all_seals(connection) -> None:
    connection.execute("DELETE FROM seals")


def forge_seal(connection) -> None:
    connection.execute(
        "INSERT INTO seals SELECT '2027-01-01', 12, 15, 4, last_hash, (SELECT hash FROM events WHERE id = 15),"
        " sealed_at FROM seals WHERE last_id = 11"
    )


@dataclass(frozen=True)
class Case:
    forge: Callable
    wrong: int
    reason: str
    triggers_on: bool = False  # the triggers alone do not stop it

    def __str__(self) -> str:
        return self.forge.__name__


CASES = [
    Case(edit, 6, "changed"),
    Case(empty, 6, "changed"),
    Case(delete, 6, "missing"),
    Case(delete_first, 1, "missing"),
    Case(delete_and_close_up, 6, "changed"),
    Case(insert, 6, "changed"),
    Case(insert_before_the_first, 0, "does not belong"),
    Case(append_a_forged_one, 16, "changed"),
    Case(swap, 6, "changed"),
    Case(truncate, 14, "was cut"),
    Case(truncate_all, 1, "was cut"),
    Case(pretend_retention, 1, "no event tells", triggers_on=True),
    Case(change_seal, 4, "seal of 2026-11-23 does not fit"),
    Case(delete_seal, 4, "seal of 2026-11-23 is missing"),
    Case(delete_all_seals, 1, "is missing"),
    Case(forge_seal, 12, "No event tells of the seal", triggers_on=True),
]


def test_an_untouched_record_is_whole(audit):
    result = audit.verify()
    assert (result.ok, result.events, result.first_wrong, result.reason) == (True, 15, None, "")
    assert result.head == audit.head()


@pytest.mark.parametrize("case", CASES, ids=str)
def test_tampering_is_named_at_its_row(audit, case):
    with audit.raw() if case.triggers_on else audit.forgery() as connection:
        case.forge(connection)
    result = audit.verify()
    assert not result.ok
    assert (result.first_wrong, case.reason in str(result.findings[0])) == (case.wrong, True), result.findings
    assert "Triggers" not in " ".join(str(finding) for finding in result.findings)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_triggers_that_are_gone_are_told_beside_the_row(audit, case):
    with audit.raw() as connection:
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            connection.execute(f"DROP TRIGGER {name}")
        case.forge(connection)
    result = audit.verify()
    assert result.first_wrong == case.wrong
    assert "events_no_update" in str(result.findings[-1])


def test_a_dropped_trigger_alone_is_a_finding_without_a_row(audit):
    with audit.raw() as connection:
        connection.execute("DROP TRIGGER events_no_delete")
    result = audit.verify()
    assert (result.ok, result.first_wrong, result.params) == (False, None, {"names": "events_no_delete"})


def test_a_trigger_that_was_made_harmless_is_a_finding(audit):
    with audit.raw() as connection:
        connection.execute("DROP TRIGGER events_no_delete")
        connection.execute("CREATE TRIGGER events_no_delete BEFORE DELETE ON events BEGIN SELECT 1; END")
    assert audit.verify().params == {"names": "events_no_delete"}


def test_an_edit_with_a_hash_of_its_own_is_found_at_the_next_row_or_by_the_key(audit):
    keyed = audit.settings.audit_key_file is not None
    with audit.forgery() as connection:
        edit_with_its_own_hash(connection)
    assert audit.verify().first_wrong == (6 if keyed else 7)


def test_a_record_written_anew_is_whole_by_itself_but_not_against_its_saved_head(tmp_path):
    """Without a key, or by somebody who has it: the saved head is the proof."""
    audit = Audit(audit_settings(tmp_path))
    audit.write(10)
    head = audit.head()
    audit.write(2)
    with audit.forgery() as connection:
        edit(connection)
        rehash(connection, 6, Chain())
    assert audit.verify().ok
    result = audit.verify(head)
    assert (result.ok, result.first_wrong) == (False, 10)
    audit.close()


def test_a_record_written_anew_without_the_key_is_found(tmp_path):
    audit = Audit(audit_settings(tmp_path, key=KEY))
    audit.write(10)
    with audit.forgery() as connection:
        edit(connection)
        rehash(connection, 6, Chain(b"a key that is guessed"))
    assert audit.verify().first_wrong == 6
    audit.close()


def test_a_tail_cut_without_a_trace_is_found_by_a_saved_head(audit):
    head = Head.parse(str(audit.head()))
    with audit.forgery() as connection:
        truncate(connection)
        connection.execute("UPDATE sqlite_sequence SET seq = 13 WHERE name = 'events'")
    assert audit.verify().ok
    result = audit.verify(head)
    assert (result.ok, result.first_wrong) == (False, 14)


def test_acts_after_the_tail_was_cut_do_not_hide_it(audit):
    with audit.forgery() as connection:
        truncate(connection)
    audit.write(5)
    result = audit.verify()
    assert (result.first_wrong, result.reason) == (14, "Event {id} is missing.")


def test_a_head_stays_true_as_the_record_grows(audit):
    head = audit.head()
    audit.write(5)
    assert audit.verify(head).ok


def test_a_head_of_a_removed_day_proves_nothing(tmp_path):
    audit = Audit(audit_settings(tmp_path, audit_keep_days=2))
    audit.write(2)
    head = audit.head()
    audit.write(2)
    audit.write_days(9)
    assert audit.verify().ok
    result = audit.verify(head)
    assert (result.ok, result.first_wrong) == (False, None)
    assert "proves nothing" in result.reason
    audit.close()


@pytest.mark.parametrize(
    ("forgery", "reason"),
    [
        ("UPDATE stubs SET last_hash = zeroblob(32) WHERE first_id = 1", "does not fit"),
        ("UPDATE stubs SET count = 9 WHERE day = (SELECT max(day) FROM stubs)", "no event tells"),
        ("DELETE FROM stubs WHERE day = (SELECT max(day) FROM stubs)", "is missing"),
        ("UPDATE stubs SET event_id = 1", "no event tells"),
        ("DELETE FROM events WHERE id = (SELECT min(id) FROM events)", "is missing"),
    ],
)
def test_what_retention_leaves_is_verified_too(tmp_path, forgery, reason):
    audit = Audit(audit_settings(tmp_path, audit_keep_days=2))
    audit.write_days(9)
    audit.write(1)
    assert audit.verify().ok
    with audit.forgery() as connection:
        connection.execute(forgery)
    result = audit.verify()
    assert not result.ok
    assert reason in str(result.findings[0]), result.findings
    audit.close()


@pytest.mark.parametrize("chain", [Chain(), Chain(b"another key than that one")], ids=["no key", "other key"])
def test_a_key_that_is_missing_is_not_called_a_broken_chain(tmp_path, chain):
    audit = Audit(audit_settings(tmp_path, key=KEY))
    audit.write(3)
    with pytest.raises(AuditKeyMissing):
        verify(audit.database, chain)
    audit.close()


def test_a_record_made_without_a_key_is_not_taken_for_a_keyed_one(tmp_path):
    audit = Audit(audit_settings(tmp_path))
    audit.write(3)
    with pytest.raises(AuditKeyMissing):
        verify(audit.database, Chain(KEY.encode()))
    with audit.raw() as connection:
        connection.execute("DELETE FROM properties")
    assert verify(audit.database, Chain(KEY.encode())).first_wrong == 1
    audit.close()


def test_a_new_record_is_whole(tmp_path):
    audit = Audit(audit_settings(tmp_path))
    result = audit.verify()
    assert (result.ok, result.events, result.head) == (True, 0, None)
    audit.close()


def test_the_verification_tells_how_far_it_is(audit):
    seen = []
    verify(audit.database, Chain.of(audit.settings), progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (15, 15)


def test_a_verification_by_an_auditor_is_an_event_with_its_result(audit):
    with audit.forgery() as connection:
        edit(connection)
    assert audit.log.verify(AUDITOR).first_wrong == 6
    with audit.raw() as connection:
        body = json.loads(connection.execute("SELECT body FROM events ORDER BY id DESC LIMIT 1").fetchone()[0])
    assert (body["action"], body["detail"]["ok"], body["detail"]["first_wrong"]) == ("audit.verify", False, 6)


def test_an_event_is_shown_with_its_link_of_the_chain(audit):
    view = audit.log.event(6, AUDITOR)
    assert view.ok
    assert view.previous == audit.log.event(5, AUDITOR).hash
    with audit.forgery() as connection:
        edit(connection)
    assert not audit.log.event(6, AUDITOR).ok
    assert audit.log.event(1, AUDITOR).previous == GENESIS.hex()


def test_acts_go_on_during_a_verification(audit):
    def act(done, total):
        with audit.trail.act(ANNA, Action.ASK):
            pass

    assert verify(audit.database, Chain.of(audit.settings), progress=act).ok
    assert len(audit.events()) == 16
