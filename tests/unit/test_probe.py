"""When an engine counts as alive: by a token, by its counters, by the work of its processes."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from services.engines.probe import LONGEST_SILENCE_S, EngineProbe
from services.engines.states import Endpoint
from services.errors import EngineDied, EngineError, EngineTimeout

HERE = Endpoint("http://127.0.0.1:4711/v1", "secret", "tiny", Path(), served_name="/models/tiny")
ELSEWHERE = Endpoint("https://models.example.com/v1", "secret", "tiny", Path(), served_name="org/tiny")


class ScriptedEngine:
    """Answers as it is told; it can be changed between calls. meanwhile: done while a token hangs."""

    def __init__(self) -> None:
        self.health = 200
        self.metrics: tuple[float, float] | None = (0, 0.0)  # generated tokens, use of the KV cache
        self.hangs = False
        self.meanwhile = lambda: None
        self.reply = httpx.Response(200, json={"choices": [{"message": {"content": "Paris"}}]})
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        if request.url.path == "/health":
            return httpx.Response(self.health)
        if request.url.path == "/v1/models":
            return httpx.Response(200, json={"data": []})
        if request.url.path == "/metrics":
            return self._metrics()
        if self.hangs:
            self.meanwhile()
            raise httpx.ReadTimeout("no answer", request=request)
        return self.reply

    def asked(self, path: str) -> int:
        return sum(request.url.path == path for request in self.requests)

    def _metrics(self) -> httpx.Response:
        if self.metrics is None:
            return httpx.Response(404)
        tokens, usage = self.metrics
        text = f"vllm:num_requests_running 1.0\nvllm:num_requests_waiting 2.0\nvllm:generation_tokens_total {tokens}\n"
        return httpx.Response(200, text=f"{text}vllm:kv_cache_usage_perc {usage}\n")


class Hours:
    """A monotonic clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


COMPLETIONS = "/v1/chat/completions"


@pytest.fixture
def engine() -> ScriptedEngine:
    return ScriptedEngine()


@pytest.fixture
def clock() -> Hours:
    return Hours()


def child(code: str) -> Iterator[int]:
    process = subprocess.Popen([sys.executable, "-c", code])
    yield process.pid
    process.kill()
    process.wait()


@pytest.fixture
def working() -> Iterator[int]:
    """The pid of a process that computes."""
    yield from child("while True: pass")


@pytest.fixture
def sleeping() -> Iterator[int]:
    yield from child("import time; time.sleep(600)")


def probe(engine: ScriptedEngine, endpoint: Endpoint = HERE, **options: object) -> EngineProbe:
    return EngineProbe(endpoint, look_s=0.5, transport=httpx.MockTransport(engine), **options)


def test_an_idle_engine_is_asked_for_one_token_under_its_served_name_and_with_its_key(engine: ScriptedEngine) -> None:
    assert probe(engine).lives(1)
    (request,) = [request for request in engine.requests if request.url.path == COMPLETIONS]
    assert request.headers["Authorization"] == "Bearer secret"
    assert b'"/models/tiny"' in request.read()


def test_a_busy_engine_is_not_disturbed_while_its_counters_move(engine: ScriptedEngine) -> None:
    asking = probe(engine)
    asking.lives(1)
    engine.metrics = (7, 0.0)
    assert asking.lives(1)
    assert engine.asked(COMPLETIONS) == 1


def test_the_probes_own_token_is_no_progress_the_next_time(engine: ScriptedEngine) -> None:
    asking = probe(engine)
    for _ in range(3):
        assert asking.lives(1)
    assert engine.asked(COMPLETIONS) == 3


def test_a_token_that_waits_behind_others_does_no_harm_while_they_get_on(engine: ScriptedEngine) -> None:
    engine.hangs = True
    engine.meanwhile = lambda: setattr(engine, "metrics", (0, 0.25))
    assert probe(engine).lives(1)


def test_an_engine_that_neither_answers_nor_works_is_dead(engine: ScriptedEngine, sleeping: int) -> None:
    asking = probe(engine, pids=lambda: [sleeping])
    assert asking.lives(1)
    engine.hangs = True
    assert not asking.lives(1)


