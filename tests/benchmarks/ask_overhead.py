"""What the portal adds to the engine's own time to first token, at 1 and at 8 askers.

The same messages, alternately through AskService and straight to the engine over plain HTTP, each time after the
engine has let go of the requests before; both find the prompt in the engine's prefix cache. The portal's time counts
from question to first delta, retrieval apart.

    .venv/bin/python -m tests.benchmarks.ask_overhead      (starts the engine of PORTAL_HOME's model if none runs)
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import httpx

from services.bootstrap import Services, build
from services.evidence import choose_evidence
from services.permissions import CONSOLE
from services.prompts import answer_messages
from services.settings import Settings
from tests.portal_process import ROOT

ROUNDS = 24
SETTLE_S = 0.5  # after the last request is gone: threads of the engine spin for a moment longer
QUESTIONS = [json.loads(line)["question"] for line in (ROOT / "samples/questions.jsonl").read_text().splitlines()][:8]


def through_the_portal(services: Services, question: str) -> dict[str, float]:
    """ms from question to first delta: in all, and for retrieval."""
    began = time.perf_counter()
    answer = services.ask.stream(question, actor=CONSOLE)
    for delta in answer.deltas:
        if delta:
            break
    total_ms = (time.perf_counter() - began) * 1000
    answer.deltas.close()
    return answer.timings_ms | {"total": total_ms}


def straight_to_the_engine(services: Services, client: httpx.Client, messages: list[dict]) -> float:
    endpoint = services.deployments.endpoint("chat")
    body = {"model": endpoint.model_id, "messages": messages, "max_tokens": 100, "temperature": 0, "stream": True}
    began = time.perf_counter()
    with client.stream("POST", f"{endpoint.base_url}/chat/completions", json=body) as response:
        for line in response.iter_lines():
            if line.startswith("data: {") and json.loads(line[6:])["choices"][0]["delta"].get("content"):
                return (time.perf_counter() - began) * 1000
    raise RuntimeError("the engine gave no token")


def settle(client: httpx.Client, base_url: str) -> None:
    """Wait until the engine works on nothing."""
    metrics_url = base_url.removesuffix("/v1") + "/metrics"
    while _running(client.get(metrics_url).text):
        time.sleep(0.05)
    time.sleep(SETTLE_S)


def _running(metrics: str) -> float:
    """Requests the engine works on, from its Prometheus metrics."""
    return sum(float(line.split()[-1]) for line in metrics.splitlines() if line.startswith("vllm:num_requests_running"))


def messages_for(services: Services, question: str) -> list[dict]:
    """The very messages that the portal sends for the question."""
    settings = services.settings
    ids = [collection.id for collection in services.library.collections(CONSOLE)]
    passages = services.retriever.retrieve(question, collection_ids=ids, limit=6).passages
    evidence = choose_evidence(
        question,
        passages,
        budget_tokens=settings.evidence_tokens,
        count_tokens=partial(services.chat_model.count_tokens, lease=services.chat_model.enter()),
    )
    language = "zh" if any("\u4e00" <= ch <= "\u9fff" for ch in question) else "en"
    return answer_messages(services.catalogue.get(settings.chat_model).ask.template, language, evidence, question)


def measure(services: Services, askers: int) -> dict:
    endpoint = services.deployments.endpoint("chat")
    client = httpx.Client(headers={"Authorization": f"Bearer {endpoint.api_key}"}, timeout=300, trust_env=False)
    messages = {question: messages_for(services, question) for question in QUESTIONS}
    for question in QUESTIONS:  # into the prefix cache, for both
        straight_to_the_engine(services, client, messages[question])
    portal, engine = [], []
    with ThreadPoolExecutor(askers) as pool:
        for round_number in range(ROUNDS):
            batch = [QUESTIONS[(round_number + n) % len(QUESTIONS)] for n in range(askers)]
            settle(client, endpoint.base_url)
            engine += pool.map(lambda q: straight_to_the_engine(services, client, messages[q]), batch)
            settle(client, endpoint.base_url)
            portal += pool.map(lambda q: through_the_portal(services, q), batch)
    retrieve = [timing["retrieve"] for timing in portal]
    without_retrieval = [timing["total"] - timing["retrieve"] for timing in portal]
    added = [asked - alone for asked, alone in zip(without_retrieval, engine, strict=True)]  # the same question each
    steps = {name for timing in portal for name in timing if not name.startswith(("total", "decode"))}
    return {
        "askers": askers,
        "engine_alone_ttft_ms": round(statistics.median(engine), 1),
        "portal_ttft_without_retrieval_ms": round(statistics.median(without_retrieval), 1),
        "added_ms": round(statistics.median(added), 1),
        "added_quartiles_ms": [round(quartile, 1) for quartile in statistics.quantiles(added)],
        "retrieval_ms": round(statistics.median(retrieve), 1),
        "steps_ms": {s: round(statistics.median([t.get(s, 0.0) for t in portal]), 2) for s in sorted(steps)},
    }


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as home:
        models = Settings().home.resolve() / "models"
        (Path(home) / "models").symlink_to(models)
        services = build(Settings(home=Path(home)))
        services.start()
        services.deployments.wait_ready("chat", services.settings.engine_start_timeout_s)
        services.ingest.wait_idle(600)
        for askers in (1, 8):
            print(json.dumps(measure(services, askers)), flush=True)
        services.close()
