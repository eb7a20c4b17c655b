"""Lines of text found in a picture, laid out so that a small language model can read them. Pure functions."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from services.images.cells import Cell, cells_of, rows_of
from services.images.charts import Chart, find_chart, series
from services.images.pictures import TextLine

FAR_BELOW = 3.0  # heights of a line: a row this far below the last belongs to something else
GAP = 0.6  # of a line's height: less is a space between two words
PROSE_CHARACTERS = 16  # a column whose cells are this long on average is running text

Row = list[Cell]


def lay_out(lines: Sequence[TextLine]) -> str:
    """A chart as its title, "label: value" lines and the rest; else rows from top to bottom, tables in Markdown.

    "" when there are no lines.
    """
    cells = cells_of(lines)
    chart = find_chart(cells)
    return _chart(chart) if chart else _rows(rows_of(cells))


def _chart(chart: Chart) -> str:
    top = min(cell.top for found in chart.values for cell in found)
    floor = max(label.bottom for label in chart.labels)
    found = series(chart)
    rest = [cell for cell in chart.rest if not found or cell.text not in found[0]]
    before = [cell for cell in rest if cell.bottom <= top]
    after = [cell for cell in rest if cell.top >= floor]
    beside = [cell for cell in rest if cell not in before and cell not in after]
    parts = [_lines(before), _series(chart, *found) if found else _points(chart)]
    parts += [_lines(beside), _lines(after)]
    if chart.axis:
        parts.append("(axis: " + ", ".join(cell.text for cell in sorted(chart.axis, key=lambda c: -c.top)) + ")")
    return "\n".join(filter(None, parts))


def _lines(cells: Sequence[Cell]) -> str:
    return "\n".join("  ".join(cell.text for cell in row) for row in rows_of(cells))


def _series(chart: Chart, names: list[str], values: list[list[str]]) -> str:
    return _table([["", *names], *([label.text, *row] for label, row in zip(chart.labels, values, strict=True))])


def _points(chart: Chart) -> str:
    pairs = zip(chart.labels, chart.values, strict=True)
    return "\n".join(f"{label.text}: {', '.join(value.text for value in found) or '?'}" for label, found in pairs)


def _rows(rows: Sequence[Row]) -> str:
    return "\n".join(_block(block) for block in _blocks([_words_joined(row) for row in rows]))


def _words_joined(row: Row) -> Row:
    """The detector cuts a line where a wide space or a bracket is."""
    joined = [row[0]]
    for cell in row[1:]:
        if cell.left - joined[-1].right < GAP * min(cell.height, joined[-1].height):
            joined[-1] = joined[-1].with_next(cell)
        else:
            joined.append(cell)
    return joined


def _blocks(rows: Sequence[Row]) -> list[list[Row]]:
    """Rows of several cells that follow each other closely; every other row alone."""
    blocks: list[list[Row]] = []
    for row in rows:
        if blocks and len(row) > 1 and len(blocks[-1][-1]) > 1 and _close(blocks[-1][-1], row):
            blocks[-1].append(row)
        else:
            blocks.append([row])
    return blocks


def _close(above: Row, below: Row) -> bool:
    height = statistics.median(cell.height for cell in (*above, *below))
    return min(cell.top for cell in below) - max(cell.bottom for cell in above) < FAR_BELOW * height


def _block(rows: list[Row]) -> str:
    columns = _columns(rows)
    if len(columns) < 2 or len(rows) < 2:
        return "\n".join(map(_line, rows))
    if len(columns) > 2 and all(len(row) == 2 for row in rows):  # bars that lie: each value at the end of its own
        return "\n".join(map(_line, rows))
    grid = [_in_columns(row, columns) for row in rows]
    if _is_prose(grid):
        return "\n".join(" ".join(filter(None, column)) for column in zip(*grid, strict=True))
    if len(columns) == 2 and not _has_header(grid):
        return "\n".join(map(_pair, grid))
    return _table(grid)


def _columns(rows: Sequence[Row]) -> list[tuple[float, float]]:
    """Left and right edge of each column: what the cells of all rows cover, taken together."""
    columns: list[tuple[float, float]] = []
    for left, right in sorted((cell.left, cell.right) for row in rows for cell in row):
        if columns and left <= columns[-1][1]:
            columns[-1] = (columns[-1][0], max(right, columns[-1][1]))
        else:
            columns.append((left, right))
    longest = max(rows, key=len)
    if len(columns) < len(longest):  # a cell reaches over several columns
        return [(cell.left, cell.right) for cell in longest]
    return columns


def _in_columns(row: Row, columns: Sequence[tuple[float, float]]) -> list[str]:
    texts: list[list[str]] = [[] for _ in columns]
    for cell in row:
        texts[max(range(len(columns)), key=lambda index: _nearness(cell, columns[index]))].append(cell.text)
    return [" ".join(found) for found in texts]


def _nearness(cell: Cell, column: tuple[float, float]) -> float:
    """Their overlap, or less than nothing: the gap between them."""
    return min(cell.right, column[1]) - max(cell.left, column[0])


def _is_prose(grid: Sequence[Sequence[str]]) -> bool:
    lengths = [statistics.mean(len(text.encode()) for text in column) for column in zip(*grid, strict=True)]
    return min(lengths) >= PROSE_CHARACTERS


def _has_header(grid: Sequence[Sequence[str]]) -> bool:
    """Words over figures; the first column holds names anyway."""
    return not _has_digit(grid[0][1]) and all(_has_digit(row[1]) for row in grid[1:])


def _has_digit(text: str) -> bool:
    return any(character.isdigit() for character in text)


def _line(row: Row) -> str:
    texts = [cell.text for cell in row]
    return _pair(texts) if len(texts) == 2 else "  ".join(texts)


def _pair(cells: Sequence[str]) -> str:
    key, value = cells
    return f"{key.rstrip(' :：')}: {value}" if key and value else key or value


def _table(grid: Sequence[Sequence[str]]) -> str:
    written = ["| " + " | ".join(text.replace("|", "\\|") for text in row) + " |" for row in grid]
    return "\n".join([written[0], "|" + " --- |" * len(grid[0]), *written[1:]])
