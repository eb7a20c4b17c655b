"""Pictures as the portal keeps them, and the text that was read in them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Point = tuple[float, float]
Region = tuple[float, float, float, float]  # left, top, right, bottom, each a share of the picture in [0, 1]


@dataclass(frozen=True)
class CleanImage:
    """A picture that passed the gate: decoded and encoded again by us, upright, without metadata.

    sha256: of `data`. original_format: what it was, e.g. "webp"; pages: of a PDF or TIFF, frames of a GIF or WebP.
    """

    data: bytes = field(repr=False)
    format: Literal["png", "jpeg"]
    width: int
    height: int
    sha256: str
    original_format: str = ""
    pages: int = 1


@dataclass(frozen=True)
class TextLine:
    """box: four corners in pixels of the picture, clockwise from the top left. confidence in [0, 1]."""

    text: str
    box: tuple[Point, Point, Point, Point]
    confidence: float


@dataclass(frozen=True)
class ImageText:
    """layout: the lines laid out as they stand in the picture, for a language model; "" when there is no text."""

    lines: list[TextLine]
    layout: str
    seconds: float
