"""Sentences of Chinese and English text, as spans of the text they stand in."""

from __future__ import annotations

import re
from typing import NamedTuple

from services.retrieval.words import word_list

LONGEST = 400  # characters: a longer "sentence" (a table, a list without stops) is cut at its line breaks

_CLOSING = "\"'”’」』）)\\]】"
_END = re.compile(
    rf"[。！？；…]+[{_CLOSING}]*"  # Chinese stops end a sentence wherever they stand
    rf"|[.!?]+[{_CLOSING}]*(?=\s|$|[\u4e00-\u9fff])"
    r"|\n\s*\n"
    r"|\n(?=\s*(?:[-•·●▪◦*–|]|\d{1,2}[.)、]|[（(]\d{1,2}[)）])\s*\S)"  # the next item of a list
)
_LAST_WORD = re.compile(r"([A-Za-z][A-Za-z.]*)$")


class Span(NamedTuple):
    """Characters start (included) to end (excluded) of a text; no white space at either side."""

    start: int
    end: int


def split(text: str) -> list[Span]:
    """The sentences in order; together they hold every character that is not white space."""
    spans, begin = [], 0
    for match in _END.finditer(text):
        if _is_abbreviation(text, match):
            continue
        spans += _trimmed(text, begin, match.end())
        begin = match.end()
    return spans + _trimmed(text, begin, len(text))


def _is_abbreviation(text: str, match: re.Match) -> bool:
    """Whether the stop belongs to an abbreviation, an initial or a number of a heading, and ends nothing."""
    if match[0] != ".":
        return False
    rest = text[match.end() :].lstrip()
    if rest[:1].islower():
        return True
    before = text[max(0, match.start() - 12) : match.start()]
    word = _LAST_WORD.search(before)
    if word:
        return (
            word[1].lower() in word_list("abbreviations")
            or re.fullmatch(r"[A-Z]|(?:[A-Za-z]\.)+[A-Za-z]", word[1]) is not None
        )
    return re.search(r"(?:^|\n)\s*\d{1,2}$", text[: match.start()]) is not None  # "3. Leave": the number of an item


def _trimmed(text: str, start: int, end: int) -> list[Span]:
    """The part without surrounding space, cut at line breaks when it is too long; [] when nothing is left."""
    if end - start > LONGEST and "\n" in text[start:end].strip():
        return _by_lines(text, start, end)
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    return [Span(start, end)] if start < end else []


def _by_lines(text: str, start: int, end: int) -> list[Span]:
    spans = []
    for line in re.finditer(r"[^\n]+", text[start:end]):
        left = start + line.start()
        spans += _trimmed(text, left, start + line.end())
    return spans
