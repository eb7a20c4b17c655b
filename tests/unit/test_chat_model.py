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
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from services.chat_model import ChatModel, ChatRequest
from services.engines.deployments import Endpoint
from services.errors import ContextTooLong, EngineDied, EngineError, EngineNotReady, EngineTimeout
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
    reported: list[str] = field(default_factory=list)

    def endpoint(self, role: str) -> Endpoint:
        return Endpoint(f"http://127.0.0.1:{self.port}/v1", self.key, "fake-model", self.model_path)

    def report_failure(self, role: str) -> None:
        self.reported.append(role)

    def mode(self, mode: str) -> None:
        httpx.post(f"http://127.0.0.1:{self.port}/fake/{mode}", trust_env=False)

    def metric(self, name: str) -> float:
        text = httpx.get(f"http://127.0.0.1:{self.port}/metrics", trust_env=False).text
        return float(re.search(rf"^{name}\S* (\S+)$", text, re.MULTILINE)[1])


@dataclass
class StoppedEngine:
    """Deployments of which nothing runs."""

    def endpoint(self, role: str) -> Endpoint:
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


def test_an_answer_comes_in_deltas_with_its_counts(start: Start) -> None:
    stream = model(start()).stream(ASK)
    deltas = list(stream)
    assert "".join(deltas) == REPLY
    assert len(deltas) > 5
    assert stream.prompt_tokens == len(ASK.messages[0]["content"])
    assert stream.completion_tokens == len(deltas)
    assert (stream.model_id, stream.finish_reason) == ("fake-model", "stop")
    assert stream.first_token_ms > 0


def test_deltas_arrive_while_the_engine_is_still_writing(start: Start) -> None:
    engine = start("--token-seconds", "0.2")
    with model(engine).stream(ASK) as stream:
        next(stream)
        assert engine.metric("vllm:num_requests_running") == 1


def test_an_answer_cut_at_its_length_says_so(start: Start) -> None:
    stream = model(start()).stream(ChatRequest(ASK.messages, max_tokens=2))
    assert len(list(stream)) == 2
    assert stream.finish_reason == "length"


def test_closing_the_stream_aborts_the_request_in_the_engine(start: Start) -> None:
    engine = start("--token-seconds", "0.1")
    stream = model(engine).stream(ASK)
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
    with model(engine).stream(ASK, heartbeat_s=0.05) as stream:
        assert [next(stream), next(stream)] == ["", ""]
    assert stream.first_token_ms is None


def test_what_is_not_ready_is_told_as_it_is() -> None:
    with pytest.raises(EngineNotReady, match="stopped"):
        model(StoppedEngine()).stream(ASK)
    with pytest.raises(EngineNotReady, match="stopped"):
        model(StoppedEngine()).count_tokens("text")


def test_an_engine_that_is_gone_is_not_ready_and_reported(start: Start) -> None:
    engine = start()
    engine.process.kill()
    engine.process.wait()
    with pytest.raises(EngineNotReady):
        model(engine).stream(ASK)
    assert engine.reported == ["chat"]


def test_an_api_whose_core_died_is_not_ready_and_reported(start: Start) -> None:
    engine = start()
    engine.mode("core-dead")
    with pytest.raises(EngineNotReady):
        model(engine).stream(ASK)
    assert engine.reported == ["chat"]


def test_an_engine_dying_mid_answer_leaves_what_came(start: Start) -> None:
    engine = start("--token-seconds", "0.05")
    engine.mode("die-mid-answer")
    stream = model(engine).stream(ASK)
    deltas: list[str] = []
    with pytest.raises(EngineDied):
        deltas.extend(stream)
    assert "".join(deltas) == REPLY[:9]
    assert stream.completion_tokens == 3
    assert engine.reported == ["chat"]
    assert list(stream) == []


def test_an_engine_killed_mid_answer_is_a_died_engine(start: Start) -> None:
    engine = start("--token-seconds", "0.2")
    stream = model(engine).stream(ASK)
    next(stream)
    engine.process.send_signal(signal.SIGKILL)
    with pytest.raises(EngineDied):
        list(stream)


def test_a_prompt_over_the_window_is_told_with_the_limit(start: Start) -> None:
    engine = start("--context-tokens", "10")
    with pytest.raises(ContextTooLong, match="takes 10 tokens at most"):
        model(engine).stream(ASK)
    assert engine.reported == []


def test_a_foreign_engine_refuses_our_key(start: Start) -> None:
    engine = start()
    engine.key = "another"
    with pytest.raises(EngineError, match="refused"):
        model(engine).stream(ASK)


def test_a_late_first_token_is_a_timeout_and_reported(start: Start) -> None:
    engine = start()
    engine.mode("hang")
    stream = model(engine, first_token_timeout_s=0.3).stream(ASK)
    with pytest.raises(EngineTimeout, match="begin to answer"):
        next(stream)
    assert engine.reported == ["chat"]


def test_an_answer_over_the_time_limit_is_cut_and_its_beginning_stands(start: Start) -> None:
    engine = start("--token-seconds", "0.15")
    stream = model(engine, answer_timeout_s=1).stream(ASK)
    deltas: list[str] = []
    with pytest.raises(EngineTimeout, match="not complete"):
        deltas.extend(stream)
    assert deltas
    assert REPLY.startswith("".join(deltas))


def test_eight_askers_share_one_model(start: Start) -> None:
    shared = model(start("--token-seconds", "0.01"))
    answers: list[str] = []
    askers = [threading.Thread(target=lambda: answers.append("".join(shared.stream(ASK)))) for _ in range(8)]
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join()
    assert answers == [REPLY] * 8


def test_a_restarted_engine_is_met_at_its_new_place(start: Start) -> None:
    engine = start()
    shared = model(engine)
    assert "".join(shared.stream(ASK)) == REPLY
    engine.port = start().port
    assert "".join(shared.stream(ASK)) == REPLY


def test_a_proxy_of_the_environment_is_not_asked(start: Start, tmp_path: Path) -> None:
    """In a process of its own, because the environment is that of the whole process."""
    engine = start()
    script = (
        "import sys\n"
        "from pathlib import Path\n"
        "from tests.unit.test_chat_model import ASK, OneEngine, model\n"
        "print(''.join(model(OneEngine(None, int(sys.argv[1]), Path('.'))).stream(ASK)))\n"
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
    assert model(start()).count_tokens("leave is leave") == 3


def test_importing_the_module_imports_neither_openai_nor_tokenizers() -> None:
    script = "import sys, services.chat_model; print({'openai', 'tokenizers', 'httpx'} & set(sys.modules))"
    root = Path(__file__).resolve().parent.parent.parent
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=root, check=True)
    assert done.stdout.strip() == "set()"
