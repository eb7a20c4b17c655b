"""Text of strangers (people, documents, models) as Streamlit Markdown that says it and nothing more."""

from __future__ import annotations

import re
from collections.abc import Iterable

_PUNCTUATION = re.compile(r"([!-/:-@\[-`{-~])")
_SHORTCODE = re.compile(r":(?=[A-Za-z0-9_+/-]+:)")  # :smile: and :material/…: are replaced after parsing
_ARROWS = re.compile(r"([<>~-])(?=[->=])")  # so are "->" and "<=": a word joiner keeps them what they are
_ADDRESS = re.compile(r"@(?=\w)")  # li@example.com becomes a link after parsing, too
_WORD_JOINER = "\u2060"
_BULLET = re.compile(r"^\\[-*] +", re.MULTILINE)
_NUMBERED = re.compile(r"^(\d+)\\([.)]) +", re.MULTILINE)
_BOLD = re.compile(r"\\\*\\\*(?=\S)(.+?)(?<=\S)\\\*\\\*")


def escape(text: str) -> str:
    """Markdown that shows the text literally: no markup, links, images, HTML, formulas or icons. Keeps line breaks."""
    text = _ARROWS.sub(r"\1" + _WORD_JOINER, _SHORTCODE.sub(":" + _WORD_JOINER, text))
    text = _ADDRESS.sub("@" + _WORD_JOINER, text)
    lines = (_PUNCTUATION.sub(r"\\\1", line.strip()) for line in text.splitlines())
    return "  \n".join(lines)


def prose(text: str) -> str:
    """As `escape`, but lists and bold type that a model wrote are kept. Links and images never are."""
    return _BOLD.sub(r"**\1**", _NUMBERED.sub(r"\1\2 ", _BULLET.sub("- ", escape(text))))


def highlighted(text: str, ranges: Iterable[tuple[int, int]]) -> str:
    """As `escape`, with the [start, end) ranges marked; they are in order and do not overlap."""
    parts, position = [], 0
    for start, end in ranges:
        parts += [escape_inline(text[position:start]), _marked(text[start:end])]
        position = end
    return "".join([*parts, escape_inline(text[position:])])


def escape_inline(text: str) -> str:
    """As `escape`, with the spaces at both ends kept: for a piece of a longer text."""
    begin = re.match(r"\s*", text)[0]
    end = re.search(r"\s*$", text[len(begin) :])[0]
    return _breaks(begin) + escape(text) + _breaks(end)


def _breaks(space: str) -> str:
    return "  \n" if "\n" in space else " " * bool(space)


def _marked(text: str) -> str:
    """A directive holds one line: each line is marked by itself."""
    lines = [f":orange-background[{escape(line)}]" for line in text.splitlines() if line.strip()]
    return "  \n".join(lines)
