"""How fast the audit is with a million events: appending with 8 writers, filtering, counting, verifying.

    .venv/bin/python -m tests.benchmarks.audit [--events 1000000] [--acts 2400]

An append is one event, on the disk when it returns (synchronous=FULL); a whole act is two commits, its pending row and
its event. Eight writers at once, each with a pause of a tenth of a second between its acts, and then without any
pause, which is the most the audit can take. The events are written in bulk with the right hashes, and the disk is given
time to take them before anything is timed.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import islice
from pathlib import Path

from db.database import Database
from services.audit import words
from services.audit.chain import GENESIS, Chain
from services.audit.details import AskDetail
from services.audit.events import Action, Event, EventOutcome
from services.audit.filters import Filter
from services.audit.ledger import Draft
from services.audit.log import AuditLog
from services.audit.trail import AuditTrail, open_audit
from services.audit.verification import verify
from services.permissions import Actor, Role
from services.retrieval.lexical import warm_up
from services.settings import Settings

Append = Callable[[AuditTrail, Actor, AskDetail], None]
WRITERS = 8
PAUSE_S = 0.1  # 80 acts a second in all: more than 250,000 an hour
DAYS = 365
START = datetime(2026, 1, 1, tzinfo=UTC)
AUDITOR = Actor("auditor", "Auditor", frozenset({Role.AUDITOR}))
QUESTIONS = [
    "年假有多少天，怎么申请？",
    "出差报销需要哪些材料？",
    "How do I book a meeting room?",
    "密码多久要更换一次？",
    "What is the limit for hotel expenses in Shanghai?",
    "新员工入职第一天要做什么？",
    "How many days of annual leave do employees get?",
    "服务器机房的门禁卡找谁办理？",
]
RARE = 50_000  # one event in so many has the rare word
ACTIONS = [Action.ASK] * 14 + [Action.SIGN_IN] * 3 + [Action.PREVIEW] * 2 + [Action.UPLOAD]
OUTCOMES = [EventOutcome.SUCCEEDED] * 96 + [EventOutcome.FAILED] * 2 + [EventOutcome.CANCELLED, EventOutcome.DENIED]


def ask_detail(question: str) -> AskDetail:
    chunks = [
        {"id": n, "document_id": 7, "document": "handbook.pdf", "sha256": f"{n:064x}", "place": "3 Leave"}
        for n in range(3)
    ]
    return AskDetail(
        question=question,
        answer="员工每年有二十天年假。 Employees get 20 days. [1]",
        answer_sha256="0" * 64,
        collections=["Handbook"],
        prompt_template="answer",
        model="qwen2.5-coder-0.5b-instruct",
        model_sha256="1" * 64,
        chunks=chunks,
        prompt_tokens=300,
        completion_tokens=40,
        timings_ms={"retrieve": 30.5, "total": 2000.1},
        outcome="answered",
        confidence=0.9,
    )


def events(count: int) -> Iterator[Draft]:
    """A year of acts by 200 people; the words of equal texts are cut once."""
    chance = random.Random(1)
    known: dict[tuple, str] = {}
    facet = cache(words.facet)
    details = [ask_detail(question).to_json() for question in QUESTIONS]
    for number in range(count):
        person = f"person{min(int(chance.expovariate(0.02)), 199)}"
        action, outcome = chance.choice(ACTIONS), chance.choice(OUTCOMES)
        which = number % len(QUESTIONS)
        detail = details[which] if action == Action.ASK else {}
        target = f"zebrafish {number}" if number % RARE == 0 else f"conversation{number % 100}"
        event = Event(
            at=START + timedelta(days=DAYS) * number / count,
            action=action,
            outcome=outcome,
            request_id=f"{number:016x}",
            actor_id=person,
            actor_name=person.title(),
            address="10.0.0.1",
            target=target,
            duration_ms=12.5,
            detail=detail,
        )
        body = event.to_body()
        key = (target, which if detail else None)
        if key not in known:
            known[key] = words.indexed(replace(event, actor_id="", actor_name="", action="", outcome="")).split(" ", 3)[
                3
            ]
        facets = [facet("actor", person), facet("action", action), facet("outcome", outcome)]
        yield Draft(event, body, " ".join([*facets, person, known[key]]), body[body.index('"at":"') + 6 :][:10])


def fill(database: Database, count: int) -> float:
    """Seconds it took. Rows and index are written in bulk, and the database's own indexes are built afterwards."""
    began = time.perf_counter()
    connection = database.connect()
    for pragma in ("synchronous=OFF", "cache_size=-500000", "temp_store=MEMORY"):
        connection.execute(f"PRAGMA {pragma}")
    indexes = connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql NOT NULL").fetchall()
    connection.execute("BEGIN IMMEDIATE")
    for name, _ in indexes:
        connection.execute(f"DROP INDEX {name}")
    drafts = enumerate(events(count), 1)
    while batch := list(islice(drafts, 20_000)):
        connection.executemany("INSERT INTO events (id, body, hash) VALUES (?, ?, ?)", chained(connection, batch))
        rows = ((event_id, draft.words) for event_id, draft in batch)
        connection.executemany("INSERT INTO events_fts (rowid, words) VALUES (?, ?)", rows)
    for _, statement in indexes:
        connection.execute(statement)
    connection.execute("COMMIT")
    connection.close()
    return time.perf_counter() - began


