"""A portal's audit under load, to be killed or starved: prints the request id of each act that reported success.

python -m tests.audit_load HOME [--threads N] [--acts N] [--file-limit BYTES]     (--acts 0: until it is killed)

With --serve each line of the standard input starts such a portal as a fork, which is quick; "pid N" and, after its
death, "gone" frame what it prints.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import sys
import threading
from pathlib import Path

from services.audit.details import AskDetail, SignInDetail
from services.audit.events import Action, EventOutcome
from services.audit.trail import AuditTrail, open_audit
from services.errors import AuditUnavailable, Denied
from services.permissions import Actor
from services.retrieval.lexical import warm_up
from services.settings import Settings


def say(line: str) -> None:
    os.write(1, f"{line}\n".encode())  # one write: lines of several threads do not mix


def answers(trail: AuditTrail, actor: Actor):
    """A streamed answer: its act ends when the stream does, or is closed."""
    act = trail.begin(actor, Action.ASK, detail=AskDetail(question="年假有多少天？"))
    try:
        yield from ("Twenty", " days", ".")
    except GeneratorExit:
        act.end(EventOutcome.CANCELLED)
        say(act.request_id)
        raise
    act.end(detail=AskDetail(question="年假有多少天？", answer="Twenty days."))
    say(act.request_id)


def one_act(trail: AuditTrail, actor: Actor, chance: random.Random) -> None:
    kind = chance.random()
    if kind < 0.4:
        with trail.act(actor, Action.PREVIEW, "handbook.pdf") as act:
            pass
        say(act.request_id)
    elif kind < 0.5:
        try:
            with trail.act(actor, Action.SIGN_IN, detail=SignInDetail("password")) as act:
                raise Denied("no")
        except Denied:
            say(act.request_id)
    elif kind < 0.8:
        for _ in answers(trail, actor):
            pass
    else:
        stream = answers(trail, actor)
        next(stream)
        stream.close()


def work(trail: AuditTrail, number: int, acts: int) -> None:
    chance = random.Random()
    actor = Actor(f"person{number}", f"Person {number}", frozenset())
    done = 0
    while not acts or done < acts:
        try:
            one_act(trail, actor, chance)
        except AuditUnavailable as error:
            say(f"refused: {error.hint}")
        done += 1


def run(options: argparse.Namespace) -> None:
    settings = Settings(home=options.home, audit_text="full")
    trail = AuditTrail(open_audit(settings), settings)
    trail.recover()
    say("started")
    if options.file_limit:
        resource.setrlimit(resource.RLIMIT_FSIZE, (options.file_limit, options.file_limit))
    threads = [threading.Thread(target=work, args=(trail, number, options.acts)) for number in range(options.threads)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    trail.close()


def serve(options: argparse.Namespace) -> None:
    for _ in sys.stdin:
        pid = os.fork()
        if not pid:
            run(options)
            os._exit(0)
        say(f"pid {pid}")
        os.waitpid(pid, 0)
        say("gone")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("home", type=Path)
    parser.add_argument("--threads", type=int, default=4)
    parser.add_argument("--acts", type=int, default=0)
    parser.add_argument("--file-limit", type=int, default=0)
    parser.add_argument("--serve", action="store_true")
    options = parser.parse_args()
    warm_up()
    serve(options) if options.serve else run(options)


if __name__ == "__main__":
    main()
