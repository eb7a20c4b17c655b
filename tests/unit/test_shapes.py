"""What is read of a model's config and weight headers, and what is made of damaged and hostile ones."""

from __future__ import annotations

import json
import struct
import time
from pathlib import Path

import pytest

from services.engines.headers import read_gguf, read_safetensors
from services.engines.shapes import CONFIG, INDEX, local_files, read_shape
from services.errors import ModelFilesError
from tests.model_shapes import LLAMA_3_8B, LLAVA_15_7B, QWEN_05B, files, header, shape_of, tensors_of
from tests.tiny_gguf import HEADS, WIDTH, write_tiny_gguf


def test_llama_3_8b_is_16_gb_and_128_kib_a_token() -> None:
    shape = shape_of(LLAMA_3_8B)
    assert shape.parameters == 8_030_261_248
    assert shape.weight_bytes == 16_060_522_496
    assert shape.kv_numbers_per_token * 2 == 128 * 1024
    assert (shape.layers, shape.kv_heads, shape.head_dim, shape.stored_bits) == (32, 8, 128, 16)
    assert shape.embedding_parameters == 2 * 128_256 * 4096


def test_a_tied_output_layer_counts_once_even_when_it_is_stored() -> None:
    stored_twice = [*tensors_of(QWEN_05B), ("lm_head.weight", (151_936, 896))]
    beginning, whole = header(iter(stored_twice))
    contents = {CONFIG: json.dumps(QWEN_05B).encode(), "model.safetensors": beginning}
    assert read_shape(files(contents, {"model.safetensors": whole})) == shape_of(QWEN_05B)
    assert shape_of(QWEN_05B).parameters == 494_032_768


def test_weights_in_several_files_are_added_up_by_their_index() -> None:
    tensors = list(tensors_of(LLAMA_3_8B))
    first, first_size = header(iter(tensors[:100]))
    second, second_size = header(iter(tensors[100:]))
    names = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
    index = {"weight_map": {name: names[number >= 100] for number, (name, _) in enumerate(tensors)}}
    contents = {CONFIG: json.dumps(LLAMA_3_8B).encode(), INDEX: json.dumps(index).encode()}
    contents |= {names[0]: first, names[1]: second, "consolidated.safetensors": first}
    sizes = {names[0]: first_size, names[1]: second_size}
    assert read_shape(files(contents, sizes)) == shape_of(LLAMA_3_8B)
    del contents[names[1]]
    with pytest.raises(ModelFilesError, match=r"00002-of-00002\.safetensors"):
        read_shape(files(contents, {names[0]: first_size}))


def test_llava_has_a_text_model_of_defaults_and_an_image_encoder() -> None:
    text = {**LLAMA_3_8B, "intermediate_size": 11_008, "num_key_value_heads": 32, "vocab_size": 32_064}
    tensors = [(f"language_model.{name}", shape) for name, shape in tensors_of(text)]
    tensors += [("vision_tower.vision_model.embeddings.patch_embedding.weight", (1024, 3, 14, 14))]
    tensors += [("multi_modal_projector.linear_1.weight", (4096, 1024))]
    beginning, whole = header(iter(tensors))
    contents = {CONFIG: json.dumps(LLAVA_15_7B).encode(), "model.safetensors": beginning}
    shape = read_shape(files(contents, {"model.safetensors": whole}))
    assert (shape.layers, shape.kv_heads, shape.head_dim, shape.intermediate_size) == (32, 32, 128, 11_008)
    assert shape.image_tokens == 576
    assert shape.vision_parameters == 1024 * 3 * 14 * 14 + 4096 * 1024
    assert shape.embedding_parameters == 2 * 32_064 * 4096


def test_qwen_2_5_vl_says_no_image_size() -> None:
    config = {**QWEN_05B, "vision_config": {"hidden_size": 1280, "spatial_patch_size": 14}}
    assert shape_of(config).image_tokens == 16_384


def test_layers_of_linear_attention_keep_no_cache() -> None:
    kinds = ["linear_attention"] * 18 + ["full_attention"] * 6
    config = {**QWEN_05B, "layer_types": kinds, "head_dim": 256}
    assert shape_of(config).kv_numbers_per_token == 2 * 6 * 2 * 256


