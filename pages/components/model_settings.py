"""The settings of a deployment as controls: those that matter for the engine and the hardware, the rest folded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import streamlit as st
from pydantic import ValidationError

from pages.components import model_words
from pages.components.context import _
from services.engines.options import DeploymentSettings, LoraAdapter
from services.errors import BadInput
from services.translation import N_

if TYPE_CHECKING:
    from services.engines.entries import CatalogueEntry, Variant

SMALLEST_CONTEXT = 256
LARGEST_CONTEXT = 1_048_576
DTYPES = ("auto", "float32", "bfloat16", "float16")

# (engine, device): the fields at once in sight, and those under "More settings"
FIELDS = {
    ("vllm", "cpu"): (
        ("context_tokens", "max_num_seqs"),
        ("kv_cache_gib", "dtype", "threads", "idle_unload_minutes", "lora", "prefix_caching"),
    ),
    ("vllm", "cuda"): (
        ("context_tokens", "max_num_seqs", "quantization", "gpu_memory_utilization", "tensor_parallel"),
        ("dtype", "cpu_offload_gib", "idle_unload_minutes", "lora", "prefix_caching", "enforce_eager"),
    ),
    ("transformers", "cpu"): (("context_tokens", "max_num_seqs"), ("dtype", "threads", "idle_unload_minutes")),
    ("transformers", "cuda"): (("context_tokens", "max_num_seqs", "quantization"), ("dtype", "idle_unload_minutes")),
    ("llama_cpp", "cpu"): (("context_tokens", "max_num_seqs"), ("threads", "idle_unload_minutes")),
    ("llama_cpp", "cuda"): (("context_tokens", "max_num_seqs"), ("threads", "idle_unload_minutes")),
}
QUANTIZATIONS = {
    "vllm": ("as_stored", "fp8", "bnb-4bit"),
    "transformers": ("as_stored", "bnb-8bit", "bnb-4bit"),
}


@dataclass(frozen=True)
class _Field:
    """What a control needs to know: the settings so far, its key, and what the model can."""

    now: DeploymentSettings
    key: str
    entry: CatalogueEntry


def draw(
    now: DeploymentSettings, entry: CatalogueEntry, variant: Variant, *, device: str, version: int
) -> DeploymentSettings:
    """What the controls say. version: another number makes the controls new, as `now` says.

    Raises BadInput for an adapter that is written wrongly.
    """
    if len(variant.engines) > 1:
        engine = st.segmented_control(
            _("Engine"),
            variant.engines,
            default=now.engine,
            required=True,
            format_func=model_words.engine,
            key=f"setting-engine-{version}",
        )
        now = now.model_copy(update={"engine": engine})
    main, more = FIELDS.get((now.engine, device), ((), ()))
    chosen = _row(main, now, entry, version)
    if more:
        with st.expander(_("More settings"), icon=":material/tune:"):
            chosen |= _row(more, now, entry, version)
    return now.model_copy(update=chosen)


def _row(names: tuple[str, ...], now: DeploymentSettings, entry: CatalogueEntry, version: int) -> dict[str, object]:
    """Two controls side by side."""
    chosen: dict[str, object] = {}
    for pair in (names[at : at + 2] for at in range(0, len(names), 2)):
        for column, name in zip(st.columns(2), pair, strict=False):
            with column:
                chosen[name] = CONTROLS[name](_Field(now, f"setting-{name}-{version}", entry))
    return chosen


def _context(field: _Field) -> int:
    longest = field.entry.context_tokens or LARGEST_CONTEXT
    return st.number_input(
        _("Context, tokens"),
        SMALLEST_CONTEXT,
        longest,
        min(field.now.context_tokens, longest),
        step=256,
        key=field.key,
        help=_("Longest prompt and answer together. Half the context needs half the KV cache."),
    )


def _requests(field: _Field) -> int:
    return st.number_input(
        _("Requests at the same time"),
        1,
        1024,
        field.now.max_num_seqs,
        key=field.key,
        help=_("More are answered in parallel; what comes on top waits in the engine. Each needs its KV cache."),
    )


def _quantization(field: _Field) -> str:
    options = QUANTIZATIONS.get(field.now.engine, ("as_stored",))
    now = field.now.quantization if field.now.quantization in options else "as_stored"
    return st.selectbox(
        _("Made smaller while loading"),
        options,
        options.index(now),
        format_func=lambda name: _(model_words.QUANTIZATIONS[name]),
        key=field.key,
        help=_("8-bit halves the weights' memory, 4-bit quarters it; answers get a little worse."),
    )


def _kv_cache(field: _Field) -> float | None:
    return st.number_input(
        _("KV cache, GiB"),
        0.1,
        None,
        field.now.kv_cache_gib,
        step=0.5,
        key=field.key,
        placeholder=_("context × requests"),
        help=_("Room for the texts being worked on. Empty: enough for every request at full length."),
    )


def _gpu_share(field: _Field) -> float:
    percent = st.slider(
        _("Share of each GPU's memory, %"), 10, 100, round(field.now.gpu_memory_utilization * 100), 5, key=field.key
    )
    return percent / 100


def _gpus(field: _Field) -> int:
    return st.number_input(_("GPUs that share the model"), 1, 64, field.now.tensor_parallel, key=field.key)


def _dtype(field: _Field) -> str:
    return st.selectbox(
        _("Number format"),
        DTYPES,
        DTYPES.index(field.now.dtype),
        format_func=lambda name: _("Automatic") if name == "auto" else name,
        key=field.key,
    )


def _threads(field: _Field) -> int:
    return st.number_input(_("CPU threads (0: all cores)"), 0, 1024, field.now.threads, key=field.key)


def _offload(field: _Field) -> float:
    return st.number_input(
        _("Weights in host memory, GiB"),
        0.0,
        None,
        float(field.now.cpu_offload_gib),
        step=1.0,
        key=field.key,
        help=_("Kept out of the GPU: a larger model fits, and answers more slowly."),
    )


def _idle(field: _Field) -> int:
    return st.number_input(
        _("Unload after minutes without a request (0: never)"), 0, None, field.now.idle_unload_minutes, key=field.key
    )


def _prefix_caching(field: _Field) -> bool:
    return st.toggle(_("Remember prompts that begin alike"), field.now.prefix_caching, key=field.key)


def _eager(field: _Field) -> bool:
    return st.toggle(
        _("Do without CUDA graphs"), field.now.enforce_eager, key=field.key, help=_("Less memory, slower answers.")
    )


def _lora(field: _Field) -> tuple[LoraAdapter, ...]:
    written = st.text_area(
        _("LoRA adapters, one a line: name = folder"),
        "\n".join(f"{adapter.name} = {adapter.path}" for adapter in field.now.lora),
        key=field.key,
        placeholder="legal = /srv/adapters/legal",
        height=68,
    )
    return tuple(_adapter(line) for line in written.splitlines() if line.strip())


def _adapter(line: str) -> LoraAdapter:
    name, _equals, path = (part.strip() for part in line.partition("="))
    try:
        if not path:
            raise ValueError(line)
        return LoraAdapter(name=name, path=path)
    except (ValidationError, ValueError) as error:
        raise BadInput(
            N_("An adapter is written as name = folder, not “{line}”."),
            hint=N_("The name has small letters, digits, dots and dashes."),
            line=line,
        ) from error


CONTROLS: dict[str, Callable[[_Field], object]] = {
    "context_tokens": _context,
    "max_num_seqs": _requests,
    "quantization": _quantization,
    "kv_cache_gib": _kv_cache,
    "gpu_memory_utilization": _gpu_share,
    "tensor_parallel": _gpus,
    "dtype": _dtype,
    "threads": _threads,
    "cpu_offload_gib": _offload,
    "idle_unload_minutes": _idle,
    "prefix_caching": _prefix_caching,
    "enforce_eager": _eager,
    "lora": _lora,
}