def chained(connection: sqlite3.Connection, batch: list[tuple[int, Draft]]) -> Iterator[tuple[int, str, bytes]]:
    last = connection.execute("SELECT hash FROM events ORDER BY id DESC LIMIT 1").fetchone()
    previous = last[0] if last else GENESIS
    chain = Chain()
    for event_id, draft in batch:
        previous = chain.digest(previous, event_id, draft.body.encode())
        yield event_id, draft.body, previous


def one_event(trail: AuditTrail, actor: Actor, detail: AskDetail) -> None:
    trail.record(actor, Action.ASK, EventOutcome.SUCCEEDED, "conversation1", detail)


def whole_act(trail: AuditTrail, actor: Actor, detail: AskDetail) -> None:
    with trail.act(actor, Action.ASK, "conversation1", detail):
        pass


def appends(append: Append, trail: AuditTrail, acts: int, pause_s: float) -> dict:
    """Milliseconds of acts of WRITERS threads at once. pause_s: between a writer's acts, on the average."""

    def write(writer: int) -> list[float]:
        actor = Actor(f"person{writer}", f"Person{writer}", frozenset({Role.USER}), "10.0.0.2")
        spent, chance = [], random.Random(writer)
        for number in range(acts // WRITERS):
            time.sleep(chance.uniform(0, 2 * pause_s))
            began = time.perf_counter()
            append(trail, actor, ask_detail(QUESTIONS[number % len(QUESTIONS)]))
            spent.append((time.perf_counter() - began) * 1000)
        return spent

    began = time.perf_counter()
    with ThreadPoolExecutor(WRITERS) as pool:
        spent = sorted(value for values in pool.map(write, range(WRITERS)) for value in values)
    return {
        "median_ms": round(statistics.median(spent), 2),
        "p99_ms": round(spent[int(len(spent) * 0.99)], 2),
        "max_ms": round(spent[-1], 1),
        "acts_per_s": round(len(spent) / (time.perf_counter() - began)),
    }


def filters() -> dict[str, Filter]:
    middle = START + timedelta(days=180, hours=5)
    return {
        "all": Filter(),
        "person": Filter(actor="person3"),
        "person, few": Filter(actor="person199"),
        "action": Filter(action="ask"),
        "outcome": Filter(outcome="denied"),
        "three hours": Filter(since=middle, until=middle + timedelta(hours=3)),
        "ten days": Filter(since=middle, until=middle + timedelta(days=10)),
        "person and action and outcome": Filter(actor="person150", action="upload", outcome="denied"),
        "action and outcome, none": Filter(action="audit.export", outcome="denied"),
        "frequent word": Filter(text="employees"),
        "frequent Chinese word": Filter(text="年假"),
        "several frequent words": Filter(text="年假 多少天 申请"),
        "rare word": Filter(text="zebrafish"),
        "word that is not there": Filter(text="unheard"),
        "frequent word of a person in ten days": Filter(
            actor="person150", text="年假", since=middle, until=middle + timedelta(days=10)
        ),
        "frequent and rare word": Filter(text="person3 zebrafish"),
    }


def timed(call) -> tuple[object, float]:
    began = time.perf_counter()
    result = call()
    return result, round((time.perf_counter() - began) * 1000, 1)


def report(name: str, **figures: object) -> None:
    print(json.dumps({"what": name} | figures, ensure_ascii=False), flush=True)


def measure_reading(database: Database, log: AuditLog) -> None:
    for name, chosen in filters().items():
        log.search(chosen, AUDITOR)  # the reading is recorded once, and that is not measured here
        page, first_ms = timed(lambda chosen=chosen: log.search(chosen, AUDITOR))
        next_ms = timed(lambda chosen=chosen, page=page: log.search(chosen, AUDITOR, page.next_before_id))[1]
        report(f"filter: {name}", first_page_ms=first_ms, next_page_ms=next_ms, found=len(page.events))
    text = Filter(text="年假")
    for name, chosen, by in (
        ("all", Filter(), "day"),
        ("all", Filter(), "actor"),
        ("all", Filter(), "action"),
        ("person", Filter(actor="person3"), "day"),
        ("action and outcome", Filter(action="ask", outcome="failed"), "actor"),
        ("frequent word", text, "day"),
        ("frequent word", text, "actor"),
    ):
        log.search(chosen, AUDITOR)
        rows, spent_ms = timed(lambda chosen=chosen, by=by: log.counts(chosen, AUDITOR, by))
        report(f"count by {by}: {name}", ms=spent_ms, labels=len(rows), events=sum(n for _, n in rows))
    result = verify(database, Chain())
    rate = round(result.events / result.seconds)
    report("verify", ok=result.ok, events=result.events, seconds=round(result.seconds, 2), events_per_s=rate)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--acts", type=int, default=2400)
    options = parser.parse_args()
    warm_up()
    with tempfile.TemporaryDirectory(dir=Settings().home.resolve()) as home:
        settings = Settings(home=Path(home), audit_text="full")
        database = open_audit(settings)
        fill_s = fill(database, options.events)
        report("fill", events=options.events, seconds=round(fill_s, 1), mib=database.file.stat().st_size >> 20)
        trail = AuditTrail(database, settings)
        os.sync()
        for append in (one_event, whole_act):
            for pause_s in (PAUSE_S, 0.0):
                taken = appends(append, trail, options.acts, pause_s)
                report("append", of=append.__name__, writers=WRITERS, pause_ms=pause_s * 1000, **taken)
        measure_reading(database, AuditLog(database, trail, settings))
        trail.close()
        database.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
