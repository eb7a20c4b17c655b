"""Does it fit? What a model needs against what is free, and the nearest settings that fit when it does not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from services.engines.gpu import Gpu
from services.engines.hardware import Machine
from services.engines.memory import Estimate, ModelShape, Suggestion
from services.engines.needs import MIB, Conditions, needs
from services.engines.options import DeploymentSettings, EngineKind, Quantization
from services.translation import N_

SHORTEST_CONTEXT = 1024  # passages, a question and an answer
FINE_STEP, COARSE_STEP, COARSE_FROM = 256, 1024, 8192  # tokens
MOST_UTILIZATION = 0.95
IN_WORDS: dict[Quantization, str] = {
    "fp8": N_("Weights in 8 bits (FP8)"),
    "bnb-8bit": N_("Weights in 8 bits (bitsandbytes)"),
    "bnb-4bit": N_("Weights in 4 bits (NF4)"),
}

Judge = Callable[[DeploymentSettings], Estimate]


@dataclass(frozen=True)
class Question:
    """Of one model on one machine. engines: that can serve it here; device_of: where an engine of a kind computes.

    freed_mib: what will be free as well, once another deployment has stopped; correction: factor by engine and device.
    """

    shape: ModelShape
    machine: Machine
    engines: tuple[EngineKind, ...]
    device_of: Callable[[DeploymentSettings], str]
    correction: Callable[[str, str], float] = lambda _engine, _device: 1.0
    freed_mib: float = 0.0

    def gpus(self, settings: DeploymentSettings) -> tuple[Gpu, ...]:
        """Those that engines use, in the order in which CUDA counts them; () when there are not enough."""
        gpus = self.machine.gpus.gpus[: settings.tensor_parallel]
        return gpus if len(gpus) == settings.tensor_parallel else ()


def answer(question: Question, settings: DeploymentSettings) -> Estimate:
    """With suggestions when it does not fit."""
    estimate = judge(question, settings)
    if estimate.fits:
        return estimate
    return replace(estimate, suggestions=tuple(suggestions(question, settings)))


def judge(question: Question, settings: DeploymentSettings) -> Estimate:
    device = question.device_of(settings)
    gpus = question.gpus(settings) if device == "cuda" else ()
    total_mib = min((gpu.total_mib for gpu in gpus), default=0.0)
    conditions = Conditions(device, question.machine.hardware.fast_bfloat16, total_mib)
    parts = needs(question.shape, settings, conditions)
    parts["weights"] += _adapters_mib(settings)
    if device == "cuda" and settings.engine == "vllm":
        return _of_a_share(question, settings, parts, gpus)
    predicted_mib, factor = sum(parts.values()), question.correction(settings.engine, device)
    free_mib = _free(gpus) if device == "cuda" else question.machine.host.available_mib
    available_mib = free_mib + question.freed_mib if gpus or device == "cpu" else 0.0
    return Estimate(device, parts, predicted_mib, factor, predicted_mib * factor, available_mib)


def _of_a_share(
    question: Question, settings: DeploymentSettings, parts: dict[str, float], gpus: tuple[Gpu, ...]
) -> Estimate:
    """vLLM takes its share of the GPU whatever it needs: the rest becomes KV cache. It does not start with less free.

    So what starts measured says only that it took its share: nothing to correct the parts by.
    """
    share_mib = min((gpu.total_mib for gpu in gpus), default=0.0) * settings.gpu_memory_utilization
    predicted_mib, available_mib = sum(parts.values()), _free(gpus) + question.freed_mib if gpus else 0.0
    if predicted_mib <= share_mib:
        parts = parts | {"kv_cache": parts["kv_cache"] + share_mib - predicted_mib}
        predicted_mib = share_mib
    else:
        available_mib = min(available_mib, share_mib)
    return Estimate("cuda", parts, predicted_mib, 1.0, predicted_mib, available_mib)


def _adapters_mib(settings: DeploymentSettings) -> float:
    """vLLM keeps for every LoRA adapter the room of the largest; files that are not there its launcher will name."""
    files = [Path(adapter.path) / "adapter_model.safetensors" for adapter in settings.lora]
    return max((file.stat().st_size for file in files if file.is_file()), default=0) * len(files) / MIB


def _free(gpus: tuple[Gpu, ...]) -> float:
    return min((gpu.free_mib for gpu in gpus), default=0.0)


def suggestions(question: Question, settings: DeploymentSettings) -> Iterator[Suggestion]:
    """Settings that fit, the nearest first: what costs least of what was asked for."""
    for message, params, changed in _changes(question, settings):
        estimate = judge(question, changed)
        if estimate.fits:
            yield Suggestion(message, params, changed, estimate.needed_mib)


Change = tuple[str, dict, DeploymentSettings]


def _changes(question: Question, settings: DeploymentSettings) -> Iterator[Change]:
    yield from _other_share(question, settings)
    fewer = list(_less_kv_cache(question, settings))
    yield from fewer
    if not fewer:
        yield from _least_kv_cache(question, settings)
    for quantization in _smaller(question, settings):
        yield IN_WORDS[quantization], {}, _with(settings, quantization=quantization)
    for count in (2, 4, 8):
        if count > settings.tensor_parallel:
            yield N_("The model shared by {count} GPUs"), {"count": count}, _with(settings, tensor_parallel=count)
    if settings.engine == "vllm" and "transformers" in question.engines and not question.shape.quantized:
        changed = _with(settings, engine="transformers", quantization="bnb-4bit")
        yield N_("The engine transformers with weights in 4 bits (NF4): one answer at a time"), {}, changed


def _other_share(question: Question, settings: DeploymentSettings) -> Iterator[Change]:
    """More of a GPU when the share is too small for the model, less when others use some of it."""
    gpus = question.gpus(settings)
    if settings.engine != "vllm" or question.device_of(settings) != "cuda" or not gpus:
        return
    total_mib = min(gpu.total_mib for gpu in gpus)
    free = int(min(MOST_UTILIZATION, (_free(gpus) + question.freed_mib) / total_mib) * 100) / 100
    if free > 0 and free != settings.gpu_memory_utilization:
        changed = _with(settings, gpu_memory_utilization=free)
        yield N_("{percent} % of the GPU's memory"), {"percent": round(free * 100)}, changed


def _less_kv_cache(question: Question, settings: DeploymentSettings) -> Iterator[Change]:
    """The longest context that fits with as many requests, the most requests that fit with as long a context."""
    settings = _with(settings, kv_cache_gib=None)
    step = COARSE_STEP if settings.context_tokens > COARSE_FROM else FINE_STEP
    context = _largest(
        range(SHORTEST_CONTEXT, settings.context_tokens, step),
        lambda tokens: judge(question, _with(settings, context_tokens=tokens)).fits,
    )
    if context is not None:
        yield N_("A context of {context} tokens"), {"context": context}, _with(settings, context_tokens=context)
    count = _largest(range(1, settings.max_num_seqs), lambda n: judge(question, _with(settings, max_num_seqs=n)).fits)
    if count is not None:
        message = N_("One request at a time") if count == 1 else N_("{count} requests at a time")
        yield message, {"count": count}, _with(settings, max_num_seqs=count)


def _least_kv_cache(question: Question, settings: DeploymentSettings) -> Iterator[Change]:
    """One request at a time, with the longest context that fits."""
    single = _with(settings, kv_cache_gib=None, max_num_seqs=1)
    context = _largest(
        range(SHORTEST_CONTEXT, settings.context_tokens, FINE_STEP),
        lambda tokens: judge(question, _with(single, context_tokens=tokens)).fits,
    )
    if context is not None:
        message = N_("A context of {context} tokens, and one request at a time")
        yield message, {"context": context}, _with(single, context_tokens=context)


def _smaller(question: Question, settings: DeploymentSettings) -> list[Quantization]:
    """What the engine can make of the weights while loading, on this hardware: 8 bits before 4."""
    if question.shape.quantized:
        return []
    possible: list[Quantization] = []
    if settings.engine == "transformers":
        possible = ["bnb-8bit", "bnb-4bit"]
    elif settings.engine == "vllm" and question.device_of(settings) == "cuda":
        gpus = question.gpus(settings)
        possible = ["fp8"] if gpus and all(gpu.does_fp8 for gpu in gpus) else []
    order = ["as_stored", "fp8", "bnb-8bit", "bnb-4bit"]
    return [each for each in possible if order.index(each) > order.index(settings.quantization)]


def _largest(values: range, fits: Callable[[int], bool]) -> int | None:
    """The greatest that fits, when smaller ones fit too; None when none does."""
    low, high = 0, len(values)
    while low < high:
        middle = (low + high) // 2
        if fits(values[middle]):
            low = middle + 1
        else:
            high = middle
    return values[low - 1] if low else None


def _with(settings: DeploymentSettings, **changes: object) -> DeploymentSettings:
    return DeploymentSettings.model_validate(settings.model_dump() | changes)
