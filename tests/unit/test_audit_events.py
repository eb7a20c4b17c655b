"""How an event is written down, and the chain's own arithmetic."""

from __future__ import annotations

import hashlib
import hmac
from datetime import datetime, timedelta, timezone

import pytest

from services.audit.chain import GENESIS, Chain, Head
from services.audit.details import AskDetail, PersonDetail
from services.audit.events import Event, stamp
from services.audit.filters import Filter
from services.audit.words import facet, indexed, match
from services.errors import AuditKeyMissing
from services.permissions import Role
from services.settings import Settings
from tests.audit_setup import NOON


def event(**values) -> Event:
    return Event(**{"at": NOON, "action": "ask", "outcome": "succeeded", "request_id": "00ff"} | values)


def test_the_canonical_form_has_sorted_keys_no_spaces_and_text_as_it_is():
    assert event(target="年假", detail={"b": 1, "a": "é"}).to_body() == (
        '{"action":"ask","actor_id":"","actor_name":"","address":"","at":"2026-11-22T12:00:00.000000Z",'
        '"detail":{"a":"é","b":1},"duration_ms":null,"outcome":"succeeded","request_id":"00ff","target":"年假"}'
    )


def test_an_event_read_from_its_body_is_the_same():
    one = event(id=7, actor_id="a", actor_name="A", duration_ms=1.5, detail={"x": [1, None]})
    assert Event.from_body(7, one.to_body()) == one


def test_times_are_utc_and_sort_as_text():
    beijing = datetime(2026, 11, 22, 20, 0, 0, 5, tzinfo=timezone(timedelta(hours=8)))
    assert stamp(beijing) == "2026-11-22T12:00:00.000005Z"
    assert stamp(NOON) < stamp(beijing)


def test_a_hash_covers_the_one_before_the_id_and_the_body():
    message = GENESIS + (1).to_bytes(8, "big") + b"{}"
    assert Chain().digest(GENESIS, 1, b"{}") == hashlib.sha256(message).digest()
    assert Chain(b"k" * 16).digest(GENESIS, 1, b"{}") == hmac.new(b"k" * 16, message, "sha256").digest()


def test_the_fingerprint_tells_keys_apart_and_is_empty_without_one():
    assert Chain().fingerprint == ""
    assert len({Chain(b"a" * 16).fingerprint, Chain(b"b" * 16).fingerprint}) == 2


@pytest.mark.parametrize("content", [None, "short"])
def test_a_key_that_cannot_be_used_is_said_to_be_missing(tmp_path, content):
    if content:
        (tmp_path / "key").write_text(content)
    with pytest.raises(AuditKeyMissing):
        Chain.of(Settings(home=tmp_path, audit_key_file=tmp_path / "key"))


def test_a_head_is_one_line():
    head = Head(7, "ab" * 32, stamp(NOON))
    assert str(head) == f"7:{'ab' * 32}:2026-11-22T12:00:00.000000Z"
    assert Head.parse(f" {head}\n") == head


@pytest.mark.parametrize("line", ["", "7", "7:ab:2026", "x:" + "ab" * 32 + ":2026"])
def test_a_line_that_is_no_head_is_refused(line):
    with pytest.raises(ValueError):  # noqa: PT011
        Head.parse(line)


def test_empty_fields_of_a_detail_are_left_out_and_roles_are_sorted():
    detail = PersonDetail("p1", "Li", roles_before=frozenset(), roles_after=frozenset({Role.USER, Role.ADMIN}))
    assert detail.to_json() == {"person_id": "p1", "name": "Li", "roles_before": [], "roles_after": ["admin", "user"]}


def test_a_number_that_json_does_not_know_becomes_text():
    assert AskDetail(confidence=float("nan")).to_json() == {"confidence": "nan"}


def test_masking_sees_what_stands_across_the_bound():
    text = "x" * 19_990 + " 13812345678 end"
    stored = AskDetail(question=text).to_json("masked")["question"]
    assert len(stored) <= 20_000
    assert "138123" not in stored


def test_the_index_holds_words_and_facets():
    words = indexed(event(actor_id="a", actor_name="Anna", target="apt-get", detail={"question": "差旅费报销"})).split()
    assert words == [facet("actor", "a"), facet("action", "ask"), facet("outcome", "succeeded"), *sorted(words[3:])]
    assert {"anna", "apt", "get", "报销"} <= set(words)


def test_nothing_in_a_text_is_an_operator():
    assert match('leave" OR (x', ["f"]) == '"leave" AND "x" AND "f"'
    assert match("!?", []) is None


def test_a_filter_is_the_same_after_being_saved():
    chosen = Filter(since=NOON, until=NOON + timedelta(days=1), actor="", action="ask", text="年假")
    assert Filter.from_json(chosen.to_json()) == chosen
    assert Filter().to_json() == {}
