"""The door to openai, against a fake engine that is a real child process."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import httpx
import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from services.chat_model import ChatModel, ChatRequest, ChatStream
from services.engines.gate import Gate, Lease
from services.engines.states import Endpoint
from services.errors import ContextTooLong, EngineDied, EngineError, EngineNotReady, EngineRetired, EngineTimeout
from services.settings import Settings
from tests.fakes import FAKE_ENGINE

REPLY = "Annual leave is 15 days. 年假为十五天。"
ASK = ChatRequest([{"role": "user", "content": "How long is annual leave?"}], max_tokens=100)


@dataclass
class OneEngine:
    """What the chat model needs of Deployments, around one child process."""

    process: subprocess.Popen
    port: int
    model_path: Path
    key: str = "secret"
    reported: list[int] = field(default_factory=list)
    gate: Gate = field(init=False)

    def __post_init__(self) -> None:
        self.gate = Gate(self.endpoint)

    def endpoint(self, role: str) -> Endpoint:
        return Endpoint(f"http://127.0.0.1:{self.port}/v1", self.key, "fake-model", self.model_path, deployment_id=7)

    def enter(self, role: str, *, first: bool = False) -> Lease:
        return self.gate.enter(role, first=first)

    def report_failure(self, deployment_id: int) -> None:
        self.reported.append(deployment_id)

    def mode(self, mode: str) -> None:
        httpx.post(f"http://127.0.0.1:{self.port}/fake/{mode}", trust_env=False)

    def metric(self, name: str) -> float:
        text = httpx.get(f"http://127.0.0.1:{self.port}/metrics", trust_env=False).text
        return float(re.search(rf"^{name}\S* (\S+)$", text, re.MULTILINE)[1])


@dataclass
class StoppedEngine:
    """Deployments of which nothing runs."""

    def enter(self, role: str, *, first: bool = False) -> Lease:
        raise EngineNotReady("The model is stopped.")


Start = Callable[..., OneEngine]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    engines: list[OneEngine] = []

    def start(*options: str) -> OneEngine:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        command = [sys.executable, str(FAKE_ENGINE), "--port", str(port), "--reply", REPLY, *options]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, env=os.environ | {"VLLM_API_KEY": "secret"})
        assert process.stdout.readline() == b"ready\n"
        engines.append(OneEngine(process, port, tmp_path))
        return engines[-1]

    yield start
    for engine in engines:
        engine.process.kill()
        engine.process.wait()
        engine.process.stdout.close()


def model(engine: object, **limits: float) -> ChatModel:
    return ChatModel(engine, Settings(**limits))


def ask(chat_model: ChatModel, request: ChatRequest = ASK, **options: float) -> ChatStream:
    return chat_model.stream(request, chat_model.enter(), **options)


def test_an_answer_comes_in_deltas_with_its_counts(start: Start) -> None:
    stream = ask(model(start()))
    deltas = list(stream)
    assert "".join(deltas) == REPLY
    assert len(deltas) > 5
    assert stream.prompt_tokens == len(ASK.messages[0]["content"])
    assert stream.completion_tokens == len(deltas)
    assert (stream.model_id, stream.finish_reason) == ("fake-model", "stop")
    assert stream.first_token_ms > 0


def test_deltas_arrive_while_the_engine_is_still_writing(start: Start) -> None:
    engine = start("--token-seconds", "0.2")
    with ask(model(engine)) as stream:
        next(stream)
        assert engine.metric("vllm:num_requests_running") == 1


def test_an_answer_cut_at_its_length_says_so(start: Start) -> None:
    stream = ask(model(start()), ChatRequest(ASK.messages, max_tokens=2))
    assert len(list(stream)) == 2
    assert stream.finish_reason == "length"


def test_closing_the_stream_aborts_the_request_in_the_engine(start: Start) -> None:
    engine = start("--token-seconds", "0.1")
    stream = ask(model(engine))
    next(stream)
    stream.close()
    deadline = time.monotonic() + 2
    while engine.metric("vllm:num_requests_running"):
        assert time.monotonic() < deadline
    assert engine.metric("fake:aborted") == 1
    assert list(stream) == []
    assert stream.completion_tokens >= 1
    assert engine.reported == []


def test_heartbeats_let_the_reader_stop_before_the_first_token(start: Start) -> None:
    engine = start("--first-token-seconds", "5")
    with ask(model(engine), heartbeat_s=0.05) as stream:
        assert [next(stream), next(stream)] == ["", ""]
    assert stream.first_token_ms is None


def test_what_is_not_ready_is_told_as_it_is() -> None:
    with pytest.raises(EngineNotReady, match="stopped"):
        ask(model(StoppedEngine()))


def test_an_engine_that_is_gone_is_not_ready_and_reported(start: Start) -> None:
    engine = start()
    engine.process.kill()
    engine.process.wait()
    with pytest.raises(EngineNotReady):
        ask(model(engine))
    assert engine.reported == [7]


def test_an_api_whose_core_died_is_not_ready_and_reported(start: Start) -> None:
    engine = start()
    engine.mode("core-dead")
    with pytest.raises(EngineNotReady):
        ask(model(engine))
    assert engine.reported == [7]


def test_an_engine_dying_mid_answer_leaves_what_came(start: Start) -> None:
    engine = start("--token-seconds", "0.05")
    engine.mode("die-mid-answer")
    stream = ask(model(engine))
    deltas: list[str] = []
    with pytest.raises(EngineDied):
        deltas.extend(stream)
    assert "".join(deltas) == REPLY[:9]
    assert stream.completion_tokens == 3
    assert engine.reported == [7]
    assert list(stream) == []


def test_an_engine_killed_mid_answer_is_a_died_engine(start: Start) -> None:
    engine = start("--token-seconds", "0.2")
    stream = ask(model(engine))
    next(stream)
    engine.process.send_signal(signal.SIGKILL)
    with pytest.raises(EngineDied):
        list(stream)


def test_a_prompt_over_the_window_is_told_with_the_limit(start: Start) -> None:
    engine = start("--context-tokens", "10")
    with pytest.raises(ContextTooLong, match="takes 10 tokens at most"):
        ask(model(engine))
    assert engine.reported == []


def test_a_foreign_engine_refuses_our_key(start: Start) -> None:
    engine = start()
    engine.key = "another"
    with pytest.raises(EngineError, match="refused"):
        ask(model(engine))


def test_a_late_first_token_is_a_timeout_and_reported(start: Start) -> None:
    engine = start()
    engine.mode("hang")
    stream = ask(model(engine, first_token_timeout_s=0.3))
    with pytest.raises(EngineTimeout, match="begin to answer"):
        next(stream)
    assert engine.reported == [7]


def test_an_answer_over_the_time_limit_is_cut_and_its_beginning_stands(start: Start) -> None:
    engine = start("--token-seconds", "0.15")
    stream = ask(model(engine, answer_timeout_s=1))
    deltas: list[str] = []
    with pytest.raises(EngineTimeout, match="not complete"):
        deltas.extend(stream)
    assert deltas
    assert REPLY.startswith("".join(deltas))


def test_eight_askers_share_one_model(start: Start) -> None:
    shared = model(start("--token-seconds", "0.01"))
    answers: list[str] = []
    askers = [threading.Thread(target=lambda: answers.append("".join(ask(shared)))) for _ in range(8)]
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join()
    assert answers == [REPLY] * 8


def test_a_restarted_engine_is_met_at_its_new_place(start: Start) -> None:
    engine = start()
    shared = model(engine)
    assert "".join(ask(shared)) == REPLY
    engine.port = start().port
    assert "".join(ask(shared)) == REPLY


def test_a_proxy_of_the_environment_is_not_asked(start: Start, tmp_path: Path) -> None:
    """In a process of its own, because the environment is that of the whole process."""
    engine = start()
    script = (
        "import sys\n"
        "from pathlib import Path\n"
        "from tests.unit.test_chat_model import OneEngine, ask, model\n"
        "print(''.join(ask(model(OneEngine(None, int(sys.argv[1]), Path('.'))))))\n"
    )
    proxies = {
        "HTTP_PROXY": "http://127.0.0.1:9",
        "http_proxy": "http://127.0.0.1:9",
        "ALL_PROXY": "http://127.0.0.1:9",
    }
    environment = os.environ | proxies | {"PYTHONIOENCODING": "utf-8"}
    root = Path(__file__).resolve().parent.parent.parent
    command = [sys.executable, "-c", script, str(engine.port)]
    done = subprocess.run(command, capture_output=True, env=environment, cwd=root, check=True)
    assert done.stdout.decode().strip() == REPLY


def test_tokens_are_counted_with_the_models_own_tokenizer(start: Start, tmp_path: Path) -> None:
    tokenizer = Tokenizer(WordLevel({"leave": 0, "[UNK]": 1}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    chat_model = model(start())
    assert chat_model.count_tokens("leave is leave", chat_model.enter()) == 3


def test_tokens_for_a_gguf_file_are_counted_by_its_engine(start: Start) -> None:
    engine = start()
    chat_model = model(replace(engine, model_path=Path("model.gguf")))
    lease = chat_model.enter()
    assert chat_model.count_tokens("leave is leave", lease) == 3
    engine.process.kill()
    engine.process.wait()
    assert chat_model.count_tokens("leave is leave", lease) >= 3


def test_tokens_of_a_model_elsewhere_are_guessed_rather_high(start: Start) -> None:
    chat_model = model(replace(start(), model_path=Path()))
    lease = chat_model.enter()
    assert chat_model.count_tokens("年假有十五天", lease) >= 6
    assert 10 <= chat_model.count_tokens("Annual leave is fifteen days.", lease) <= 15


def test_an_engine_that_was_stopped_for_another_model_is_not_reported(start: Start) -> None:
    engine = start("--first-token-seconds", "5")
    chat_model = model(engine)
    stream = ask(chat_model)
    engine.gate.cut(7)
    engine.process.kill()
    with pytest.raises(EngineRetired):
        list(stream)
    assert engine.reported == []


def test_a_lease_is_released_with_the_end_of_its_stream(start: Start) -> None:
    engine = start()
    chat_model = model(engine)
    stream = ask(chat_model)
    assert engine.gate.running(7) == 1
    list(stream)
    assert engine.gate.running(7) == 0
    ask(chat_model).close()
    assert engine.gate.running(7) == 0


def test_importing_the_module_imports_neither_openai_nor_tokenizers() -> None:
    script = "import sys, services.chat_model; print({'openai', 'tokenizers', 'httpx'} & set(sys.modules))"
    root = Path(__file__).resolve().parent.parent.parent
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=root, check=True)
    assert done.stdout.strip() == "set()"
