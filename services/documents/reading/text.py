"""Making extracted text clean: characters, line joints, running headers, contents pages."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter

SOFT_HYPHENS = "\u00ad\u0002\ufffe"  # PDFium puts one of the last two where it joined a hyphenated line
CONTENTS_LINE = re.compile(r"^(.*?\S)\s*(?:[.·•…․]\s*){4,}\s*[\divxlcIVXLC]+\s*$")
RUNNING_LINE_SHARE = 0.05
SECOND_RUNNING_LINE_SHARE = 0.5
FULL_LINE_SHARE = 0.75
_LIST_ITEM = re.compile(r"[•·▪◦‣●○■□◆–—*-]\s|\(?\d{1,3}[.)、]\s*\S")
_JOINED_WORD = re.compile(rf"(?<=[^\W\d_])[{SOFT_HYPHENS}]+(?=[a-z])")
_JOINED_COMPOUND = re.compile(r"(?<=\w)[\u0002\ufffe]+(?=\w)")
_PAGE_NUMBERS = re.compile(r"\d+|\b[ivxlcdm]+\b")


def _compatible(ch: str) -> str:
    """The character in its plain form: ligatures, full-width letters and digits, radicals, odd spaces.

    Not NFKC as a whole: that would turn Chinese punctuation into ASCII and ² into 2.
    """
    code = ord(ch)
    plain = (
        0xFB00 <= code <= 0xFB4F
        or (0xFF10 <= code <= 0xFF5A and ch.isalnum())
        or 0x2E80 <= code <= 0x2FDF
        or 0xF900 <= code <= 0xFAFF
    )
    if plain:
        return unicodedata.normalize("NFKC", ch)
    if unicodedata.category(ch) in ("Zs", "Zl", "Zp") or ch == "\t":
        return " "
    return ch


class _Translation(dict):
    """str.translate table filled as characters are met."""

    def __missing__(self, code: int) -> str:
        ch = chr(code)
        dropped = unicodedata.category(ch) in ("Cc", "Cf", "Cs", "Cn") and ch not in "\n\t\u200d"
        self[code] = "" if dropped else _compatible(ch)
        return self[code]


_TRANSLATION = _Translation()


def clean(text: str) -> str:
    """Plain characters, no control or direction characters, runs of spaces collapsed, line breaks kept.

    A word that was hyphenated at a line end becomes whole; a compound (UTF-8) keeps its hyphen.
    """
    joined = _JOINED_COMPOUND.sub("-", _JOINED_WORD.sub("", text))
    return re.sub(r" {2,}", " ", joined.translate(_TRANSLATION))


def fold(text: str) -> str:
    """For comparing: no white space, no hyphens, compatibility forms unified, lower case."""
    folded = unicodedata.normalize("NFKC", clean(text)).casefold()
    return re.sub(r"[\s\-‐‑]", "", folded)


def is_cjk(ch: str) -> bool:
    """A character of a script that puts no spaces between words, or its punctuation."""
    return "\u2e80" <= ch <= "\u9fff" or "\uf900" <= ch <= "\ufaff" or "\uff00" <= ch <= "\uff65" or ch > "\U0001ffff"


def width(text: str) -> int:
    """Columns on a terminal: two for a wide character."""
    return len(text) + sum(map(is_cjk, text))


def joint(line: str, following: str, full_width: int) -> tuple[str, str]:
    """(line, what goes between it and the following line) when both are lines of one page.

    A line that does not nearly fill the page ends a paragraph (or is a row of a table): its break stays.
    """
    if width(line) < FULL_LINE_SHARE * full_width or not following or _LIST_ITEM.match(following):
        return line, "\n"
    if re.search(r"[a-z]-$", line) and following[0].islower():
        return line[:-1], ""
    return line, "" if is_cjk(line[-1]) or is_cjk(following[0]) else " "


def drop_running_lines(pages: list[list[str]]) -> None:
    """Remove, in place, headers and footers: first or last lines that many pages share but for the numbers."""
    for edge, inner in ((0, 1), (-1, -2)):
        outer = _frequent(pages, edge, RUNNING_LINE_SHARE)
        second = _frequent(pages, inner, SECOND_RUNNING_LINE_SHARE)
        for page in pages:
            if page and _pattern(page[edge]) in outer:
                del page[edge]
                if page and _pattern(page[edge]) in second:
                    del page[edge]


def _frequent(pages: list[list[str]], index: int, share: float) -> set[str]:
    needed = max(3, share * len(pages))
    longest = max(index + 1, -index)
    counts = Counter(_pattern(page[index]) for page in pages if len(page) >= longest)
    return {pattern for pattern, count in counts.items() if count >= needed}


def _pattern(line: str) -> str:
    return _PAGE_NUMBERS.sub("#", line.strip().lower())
