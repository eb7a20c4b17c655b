"""Models, deployments, rollouts, downloads and estimates as the Model Manager might see them, one of a kind each."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

from services.engines.memory import Estimate, Suggestion
from services.engines.options import DeploymentSettings
from services.engines.views import DeploymentView, Mode, RolloutView, Sample, Step
from services.errors import EngineStartFailed

NOON = datetime(2026, 11, 20, 4, 0, tzinfo=UTC)
SMALL, MIDDLE, CODER = "smollm2-135m-instruct", "qwen2.5-7b-instruct", "qwen2.5-coder-0.5b-instruct"
FREE_MIB = 9.8 * 1024
TYPICAL_S = 80.0


def licence(spdx: str = "Apache-2.0", commercial: str = "yes", **changes) -> SimpleNamespace:
    words = {
        "zh": "可免费商用、修改和再分发，须保留版权声明。",
        "en": "Free to use, change and pass on, in business too; keep the copyright notice.",
    }
    return SimpleNamespace(spdx=spdx, commercial=commercial, **words | changes)


def variant(id_: str, bits: int = 16, **changes) -> SimpleNamespace:
    values = {
        "id": id_,
        "bits": bits,
        "format": "safetensors",
        "quantization": "none",
        "engines": ("vllm", "transformers"),
        "size_bytes": 15_200_000_000,
        "converts": False,
    }
    return SimpleNamespace(**values | changes)


def entry(id_: str, name: str, parameters: float, variants: list[SimpleNamespace], **changes) -> SimpleNamespace:
    values = {
        "family": name.split(maxsplit=1)[0],
        "roles": ("chat",),
        "languages": ("zh", "en"),
        "licence": licence(),
        "context_tokens": 32_768,
        "hardware": "<2B" if parameters < 2e9 else "2-7B",
        "note": lambda _language: "",
        "custom": False,
        "external": None,
    }
    own = {"id": id_, "name": name, "parameters": int(parameters), "variants": tuple(variants)}
    return SimpleNamespace(**own | values | changes)


def catalogue() -> list[SimpleNamespace]:
    """Models of every kind: small and large, free and not, of the catalogue and one's own, here and elsewhere."""
    gguf = {"format": "gguf", "engines": ("llama_cpp", "vllm")}
    coder_gguf = variant("gguf-q4", 4, size_bytes=491_400_064, **gguf)
    llama = licence(
        "Llama-3",
        "conditions",
        zh="可商用；月活超过 7 亿须另行取得许可，并须标注 Built with Meta Llama 3。",
        en="Business use allowed below 700 million users a month; say that it is built with Llama 3.",
    )
    research = licence(
        "CC-BY-NC-4.0", "no", zh="仅限研究和非商业用途。", en="Research and other non-commercial use only."
    )
    return [
        entry(
            CODER,
            "Qwen2.5-Coder 0.5B Instruct",
            494e6,
            [variant("bf16", size_bytes=1_260_000_000), coder_gguf],
            roles=("chat", "code"),
        ),
        entry(SMALL, "SmolLM2 135M Instruct", 135e6, [variant("bf16", size_bytes=269_000_000)], languages=("en",)),
        entry(
            MIDDLE,
            "Qwen2.5 7B Instruct",
            7.6e9,
            [
                variant("bf16"),
                variant("gptq-int8", 8, quantization="gptq", size_bytes=8_900_000_000),
                variant("awq", 4, quantization="awq", size_bytes=5_580_000_000),
                variant("gguf-q4", 4, size_bytes=4_680_000_000, **gguf),
            ],
        ),
        entry("llama-3-8b-instruct", "Llama 3 8B Instruct", 8e9, [variant("bf16")], licence=llama, context_tokens=8192),
        entry(
            "llava-1.5-7b",
            "LLaVA-1.5 7B",
            7.1e9,
            [variant("fp16"), variant("bnb-4bit", 4, quantization="bnb-4bit", size_bytes=4_100_000_000)],
            roles=("vision",),
            licence=research,
            context_tokens=4096,
        ),
        entry(
            "cluster",
            "Cluster of the data centre",
            0,
            [variant("external", 16, format="external", engines=("external",), size_bytes=0)],
            roles=("chat", "code"),
            custom=True,
            external=SimpleNamespace(url="https://models.example.com/v1", model="qwen-72b", public=True),
            licence=licence("unknown", "conditions", zh="以提供方为准。", en="As whoever runs it says."),
            context_tokens=32_768,
        ),
    ]