def test_packed_weights_count_as_the_numbers_they_hold() -> None:
    config = {**QWEN_05B, "quantization_config": {"quant_method": "awq", "bits": 4}}
    packed, packed_size = header(iter([("model.layers.0.mlp.up_proj.qweight", (896, 608))]), "I32", 4)
    beginning, whole = header(iter([("model.embed_tokens.weight", (151_936, 896))]), "F16")
    contents = {CONFIG: json.dumps(config).encode(), "model-00001-of-00002.safetensors": packed}
    contents["model-00002-of-00002.safetensors"] = beginning
    sizes = {"model-00001-of-00002.safetensors": packed_size, "model-00002-of-00002.safetensors": whole}
    shape = read_shape(files(contents, sizes))
    assert shape.quantized
    assert shape.parameters == 896 * 4864 + 151_936 * 896


def test_a_folder_and_a_gguf_file_are_read_where_they_are(tmp_path: Path) -> None:
    write_tiny_gguf(tmp_path / "tiny.gguf", same_output=True)
    shape = read_shape(local_files(tmp_path / "tiny.gguf"))
    assert (shape.layers, shape.hidden_size, shape.attention_heads, shape.kv_heads) == (1, WIDTH, HEADS, 1)
    assert shape.quantized
    assert shape.weight_bytes < (tmp_path / "tiny.gguf").stat().st_size
    assert read_shape(local_files(tmp_path)) == shape
    (tmp_path / "other.gguf").write_bytes(b"GGUF")
    with pytest.raises(ModelFilesError, match=r"other\.gguf"):
        read_shape(local_files(tmp_path))


def test_the_parts_of_a_split_gguf_are_added_up(tmp_path: Path) -> None:
    write_tiny_gguf(tmp_path / "tiny.gguf", same_output=True)
    whole = read_shape(local_files(tmp_path / "tiny.gguf"))
    for part in ("00001", "00002"):
        (tmp_path / f"tiny-q4-{part}-of-00002.gguf").write_bytes((tmp_path / "tiny.gguf").read_bytes())
    assert read_shape(local_files(tmp_path / "tiny-q4-00001-of-00002.gguf")).weight_bytes == 2 * whole.weight_bytes


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(ModelFilesError, match="cannot be read"):
        local_files(tmp_path / "absent.gguf")
    with pytest.raises(ModelFilesError, match=r"config\.json"):
        read_shape(local_files(tmp_path))
    (tmp_path / CONFIG).write_text(json.dumps(QWEN_05B))
    with pytest.raises(ModelFilesError, match="no weights"):
        read_shape(local_files(tmp_path))


def safetensors(described: object, data: int = 0) -> bytes:
    text = json.dumps(described).encode()
    return len(text).to_bytes(8, "little") + text + bytes(data)


def tensor(begin: int, end: int, *shape: object, dtype: object = "F32") -> dict:
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}


HOSTILE_SAFETENSORS = {
    "empty": b"",
    "a length alone": (2).to_bytes(8, "little"),
    "an enormous length": (2**63).to_bytes(8, "little") + b"{}",
    "not JSON": (4).to_bytes(8, "little") + b"\xff\xfe{]",
    "a list": safetensors([]),
    "nested too deep": (200_000).to_bytes(8, "little") + b"[" * 200_000,
    "a number of 10,000 digits": (10_012).to_bytes(8, "little") + b'{"a":{"x":' + b"9" * 10_000 + b"}}",
    "beyond the end": safetensors({"a": tensor(0, 400, 100)}, data=100),
    "overlapping": safetensors({"a": tensor(0, 8, 2), "b": tensor(4, 12, 2)}, data=12),
    "other size than shape": safetensors({"a": tensor(0, 400, 10)}, data=400),
    "negative": safetensors({"a": tensor(0, 4, -1)}, data=4),
    "backwards": safetensors({"a": tensor(4, 0, 1)}, data=4),
    "a shape of text": safetensors({"a": tensor(0, 4, "1")}, data=4),
    "a shape of truth": safetensors({"a": tensor(0, 4, True)}, data=4),
    "astronomic": safetensors({"a": tensor(0, 4, *[10**4000] * 8)}, data=4),
    "an unknown type": safetensors({"a": tensor(0, 4, 1, dtype="PICKLE")}, data=4),
    "no offsets": safetensors({"a": {"dtype": "F32", "shape": [1]}}),
    "a name for a tensor": safetensors({"a": "b"}),
}


