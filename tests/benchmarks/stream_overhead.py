"""What streaming through the portal's chat model costs against calling the engine directly.

    .venv/bin/python -m tests.benchmarks.stream_overhead [--real] [--rounds 12] [--askers 1 4]

The same prompt and length in turn: through ChatModel (gate, limits, counts), through a bare `openai` client, and
through httpx, which only splits lines. tokens_per_s: from the first delta to the last, of all askers together;
cpu_us_per_token: processor time of this process. Without --real a fake engine makes 200 tokens/s for each asker.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

import httpx
from openai import DefaultHttpx2Client, OpenAI

from services.chat_model import ChatModel, ChatRequest
from services.engines.deployments import Deployments
from services.engines.states import Endpoint
from services.settings import Settings
from tests.benchmarks.real_engines import Machine, answer, await_quiet, real_bench
from tests.engine_bench import Bench

TOKENS = 128
PROMPT = "Write a long story about a printer that wanted to be a telescope."
MESSAGES = [{"role": "user", "content": PROMPT}]
FAKE_TOKENS_PER_S = 200
FAKE_REPLY = "abc" * TOKENS
SETTLE_S = 0.5
BOUND = 0.03

Way = Callable[[], Iterator[object]]  # an item for each delta with text


def through_the_portal(portal: Deployments, settings: Settings) -> Way:
    chat_model = ChatModel(portal, settings)

    def stream() -> Iterator[str]:
        with chat_model.stream(ChatRequest(MESSAGES, TOKENS), chat_model.enter("chat")) as deltas:
            yield from deltas

    return stream


def through_openai(endpoint: Endpoint) -> Way:
    client = OpenAI(
        base_url=endpoint.base_url, api_key=endpoint.api_key, http_client=DefaultHttpx2Client(trust_env=False)
    )

    def stream() -> Iterator[str]:
        chunks = client.chat.completions.create(
            model=endpoint.served_name, messages=MESSAGES, max_tokens=TOKENS, temperature=0.0, stream=True
        )
        for chunk in chunks:
            if chunk.choices and chunk.choices[0].delta.content:
                yield chunk.choices[0].delta.content

    return stream


def through_httpx(endpoint: Endpoint) -> Way:
    client = httpx.Client(headers={"Authorization": f"Bearer {endpoint.api_key}"}, timeout=600, trust_env=False)
    body = {"model": endpoint.served_name, "messages": MESSAGES, "max_tokens": TOKENS, "temperature": 0.0}

    def stream() -> Iterator[str]:
        url = f"{endpoint.base_url}/chat/completions"
        with client.stream("POST", url, json=body | {"stream": True}) as response:
            for line in response.iter_lines():
                if '"content":"' in line.replace(": ", ":"):
                    yield line

    return stream


def measure(ways: dict[str, Way], *, rounds: int, askers: int) -> dict:
    """tokens/s and processor time of each way; round after round the ways take turns, and each begins as often."""
    rates: dict[str, list[float]] = {name: [] for name in ways}
    costs: dict[str, list[float]] = {name: [] for name in ways}
    names = list(ways)
    with ThreadPoolExecutor(askers) as pool:
        for number in range(rounds):
            for name in names[number % len(names) :] + names[: number % len(names)]:
                time.sleep(SETTLE_S)
                cpu_s = time.process_time()
                times = list(pool.map(lambda way: list(_arrivals(way)), [ways[name]] * askers))
                tokens = sum(map(len, times))
                costs[name].append((time.process_time() - cpu_s) / tokens * 1e6)
                rates[name].append(sum((len(at) - 1) / (at[-1] - at[0]) for at in times))
    return {"askers": askers, "rounds": rounds} | {
        name: {
            "tokens_per_s": round(statistics.median(rates[name]), 2),
            "quartiles": [round(quartile, 2) for quartile in statistics.quantiles(rates[name])],
            "cpu_us_per_token": round(statistics.median(costs[name])),
        }
        for name in ways
    }


def report(engine: str, portal: Deployments, settings: Settings, *, rounds: int, askers: int) -> dict:
    endpoint = portal.endpoint("chat")
    ways = {
        "portal": through_the_portal(portal, settings),
        "openai": through_openai(endpoint),
        "httpx": through_httpx(endpoint),
    }
    for way in ways.values():  # connections, imports, the prompt into the engine's prefix cache
        list(way())
    before = Machine.now()
    found = measure(ways, rounds=rounds, askers=askers)
    rate = {name: found[name]["tokens_per_s"] for name in ways}
    cost = {f"cost_against_{name}": round(1 - rate["portal"] / rate[name], 4) for name in ("openai", "httpx")}
    ok = max(cost.values()) <= BOUND
    return {"engine": engine} | found | cost | {"ok": ok, "machine": [asdict(before), asdict(Machine.now())]}


def fake(home: Path, rounds: int, askers: list[int]) -> Iterator[dict]:
    bench = Bench(home, engine_probe_timeout_s=20, engine_health_interval_s=10)
    with closing(bench):
        portal = bench.ready_portal("--token-seconds", str(1 / FAKE_TOKENS_PER_S), "--reply", FAKE_REPLY)
        for count in askers:
            yield report("fake", portal, bench.settings, rounds=rounds, askers=count)


def real(home: Path, rounds: int, askers: list[int]) -> Iterator[dict]:
    with real_bench(home) as bench:
        await_quiet()
        portal = bench.ready_portal()
        answer(portal, bench.settings)
        for count in askers:
            yield report("vllm", portal, bench.settings, rounds=rounds, askers=count)


def _arrivals(way: Way) -> Iterator[float]:
    for _delta in way():
        yield time.perf_counter()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--real", action="store_true")
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--askers", type=int, nargs="*", default=[1, 4])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for row in (real if options.real else fake)(Path(folder), options.rounds, options.askers):
            print(json.dumps(row), flush=True)
