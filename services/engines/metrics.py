"""What an engine says about itself in Prometheus text, and a quarter of an hour of it for the charts.

Names were read in the sources of vLLM 0.32 (vllm/v1/metrics/loggers.py) and llama.cpp
(tools/server/server-task.cpp of llama-cpp-python 0.3.36). transformers serve has no metrics.
"""

from __future__ import annotations

import re
import threading
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from services.engines.views import Sample

KEPT = 180  # samples: 15 minutes of one every 5 s
_LINE = re.compile(r"^((?:vllm|llamacpp):\w+)(?:\{[^}]*\})?\s+(\S+)$", re.MULTILINE)


@dataclass(frozen=True)
class Reading:
    """Gauges, and counters since the engine began; None: this engine does not say.

    steps: of the scheduler that gave tokens. kv_cache_usage: in [0, 1]; while a long prompt is read it grows with each
    step, and is all that moves. Sums over all models and replicas behind one address (of kv_cache_usage the mean).
    """

    running: int
    waiting: int
    prompt_tokens: float
    generation_tokens: float
    steps: float
    first_token_s: float | None = None
    first_tokens: float | None = None
    inter_token_s: float | None = None
    inter_tokens: float | None = None
    kv_cache_usage: float | None = None
    preemptions: float | None = None
    prefix_queries: float | None = None
    prefix_hits: float | None = None

    @classmethod
    def parse(cls, text: str) -> Reading | None:
        """None when the text is that of no engine known here."""
        values: dict[str, list[float]] = defaultdict(list)
        for name, value in _LINE.findall(text):
            values[name].append(float(value))
        if "vllm:num_requests_running" in values:
            return cls._of_vllm(values)
        if "llamacpp:requests_processing" in values:
            return cls._of_llama_cpp(values)
        return None

    @property
    def progress(self) -> tuple[float | None, ...]:
        """Changes whenever the engine gets anything done."""
        return self.prompt_tokens, self.generation_tokens, self.steps, self.kv_cache_usage

    @classmethod
    def _of_vllm(cls, values: dict[str, list[float]]) -> Reading:
        def total(name: str) -> float:
            return sum(values.get(f"vllm:{name}", ()))

        usage = values.get("vllm:kv_cache_usage_perc", [])
        return cls(
            running=int(total("num_requests_running")),
            waiting=int(total("num_requests_waiting")),
            prompt_tokens=total("prompt_tokens_total"),
            generation_tokens=total("generation_tokens_total"),
            steps=total("iteration_tokens_total_count"),
            first_token_s=total("time_to_first_token_seconds_sum"),
            first_tokens=total("time_to_first_token_seconds_count"),
            inter_token_s=total("inter_token_latency_seconds_sum"),
            inter_tokens=total("inter_token_latency_seconds_count"),
            kv_cache_usage=sum(usage) / len(usage) if usage else None,
            preemptions=total("num_preemptions_total"),
            prefix_queries=total("prefix_cache_queries_total"),
            prefix_hits=total("prefix_cache_hits_total"),
        )

    @classmethod
    def _of_llama_cpp(cls, values: dict[str, list[float]]) -> Reading:
        def total(name: str) -> float:
            return sum(values.get(f"llamacpp:{name}", ()))

        computed, cached = total("prompt_tokens_total"), total("prompt_tokens_cached_total")
        return cls(
            running=int(total("requests_processing")),
            waiting=int(total("requests_deferred")),
            prompt_tokens=computed + cached,
            generation_tokens=total("tokens_predicted_total"),
            steps=total("n_decode_total"),
            prefix_queries=computed + cached,
            prefix_hits=cached,
        )


class Recorder:
    """Turns successive readings of one engine into samples. Thread-safe."""

    def __init__(self, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._clock = clock
        self._samples: deque[Sample] = deque(maxlen=KEPT)
        self._before: tuple[datetime, Reading] | None = None
        self._guard = threading.Lock()

    def add(self, reading: Reading | None, memory_mib: float | None) -> None:
        """reading: None when the engine did not say; the next rates then span the gap."""
        now = self._clock()
        with self._guard:
            self._samples.append(self._sample(now, reading, memory_mib))
            if reading is not None:
                self._before = now, reading

    def samples(self) -> list[Sample]:
        """Oldest first."""
        with self._guard:
            return list(self._samples)

    def _sample(self, now: datetime, reading: Reading | None, memory_mib: float | None) -> Sample:
        if reading is None:
            return Sample(now, 0, 0, None, None, None, memory_mib)
        rate, first_token_ms = None, None
        if self._before is not None:
            then, before = self._before
            elapsed_s = (now - then).total_seconds()
            rate = _gain(before.generation_tokens, reading.generation_tokens) / elapsed_s if elapsed_s > 0 else None
            first_token_ms = _mean_ms(before, reading)
        return Sample(now, reading.running, reading.waiting, rate, first_token_ms, reading.kv_cache_usage, memory_mib)


def _gain(before: float, now: float) -> float:
    """Of a counter, which starts again at 0 when its engine does."""
    return now - before if now >= before else now


def _mean_ms(before: Reading, now: Reading) -> float | None:
    """Mean time to the first token of those that came since; None when none came."""
    if None in (before.first_tokens, before.first_token_s, now.first_tokens, now.first_token_s):
        return None
    if now.first_tokens < before.first_tokens:
        count, seconds = now.first_tokens, now.first_token_s
    else:
        count, seconds = now.first_tokens - before.first_tokens, now.first_token_s - before.first_token_s
    return seconds / count * 1000 if count else None
