"""What of a model decides its memory, read from its config.json and the headers of its weights, here or on a hub."""

from __future__ import annotations

import glob
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from services.engines.headers import (
    BITS,
    GgufHeader,
    Read,
    Tensor,
    damaged,
    parsed_json,
    read_gguf,
    read_safetensors,
)
from services.engines.memory import ModelShape
from services.errors import ModelFilesError
from services.translation import N_

CONFIG, INDEX = "config.json", "model.safetensors.index.json"
LARGEST_CONFIG, MOST_SHARDS = 16 * 2**20, 1000
SHARD = re.compile(r"model(-\d+-of-\d+)?\.safetensors")
GGUF_PART = re.compile(r"(.+)-00001-of-(\d{5})\.gguf")
EMBEDDING = re.compile(r"(^|\.)(embed_tokens|wte|word_embeddings|tok_embeddings|token_embd|embed_in)\.weight$")
OUTPUT = re.compile(r"(^|\.)(lm_head|embed_out|output)\.weight$")
VISION = re.compile(r"(^|\.)(vision_tower|vision_model|visual|multi_modal_projector|mm_projector|image_newline)\b")
PACKED = re.compile(r"\.(qweight|weight_packed)$")  # AWQ, GPTQ, compressed-tensors: several numbers in an integer
AUXILIARY = re.compile(
    r"\.(qzeros|scales|g_idx|weight_scale|weight_zero_point|weight_shape|absmax|quant_map|quant_state.*)$"
)
ONE_IMAGE_OF_QWEN_VL = 16_384  # tokens: its processor's max_pixels of 12,845,056, 28 x 28 pixels a token
DEFAULTS = {  # what configuration_*.py of transformers assumes, which configs made by it leave out
    "llama": (4096, 11008, 32, 32, 32000),
    "mistral": (4096, 14336, 32, 32, 32000),
    "qwen2": (4096, 22016, 32, 32, 151936),
    "qwen2_vl_text": (8192, 29568, 80, 64, 152064),
    "qwen2_5_vl_text": (8192, 29568, 80, 64, 152064),
    "phi3": (3072, 8192, 32, 32, 32064),
}


@dataclass(frozen=True)
class ModelFiles:
    """A model's files wherever they are. sizes: bytes by name; read may raise ModelFilesError."""

    sizes: Mapping[str, int]
    read: Read


class Counts(Protocol):
    """What is needed of entries.Shape."""

    layers: int
    attention_heads: int
    kv_heads: int
    head_dim: int
    hidden_size: int
    intermediate_size: int
    vocab_size: int
    vision_parameters: int
    image_tokens: int


def local_files(path: Path) -> ModelFiles:
    """Of a folder, or of one GGUF file with the parts that follow it. Raises ModelFilesError when it is not there."""
    folder = path if path.is_dir() else path.parent
    split = GGUF_PART.fullmatch(path.name)
    try:
        if path.is_dir():
            paths = [p for p in folder.iterdir() if p.is_file()]
        else:
            paths = sorted(folder.glob(f"{glob.escape(split[1])}-*-of-{split[2]}.gguf")) if split else [path]
        return ModelFiles({p.name: p.stat().st_size for p in paths}, _reader_of(folder))
    except OSError as error:
        raise damaged(path.name, "it cannot be read") from error


def _reader_of(folder: Path) -> Callable[[str, int, int], bytes]:
    def read(name: str, start: int, length: int) -> bytes:
        try:
            with (folder / name).open("rb") as file:
                file.seek(start)
                return file.read(length)
        except OSError as error:
            raise damaged(name, "it cannot be read") from error

    return read


def read_shape(files: ModelFiles) -> ModelShape:
    """Raises ModelFilesError when there are no weights, or they are not what they should be."""
    ggufs = sorted(name for name in files.sizes if name.endswith(".gguf"))
    if ggufs:
        headers = [read_gguf(files.read, name, files.sizes[name]) for name in ggufs[:MOST_SHARDS]]
        return _of_gguf(ggufs[0], headers)
    config = parsed_json(CONFIG, _whole(files, CONFIG))
    names = _shards(files)
    tensors = [tensor for name in names for tensor in read_safetensors(files.read, name, files.sizes[name])]
    return _of_safetensors(config, tensors)


