"""The audit of a portal that is killed, or whose disk is full: real child processes.

AUDIT_KILLS=50 kills it as often as the acceptance asks for; 10 is the default.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.audit_setup import Audit, audit_settings

ROOT = Path(__file__).resolve().parents[2]
KILLS = int(os.environ.get("AUDIT_KILLS", "10"))
BEFORE_KILL_S = 0.4  # at most


def start(home: Path, *options: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "tests.audit_load", str(home), *options]
    return subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def kill_at_random(server: subprocess.Popen) -> set[str]:
    """The request ids of the acts that reported success before a portal under load was killed."""
    print("go", file=server.stdin, flush=True)
    lines = [server.stdout.readline().strip() for _ in range(2)]
    pid = next(int(line.removeprefix("pid ")) for line in lines if line.startswith("pid "))
    time.sleep(random.uniform(0, BEFORE_KILL_S))
    os.kill(pid, signal.SIGKILL)
    reported = set(iter(lambda: server.stdout.readline().strip(), "gone"))
    return {line for line in reported if not line.startswith("refused")}


def test_a_killed_portal_loses_no_act_that_reported_success(tmp_path):
    reported: set[str] = set()
    audit = Audit(audit_settings(tmp_path))
    with start(tmp_path, "--serve") as server:
        for _ in range(KILLS):
            reported |= kill_at_random(server)
            assert audit.verify().ok
            audit.trail.recover()
            events = audit.events()
            ended = {event.request_id for event in events if not event.detail.get("interrupted")}
            assert reported <= ended
            assert len(events) == len({event.request_id for event in events}), "no act has two events"
            with audit.raw() as connection:
                assert connection.execute("SELECT count(*) FROM pending").fetchone() == (0,)
        server.stdin.close()
    assert audit.verify().ok
    assert reported
    audit.close()


def test_a_full_disk_refuses_acts_and_loses_none(tmp_path):
    with start(tmp_path, "--acts", "150", "--file-limit", "400000") as child:
        lines = child.stdout.read().splitlines()[1:]
        assert child.wait(30) == 0
    refused = [line for line in lines if line.startswith("refused")]
    assert refused
    assert all("full" in line for line in refused)
    audit = Audit(audit_settings(tmp_path))
    assert audit.verify().ok
    audit.trail.recover()
    assert set(lines) - set(refused) <= {event.request_id for event in audit.events()}
    assert audit.verify().ok
    audit.close()


def test_acts_of_a_portal_that_runs_are_left_to_it(tmp_path):
    with start(tmp_path) as child:
        assert child.stdout.readline() == "started\n"
        audit = Audit(audit_settings(tmp_path))
        for _ in range(5):
            assert audit.trail.recover() == 0
        child.kill()
        child.stdout.read()
    assert not [event for event in audit.events() if event.detail.get("interrupted")]
    audit.close()