def settings(**changes) -> DeploymentSettings:
    return DeploymentSettings(**{"context_tokens": 4096, "max_num_seqs": 8} | changes)


def deployment(id_: int = 1, **changes) -> DeploymentView:
    values = {
        "id": id_,
        "model_id": CODER,
        "model_name": "Qwen2.5-Coder 0.5B Instruct",
        "settings": settings(),
        "roles": ("chat", "code"),
        "reason": "switch",
        "created_by_name": "adam",
        "created_at": NOON + timedelta(minutes=id_),
        "ready_at": NOON + timedelta(minutes=id_, seconds=82),
        "ended_at": None,
        "outcome": "serving",
        "error": None,
        "load_s": 82.0,
        "command": ("python", "-m", "vllm.entrypoints.openai.api_server", "--max-model-len", "4096"),
        "environment": {"VLLM_API_KEY": "***"},
        "engine_version": "0.32.0",
        "predicted_mib": 3100.0,
        "measured_mib": 2950.0,
    }
    return DeploymentView(**values | changes)


def out_of_memory() -> EngineStartFailed:
    return EngineStartFailed(
        "The model {name} could not be started: {cause}",
        hint="Choose a shorter context or a smaller variant.",
        name="Qwen2.5 7B Instruct",
        cause="out of memory",
        log="RuntimeError: [enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory",
    )


def estimate(needed_mib: float, *suggestions: Suggestion, **changes) -> Estimate:
    parts = {"weights": 0.5, "kv_cache": 0.3, "activations": 0.1, "overhead": 0.1}
    values = {
        "device": "cpu",
        "parts_mib": {name: needed_mib / 1.06 * share for name, share in parts.items()},
        "predicted_mib": needed_mib / 1.06,
        "correction": 1.06,
        "needed_mib": needed_mib,
        "available_mib": FREE_MIB,
        "suggestions": suggestions,
    }
    return Estimate(**values | changes)


def samples(count: int = 60, **changes) -> list[Sample]:
    """One every 15 seconds, in gentle waves."""
    waves = [(number * 7919) % 13 for number in range(count)]
    made = [
        Sample(NOON + timedelta(seconds=15 * at), wave % 4, wave % 2, 8 + wave * 1.7, 400.0 + 90 * wave, 0.3, 2950.0)
        for at, wave in enumerate(waves)
    ]
    return [replace(sample, **changes) for sample in made]


def rollout(step: Step = Step.STARTING, **changes) -> RolloutView:
    values = {
        "role": "chat",
        "roles": ("chat", "code"),
        "model_id": MIDDLE,
        "model_name": "Qwen2.5 7B Instruct",
        "deployment_id": 7,
        "mode": Mode.IN_PLACE,
        "step": step,
        "started_by": "adam",
        "started_at": NOON,
        "elapsed_s": 34.0,
        "typical_start_s": TYPICAL_S,
        "queued": 3,
        "running": 1,
        "error": None,
    }
    return RolloutView(**values | changes)


def download(model_id: str = MIDDLE, state: str = "running", **changes) -> SimpleNamespace:
    values = {
        "model_id": model_id,
        "name": "Qwen2.5 7B Instruct",
        "state": state,
        "step": "Downloading",
        "done": 6_100_000_000,
        "total": 15_200_000_000,
        "rate_bytes_s": 41_000_000.0,
        "eta_s": 222.0,
        "source": "huggingface",
        "error": None,
        "started_by": "adam",
        "started_at": NOON,
    }
    return SimpleNamespace(**values | changes)


def schedule(id_: int, **changes) -> SimpleNamespace:
    values = {
        "id": id_,
        "role": "chat",
        "model_id": MIDDLE,
        "settings": settings(),
        "at": "22:30",
        "days": (0, 1, 2, 3, 4),
        "created_by_name": "adam",
        "last_run_at": None,
        "last_error": None,
    }
    return SimpleNamespace(**values | changes)


def accuracy(model_id: str, predicted_mib: float, measured_mib: float, **changes) -> SimpleNamespace:
    values = {
        **{"model_id": model_id, "engine": "vllm", "context_tokens": 4096, "max_num_seqs": 8},
        **{"predicted_mib": predicted_mib, "measured_mib": measured_mib, "started_at": NOON},
        "error": predicted_mib / measured_mib - 1,
        "corrected_error": (predicted_mib / measured_mib - 1) / 2,
    }
    return SimpleNamespace(**values | changes)