@pytest.mark.parametrize("content", HOSTILE_SAFETENSORS.values(), ids=HOSTILE_SAFETENSORS)
def test_a_hostile_safetensors_header_is_refused(content: bytes) -> None:
    with pytest.raises(ModelFilesError):
        read_safetensors(lambda _name, start, length: content[start : start + length], "x.safetensors", len(content))


def test_nothing_is_read_on_a_headers_word() -> None:
    asked: list[int] = []

    def read(_name: str, _start: int, length: int) -> bytes:
        asked.append(length)
        return (2**40).to_bytes(8, "little")

    with pytest.raises(ModelFilesError):
        read_safetensors(read, "x.safetensors", 2**41)
    assert asked == [8]


def gguf(tensors: int, fields: int, rest: bytes = b"") -> bytes:
    return b"GGUF" + struct.pack("<IQQ", 3, tensors, fields) + rest


def text(content: bytes) -> bytes:
    return struct.pack("<Q", len(content)) + content


HOSTILE_GGUF = {
    "empty": b"",
    "another format": b"PK\x03\x04" + bytes(100),
    "version 1": b"GGUF" + struct.pack("<I", 1) + bytes(100),
    "ends early": gguf(1, 0),
    "too many tensors": gguf(2**60, 0, bytes(100)),
    "too many fields": gguf(0, 2**60, bytes(100)),
    "an endless key": gguf(0, 1, struct.pack("<Q", 2**62) + bytes(100)),
    "an unknown kind of field": gguf(0, 1, text(b"a") + struct.pack("<I", 77) + bytes(100)),
    "an endless list": gguf(0, 1, text(b"a") + struct.pack("<IIQ", 9, 4, 2**62) + bytes(100)),
    "an endless list of texts": gguf(0, 1, text(b"a") + struct.pack("<IIQ", 9, 8, 2**62) + bytes(100)),
    "a list of lists": gguf(0, 1, text(b"a") + struct.pack("<IIQ", 9, 9, 2) + bytes(100)),
    "many dimensions": gguf(1, 0, text(b"a") + struct.pack("<I", 2**31) + bytes(100)),
    "an unknown type": gguf(1, 0, text(b"a") + struct.pack("<IQIQ", 1, 32, 99, 0) + bytes(100)),
    "broken blocks": gguf(1, 0, text(b"a") + struct.pack("<IQIQ", 1, 33, 2, 0) + bytes(100)),
    "beyond the end": gguf(1, 0, text(b"a") + struct.pack("<IQIQ", 1, 2**50, 0, 0) + bytes(100)),
    "overlapping": gguf(2, 0, 2 * (text(b"a") + struct.pack("<IQIQ", 1, 4, 0, 0)) + bytes(100)),
    "no alignment": gguf(0, 1, text(b"general.alignment") + struct.pack("<II", 4, 0)),
}


@pytest.mark.parametrize("content", HOSTILE_GGUF.values(), ids=HOSTILE_GGUF)
def test_a_hostile_gguf_header_is_refused(content: bytes) -> None:
    began = time.monotonic()
    with pytest.raises(ModelFilesError):
        read_gguf(lambda _name, start, length: content[start : start + length], "x.gguf", len(content))
    assert time.monotonic() - began < 1


def test_every_way_of_cutting_a_gguf_short_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "tiny.gguf"
    write_tiny_gguf(path, same_output=True)
    whole = path.read_bytes()
    for end in range(0, len(whole) - 32, 997):
        part = whole[:end]
        with pytest.raises(ModelFilesError):
            read_gguf(lambda _name, start, length, part=part: part[start : start + length], "x.gguf", end)


@pytest.mark.parametrize("config", [b"", b"[]", b"{}", b'{"hidden_size": "many"}', b'{"hidden_size": -1}'])
def test_a_config_that_says_nothing_is_refused(config: bytes) -> None:
    beginning, whole = header(iter([("weight", (4, 4))]))
    contents = {CONFIG: config, "model.safetensors": beginning}
    with pytest.raises(ModelFilesError):
        read_shape(files(contents, {"model.safetensors": whole}))
