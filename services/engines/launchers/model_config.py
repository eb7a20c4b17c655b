"""What a model folder's config.json says about how it has to be served."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

GIB = 1024**3


@dataclass(frozen=True)
class ModelConfig:
    """fields: of config.json, {} when there is none; text: those of the language model inside a vision model."""

    fields: dict
    text: dict

    @classmethod
    def of(cls, folder: Path) -> ModelConfig:
        path = folder / "config.json"
        fields = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        return cls(fields, fields.get("text_config", fields))

    @property
    def sees_images(self) -> bool:
        return "vision_config" in self.fields

    @property
    def quantization(self) -> str:
        """Of the stored weights (awq, gptq, bitsandbytes …); "" for plain numbers."""
        return str(self.fields.get("quantization_config", {}).get("quant_method", ""))

    def kv_cache_bytes(self, tokens: int, bytes_per_number: int) -> int:
        """Keys and values of all layers for so many tokens; 0 when the config does not say enough."""
        heads = self.text.get("num_attention_heads", 0)
        head_dim = self.text.get("head_dim") or (self.text.get("hidden_size", 0) // heads if heads else 0)
        kv_heads = self.text.get("num_key_value_heads") or heads
        return 2 * self.text.get("num_hidden_layers", 0) * kv_heads * head_dim * bytes_per_number * tokens
