"""What is read in the metrics that real engines gave, and what the charts make of successive readings."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from services.engines.metrics import KEPT, Reading, Recorder
from tests.fakes import FakeClock

FIXTURES = Path(__file__).resolve().parent.parent / "fixtures" / "metrics"
QUIET = Reading(running=0, waiting=0, prompt_tokens=0, generation_tokens=0, steps=0, first_token_s=0, first_tokens=0)


def reading_of(name: str) -> Reading:
    reading = Reading.parse((FIXTURES / name).read_text())
    assert reading is not None
    return reading


def test_vllm_tells_tokens_latencies_and_its_caches() -> None:
    """Recorded after the probes and long questions of a trial, no two of which began alike."""
    reading = reading_of("vllm-0.32.0.txt")
    assert (reading.running, reading.waiting, reading.preemptions) == (0, 0, 0)
    assert reading.prompt_tokens > 3 * 3257
    assert reading.generation_tokens >= 3
    assert reading.first_tokens
    assert 0.01 < reading.first_token_s / reading.first_tokens < 60
    assert reading.inter_tokens
    assert reading.inter_token_s
    assert reading.kv_cache_usage == 0
    assert (reading.prefix_queries, reading.prefix_hits) == (9895, 0)


def test_llama_cpp_tells_tokens_and_reused_prompts_but_no_latencies() -> None:
    reading = reading_of("llama_cpp-0.3.36.txt")
    assert (reading.running, reading.waiting) == (0, 0)
    assert reading.prompt_tokens == reading.prefix_queries == 2 * 37
    assert 0 < reading.prefix_hits < 37
    assert reading.generation_tokens > 8
    assert reading.first_tokens is None
    assert reading.kv_cache_usage is None


def test_replicas_behind_one_address_are_added_up() -> None:
    lines = [
        f'vllm:{name}{{engine="{engine}",model_name="m"}} {value}'
        for engine, running, usage in ((0, 2, 0.5), (1, 3, 0.1))
        for name, value in (("num_requests_running", running), ("kv_cache_usage_perc", usage))
    ]
    reading = Reading.parse("\n".join(lines))
    assert reading is not None
    assert reading.running == 5
    assert reading.kv_cache_usage == pytest.approx(0.3)


@pytest.mark.parametrize("text", ["", "<html>", "python_gc_objects_collected_total 5.0\n"])
def test_a_text_that_is_of_no_engine_is_no_reading(text: str) -> None:
    assert Reading.parse(text) is None


def test_a_growing_cache_is_progress_before_the_first_token() -> None:
    assert replace(QUIET, kv_cache_usage=0.1).progress != replace(QUIET, kv_cache_usage=0.2).progress


def recorder() -> tuple[Recorder, FakeClock]:
    clock = FakeClock()
    return Recorder(clock), clock


def test_rates_are_over_the_time_since_the_sample_before() -> None:
    record, clock = recorder()
    record.add(QUIET, None)
    clock.forward(seconds=5)
    record.add(replace(QUIET, running=2, generation_tokens=40, first_tokens=2, first_token_s=3.0), 512.0)
    first, second = record.samples()
    assert first.tokens_per_s is None
    assert (second.running, second.tokens_per_s, second.first_token_ms) == (2, 8.0, 1500.0)
    assert second.memory_mib == 512.0


def test_no_first_token_since_means_no_time_to_it() -> None:
    record, clock = recorder()
    for tokens in (10, 20):
        record.add(replace(QUIET, generation_tokens=tokens, first_tokens=1, first_token_s=2.0), None)
        clock.forward(seconds=5)
    assert record.samples()[-1].first_token_ms is None
    assert record.samples()[-1].tokens_per_s == 2.0


def test_counters_of_an_engine_that_began_anew_count_from_zero() -> None:
    record, clock = recorder()
    record.add(replace(QUIET, generation_tokens=1000, first_tokens=50, first_token_s=70.0), None)
    clock.forward(seconds=5)
    record.add(replace(QUIET, generation_tokens=10, first_tokens=1, first_token_s=0.5), None)
    assert record.samples()[-1].tokens_per_s == 2.0
    assert record.samples()[-1].first_token_ms == 500.0


def test_a_silent_engine_leaves_a_gap_and_the_next_rate_spans_it() -> None:
    record, clock = recorder()
    record.add(QUIET, None)
    clock.forward(seconds=5)
    record.add(None, 700.0)
    clock.forward(seconds=5)
    record.add(replace(QUIET, generation_tokens=40), None)
    assert [sample.tokens_per_s for sample in record.samples()] == [None, None, 4.0]


def test_a_quarter_of_an_hour_is_kept() -> None:
    record, clock = recorder()
    for _ in range(KEPT + 10):
        record.add(QUIET, None)
        clock.forward(seconds=5)
    samples = record.samples()
    assert len(samples) == 180
    assert (samples[-1].at - samples[0].at).total_seconds() == 179 * 5
