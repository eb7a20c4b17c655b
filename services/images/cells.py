"""Lines of text as upright boxes, and the rows they stand in."""

from __future__ import annotations

import re
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from services.images.pictures import TextLine

WIDE = 3.0  # times as wide as high: its slope can be trusted
SAME_ROW = 0.5  # of the lower one's height must overlap
WITHOUT_SPACES = re.compile(r"[\u3000-\u9fff\uff00-\uffef]")  # Chinese and its punctuation
SPECKS = frozenset("_|.,·'`~丨")  # what a scratch or a grid line is read as
NUMBER = re.compile(r"^[^\w]*\d[\d\s.,:/%°+\-–]*(?:[a-zA-Z%℃°]{1,4}|[个元万亿千百年月日人件台次]{1,2}|[^\w\s]*)$")


@dataclass(frozen=True)
class Cell:
    """A text with the edges of its box, pixels; y grows downwards."""

    text: str
    left: float
    top: float
    right: float
    bottom: float

    @property
    def middle(self) -> float:
        return (self.left + self.right) / 2

    @property
    def height(self) -> float:
        return max(self.bottom - self.top, 1.0)

    @property
    def is_number(self) -> bool:
        """A figure, with or without a unit: 1,204 12.1% $8.35 120万元."""
        return bool(NUMBER.match(self.text.strip()))

    def with_next(self, other: Cell) -> Cell:
        """Both as one; other stands to the right."""
        top, bottom = min(self.top, other.top), max(self.bottom, other.bottom)
        space = "" if WITHOUT_SPACES.search(self.text[-1:] + other.text[:1]) else " "
        return Cell(f"{self.text}{space}{other.text}", self.left, top, max(self.right, other.right), bottom)


def cells_of(lines: Sequence[TextLine]) -> list[Cell]:
    """Boxes made straight: a photograph taken at a slant has rows that climb or fall."""
    slope = _slope(lines)
    return [_cell(line, slope) for line in lines if set(line.text) - SPECKS - {" "}]


def rows_of(cells: Sequence[Cell]) -> list[list[Cell]]:
    """From top to bottom, each from left to right."""
    rows: list[list[Cell]] = []
    for cell in sorted(cells, key=lambda cell: cell.top + cell.bottom):
        if rows and _side_by_side(cell, rows[-1]):
            rows[-1].append(cell)
        else:
            rows.append([cell])
    return [sorted(row, key=lambda cell: cell.left) for row in rows]


def _side_by_side(cell: Cell, row: Sequence[Cell]) -> bool:
    """By most of the row: one tall cell must not draw the next row in."""
    top, bottom = (statistics.median(getattr(other, edge) for other in row) for edge in ("top", "bottom"))
    overlap = min(cell.bottom, bottom) - max(cell.top, top)
    return overlap > SAME_ROW * min(cell.height, max(bottom - top, 1.0))


def _slope(lines: Sequence[TextLine]) -> float:
    slopes = []
    for line in lines:
        (left, top), (right, top_right), _, (_, bottom) = line.box
        if right - left > WIDE * max(bottom - top, 1.0):
            slopes.append((top_right - top) / (right - left))
    return statistics.median(slopes) if slopes else 0.0


def _cell(line: TextLine, slope: float) -> Cell:
    across = [x for x, _ in line.box]
    down = [y - slope * x for x, y in line.box]
    return Cell(" ".join(line.text.split()), min(across), min(down), max(across), max(down))