def shape_from_counts(
    counts: Counts, parameters: int, bits: float, *, quantized: bool, size_bytes: int = 0
) -> ModelShape:
    """From a catalogue's numbers, while no file is there.

    quantized: stored smaller than 16 bits, and served so. size_bytes: of the files; 0: not known.
    """
    embedding = counts.vocab_size * counts.hidden_size
    heads = (2 * counts.attention_heads + 2 * counts.kv_heads) * counts.head_dim
    layers = counts.layers * counts.hidden_size * (heads + 3 * counts.intermediate_size)
    untied = parameters - counts.vision_parameters - layers > 1.5 * embedding
    return ModelShape(
        parameters=parameters,
        weight_bytes=size_bytes if quantized and size_bytes else round(parameters * bits / 8),
        stored_bits=bits,
        **{name: getattr(counts, name) for name in Counts.__annotations__},
        embedding_parameters=embedding * (2 if untied else 1),
        quantized=quantized,
    )


def _whole(files: ModelFiles, name: str) -> bytes:
    size = files.sizes.get(name, 0)
    if not 0 < size <= LARGEST_CONFIG:
        raise damaged(name, "it is missing, or of an impossible size")
    return files.read(name, 0, size)


def _shards(files: ModelFiles) -> list[str]:
    """By the index where there is one; a repository may hold the same weights twice under other names."""
    if INDEX in files.sizes:
        named = parsed_json(INDEX, _whole(files, INDEX)).get("weight_map")
        names = sorted({str(name) for name in named.values()}) if isinstance(named, dict) else []
    else:
        names = sorted(name for name in files.sizes if SHARD.fullmatch(name))
        names = names or sorted(name for name in files.sizes if name.endswith(".safetensors"))
    if not names or len(names) > MOST_SHARDS:
        raise ModelFilesError(
            N_("The model has no weights in the formats safetensors or GGUF."), hint=N_("Choose another repository.")
        )
    missing = next((name for name in names if name not in files.sizes), None)
    if missing is not None:
        raise damaged(missing, "it is missing")
    return names


def _of_safetensors(config: dict, tensors: list[Tensor]) -> ModelShape:
    text = _nested(config, "text_config") or config
    tied = bool(text.get("tie_word_embeddings", config.get("tie_word_embeddings", False)))
    if tied and any(EMBEDDING.search(t.name) for t in tensors):
        tensors = [t for t in tensors if not OUTPUT.search(t.name)]  # not loaded: it is the embedding again
    method = _nested(config, "quantization_config")
    parameters = sum(_parameters(tensor, method) for tensor in tensors)
    weight_bytes = sum(t.size for t in tensors)
    if not parameters:
        raise damaged("model.safetensors", "it has no weights")
    vision = _nested(config, "vision_config")
    return ModelShape(
        parameters=parameters,
        weight_bytes=weight_bytes,
        stored_bits=weight_bytes * 8 / parameters,
        **_architecture(text, tensors),
        vision_parameters=sum(_parameters(t, method) for t in tensors if VISION.search(t.name)),
        image_tokens=_image_tokens(vision) if vision else 0,
        vision_hidden_size=_count(vision, "hidden_size", 0) if vision else 0,
        embedding_parameters=sum(t.numbers for t in tensors if EMBEDDING.search(t.name) or OUTPUT.search(t.name)),
        quantized=bool(method),
    )


def _parameters(tensor: Tensor, method: dict) -> int:
    if AUXILIARY.search(tensor.name):
        return 0
    if PACKED.search(tensor.name):
        bits = _count(method, "bits", 4)
        return tensor.size * 8 // max(1, bits)
    if tensor.dtype == "U8" and method.get("load_in_4bit"):  # of bitsandbytes: two numbers in a byte
        return tensor.numbers * 2
    return tensor.numbers if tensor.dtype in BITS else 0


