"""Configs and headers of well-known models as their publishers have them, without the weights."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator

from services.engines.memory import ModelShape
from services.engines.shapes import CONFIG, ModelFiles, read_shape

LLAMA_3_8B = {
    "model_type": "llama",
    "hidden_size": 4096,
    "intermediate_size": 14_336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "vocab_size": 128_256,
    "tie_word_embeddings": False,
}
QWEN_05B = {
    "model_type": "qwen2",
    "hidden_size": 896,
    "intermediate_size": 4864,
    "num_hidden_layers": 24,
    "num_attention_heads": 14,
    "num_key_value_heads": 2,
    "vocab_size": 151_936,
    "tie_word_embeddings": True,
}
LLAVA_15_7B = {
    "model_type": "llava",
    "text_config": {"model_type": "llama", "vocab_size": 32_064, "max_position_embeddings": 4096},
    "vision_config": {"model_type": "clip_vision_model", "hidden_size": 1024, "image_size": 336, "patch_size": 14},
}


def tensors_of(config: dict, prefix: str = "model.") -> Iterator[tuple[str, tuple[int, ...]]]:
    """Names and shapes of a Llama or Qwen2 of these counts."""
    hidden, heads = config["hidden_size"], config["num_attention_heads"]
    kv = config["num_key_value_heads"] * (hidden // heads)
    yield f"{prefix}embed_tokens.weight", (config["vocab_size"], hidden)
    for layer in range(config["num_hidden_layers"]):
        at = f"{prefix}layers.{layer}."
        yield at + "self_attn.q_proj.weight", (hidden, hidden)
        yield at + "self_attn.k_proj.weight", (kv, hidden)
        yield at + "self_attn.v_proj.weight", (kv, hidden)
        yield at + "self_attn.o_proj.weight", (hidden, hidden)
        if config["model_type"] == "qwen2":
            yield from (
                (at + f"self_attn.{name}_proj.bias", (n,)) for name, n in zip("qkv", (hidden, kv, kv), strict=True)
            )
        yield at + "mlp.gate_proj.weight", (config["intermediate_size"], hidden)
        yield at + "mlp.up_proj.weight", (config["intermediate_size"], hidden)
        yield at + "mlp.down_proj.weight", (hidden, config["intermediate_size"])
        yield at + "input_layernorm.weight", (hidden,)
        yield at + "post_attention_layernorm.weight", (hidden,)
    yield f"{prefix}norm.weight", (hidden,)
    if not config.get("tie_word_embeddings"):
        yield "lm_head.weight", (config["vocab_size"], hidden)


def header(tensors: Iterator[tuple[str, tuple[int, ...]]], dtype: str = "BF16", size: int = 2) -> tuple[bytes, int]:
    """The beginning of a safetensors file, and the size of the whole of it."""
    described, end = {"__metadata__": {"format": "pt"}}, 0
    for name, shape in tensors:
        begin, end = end, end + math.prod(shape) * size
        described[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}
    text = json.dumps(described).encode()
    return len(text).to_bytes(8, "little") + text, 8 + len(text) + end


def files(contents: dict[str, bytes], sizes: dict[str, int] | None = None) -> ModelFiles:
    """sizes: of files whose tail is not there."""
    known = {name: len(content) for name, content in contents.items()} | (sizes or {})
    return ModelFiles(known, lambda name, start, length: contents[name][start : start + length])


def shape_of(config: dict, *, dtype: str = "BF16", size: int = 2) -> ModelShape:
    beginning, whole = header(tensors_of(config), dtype, size)
    contents = {CONFIG: json.dumps(config).encode(), "model.safetensors": beginning}
    return read_shape(files(contents, {"model.safetensors": whole}))
