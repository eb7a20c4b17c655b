"""Kill the portal with SIGKILL at random moments of a mixed load: is the chain whole, has every success its event?

    .venv/bin/python -m tests.benchmarks.portal_kill [--rounds 50]

The load comes through the operator door: questions, uploads, deletions, accounts, failed questions and sign-ins, six at
a time. An act counts as reported when its answer arrived whole.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from db.database import Database
from services.audit.chain import Chain
from services.audit.trail import open_audit
from services.audit.verification import verify
from services.settings import Settings
from tests.portal_process import PortalProcess
from tests.signing_in import browser, sign_in

WORKERS = 6
LOAD_S = (0.2, 4.0)  # how long a round's load lasts before the kill
SEED = 20261122


@dataclass
class Load:
    """What was reported as done: (action, a word of our own that its event must hold)."""

    portal: PortalProcess
    scratch: Path
    round: int
    reported: list[tuple[str, str]] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        threads = [threading.Thread(target=self._work, args=(number,)) for number in range(WORKERS)]
        for thread in threads:
            thread.start()
        time.sleep(random.uniform(*LOAD_S))
        self.portal.kill()
        self.over.set()
        for thread in threads:
            thread.join()

    def _work(self, number: int) -> None:
        door = json.loads((self.portal.home / "operator.json").read_text())
        chance = random.Random(SEED + 1000 * self.round + number)
        with httpx.Client(
            base_url=door["url"], headers={"Authorization": f"Bearer {door['token']}"}, trust_env=False, timeout=60
        ) as client:
            for turn in range(10_000):
                if self.over.is_set():
                    return
                try:
                    self._act(
                        client, chance.choice(("ask", "upload", "account", "wrong")), f"w{self.round}x{number}x{turn}"
                    )
                except (httpx.TransportError, ValueError):
                    return  # the portal is gone

    def _act(self, client: httpx.Client, kind: str, word: str) -> None:
        if kind == "ask":
            self._note(client, "ask", word, question=f"What does the handbook say about {word}?")
        elif kind == "account":
            self._note(client, "users_add", word, name=word, roles=["user"])
        elif kind == "upload":
            path = self.scratch / f"{word}.pdf"
            path.write_bytes(b"%PDF-1.4\n" + word.encode())
            self._note(client, "documents_add", word, paths=[str(path)], collection="Load")
        else:
            with browser(self.portal.url) as stranger:
                if sign_in(stranger, word, "not my password").status_code in (401, 429):
                    self.reported.append(("sign_in", ""))

    def _note(self, client: httpx.Client, operation: str, word: str, **arguments) -> None:
        actions = {"ask": "ask", "users_add": "people.invite", "documents_add": "upload"}
        if client.post(f"/operator/{operation}", json=arguments).is_success:
            self.reported.append((actions[operation], word))


def recorded(database: Database) -> list[tuple[str, str]]:
    """(action, body) of all events."""
    with database.session() as session:
        return list(session.connection().exec_driver_sql("SELECT action, body FROM events"))


def missing(load: Load, events: list[tuple[str, str]], failures_before: int) -> list[tuple[str, str]]:
    """Reported acts without an event. Failed sign-ins have no word of ours in the record: they are counted."""
    bodies: dict[str, str] = {}
    for action, body in events:
        bodies[action] = bodies.get(action, "") + body
    lost = [(action, word) for action, word in load.reported if word and word not in bodies.get(action, "")]
    reported = sum(action == "sign_in" for action, _word in load.reported)
    if Counter(action for action, _body in events)["sign_in"] - failures_before < reported:
        lost.append(("sign_in", f"{reported} reported"))
    return lost


def main(rounds: int) -> dict:
    """Raises AssertionError when a chain is broken or an event is missing."""
    random.seed(SEED)
    total = Counter()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder, "home")
        home.mkdir()
        portal = PortalProcess(home, PORTAL_ENGINE_AUTOSTART="false", PORTAL_AUDIT_TEXT="full")
        settings = Settings(home=home)
        for number in range(rounds):
            portal.start()
            database = open_audit(settings)
            before = Counter(action for action, _body in recorded(database))["sign_in"]
            load = Load(portal, Path(folder), number)
            load.run()
            result = verify(database, Chain.of(settings))
            assert result.ok, result.findings
            total["in flight when killed"] += _pending(database)
            lost = missing(load, recorded(database), before)
            database.close()
            assert not lost, lost
            total.update(action for action, _word in load.reported)
            total["events"] = result.events
        portal.start()
        portal.stop()
        database = open_audit(settings)
        result = verify(database, Chain.of(settings))
        total["left pending after the last start"] = _pending(database)
        database.close()
    return {"rounds": rounds, "chain_whole": result.ok, "missing": 0, "reported": dict(total)}


def _pending(database: Database) -> int:
    with database.session() as session:
        return session.connection().exec_driver_sql("SELECT count(*) FROM pending").scalar()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=50)
    print(json.dumps(main(parser.parse_args().rounds)))
