"""The life of an engine, with a real child process in place of vLLM."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from services.engines.deployments import Deployments, EngineState
from services.errors import EngineNotReady, EngineStartFailed, ModelFilesError, NotFound
from tests.engine_bench import MODEL, Bench, until


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    bench.close()


def misbehave(portal: Deployments, mode: str) -> None:
    base_url = portal.endpoint("chat").base_url.removesuffix("/v1")
    httpx.post(f"{base_url}/fake/{mode}", trust_env=False)


def test_an_engine_that_was_never_started_is_stopped_and_says_so(bench: Bench) -> None:
    status = bench.portal().status("chat")
    assert (status.state, status.reason) == (EngineState.STOPPED, "No model is running for this.")
    with pytest.raises(EngineNotReady):
        bench.portal().endpoint("chat")


def test_start_returns_at_once_and_the_status_tells_the_time_passed(bench: Bench) -> None:
    bench.launcher.options = ("--load-seconds", "3")
    portal = bench.portal()
    began = time.monotonic()
    portal.start("chat", MODEL)
    assert time.monotonic() - began < 2
    assert portal.status("chat").state is EngineState.STARTING
    until(lambda: portal.status("chat").elapsed_s > 0.3)
    assert portal.status("chat").reason == "The model is loading: 0 s of about 90 s."
    assert portal.wait_ready("chat", 10).state is EngineState.READY


def test_a_ready_engine_answers_on_loopback_with_its_key(bench: Bench) -> None:
    endpoint = bench.ready_portal().endpoint("chat")
    assert endpoint.base_url.startswith("http://127.0.0.1:")
    assert httpx.get(f"{endpoint.base_url}/models", trust_env=False).status_code == 401
    headers = {"Authorization": f"Bearer {endpoint.api_key}"}
    assert httpx.get(f"{endpoint.base_url}/models", headers=headers, trust_env=False).status_code == 200


def test_an_engine_whose_completions_hang_is_not_ready(bench: Bench) -> None:
    bench.launcher.options = ("--hang",)
    portal = bench.portal()
    portal.start("chat", MODEL)
    assert portal.wait_ready("chat", 1.5).state is EngineState.STARTING


def test_starting_twice_starts_one_engine(bench: Bench) -> None:
    portal = bench.ready_portal()
    portal.start("chat", MODEL)
    assert portal.status("chat").state is EngineState.READY
    assert bench.launcher.launches == 1


def test_the_typical_start_time_is_that_of_former_starts(bench: Bench) -> None:
    portal = bench.ready_portal("--load-seconds", "0.3")
    portal.stop("chat")
    portal.start("chat", MODEL)
    assert 0.3 <= portal.status("chat").typical_start_s < 5
    assert [row.ready for row in bench.starts()] == [True]


def test_another_model_takes_the_place_of_the_first(bench: Bench) -> None:
    portal = bench.ready_portal()
    first = bench.session()
    portal.start("chat", "other-model")
    portal.wait_rollout(10)
    assert (portal.status("chat").model_id, portal.status("chat").ready) == ("other-model", True)
    assert first.members() == []


def test_unknown_and_absent_models_are_refused(bench: Bench) -> None:
    portal = bench.portal()
    with pytest.raises(NotFound):
        portal.start("chat", "no-such-model")
    with pytest.raises(ModelFilesError):
        portal.start("chat", "absent-model")


def test_a_portal_that_begins_with_an_absent_model_says_so(bench: Bench) -> None:
    portal = bench.portal()
    portal.resume("absent-model")
    assert isinstance(portal.wait_ready("chat", 5).error, ModelFilesError)


def test_stopping_a_first_model_that_still_loads_stops_it(bench: Bench) -> None:
    bench.launcher.options = ("--load-seconds", "60")
    portal = bench.portal()
    portal.start("chat", MODEL)
    until(bench.record)
    portal.stop("chat")
    assert portal.status("chat").state is EngineState.STOPPED
    assert portal.rollout().step == "cancelled"


def test_a_failed_start_gives_the_decisive_lines_and_is_not_repeated(bench: Bench, tmp_path: Path) -> None:
    trace = tmp_path / "trace.txt"
    trace.write_text("Traceback (most recent call last):\n  File x\nValueError: no room for the KV cache\n")
    bench.launcher.options = ("--stderr-file", str(trace), "--load-seconds", "60", "--exit-after", "0.2")
    portal = bench.portal()
    portal.start("chat", MODEL)
    status = portal.wait_ready("chat", 10)
    assert status.state is EngineState.FAILED
    assert isinstance(status.error, EngineStartFailed)
    assert status.error.params["log"] == "ValueError: no room for the KV cache"
    assert "no room for the KV cache" in status.reason
    assert bench.launcher.launches == 1
    assert bench.record() is None
    assert [row.ready for row in bench.starts()] == [False]


def test_a_start_over_the_time_limit_fails_and_leaves_nothing(tmp_path: Path) -> None:
    bench = Bench(tmp_path, engine_start_timeout_s=0.5)
    bench.launcher.options = ("--load-seconds", "60")
    portal = bench.portal()
    portal.start("chat", MODEL)
    status = portal.wait_ready("chat", 10)
    assert status.reason == "The model Fake-Model was not ready after 1 s."
    assert bench.record() is None
    bench.close()


def test_an_engine_that_lost_its_port_is_started_on_another(bench: Bench, tmp_path: Path) -> None:
    trace = tmp_path / "trace.txt"
    trace.write_text("OSError: [Errno 98] Address already in use\n")
    bench.launcher.once = [("--stderr-file", str(trace), "--load-seconds", "60", "--exit-after", "0.1")]
    bench.ready_portal()
    assert bench.launcher.launches == 2


def test_a_failed_engine_can_be_started_again(bench: Bench) -> None:
    bench.launcher.once = [("--exit-after", "0", "--load-seconds", "60")]
    portal = bench.portal()
    portal.start("chat", MODEL)
    assert portal.wait_ready("chat", 10).state is EngineState.FAILED
    portal.start("chat", MODEL)
    assert portal.wait_ready("chat", 10).state is EngineState.READY


def test_stop_ends_every_process_of_the_group(bench: Bench) -> None:
    portal = bench.ready_portal("--spawn-worker")
    session = bench.session()
    assert len(session.members()) == 2
    portal.stop("chat")
    assert session.members() == []
    assert portal.status("chat").state is EngineState.STOPPED
    assert bench.record() is None


def test_stop_kills_what_ignores_the_request_to_end(bench: Bench) -> None:
    portal = bench.ready_portal("--ignore-sigterm")
    session = bench.session()
    portal.stop("chat")
    assert session.members() == []


def test_stop_ends_an_engine_that_is_still_loading(bench: Bench) -> None:
    bench.launcher.options = ("--load-seconds", "60")
    portal = bench.portal()
    portal.start("chat", MODEL)
    until(bench.record)
    session = bench.session()
    portal.stop("chat")
    assert session.members() == []


def test_stop_does_not_wait_for_a_hanging_readiness_probe(tmp_path: Path) -> None:
    bench = Bench(tmp_path, engine_probe_timeout_s=60)
    bench.launcher.options = ("--hang",)
    portal = bench.portal()
    portal.start("chat", MODEL)
    time.sleep(1)
    began = time.monotonic()
    portal.stop("chat")
    assert time.monotonic() - began < 20
    bench.close()


def test_a_start_waits_for_a_stop_in_progress(bench: Bench) -> None:
    portal = bench.ready_portal("--ignore-sigterm")
    first = bench.session()
    portal.stop("chat", wait=False)
    portal.start("chat", MODEL)
    until(lambda: bench.launcher.launches == 2)
    assert first.members() == []
    assert portal.wait_ready("chat", 10).state is EngineState.READY


def test_stopping_what_is_stopped_does_nothing(bench: Bench) -> None:
    portal = bench.portal()
    portal.stop("chat")
    assert portal.status("chat").state is EngineState.STOPPED


def test_a_drained_engine_finishes_its_answers_first(bench: Bench) -> None:
    portal = bench.ready_portal("--first-token-seconds", "0.8")
    endpoint = portal.endpoint("chat")
    headers = {"Authorization": f"Bearer {endpoint.api_key}"}
    body = {"model": MODEL, "stream": True, "messages": [{"role": "user", "content": "Hi"}]}
    url = f"{endpoint.base_url}/chat/completions"
    client = httpx.Client(trust_env=False, headers=headers)
    with client, client.stream("POST", url, json=body) as response:
        portal.stop("chat", wait=False, drain_s=5)
        until(lambda: portal.status("chat").state is EngineState.DRAINING)
        with pytest.raises(EngineNotReady):
            portal.endpoint("chat")
        assert response.read().endswith(b"data: [DONE]\n\n")
    until(lambda: portal.status("chat").state is EngineState.STOPPED)


def test_a_killed_engine_is_restarted(bench: Bench) -> None:
    portal = bench.ready_portal()
    first = bench.session()
    os.kill(first.pid, signal.SIGKILL)
    until(lambda: portal.status("chat").state is EngineState.STARTING)
    assert "loading again (restart 1 of 3)" in portal.status("chat").reason
    until(lambda: portal.status("chat").ready)
    assert bench.session().pid != first.pid


def test_the_worker_of_a_killed_engine_is_ended_before_the_restart(bench: Bench) -> None:
    portal = bench.ready_portal("--spawn-worker")
    first = bench.session()
    worker = next(pid for pid in first.members() if pid != first.pid)
    os.kill(first.pid, signal.SIGKILL)
    until(lambda: bench.launcher.launches == 2)
    assert not psutil.pid_exists(worker) or psutil.Process(worker).status() == psutil.STATUS_ZOMBIE
    assert portal.wait_ready("chat", 10).ready


def test_an_engine_whose_core_died_is_found_by_its_health(bench: Bench) -> None:
    portal = bench.ready_portal()
    misbehave(portal, "core-dead")
    until(lambda: bench.launcher.launches == 2)
    assert portal.wait_ready("chat", 10).ready


def test_a_reported_failure_of_a_hanging_engine_restarts_it(bench: Bench) -> None:
    portal = bench.ready_portal()
    misbehave(portal, "hang")
    time.sleep(0.8)
    assert bench.launcher.launches == 1, "its health is good: nobody knows yet"
    portal.report_failure(portal.status("chat").deployment_id)
    until(lambda: bench.launcher.launches == 2)


def test_a_false_report_restarts_nothing(bench: Bench) -> None:
    portal = bench.ready_portal()
    portal.report_failure(portal.status("chat").deployment_id)
    time.sleep(0.5)
    assert portal.status("chat").ready
    assert bench.launcher.launches == 1


def test_an_engine_that_keeps_crashing_fails_for_good_with_its_log(bench: Bench, tmp_path: Path) -> None:
    trace = tmp_path / "trace.txt"
    trace.write_text("RuntimeError: worker went away\n")
    portal = bench.ready_portal("--exit-after", "0.6", "--stderr-file", str(trace))
    until(lambda: portal.status("chat").state is EngineState.FAILED, 20)
    assert "RuntimeError: worker went away" in portal.status("chat").reason
    assert bench.launcher.launches == 1 + bench.settings.engine_max_restarts
    assert bench.record() is None


def test_crashes_are_forgotten_after_a_stable_time(tmp_path: Path) -> None:
    bench = Bench(tmp_path, engine_max_restarts=1, engine_stable_s=0.1)
    portal = bench.ready_portal("--exit-after", "0.8")
    until(lambda: bench.launcher.launches == 4, 20)
    assert portal.status("chat").state is not EngineState.FAILED
    bench.close()


def test_a_large_log_is_rotated_under_the_running_engine(bench: Bench) -> None:
    portal = bench.ready_portal("--chatter", "1200000")
    log = bench.settings.engines_dir / f"{portal.status('chat').deployment_id}.log"
    until(lambda: log.with_name(f"{log.name}.1").exists() and log.stat().st_size < 1_000_000)
    assert portal.log_tail("chat", 3) == ["x" * 99] * 3


def test_the_whole_log_is_searched_also_what_was_rotated_away(bench: Bench) -> None:
    portal = bench.ready_portal("--chatter", "1200000")
    deployment_id = portal.status("chat").deployment_id
    log = portal.deployment_log(deployment_id)
    until(log.old_path.exists)
    assert len(log.search("XXX", 5000)) == 5000
    assert log.search("no such words", 10) == []
