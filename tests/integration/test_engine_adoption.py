"""Portals that go and come back, and what they leave to each other."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.engines.deployments import EngineState
from services.engines.run_record import RunRecords
from services.errors import EngineError
from tests.engine_bench import MODEL, Bench, until

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    bench.close()


def test_a_portal_that_returns_adopts_the_running_engine(bench: Bench) -> None:
    bench.ready_portal().close(stop_engines=False)
    pid = bench.session().pid
    portal = bench.portal()
    portal.adopt()
    portal.start("chat", MODEL)
    assert portal.wait_ready("chat", 5).pid == pid
    assert bench.launcher.launches == 1
    portal.stop("chat")
    assert bench.record() is None


def test_an_engine_that_was_still_loading_is_adopted_with_its_time(bench: Bench) -> None:
    bench.launcher.options = ("--load-seconds", "1.5")
    first = bench.portal()
    first.start("chat", MODEL)
    until(bench.record)
    time.sleep(0.5)
    first.close(stop_engines=False)
    portal = bench.portal()
    portal.adopt()
    assert portal.status("chat").elapsed_s >= 0.5
    assert portal.wait_ready("chat", 10).ready
    assert bench.launcher.launches == 1


def test_a_killed_portal_leaves_an_engine_that_can_be_adopted(bench: Bench) -> None:
    script = (
        "import sys, time; sys.path.insert(0, sys.argv[1])\n"
        "from pathlib import Path\n"
        "from tests.engine_bench import Bench\n"
        "bench = Bench(Path(sys.argv[2])); bench.ready_portal('--spawn-worker'); print('ready', flush=True)\n"
        "time.sleep(60)\n"
    )
    command = [sys.executable, "-c", script, str(ROOT), str(bench.settings.home)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as killed:
        assert killed.stdout.readline() == "ready\n"
        killed.kill()
    bench.launcher.options = ("--spawn-worker",)
    session = bench.session()
    assert len(session.members()) == 2
    portal = bench.portal()
    portal.adopt()
    assert portal.wait_ready("chat", 5).pid == session.pid
    portal.stop("chat")
    assert session.members() == []


def test_the_remains_of_a_dead_engine_are_cleaned_away(bench: Bench) -> None:
    bench.ready_portal("--spawn-worker").close(stop_engines=False)
    session = bench.session()
    os.kill(session.pid, signal.SIGKILL)
    until(lambda: not session.alive())
    assert len(session.members()) == 1
    portal = bench.portal()
    portal.adopt()
    assert session.members() == []
    assert bench.record() is None
    assert portal.status("chat").state is EngineState.STOPPED


def test_an_engine_launched_with_other_settings_is_not_adopted(bench: Bench) -> None:
    bench.ready_portal().close(stop_engines=False)
    session = bench.session()
    bench.launcher.options = ("--context-tokens", "8192")
    bench.portal().adopt()
    assert session.members() == []


def test_a_stranger_with_the_recorded_pid_is_left_alone(bench: Bench) -> None:
    portal = bench.ready_portal()
    record = bench.record()
    portal.stop("chat")
    stranger = subprocess.Popen(["sleep", "60"], start_new_session=True)
    path = RunRecords(bench.settings.engines_dir).path(record.deployment_id)
    path.write_text(json.dumps(vars(record) | {"pid": stranger.pid}))
    portal.close(stop_engines=True)
    bench.portal().adopt()
    assert stranger.poll() is None
    assert not path.exists()
    stranger.kill()
    stranger.wait()


def test_two_portals_do_not_start_two_engines(bench: Bench) -> None:
    bench.ready_portal()
    second = bench.portal()
    with pytest.raises(EngineError, match="Another process"):
        second.start("chat", MODEL)
    with pytest.raises(EngineError, match="Another process"):
        second.stop("chat")
    second.adopt()
    assert bench.launcher.launches == 1


def test_the_run_record_and_the_log_are_private(bench: Bench) -> None:
    portal = bench.ready_portal()
    record = bench.record()
    path = RunRecords(bench.settings.engines_dir).path(record.deployment_id)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.with_suffix(".log").stat().st_mode) == 0o600
    assert portal.endpoint("chat").api_key not in " ".join(record.command)
