"""Headers of weight files: what tensors there are, of which type and size, without reading the tensors.

Formats: safetensors (8 bytes of length, JSON, data) and GGUF 2 and 3 (ggml/docs/gguf.md). The reader of the package
gguf takes 10 s on a large vocabulary; this one skips over it. Nothing that a header says is believed before it is
checked against the size of the file: a hostile one ends in ModelFilesError.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from services.errors import ModelFilesError
from services.translation import N_

# (file, first byte, how many) → those bytes; fewer at the end of the file
Read = Callable[[str, int, int], bytes]

LARGEST_JSON = 32 * 2**20
LARGEST_GGUF_HEADER = 48 * 2**20  # a vocabulary of 256,000 tokens with its merges: 16
GGUF_CHUNK = 2 * 2**20
MOST_TENSORS, MOST_DIMENSIONS, KEPT_NUMBERS = 200_000, 8, 1024
BITS = {  # of safetensors
    **dict.fromkeys(("F64", "I64", "U64"), 64),
    **dict.fromkeys(("F32", "I32", "U32"), 32),
    **dict.fromkeys(("F16", "BF16", "I16", "U16"), 16),
    **dict.fromkeys(("F8_E4M3", "F8_E5M2", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ", "I8", "U8", "BOOL"), 8),
    **dict.fromkeys(("F6_E2M3", "F6_E3M2"), 6),
    "F4": 4,
}
GGML_BLOCKS = {  # type: (name, numbers in a block, bytes of a block), of ggml.c
    0: ("F32", 1, 4),
    1: ("F16", 1, 2),
    2: ("Q4_0", 32, 18),
    3: ("Q4_1", 32, 20),
    6: ("Q5_0", 32, 22),
    7: ("Q5_1", 32, 24),
    8: ("Q8_0", 32, 34),
    9: ("Q8_1", 32, 40),
    10: ("Q2_K", 256, 84),
    11: ("Q3_K", 256, 110),
    12: ("Q4_K", 256, 144),
    13: ("Q5_K", 256, 176),
    14: ("Q6_K", 256, 210),
    15: ("Q8_K", 256, 292),
    16: ("IQ2_XXS", 256, 66),
    17: ("IQ2_XS", 256, 74),
    18: ("IQ3_XXS", 256, 98),
    19: ("IQ1_S", 256, 50),
    20: ("IQ4_NL", 32, 18),
    21: ("IQ3_S", 256, 110),
    22: ("IQ2_S", 256, 82),
    23: ("IQ4_XS", 256, 136),
    24: ("I8", 1, 1),
    25: ("I16", 1, 2),
    26: ("I32", 1, 4),
    27: ("I64", 1, 8),
    28: ("F64", 1, 8),
    29: ("IQ1_M", 256, 56),
    30: ("BF16", 1, 2),
    34: ("TQ1_0", 256, 54),
    35: ("TQ2_0", 256, 66),
    39: ("MXFP4", 32, 17),
    40: ("NVFP4", 64, 36),
    41: ("Q1_0", 128, 18),
}
GGUF_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
GGUF_STRING, GGUF_ARRAY = 8, 9


@dataclass(frozen=True)
class Tensor:
    """shape: as PyTorch counts, slowest dimension first. size: bytes in the file."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    size: int

    @property
    def numbers(self) -> int:
        """As stored: of packed weights fewer than the model has."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class GgufHeader:
    """metadata: scalars, strings and short lists of numbers; lengths: of every list, also of those left out."""

    tensors: list[Tensor]
    metadata: dict[str, object] = field(default_factory=dict)
    lengths: dict[str, int] = field(default_factory=dict)


def read_safetensors(read: Read, name: str, file_size: int) -> list[Tensor]:
    """Raises ModelFilesError."""
    start = read(name, 0, 8)
    length = int.from_bytes(start, "little") if len(start) == 8 else 0
    if not 2 <= length <= min(LARGEST_JSON, file_size - 8):
        raise damaged(name, f"its header would be {length} bytes long")
    fields = parsed_json(name, read(name, 8, length))
    tensors, spans = [], []
    for tensor, described in fields.items():
        if tensor != "__metadata__":
            tensors.append(_safetensors_tensor(name, tensor, described, spans))
    _check_spans(name, spans, file_size - 8 - length)
    return tensors


def _safetensors_tensor(name: str, tensor: str, described: object, spans: list[tuple[int, int]]) -> Tensor:
    match described:
        case {"dtype": str(dtype), "shape": [*shape], "data_offsets": [int(begin), int(end)]}:
            counts = dtype in BITS and all(type(n) is int and n >= 0 for n in shape)
            if counts and len(shape) <= MOST_DIMENSIONS and (math.prod(shape) * BITS[dtype] + 7) // 8 == end - begin:
                spans.append((begin, end))
                return Tensor(tensor, dtype, tuple(shape), end - begin)
    raise damaged(name, f"what it says of the tensor {tensor[:100]} is not possible")


def _check_spans(name: str, spans: Iterable[tuple[int, int]], room: int) -> None:
    last = 0
    for begin, end in sorted(spans):
        if begin < last or end > room:
            raise damaged(name, "its tensors overlap or reach beyond its end")
        last = end


def read_gguf(read: Read, name: str, file_size: int) -> GgufHeader:
    """Raises ModelFilesError."""
    cursor = _Cursor(read, name, min(file_size, LARGEST_GGUF_HEADER))
    if cursor.take(4) != b"GGUF" or cursor.number("I") not in (2, 3):
        raise damaged(name, "it is not GGUF 2 or 3")
    tensor_count, field_count = cursor.number("Q"), cursor.number("Q")
    if max(tensor_count, field_count) > MOST_TENSORS:
        raise damaged(name, f"it would have {tensor_count} tensors and {field_count} fields")
    metadata: dict[str, object] = {}
    lengths: dict[str, int] = {}
    for _ in range(field_count):
        _read_field(cursor, metadata, lengths)
    tensors, spans = [], []
    for _ in range(tensor_count):
        tensors.append(_gguf_tensor(cursor, spans))
    alignment = metadata.get("general.alignment", 32)
    if not isinstance(alignment, int) or not 0 < alignment <= 2**16:
        raise damaged(name, "its alignment is not possible")
    _check_spans(name, spans, file_size - -(-cursor.position // alignment) * alignment)
    return GgufHeader(tensors, metadata, lengths)


def _read_field(cursor: _Cursor, metadata: dict[str, object], lengths: dict[str, int]) -> None:
    key, kind = cursor.text(), cursor.number("I")
    if kind != GGUF_ARRAY:
        metadata[key] = cursor.text() if kind == GGUF_STRING else cursor.scalar(kind)
        return
    kind, length = cursor.number("I"), cursor.number("Q")
    lengths[key] = length
    if kind == GGUF_STRING:
        for _ in range(length):  # ends at the end of the file at the latest
            cursor.skip(cursor.number("Q"))
    elif length <= KEPT_NUMBERS:
        metadata[key] = [cursor.scalar(kind) for _ in range(length)]
    else:
        cursor.skip(length * cursor.width(kind))


def _gguf_tensor(cursor: _Cursor, spans: list[tuple[int, int]]) -> Tensor:
    tensor, dimensions = cursor.text(), cursor.number("I")
    if dimensions > MOST_DIMENSIONS:
        raise cursor.damaged(f"the tensor {tensor[:100]} would have {dimensions} dimensions")
    shape = tuple(reversed([cursor.number("Q") for _ in range(dimensions)]))
    kind, offset = cursor.number("I"), cursor.number("Q")
    if kind not in GGML_BLOCKS:
        raise cursor.damaged(f"the tensor {tensor[:100]} is of the unknown type {kind}")
    dtype, numbers, size = GGML_BLOCKS[kind]
    if shape and shape[-1] % numbers:
        raise cursor.damaged(f"the rows of the tensor {tensor[:100]} are not whole blocks")
    size = math.prod(shape) // numbers * size
    spans.append((offset, offset + size))
    return Tensor(tensor, dtype, shape, size)


class _Cursor:
    """Reads on from the beginning of a file, a chunk at a time."""

    def __init__(self, read: Read, name: str, end: int) -> None:
        self._read, self._name, self._end = read, name, end
        self._chunk, self._chunk_start, self.position = b"", 0, 0

    def take(self, length: int) -> bytes:
        if length > self._end - self.position:
            raise self.damaged("its header reaches beyond its end")
        at = self.position - self._chunk_start
        if at < 0 or at + length > len(self._chunk):
            want = min(max(length, GGUF_CHUNK), self._end - self.position)
            self._chunk, self._chunk_start, at = self._read(self._name, self.position, want), self.position, 0
        taken = self._chunk[at : at + length]
        if len(taken) != length:
            raise self.damaged("it ends early")
        self.position += length
        return taken

    def skip(self, length: int) -> None:
        if length > self._end - self.position:
            raise self.damaged("its header reaches beyond its end")
        self.position += length

    def number(self, code: str) -> int:
        return struct.unpack("<" + code, self.take(struct.calcsize("<" + code)))[0]

    def scalar(self, kind: int) -> int | float | bool:
        self.width(kind)
        return self.number(GGUF_SCALARS[kind])

    def width(self, kind: int) -> int:
        if kind not in GGUF_SCALARS:
            raise self.damaged(f"a field is of the unknown type {kind}")
        return struct.calcsize("<" + GGUF_SCALARS[kind])

    def text(self) -> str:
        length = self.number("Q")
        if length > LARGEST_JSON:
            raise self.damaged("a text in it would be too long")
        return self.take(length).decode(errors="replace")

    def damaged(self, detail: str) -> ModelFilesError:
        return damaged(self._name, detail)


def parsed_json(name: str, content: bytes) -> dict:
    """An object of JSON. Raises ModelFilesError, also for one that nests too deep."""
    try:
        value = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise damaged(name, "it is not JSON") from error
    if not isinstance(value, dict):
        raise damaged(name, "it is not a JSON object")
    return value


def damaged(name: str, detail: str) -> ModelFilesError:
    return ModelFilesError(
        N_("The model file {file} is damaged: {detail}."),
        hint=N_("Remove the model and fetch it again."),
        file=name,
        detail=detail,
    )
