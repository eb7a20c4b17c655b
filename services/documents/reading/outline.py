"""Where the headings of a PDF's outline stand in its lines."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass

from services.documents.reading.text import fold

NUMBERING_CHARS = 14  # room for "Chapter 12 " or "3.1.2 ", which the outline may leave out
NUMBERING = re.compile(  # of a folded line, before the title
    r"(?:第?[\d.一二三四五六七八九十百]+[章节節篇部]?|(?:chapter|section|part|appendix|附录)?[\divxlc.]*[a-z]?)[.、:：—]?"
)


@dataclass(frozen=True)
class Heading:
    """level: 0 for chapters. page: 1-based document page that the bookmark leads to."""

    level: int
    title: str
    page: int


def headings_by_line(pages: list[list[str]], headings: list[Heading]) -> dict[tuple[int, int], tuple[str, ...]]:
    """(page, index of a line) → the heading path that begins there.

    A title that is not found among the lines of its page begins where the heading before it begins, or at the top.
    """
    starts: dict[tuple[int, int], tuple[str, ...]] = {}
    path: list[str] = []
    folded = _folded_pages(pages, {heading.page for heading in headings})
    last: dict[int, int] = defaultdict(int)
    for heading in headings:
        if not 1 <= heading.page <= len(pages):
            continue
        lines = pages[heading.page - 1]
        index = _find(folded[heading.page], fold(heading.title), last[heading.page])
        title = heading.title
        if index is None:
            index = last[heading.page]
        elif len(numbered := lines[index]) <= len(title) + NUMBERING_CHARS:
            title = numbered
        last[heading.page] = index
        path = [*path[: heading.level], title]
        starts[heading.page, index] = tuple(path)
    return starts


def _folded_pages(pages: list[list[str]], numbers: set[int]) -> dict[int, list[str]]:
    return {number: [fold(line) for line in pages[number - 1]] for number in numbers if 1 <= number <= len(pages)}


def _find(lines: list[str], title: str, first: int) -> int | None:
    """The first line from `first` on that holds the title near its start; the title may run on into the next line."""
    for index in range(first, len(lines)):
        with_next = lines[index] + (lines[index + 1] if index + 1 < len(lines) else "")
        position = with_next.find(title)
        if 0 <= position < len(lines[index]) and NUMBERING.fullmatch(with_next[:position]):
            return index
    return None