def _architecture(text: dict, tensors: list[Tensor]) -> dict[str, int]:
    """What the config leaves out is the default of its kind, or told by the tensors' shapes."""
    kind = str(text.get("model_type", ""))
    hidden, intermediate, layers, heads, vocab = DEFAULTS.get(kind, (0, 0, 0, 0, 0))
    embedding = next((t.shape for t in tensors if EMBEDDING.search(t.name) and len(t.shape) == 2), (vocab, hidden))
    hidden = _count(text, "hidden_size", embedding[1])
    heads = _count(text, "num_attention_heads", heads)
    layers = _count(text, "num_hidden_layers", layers)
    if not (hidden and heads and layers):
        raise damaged(CONFIG, "it does not say how many layers, heads and dimensions the model has")
    counts = {
        "layers": layers,
        "attention_layers": _attention_layers(text, layers),
        "attention_heads": heads,
        "kv_heads": _count(text, "num_key_value_heads", heads if kind != "mistral" else 8),
        "head_dim": _count(text, "head_dim", hidden // heads),
        "hidden_size": hidden,
        "intermediate_size": _count(text, "intermediate_size", intermediate or 4 * hidden),
        "vocab_size": _count(text, "vocab_size", embedding[0]),
    }
    latent = _count(text, "kv_lora_rank", 0)
    if latent:  # DeepSeek's compressed cache: one vector for keys and values of all heads
        counts |= {"kv_heads": 1, "head_dim": (latent + _count(text, "qk_rope_head_dim", 0)) // 2}
    return counts


def _attention_layers(text: dict, layers: int) -> int:
    """Layers with a KV cache: all, unless the config names some that have none (linear attention, Mamba)."""
    kinds = text.get("layer_types")
    if not isinstance(kinds, list) or not kinds:
        return layers
    return sum("attention" in str(kind) and "linear" not in str(kind) for kind in kinds[:layers])


def _image_tokens(vision: dict) -> int:
    """Of the largest image: a token per patch, per merged square of patches for those that merge."""
    size, patch = _count(vision, "image_size", 0), _count(vision, "patch_size", 14)
    if not size or not patch:
        return ONE_IMAGE_OF_QWEN_VL
    merged = max(1, _count(vision, "spatial_merge_size", 1))
    return (size // patch) ** 2 // merged**2


def _of_gguf(name: str, headers: list[GgufHeader]) -> ModelShape:
    """headers: of all parts of a split file, the first with the metadata."""
    fields = headers[0].metadata
    tensors = [tensor for header in headers for tensor in header.tensors]
    kind = fields.get("general.architecture")

    def count(key: str, otherwise: int) -> int:
        value = fields.get(f"{kind}.{key}")
        return max(map(int, value)) if isinstance(value, list) and value else _as_count(value, otherwise)

    parameters, weight_bytes = sum(t.numbers for t in tensors), sum(t.size for t in tensors)
    heads, hidden, layers = count("attention.head_count", 0), count("embedding_length", 0), count("block_count", 0)
    if not (parameters and heads and hidden and layers):
        raise damaged(name, "it does not say how many layers, heads and dimensions the model has")
    embedding = next((t.shape for t in tensors if t.name == "token_embd.weight" and len(t.shape) == 2), (0, hidden))
    return ModelShape(
        parameters=parameters,
        weight_bytes=weight_bytes,
        stored_bits=weight_bytes * 8 / parameters,
        layers=layers,
        attention_layers=layers,
        attention_heads=heads,
        kv_heads=count("attention.head_count_kv", heads),
        head_dim=count("attention.key_length", hidden // heads),
        hidden_size=hidden,
        intermediate_size=count("feed_forward_length", 4 * hidden),
        vocab_size=headers[0].lengths.get("tokenizer.ggml.tokens") or embedding[0],
        embedding_parameters=sum(t.numbers for t in tensors if EMBEDDING.search(t.name) or OUTPUT.search(t.name)),
        quantized=True,
    )


def _nested(fields: dict, key: str) -> dict:
    value = fields.get(key)
    return value if isinstance(value, dict) else {}


def _count(fields: dict, key: str, otherwise: int) -> int:
    return _as_count(fields.get(key), otherwise)


def _as_count(value: object, otherwise: int) -> int:
    """Positive and of a possible size, else what is given instead."""
    return value if type(value) is int and 0 < value < 2**40 else otherwise
