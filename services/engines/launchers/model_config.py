"""What a model folder's config.json says about how it has to be served."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from services.engines.headers import parsed_json


@dataclass(frozen=True)
class ModelConfig:
    """quantization: of the stored weights (awq, gptq, bitsandbytes …); "" for plain numbers. bits: of awq and gptq."""

    sees_images: bool
    quantization: str
    bits: int

    @classmethod
    def of(cls, folder: Path) -> ModelConfig:
        """Raises ModelFilesError when the config is damaged."""
        path = folder / "config.json"
        fields = parsed_json(path.name, path.read_bytes()) if path.is_file() else {}
        quantization = fields.get("quantization_config") or {}
        method, bits = quantization.get("quant_method", ""), quantization.get("bits", 4)
        return cls("vision_config" in fields, str(method), bits if isinstance(bits, int) else 4)
