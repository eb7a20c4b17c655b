"""What an auditor looks for, and the SQL that finds it in a million events without reading them all.

One condition uses its index; several of them, or a text, meet in the full-text index (services/audit/words.py); a
period becomes a range of ids. The conditions are checked on the events once more: an index only narrows.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import text as sql

from services.audit import words
from services.audit.events import stamp

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

# The first and last id of a period's days; each step is one look into the index of days.
_ID_RANGE = sql("""
WITH RECURSIVE days (day) AS (
    SELECT min(day) FROM events WHERE day >= :first AND day <= :last
    UNION ALL
    SELECT (SELECT min(day) FROM events WHERE day > days.day AND day <= :last) FROM days WHERE days.day IS NOT NULL
)
SELECT min((SELECT min(id) FROM events WHERE events.day = days.day)),
       max((SELECT max(id) FROM events WHERE events.day = days.day))
FROM days WHERE day IS NOT NULL
""")
_COUNTED = "events INDEXED BY ix_events_counts"
_EVER = ("0000", "9999")  # as days


@dataclass(frozen=True)
class Filter:
    """since: from then on; until: before then; both aware. actor: an id ("" is nobody); text: words, all of them."""

    since: datetime | None = None
    until: datetime | None = None
    actor: str | None = None
    action: str | None = None
    outcome: str | None = None
    text: str = ""

    def to_json(self) -> dict:
        """Only what is set."""
        found = {name: value for name, value in asdict(self).items() if value not in (None, "") or name == "actor"}
        found |= {name: stamp(found[name]) for name in ("since", "until") if name in found}
        return {name: value for name, value in found.items() if value is not None}

    @classmethod
    def from_json(cls, found: dict) -> Filter:
        moments = {name: datetime.fromisoformat(found[name]) for name in ("since", "until") if name in found}
        return replace(cls(**found), **moments)

    def to_text(self) -> str:
        return json.dumps(self.to_json(), ensure_ascii=False, sort_keys=True)

    @property
    def equal(self) -> dict[str, str]:
        """Column → value of the conditions that ask for one value."""
        asked = {"actor_id": self.actor, "action": self.action, "outcome": self.outcome}
        return {column: str(value) for column, value in asked.items() if value is not None}


@dataclass(frozen=True)
class Query:
    """FROM and WHERE for a filter, with the values of its parameters. No word in the text: nothing is found."""

    source: str
    where: str
    values: dict
    nothing: bool = False


def page_query(session: Session, chosen: Filter) -> Query:
    """Newest first by `id`, which is the id of both tables."""
    where, values = _conditions(chosen)
    nothing = False
    if chosen.since or chosen.until:
        first, last = id_range(session, chosen)
        where.append("{id} BETWEEN :first_id AND :last_id")
        values |= {"first_id": first, "last_id": last}
        nothing = first > last
    if chosen.text or len(chosen.equal) > 1:
        match = _match(chosen)
        where = ["events_fts MATCH :match", *where]
        source = "events_fts CROSS JOIN events ON events.id = events_fts.rowid"
        joined = " AND ".join(where).replace("{id}", "events_fts.rowid")
        return Query(source, joined, values | {"match": match}, nothing or match is None)
    index = next((f" INDEXED BY ix_events_{column.removesuffix('_id')}" for column in chosen.equal), "")
    return Query(f"events{index}", " AND ".join(where).replace("{id}", "events.id") or "1", values, nothing)


def count_query(chosen: Filter, column: str) -> Query:
    """All that is counted stands in one index; a text narrows it to the ids that the full-text index gives."""
    where, values = _conditions(chosen)
    if not where and not chosen.text:
        return Query(f"events INDEXED BY ix_events_{column.removesuffix('_id')}", "1", values)
    first, last = _days(chosen)
    where.append("day BETWEEN :first_day AND :last_day")
    values |= {"first_day": first, "last_day": last}
    if not chosen.text:
        return Query(_COUNTED, " AND ".join(where), values)
    match = _match(chosen)
    where.append("events.id IN (SELECT rowid FROM events_fts WHERE events_fts MATCH :match)")
    return Query(_COUNTED, " AND ".join(where), values | {"match": match}, nothing=match is None)


def id_range(session: Session, chosen: Filter) -> tuple[int, int]:
    """The ids between which all events of the period are; (1, 0) when there are none."""
    first, last = _days(chosen)
    found = session.execute(_ID_RANGE, {"first": first, "last": last}).one()
    return (found[0], found[1]) if found[0] is not None else (1, 0)


def _conditions(chosen: Filter) -> tuple[list[str], dict]:
    where = [f"{column} = :{column}" for column in chosen.equal]
    values: dict = dict(chosen.equal)
    for name, sign, moment in (("since", ">=", chosen.since), ("until", "<", chosen.until)):
        if moment:
            where.append(f"at {sign} :{name}")
            values[name] = stamp(moment)
    return where, values


def _days(chosen: Filter) -> tuple[str, str]:
    first = stamp(chosen.since)[:10] if chosen.since else _EVER[0]
    return first, stamp(chosen.until)[:10] if chosen.until else _EVER[1]


def _match(chosen: Filter) -> str | None:
    facets = [words.facet(column.removesuffix("_id"), value) for column, value in chosen.equal.items()]
    if chosen.text and words.match(chosen.text, []) is None:
        return None
    return words.match(chosen.text, facets)
