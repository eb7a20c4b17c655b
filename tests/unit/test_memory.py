"""Will it fit: the arithmetic of an engine's memory, what it is held against, and what is offered instead."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from services.engines.fitting import Question, answer, judge
from services.engines.gpu import GpuReading, read_gpus
from services.engines.hardware import Hardware, HostMemory, Machine
from services.engines.memory import Estimate, ModelShape
from services.engines.needs import Conditions, kv_cache_gib_for, needs
from services.engines.options import DeploymentSettings, LoraAdapter
from tests.fake_nvml import Device, FakeNvml
from tests.model_shapes import LLAMA_3_8B, QWEN_05B, shape_of

GIB = 1024  # MiB
LLAMA, QWEN = shape_of(LLAMA_3_8B), shape_of(QWEN_05B)
CPU, GPU = Conditions("cpu"), Conditions("cuda", gpu_total_mib=24_564)
ALL_ENGINES = ("vllm", "transformers")


def machine(*devices: Device, host_gib: float = 24) -> Machine:
    hardware = Hardware(2, avx2=True, avx512=False, avx512_bf16=False, amx_bf16=False, nvidia=bool(devices))
    gpus = read_gpus(FakeNvml(*devices)) if devices else GpuReading(problem="none")
    return Machine(hardware, HostMemory(host_gib * GIB, host_gib * GIB), gpus)


def question(shape: ModelShape, *devices: Device, host_gib: float = 24, **changes: object) -> Question:
    where = "cuda" if devices else "cpu"
    asked = Question(shape, machine(*devices, host_gib=host_gib), ALL_ENGINES, lambda _settings: where)
    return replace(asked, **changes)


def settings(**changes: object) -> DeploymentSettings:
    return DeploymentSettings(**{"context_tokens": 8192, "max_num_seqs": 8, **changes})


def offered(estimate: Estimate) -> list[DeploymentSettings]:
    return [suggestion.settings for suggestion in estimate.suggestions]


def test_llama_3_8b_on_a_gpu_takes_15_gib_of_weights_and_1_gib_for_each_8192_tokens() -> None:
    parts = needs(LLAMA, settings(), GPU)
    assert parts["weights"] == pytest.approx(16_060_522_496 / 2**20)
    assert parts["kv_cache"] == pytest.approx(8 * GIB, abs=3)  # and one block that vLLM keeps for itself
    assert needs(LLAMA, settings(max_num_seqs=1), GPU)["kv_cache"] == pytest.approx(GIB, abs=3)


def test_a_cpu_without_bfloat16_computes_in_float32() -> None:
    parts = needs(QWEN, settings(engine="transformers"), CPU)
    assert parts["weights"] == pytest.approx(494_032_768 * 4 / 2**20)
    fast = needs(QWEN, settings(engine="transformers"), Conditions("cpu", fast_bfloat16=True))
    assert fast["weights"] == parts["weights"] / 2
    assert fast["kv_cache"] == parts["kv_cache"] / 2


def test_vllm_on_a_cpu_keeps_the_embedding_three_times_and_one_layer_twice() -> None:
    embedding, layers = 151_936 * 896, 494_032_768 - 151_936 * 896
    numbers = 494_032_768 + 2 * embedding + layers / 24
    assert needs(QWEN, settings(), CPU)["weights"] == pytest.approx(numbers * 4 / 2**20)


def test_the_kv_cache_on_a_cpu_is_as_set_or_for_every_request_at_its_longest() -> None:
    assert needs(QWEN, settings(kv_cache_gib=1.5), CPU)["kv_cache"] == 1.5 * GIB
    assert kv_cache_gib_for(QWEN, settings()) == 24_576 * (8192 * 8 + 128) / 2**30
    assert needs(QWEN, settings(), CPU)["kv_cache"] == pytest.approx(kv_cache_gib_for(QWEN, settings()) * GIB)


@pytest.mark.parametrize(("quantization", "numbers"), [("fp8", 1.0), ("bnb-8bit", 1.0), ("bnb-4bit", 0.5 + 1 / 64)])
def test_embedding_and_output_layer_stay_in_16_bits(quantization: str, numbers: float) -> None:
    kept = 2 * 128_256 * 4096
    smaller = settings(engine="transformers", quantization=quantization)
    weights = kept * 2 + (8_030_261_248 - kept) * numbers
    assert needs(LLAMA, smaller, GPU)["weights"] == pytest.approx(weights / 2**20)


def test_weights_stored_in_4_bits_are_taken_as_stored() -> None:
    stored = replace(LLAMA, weight_bytes=5_730_000_000, stored_bits=5.7, quantized=True)
    assert needs(stored, settings(), GPU)["weights"] == pytest.approx(5_730_000_000 / 2**20)
    assert needs(stored, settings(engine="llama_cpp"), CPU)["weights"] == pytest.approx(5_730_000_000 / 2**20)


def test_llama_cpp_has_room_for_every_request_in_16_bits() -> None:
    assert needs(LLAMA, settings(engine="llama_cpp"), CPU)["kv_cache"] == 8 * GIB


def test_transformers_keeps_one_request_at_a_time() -> None:
    parts = needs(LLAMA, settings(engine="transformers", dtype="bfloat16"), CPU)
    assert parts["kv_cache"] == pytest.approx(GIB * (1 + 1 / 32))


@pytest.mark.parametrize(("gpus", "weights_gib", "kv_gib"), [(1, 14.96, 8), (2, 7.48, 4), (8, 1.87, 1)])
def test_gpus_share_weights_and_kv_cache(gpus: int, weights_gib: float, kv_gib: float) -> None:
    parts = needs(LLAMA, settings(tensor_parallel=gpus), GPU)
    assert parts["weights"] / GIB == pytest.approx(weights_gib, abs=0.01)
    assert parts["kv_cache"] / GIB == pytest.approx(kv_gib, abs=0.01)


def test_more_gpus_than_kv_heads_keep_copies() -> None:
    assert needs(QWEN, settings(tensor_parallel=8), GPU)["kv_cache"] == pytest.approx(
        needs(QWEN, settings(tensor_parallel=2), GPU)["kv_cache"]
    )


def test_an_image_encoder_is_a_part_of_its_own() -> None:
    seeing = replace(LLAMA, vision_parameters=300_000_000, image_tokens=576, vision_hidden_size=1024)
    parts = needs(seeing, settings(), GPU)
    assert parts["vision"] > 300_000_000 * 2 / 2**20
    assert parts["weights"] == pytest.approx((8_030_261_248 - 300_000_000) * 2 / 2**20)


def test_what_fits_on_the_host_says_how_much_is_to_spare() -> None:
    estimate = answer(question(QWEN), settings(context_tokens=4096))
    assert estimate.fits
    assert estimate.spare_mib == 24 * GIB - estimate.needed_mib
    assert estimate.suggestions == ()
    assert estimate.predicted_mib == sum(estimate.parts_mib.values())


def test_earlier_starts_correct_what_is_needed() -> None:
    corrected = answer(question(QWEN, correction=lambda engine, device: 1.2), settings())
    assert corrected.needed_mib == corrected.predicted_mib * 1.2
    assert corrected.correction == 1.2


def test_what_another_deployment_gives_back_counts_as_available() -> None:
    small = question(QWEN, host_gib=4)
    assert not judge(small, settings()).fits
    assert judge(replace(small, freed_mib=10 * GIB), settings()).fits


def test_vllm_takes_its_share_of_a_gpu_whatever_the_model_needs() -> None:
    estimate = answer(question(QWEN, Device()), settings())
    assert estimate.fits
    assert estimate.needed_mib == pytest.approx(24_564 * 0.9)
    assert sum(estimate.parts_mib.values()) == pytest.approx(24_564 * 0.9)


def test_a_gpu_in_use_has_room_for_a_smaller_share() -> None:
    estimate = answer(question(QWEN, Device(used_mib=12_000)), settings())
    assert not estimate.fits
    nearest = estimate.suggestions[0]
    assert nearest.params == {"percent": 51}
    assert nearest.settings == settings(gpu_memory_utilization=0.51)


def test_llama_3_8b_in_16_bits_with_8_requests_wants_a_shorter_context_or_another_gpu() -> None:
    gpus = (Device(), Device())
    estimate = answer(question(LLAMA, *gpus), settings())
    assert not estimate.fits
    assert estimate.available_mib == pytest.approx(24_564 * 0.9)
    first, second, *others = offered(estimate)
    assert second == settings(max_num_seqs=second.max_num_seqs)
    assert first == settings(context_tokens=first.context_tokens)
    assert settings(quantization="fp8") in others
    assert settings(tensor_parallel=2) in others
    assert settings(tensor_parallel=8) not in others


def test_every_suggestion_fits_and_the_next_longer_context_would_not() -> None:
    asked = question(LLAMA, Device(), Device())
    estimate = answer(asked, settings())
    assert all(judge(asked, each).fits for each in offered(estimate))
    shorter = offered(estimate)[0]
    assert not judge(asked, shorter.model_copy(update={"context_tokens": shorter.context_tokens + 256})).fits
    fewer = offered(estimate)[1]
    assert not judge(asked, fewer.model_copy(update={"max_num_seqs": fewer.max_num_seqs + 1})).fits


def test_an_old_gpu_is_not_offered_fp8() -> None:
    estimate = answer(question(LLAMA, Device(capability=(7, 5))), settings())
    assert all(each.quantization != "fp8" for each in offered(estimate))


def test_transformers_with_4_bits_is_offered_where_that_saves_memory() -> None:
    four_bits = settings(engine="transformers", quantization="bnb-4bit")
    assert four_bits in offered(answer(question(LLAMA, Device(total_mib=12_288)), settings()))
    assert four_bits not in offered(answer(question(LLAMA, host_gib=14), settings()))


def test_bitsandbytes_on_a_cpu_leaves_the_loaded_weights_behind() -> None:
    four_bits = settings(engine="transformers", quantization="bnb-4bit", dtype="bfloat16")
    linear = QWEN.parameters - QWEN.embedding_parameters
    expected = QWEN.weight_bytes + linear * (2 + 0.5 + 1 / 64)
    assert needs(QWEN, four_bits, CPU)["weights"] == pytest.approx(expected / 2**20)


def test_where_neither_helps_alone_one_request_with_a_shorter_context_is_offered() -> None:
    least = sum(needs(QWEN, settings(context_tokens=1024, max_num_seqs=1), CPU).values())
    estimate = answer(question(QWEN, host_gib=(least + 10) / GIB), settings())
    single = offered(estimate)[0]
    assert (single.max_num_seqs, single.context_tokens) == (1, 1280)


def test_nothing_is_offered_where_nothing_fits() -> None:
    assert answer(question(LLAMA, host_gib=2), settings()).suggestions == ()


def test_gpus_that_are_not_there_cannot_be_used() -> None:
    estimate = answer(question(LLAMA, Device(total_mib=81_920)), settings(tensor_parallel=2))
    assert not estimate.fits
    assert estimate.available_mib == 0


def test_the_fullest_of_the_gpus_decides() -> None:
    asked = question(LLAMA, *(Device(total_mib=81_920, used_mib=used) for used in (0, 9000, 0, 0)))
    assert judge(asked, settings(tensor_parallel=4)).available_mib == 81_920 - 9000
    assert judge(asked, settings(tensor_parallel=1)).available_mib == 81_920


def test_weights_kept_in_host_memory_are_not_on_the_gpu() -> None:
    less = needs(LLAMA, settings(cpu_offload_gib=4), GPU)["weights"]
    assert less == pytest.approx(needs(LLAMA, settings(), GPU)["weights"] - 4 * GIB)


def test_lora_adapters_each_take_the_room_of_the_largest(tmp_path: Path) -> None:
    for name, mib in (("small", 1), ("large", 5)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "adapter_model.safetensors").write_bytes(bytes(mib * 2**20))
    adapters = tuple(LoraAdapter(name=name, path=str(tmp_path / name)) for name in ("small", "large", "absent"))
    asked = question(QWEN)
    more = judge(asked, settings(lora=adapters)).predicted_mib - judge(asked, settings()).predicted_mib
    assert more == pytest.approx(15)
