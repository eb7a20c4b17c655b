"""Where in a document a span of a passage stands."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from services.retrieval.retriever import Passage


def page_at(passage: Passage, offset: int) -> int | None:
    """The 1-based document page of the character at the offset of the passage's text; None: Word has no pages."""
    return _segment_at(passage, offset) if passage.format == "pdf" else None


def place_at(passage: Passage, offset: int) -> str:
    """The headings over the character, and in a Word file its paragraph: "3 Leave › 3.2 Annual leave ¶ 12"."""
    headings = " › ".join(passage.heading_path)
    number = _segment_at(passage, offset)
    if passage.format == "pdf" or number is None:
        return headings
    return f"{headings} ¶ {number}".strip()


def _segment_at(passage: Passage, offset: int) -> int | None:
    """The number of the last segment that begins at or before the offset."""
    found = None
    for number, begins in passage.segments:
        if begins <= offset:
            found = number
    return found
