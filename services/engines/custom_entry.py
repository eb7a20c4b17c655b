"""What can be told of a stranger's model from its file list and config.json; nothing of it is believed unseen."""

from __future__ import annotations

from collections.abc import Sequence

from services.engines.entries import CatalogueEntry, Shape
from services.engines.sources import safety

FREE = {"apache-2.0", "mit", "bsd-3-clause", "bsd-2-clause", "cc-by-4.0", "cc0-1.0", "unlicense"}
NON_COMMERCIAL = ("-nc", "noncommercial", "non-commercial", "research")
GGUF_BITS = {"2": 2.9, "3": 3.9, "4": 4.85, "5": 5.7, "6": 6.6, "8": 8.5}
PREFERRED = ("q4_k_m", "q4_0", "q4_1", "q5_k_m", "q6_k", "q8_0", "f16", "bf16")
CONTEXT_UNKNOWN = 8192  # tokens
ASK = {"template": "large", "max_tokens": 512, "temperature": 0.3, "top_p": 0.9}
VLLM_ONLY = ("awq", "gptq", "fp8", "compressed-tensors")


def from_files(
    entry_id: str,
    name: str,
    roles: Sequence[str],
    *,
    sizes: dict[str, int],
    config: dict,
    source: dict,
    about: dict,
) -> CatalogueEntry:
    """sizes: bytes by path; config: {} for GGUF; about: what a hub says. Raises ValidationError, UnsafeModel."""
    has_safetensors = any(path.endswith(".safetensors") and "/" not in path for path in sizes)
    variants = _safetensors(sizes, config, source) if has_safetensors else _gguf(sizes, source, name)
    text = text_part(config)
    return CatalogueEntry.model_validate(
        {
            "id": entry_id,
            "name": name,
            "roles": tuple(dict.fromkeys(roles)),
            "languages": _languages(about),
            "parameters": _parameters(about) or _from_size(variants[0]),
            "context_tokens": _count(text.get("max_position_embeddings")) or CONTEXT_UNKNOWN,
            "architecture": _architecture(config),
            "licence": _licence(about),
            "shape": shape_of(config),
            "variants": variants,
            "ask": ASK,
            "custom": True,
        }
    )


def of_external(
    entry_id: str, name: str, roles: Sequence[str], *, url: str, model: str, public: bool
) -> CatalogueEntry:
    """Raises ValidationError."""
    return CatalogueEntry.model_validate(
        {
            "id": entry_id,
            "name": name.strip(),
            "roles": tuple(dict.fromkeys(roles)),
            "languages": ("zh", "en"),
            "parameters": 0,
            "context_tokens": CONTEXT_UNKNOWN,
            "architecture": "",
            "licence": _licence({}),
            "variants": ({"id": "external", "bits": 16, "format": "external", "engines": ("external",)},),
            "ask": ASK,
            "custom": True,
            "external": {"url": url, "model": model, "public": public},
        }
    )


def text_part(config: dict) -> dict:
    """The language model's part of a config.json."""
    text = config.get("text_config")
    return text if isinstance(text, dict) else config


def shape_of(config: dict) -> Shape | None:
    """Counts of the architecture as config.json names them; None when one is missing or absurd."""
    text = text_part(config)
    heads, hidden = _count(text.get("num_attention_heads")), _count(text.get("hidden_size"))
    counts = {
        "layers": _count(text.get("num_hidden_layers")),
        "attention_heads": heads,
        "kv_heads": _count(text.get("num_key_value_heads")) or heads,
        "head_dim": _count(text.get("head_dim")) or (hidden // heads if heads else 0),
        "hidden_size": hidden,
        "intermediate_size": _count(text.get("intermediate_size")),
        "vocab_size": _count(text.get("vocab_size")) or _count(config.get("vocab_size")),
    }
    return Shape(**counts) if all(counts.values()) else None


def _safetensors(sizes: dict[str, int], config: dict, source: dict) -> tuple[dict, ...]:
    names = safety.wanted(sizes, "safetensors", "", str(source.get("repo", source.get("path"))))
    quantization = config.get("quantization_config")
    quantization = quantization if isinstance(quantization, dict) else {}
    method = str(quantization.get("quant_method", "none"))[:40]
    bits = _count(quantization.get("bits")) or (4 if quantization.get("load_in_4bit") else 16)
    return (
        {
            "id": "as-published",
            "bits": min(bits, 32),
            "quantization": method,
            "engines": ("vllm",) if method in VLLM_ONLY else ("vllm", "transformers"),
            "sources": (source,),
            "size_bytes": sum(sizes[name] for name in names),
        },
    )


def _gguf(sizes: dict[str, int], source: dict, name: str) -> tuple[dict, ...]:
    """A variant for each quantization, the usual ones first; one for a file that does not name it."""
    kinds = safety.gguf_kinds(sizes) or {"gguf": "*.gguf"}
    order = sorted(kinds, key=lambda kind: PREFERRED.index(kind) if kind in PREFERRED else len(PREFERRED))
    variants = []
    for kind in order:
        names = safety.wanted(sizes, "gguf", kinds[kind], name)
        variants.append(
            {
                "id": f"gguf-{kind.replace('_', '-')}" if kind != "gguf" else "gguf",
                "bits": _gguf_bits(kind),
                "format": "gguf",
                "quantization": kind,
                "engines": ("llama_cpp",),
                "pick": kinds[kind],
                "sources": (source,),
                "size_bytes": sum(sizes[path] for path in names),
            }
        )
    return tuple(variants)


def _gguf_bits(kind: str) -> float:
    if kind.endswith(("16", "32")):
        return float(kind[-2:])
    digits = [letter for letter in kind if letter.isdigit()]
    return GGUF_BITS.get(digits[0] if digits else "", 4.85)


def _licence(about: dict) -> dict:
    card = about.get("cardData")
    card = card if isinstance(card, dict) else {}
    spdx = str(card.get("license") or "")[:60]
    if spdx == "other":
        spdx = str(card.get("license_name") or "other")[:60]
    if spdx.lower() in FREE:
        return {
            "spdx": spdx,
            "commercial": "yes",
            "zh": f"发布者声明的许可证为 {spdx}：可以商用。",
            "en": f"Its publisher names the licence {spdx}: commercial use is allowed.",
        }
    if any(word in spdx.lower() for word in NON_COMMERCIAL):
        return {
            "spdx": spdx,
            "commercial": "no",
            "zh": f"发布者声明的许可证为 {spdx}：不可商用。",
            "en": f"Its publisher names the licence {spdx}: no commercial use.",
        }
    return {
        "spdx": spdx or "?",
        "commercial": "conditions",
        "zh": f"许可证：{spdx or '未知'}。本系统不了解其内容，使用前请阅读。",
        "en": f"Licence: {spdx or 'unknown'}. The portal does not know what it says: read it before use.",
    }


def _languages(about: dict) -> tuple[str, ...]:
    card = about.get("cardData")
    named = card.get("language") if isinstance(card, dict) else None
    named = named if isinstance(named, list) else [named]
    return tuple(language for language in ("zh", "en") if language in named) or ("zh", "en")


def _parameters(about: dict) -> int:
    stored = about.get("safetensors")
    return _count(stored.get("total")) if isinstance(stored, dict) else 0


def _from_size(variant: dict) -> int:
    return int(variant["size_bytes"] * 8 / variant["bits"])


def _architecture(config: dict) -> str:
    named = config.get("architectures")
    return str(named[0])[:100] if isinstance(named, list) and named else str(config.get("model_type", ""))[:100]


def _count(value: object) -> int:
    """A sensible positive number, or 0."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 10**15 else 0
