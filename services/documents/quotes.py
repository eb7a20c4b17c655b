"""Finding a quote again in text that is broken into lines and hyphenated differently."""

from __future__ import annotations

import unicodedata
from difflib import SequenceMatcher

MIN_MATCH_CHARS = 8  # shorter pieces of a quote are found everywhere
IGNORED = "-‐‑\u00ad\u0002\ufffe"


def find_quotes(characters: list[str], quotes: list[str]) -> list[list[int]]:
    """For each quote the indexes of its characters on the page; white space, hyphens and letter case do not matter."""
    folded, origin = _fold(characters)
    found = []
    for quote in quotes:
        wanted, _ = _fold(list(quote))
        position = folded.find(wanted) if wanted else -1
        if position >= 0:
            spans = [(position, len(wanted))]
        else:
            matcher = SequenceMatcher(None, wanted, folded, autojunk=False)
            spans = [(m.b, m.size) for m in matcher.get_matching_blocks() if m.size >= MIN_MATCH_CHARS]
        found.append([index for start, size in spans for index in origin[start : start + size]])
    return found


def _fold(characters: list[str]) -> tuple[str, list[int]]:
    """The characters that count when comparing, and the index each comes from."""
    folded, origin = [], []
    for index, ch in enumerate(characters):
        if ch.isspace() or ch in IGNORED:
            continue
        for plain in unicodedata.normalize("NFKC", ch).casefold():
            if not plain.isspace() and plain not in IGNORED:
                folded.append(plain)
                origin.append(index)
    return "".join(folded), origin
