"""The audit file inside one transaction: what begins, what is appended, how days are sealed and removed."""

from __future__ import annotations

import secrets
import sqlite3
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from functools import cached_property

from services.audit import words
from services.audit.chain import GENESIS, Chain
from services.audit.details import DaysDetail
from services.audit.events import Action, Event, EventOutcome, stamp

_APPEND = "INSERT INTO events (id, body, hash) VALUES (?, ?, ?)"
_INDEX = "INSERT INTO events_fts (rowid, words) VALUES (?, ?)"
DAY_COLUMNS = "day, first_id, last_id, count, previous, last_hash, sealed_at"


@dataclass(frozen=True)
class Draft:
    """An event ready to be appended: what takes time is done, by the thread whose event it is."""

    event: Event
    body: str
    words: str
    day: str

    @classmethod
    def of(cls, event: Event) -> Draft:
        return cls(event, event.to_body(), words.indexed(event), stamp(event.at)[:10])


@dataclass(frozen=True)
class Days:
    """A row of seals; see db.audit_tables."""

    day: str
    first_id: int
    last_id: int
    count: int
    previous: bytes
    last_hash: bytes
    sealed_at: str

    def detail(self) -> dict:
        """What the event says that tells of it."""
        return DaysDetail(
            self.day,
            self.first_id,
            self.last_id,
            self.count,
            self.previous.hex(),
            self.last_hash.hex(),
            self.sealed_at,
        ).to_json()


@dataclass(frozen=True)
class _Tail:
    """The last event. day: of its own clock."""

    id: int
    hash: bytes
    day: str


@dataclass(frozen=True)
class Begun:
    """A row of pending."""

    request_id: str
    owner: str
    begun_at: str
    body: str


class Ledger:
    """Lives as long as the transaction that somebody else begins and commits.

    sealed: whether a day has been sealed in it.
    """

    def __init__(self, connection: sqlite3.Connection, chain: Chain) -> None:
        self._connection = connection
        self._chain = chain
        self.sealed = False

    def begin(self, begun: Begun) -> None:
        values = (begun.request_id, begun.owner, begun.begun_at, begun.body)
        self._connection.execute("INSERT INTO pending (request_id, owner, begun_at, body) VALUES (?, ?, ?, ?)", values)

    def end(self, draft: Draft) -> None:
        """Turn the act of this request id into an event.

        Also when it is pending no more because another process took this one for dead: what came of it is worth more.
        """
        self.append(draft)
        self._connection.execute("DELETE FROM pending WHERE request_id = ?", (draft.event.request_id,))

    def pending(self) -> list[Begun]:
        rows = self._connection.execute("SELECT request_id, owner, begun_at, body FROM pending ORDER BY begun_at")
        return [Begun(*row) for row in rows]

    def append(self, draft: Draft) -> int:
        """Chain the event after the last one, and before it the seal of a day that has ended; its id."""
        day = draft.day
        if day > self._tail.day:
            self.seal(draft.event.at)
        tail = self._tail
        event_id = tail.id + 1
        digest = self._chain.digest(tail.hash, event_id, draft.body.encode())
        self._connection.execute(_APPEND, (event_id, draft.body, digest))
        self._connection.execute(_INDEX, (event_id, draft.words))
        self._tail = _Tail(event_id, digest, day)
        return event_id

    def seal(self, now: datetime) -> None:
        """Seal the last event's day if it has ended.

        A clock that goes back does no harm: events that then seem to belong to a sealed day are sealed with the next.
        """
        tail = self._tail
        if stamp(now)[:10] <= tail.day:
            return
        last = self._last_seal()
        if tail.id == last.last_id or tail.day <= last.day:
            return
        first_id = last.last_id + 1
        count = tail.id - last.last_id
        days = Days(tail.day, first_id, tail.id, count, last.last_hash, tail.hash, stamp(now))
        self._connection.execute(f"INSERT INTO seals ({DAY_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)", _values(days))
        self.sealed = True
        self.append(_own_event(Action.AUDIT_SEAL, now, days))

    def remove_days(self, now: datetime, keep_days: int) -> int:
        """Remove the events of sealed days that are older than keep_days; how many days.

        Counted from the newest sealed day: a clock that jumps a century ahead removes nothing.
        """
        newest = self._last_seal().day
        if not newest:
            return 0
        today = min(date.fromisoformat(stamp(now)[:10]), date.fromisoformat(newest) + timedelta(days=1))
        oldest = (today - timedelta(days=keep_days)).isoformat()
        rows = self._connection.execute(
            f"SELECT {DAY_COLUMNS} FROM seals WHERE day < ? AND day NOT IN (SELECT day FROM stubs) ORDER BY day",
            (oldest,),
        ).fetchall()
        for row in rows:
            self._remove(Days(*row), now)
        return len(rows)

    def _remove(self, days: Days, now: datetime) -> None:
        event_id = self.append(_own_event(Action.AUDIT_RETENTION, now, days))
        values = (*_values(days), stamp(now), event_id)
        self._connection.execute(
            f"INSERT INTO stubs ({DAY_COLUMNS}, removed_at, event_id) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", values
        )
        stretch = (days.first_id, days.last_id)
        self._connection.execute("DELETE FROM events_fts WHERE rowid BETWEEN ? AND ?", stretch)
        self._connection.execute("DELETE FROM events WHERE id BETWEEN ? AND ?", stretch)

    @cached_property
    def _tail(self) -> _Tail:
        """After the last id that was ever given out: if the tail was cut, the gap stays and tells of it."""
        row = self._connection.execute("SELECT id, hash, day FROM events ORDER BY id DESC LIMIT 1").fetchone()
        row = (
            row
            or self._connection.execute(
                "SELECT last_id, last_hash, day FROM stubs ORDER BY last_id DESC LIMIT 1"
            ).fetchone()
        )
        tail = _Tail(*row) if row else _Tail(0, GENESIS, "")
        given = self._connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'events'").fetchone()
        return replace(tail, id=max(tail.id, given[0])) if given else tail

    def _last_seal(self) -> Days:
        row = self._connection.execute(f"SELECT {DAY_COLUMNS} FROM seals ORDER BY day DESC LIMIT 1").fetchone()
        return Days(*row) if row else Days("", 0, 0, 0, GENESIS, GENESIS, "")


def _own_event(action: Action, now: datetime, days: Days) -> Draft:
    """An event of nobody's: the audit itself did it."""
    return Draft.of(
        Event(
            at=now,
            action=action,
            outcome=EventOutcome.SUCCEEDED,
            request_id=secrets.token_hex(8),
            target=days.day,
            duration_ms=0.0,
            detail=days.detail(),
        )
    )


def _values(days: Days) -> tuple:
    return (days.day, days.first_id, days.last_id, days.count, days.previous, days.last_hash, days.sealed_at)
