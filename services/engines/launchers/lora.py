"""LoRA adapters as vLLM takes them: a folder with adapter_config.json and safetensors."""

from __future__ import annotations

import json
from pathlib import Path

from services.engines.options import LoraAdapter
from services.errors import EngineUnavailable
from services.translation import N_

RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)  # vllm/config/lora.py, MaxLoRARanks


def lora_flags(adapters: tuple[LoraAdapter, ...]) -> list[str]:
    """[] for no adapters. Raises EngineUnavailable naming the adapter that cannot be served."""
    if not adapters:
        return []
    largest = max(_rank(adapter) for adapter in adapters)
    modules = [json.dumps({"name": adapter.name, "path": adapter.path}) for adapter in adapters]
    return [
        "--enable-lora",
        *("--max-loras", str(len(adapters))),
        *("--max-lora-rank", str(next(rank for rank in RANKS if rank >= largest))),
        *("--lora-modules", *modules),
    ]


def _rank(adapter: LoraAdapter) -> int:
    folder = Path(adapter.path)
    if not (folder / "adapter_model.safetensors").is_file():
        raise _refused(adapter, N_("The folder of the LoRA adapter {name} has no adapter_model.safetensors."))
    try:
        rank = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))["r"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _refused(adapter, N_("The LoRA adapter {name} has no usable adapter_config.json.")) from error
    if not isinstance(rank, int) or not 0 < rank <= RANKS[-1]:
        raise _refused(adapter, N_("The rank of the LoRA adapter {name} is out of range."))
    return rank


def _refused(adapter: LoraAdapter, message: str) -> EngineUnavailable:
    hint = N_("It must be a folder on this server in the format of PEFT, as safetensors.")
    return EngineUnavailable(message, hint=hint, name=adapter.name)
