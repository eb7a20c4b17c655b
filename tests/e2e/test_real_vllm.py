"""The whole portal with the real vLLM and the default model: started once, asked, killed, adopted, stopped.

The tests run in this order and share one portal: an engine start costs more than a minute.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from services.chat_model import ChatModel, ChatRequest
from services.engines.gate import Gate, Lease
from services.engines.states import Endpoint
from services.settings import Settings
from tests.evaluation_data import EVAL
from tests.portal_process import PortalProcess, wait_until
from tests.prepared_models import SMALLEST, fetched, prepared_home

MANUAL = EVAL / "documents" / "debian__debian-reference.zh-cn.pdf"
QUESTION = "对于移动工作站，典型的 MTA 选择是什么？"
QUESTION_PAGE = 131
BETWEEN_QUESTIONS_S = 3  # two cores: askers without a pause would starve the model that loads
DEFAULT = "qwen2.5-coder-0.5b-instruct"
START_TIMEOUT_S = 400

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def portal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PortalProcess]:
    """A portal of its own state, with the models that `make setup` prepared."""
    prepared = prepared_home() / "models"
    assert prepared.is_dir(), "run `make setup` first: it fetches and converts the default model"
    fetched(SMALLEST)
    home = tmp_path_factory.mktemp("portal")
    (home / "models").symlink_to(prepared.resolve())
    portal = PortalProcess(home)
    portal.start()
    yield portal
    portal.stop()


def test_search_answers_with_passages_while_the_model_loads(portal: PortalProcess) -> None:
    wait_until(lambda: all(row["chunks_total"] for row in _documents(portal)), 120, "the samples were not read")
    ask = _operate(portal, "ask", question="年假有多少天？")
    assert ask["outcome"] == "passages"
    assert ask["error"]["kind"] == "EngineNotReady"
    assert ask["passages"]


def test_a_250_page_manual_is_askable_long_before_it_is_embedded(portal: PortalProcess) -> None:
    portal.cli("documents", "add", str(MANUAL), "--no-wait")
    wait_until(lambda: _manual(portal)["state"] == "embedding", 120, "the manual was not askable in two minutes")
    assert _manual(portal)["pages_total"] == 251


def test_a_question_is_answered_from_the_right_page(portal: PortalProcess) -> None:
    portal.wait_for_engine("ready", START_TIMEOUT_S)
    answer = portal.cli("ask", QUESTION)
    assert answer["outcome"] == "answered", answer
    assert any(word in answer["answer"] for word in ("exim4", "postfix")), answer["answer"]
    assert QUESTION_PAGE in {citation["page"] for citation in answer["citations"]}, answer["citations"]
    assert answer["model"] == DEFAULT


def test_an_unanswerable_question_is_refused_without_the_model(portal: PortalProcess) -> None:
    answer = portal.cli("ask", "谁赢得了1998年世界杯足球赛？")
    assert answer["refused"], answer
    assert answer["answer"] == "未找到相关内容"
    assert answer["citations"] == []
    assert answer["model"] == ""


def test_a_switch_loses_no_question_and_the_way_back_is_short(portal: PortalProcess) -> None:
    """Chat moves to the smallest model beside the default one, which goes on for code; then it moves back."""
    over, answers = threading.Event(), []

    def ask() -> None:
        while not over.is_set():
            answers.append(_operate(portal, "ask", question="How do I connect to the VPN?"))
            over.wait(BETWEEN_QUESTIONS_S)

    askers = [threading.Thread(target=ask) for _ in range(2)]
    for asker in askers:
        asker.start()
    switched = portal.cli("engine", "switch", "chat", SMALLEST)
    over.set()
    for asker in askers:
        asker.join(120)
    assert switched["rollout"]["step"] == "done", switched
    assert {answer["outcome"] for answer in answers} == {"answered"}, answers
    assert {answer["model"] for answer in answers} >= {DEFAULT}
    assert portal.cli("ask", "How do I connect to the VPN?")["model"] == SMALLEST
    small = psutil.Process(portal.engine()["pid"])
    back = portal.cli("engine", "switch", "chat", DEFAULT)["rollout"]
    assert (back["step"], back["mode"]) == ("done", "shared")
    assert not small.is_running()
    assert portal.engine()["shared_with"] == ["code"]


def test_the_portal_process_never_loads_torch(portal: PortalProcess) -> None:
    assert not [path for path in portal.mapped_files() if "libtorch" in path]


def test_closing_the_stream_aborts_the_request_in_vllm(portal: PortalProcess) -> None:
    record = json.loads(next((portal.home / "engines").glob("*.json")).read_text())
    chat_model = ChatModel(OneEndpoint(record), Settings())
    request = ChatRequest([{"role": "user", "content": "Count from 1 to 900."}], max_tokens=900)
    stream = chat_model.stream(request, chat_model.enter())
    next(iter(stream))
    assert _running(record) == 1
    stream.close()
    wait_until(lambda: _running(record) == 0, 20, "vLLM went on with a request whose stream was closed")


def test_a_killed_portal_leaves_its_engine_and_the_next_one_adopts_it(portal: PortalProcess) -> None:
    before = portal.engine()
    portal.kill()
    assert psutil.pid_exists(before["pid"])
    portal.start()
    after = portal.wait_for_engine("ready", 30)
    assert after["pid"] == before["pid"]
    assert _manual(portal)["state"] in ("embedding", "ready")
    assert portal.cli("ask", QUESTION)["outcome"] == "answered"


def test_an_engine_killed_in_the_middle_keeps_the_partial_answer(portal: PortalProcess) -> None:
    pid = portal.engine()["pid"]
    answers: list[dict] = []
    asker = threading.Thread(target=lambda: answers.append(_operate(portal, "ask", question="How do I use the VPN?")))
    asker.start()
    record = json.loads(next((portal.home / "engines").glob("*.json")).read_text())
    wait_until(lambda: _generated(record) > 0, 60, "the engine never began to answer")
    for process in [*psutil.Process(pid).children(recursive=True), psutil.Process(pid)]:
        process.kill()
    asker.join(60)
    assert answers[0]["outcome"] == "failed"
    assert answers[0]["error"]["kind"] == "EngineDied"
    assert portal.wait_for_engine("starting", 30)["pid"] != pid


def test_stopping_the_portal_leaves_no_process(portal: PortalProcess) -> None:
    wait_until(lambda: portal.engine()["pid"] is not None, 60, "the killed engine was not started again")
    pid = portal.engine()["pid"]
    tree = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    portal.stop()
    assert [process for process in tree if process.is_running()] == []
    assert not list((portal.home / "engines").glob("*.json"))


class OneEndpoint:
    """Deployments reduced to one engine that somebody else looks after."""

    def __init__(self, record: dict) -> None:
        self._record = record

    def endpoint(self, _role: str) -> Endpoint:
        return Endpoint(
            base_url=f"http://127.0.0.1:{self._record['port']}/v1",
            api_key=self._record["api_key"],
            model_id=self._record["model_id"],
            model_path=Path(),
        )

    def enter(self, role: str, *, first: bool = False) -> Lease:
        return Gate(self.endpoint).enter(role, first=first)

    def report_failure(self, _deployment_id: int) -> None:
        raise AssertionError("the engine was found dead")


def _operate(portal: PortalProcess, name: str, **arguments) -> dict:
    door = json.loads((portal.home / "operator.json").read_text())
    response = httpx.post(
        f"{door['url']}/operator/{name}",
        json=arguments,
        headers={"Authorization": f"Bearer {door['token']}"},
        timeout=300,
        trust_env=False,
    )
    return response.json()


def _manual(portal: PortalProcess) -> dict:
    return next(row for row in _documents(portal) if row["title"] == MANUAL.name)


def _documents(portal: PortalProcess) -> list[dict]:
    return portal.cli("documents", "list")["documents"]


def _metric(record: dict, name: str) -> float:
    url = f"http://127.0.0.1:{record['port']}/metrics"
    text = httpx.get(url, headers={"Authorization": f"Bearer {record['api_key']}"}, trust_env=False).text
    return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith(name))


def _running(record: dict) -> float:
    return _metric(record, "vllm:num_requests_running")


def _generated(record: dict) -> float:
    return _running(record) and _metric(record, "vllm:generation_tokens_total")