def test_a_long_step_on_a_cpu_is_work_and_no_hang(engine: ScriptedEngine, working: int) -> None:
    asking = probe(engine, pids=lambda: [working])
    assert asking.lives(1)
    engine.hangs = True
    assert asking.lives(1)


def test_a_process_that_only_waits_for_its_children_does_not_count(engine: ScriptedEngine, sleeping: int) -> None:
    """Our own process stands for a scheduler that spins while its worker hangs."""
    asking = probe(engine, pids=lambda: [os.getpid(), sleeping])
    assert asking.lives(1)
    engine.hangs = True
    spinning = threading.Thread(target=lambda: [i * i for i in range(20_000_000)], daemon=True)
    spinning.start()
    assert not asking.lives(1)


def test_work_without_progress_counts_for_some_minutes_only(engine: ScriptedEngine, clock: Hours, working: int) -> None:
    asking = probe(engine, pids=lambda: [working], clock=clock)
    assert asking.lives(1)
    engine.hangs = True
    clock.now = LONGEST_SILENCE_S + 1
    assert not asking.lives(1)


def test_work_does_not_make_an_engine_ready_that_never_made_a_token(engine: ScriptedEngine, working: int) -> None:
    engine.hangs = True
    assert not probe(engine, pids=lambda: [working]).lives(1)


def test_work_does_not_excuse_an_api_that_is_down(engine: ScriptedEngine, working: int) -> None:
    asking = probe(engine, pids=lambda: [working])
    assert asking.lives(1)
    engine.hangs, engine.health = True, 503
    assert not asking.lives(1)


def test_on_a_gpu_the_processors_work_says_nothing(engine: ScriptedEngine, working: int) -> None:
    asking = probe(engine, pids=lambda: [working], device="cuda")
    assert asking.lives(1)
    engine.hangs = True
    assert not asking.lives(1)


def test_without_counters_it_is_all_there_is(engine: ScriptedEngine, working: int) -> None:
    engine.metrics = None
    asking = probe(engine, pids=lambda: [working], device="cuda")
    assert asking.lives(1)
    engine.hangs = True
    assert asking.lives(1)
    assert asking.reading() is None
    assert asking.running_requests() == 0


def test_running_and_waiting_requests_are_counted(engine: ScriptedEngine) -> None:
    assert probe(engine).running_requests() == 3


@pytest.mark.parametrize("status", [401, 404])
def test_a_server_without_a_health_check_is_asked_for_its_models(status: int, engine: ScriptedEngine) -> None:
    engine.health = status
    assert probe(engine, ELSEWHERE).healthy()
    assert engine.asked("/v1/models") == 1


def test_a_server_elsewhere_that_has_too_much_to_do_is_there(engine: ScriptedEngine) -> None:
    engine.metrics, engine.reply = None, httpx.Response(429)
    assert probe(engine, ELSEWHERE).lives(1)


def test_an_engine_that_knows_its_core_is_dead_is_believed(engine: ScriptedEngine) -> None:
    engine.health = 503
    assert not probe(engine).healthy()
    assert engine.asked("/v1/models") == 0


def test_a_test_question_gets_the_text_of_its_answer(engine: ScriptedEngine) -> None:
    messages = [{"role": "user", "content": "What is the capital of France?"}]
    assert probe(engine).generate(messages, 8, 5) == "Paris"


def test_what_went_wrong_with_a_test_question_is_told_apart(engine: ScriptedEngine) -> None:
    asking = probe(engine)
    engine.reply = httpx.Response(500, text="EngineCore encountered an issue")
    with pytest.raises(EngineError, match="500 EngineCore"):
        asking.generate([], 8, 5)
    engine.hangs = True
    with pytest.raises(EngineTimeout):
        asking.generate([], 8, 5)
    with pytest.raises(EngineDied):
        EngineProbe(HERE, transport=httpx.MockTransport(_refuse)).generate([], 8, 5)


def _refuse(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("connection refused", request=request)
