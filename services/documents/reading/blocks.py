"""What readers produce: blocks of text in reading order, each knowing its place in the document."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from services.errors import PortalError

Progress = Callable[[int, int], None]  # (pages or paragraphs done, of how many)


@dataclass
class Block:
    """A line or paragraph.

    place: document page of a PDF, number of the body paragraph or table of a Word file, both 1-based.
    joint: what stands between the block before and this one: "", " " or a line break.
    """

    text: str
    place: int
    heading_path: tuple[str, ...] = ()
    joint: str = "\n"


@dataclass
class Reading:
    """A whole document as text. places: pages of a PDF, body blocks of a Word file. notes: for the person."""

    blocks: list[Block]
    places: int
    notes: list[PortalError] = field(default_factory=list)
