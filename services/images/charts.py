"""Charts whose values are written beside their bars or points: each value with the label that it stands over."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from services.images.cells import Cell, rows_of

LEAST_LABELS = 2
EVEN = 0.35  # of the usual distance between two labels: how far one may be off
REACH = 0.5  # of it: how far a value may stand from the middle of its label
APART = 0.4  # of a line's height: bars side by side, not points one above the other
LEAST_SHARE = 0.6  # of the labels must have a value


@dataclass(frozen=True)
class Chart:
    """labels: of the axis, from left to right. values: of each label, from left to right. axis: numbers of its scale.

    rest: title, legend, units, whatever else is written.
    """

    labels: list[Cell]
    values: list[list[Cell]]
    axis: list[Cell]
    rest: list[Cell]


def find_chart(cells: Sequence[Cell]) -> Chart | None:
    """The lowest row of evenly spaced labels with values of different height over them; None when there is none."""
    for row in reversed(rows_of(cells)):
        for labels in _candidates(row):
            chart = _with_values(labels, cells)
            if _is_chart(chart):
                return chart
        if sum(cell.is_number for cell in row) > 1:
            return None  # figures below the labels: a table
    return None


def _candidates(row: list[Cell]) -> list[list[Cell]]:
    """Evenly spaced labels: the words of the row, or all of it when it is years; the scale's zero may stand before."""
    words = [cell for cell in row if not cell.is_number]
    if words and row[-len(words) :] != words:
        return []  # figures between the words: a row of a table
    found = [words] if words else [row, row[1:]]
    return [labels for labels in found if len(labels) >= LEAST_LABELS and _evenly_spaced(labels)]


def _evenly_spaced(labels: Sequence[Cell]) -> bool:
    steps = _steps(labels)
    usual = statistics.median(steps)
    return all(abs(step - usual) <= EVEN * usual for step in steps)


def _steps(labels: Sequence[Cell]) -> list[float]:
    return [right.middle - left.middle for left, right in pairwise(labels)]


def _with_values(labels: list[Cell], cells: Sequence[Cell]) -> Chart:
    reach = REACH * statistics.median(_steps(labels))
    top = min(label.top for label in labels)
    above = [cell for cell in cells if cell.is_number and cell.bottom <= top + cell.height and cell not in labels]
    values: list[list[Cell]] = [[] for _ in labels]
    axis = []
    for cell in sorted(above, key=lambda cell: cell.middle):
        nearest = min(range(len(labels)), key=lambda index: abs(labels[index].middle - cell.middle))
        (values[nearest] if abs(labels[nearest].middle - cell.middle) < reach else axis).append(cell)
    used = {id(cell) for cell in (*labels, *axis, *(value for found in values for value in found))}
    return Chart(labels, values, axis, [cell for cell in cells if id(cell) not in used])


def _is_chart(chart: Chart) -> bool:
    """Values over most labels, as many over each, and not in rows as those of a table."""
    counts = [len(found) for found in chart.values if found]
    if len(counts) < max(LEAST_LABELS, LEAST_SHARE * len(chart.labels)) or max(counts) > 2 * min(counts):
        return False
    rows = rows_of([value for found in chart.values for value in found])
    return len(rows) > max(counts) or (max(counts) == 1 and not chart.labels[0].is_number)


def series(chart: Chart) -> tuple[list[str], list[list[str]]] | None:
    """The legend, and for each label a value of each of its series, "" where one was not read. None without a legend.

    Bars of one label stand side by side in the order of the legend; points one above the other have no such order.
    """
    count = max(map(len, chart.values))
    full = [(label, found) for label, found in zip(chart.labels, chart.values, strict=True) if len(found) == count]
    if count < 2 or not all(_apart(found) for _, found in full):
        return None
    names = _legend([cell for cell in chart.rest if not cell.is_number], count)
    places = [statistics.mean(found[index].middle - label.middle for label, found in full) for index in range(count)]
    if not names:
        return None
    rows = []
    for label, found in zip(chart.labels, chart.values, strict=True):
        row = [""] * count
        for value in found:
            row[min(range(count), key=lambda index: abs(places[index] - value.middle + label.middle))] = value.text
        rows.append(row)
    return names, rows


def _legend(words: list[Cell], count: int) -> list[str]:
    """The row or column of so many texts, if there is one."""
    for row in rows_of(words):
        if len(row) == count:
            return [cell.text for cell in row]
    columns = [[other for other in words if abs(other.left - cell.left) < cell.height] for cell in words]
    legend = next((column for column in columns if len(column) == count), [])
    return [cell.text for cell in sorted(legend, key=lambda cell: cell.top)]


def _apart(values: Sequence[Cell]) -> bool:
    return all(b.middle - a.middle > APART * min(a.height, b.height) for a, b in pairwise(values))
