"""Tables in what a model writes: found as Markdown, given as rows, as CSV for a spreadsheet."""

from __future__ import annotations

import csv
import io
import re
from typing import NamedTuple

Rows = list[list[str]]  # column heads first; every row has as many cells

_CELL_END = re.compile(r"(?<!\\)\|")
_RULE = re.compile(r":?-+:?")
_NUMBER = re.compile(r"[+-]?[\d.,]*\d%?")
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")  # a spreadsheet may run what begins so


class FoundTable(NamedTuple):
    """before, after: the text around the table."""

    rows: Rows
    before: str
    after: str


def find_table(text: str) -> FoundTable | None:
    """The largest Markdown table of the text (head, rule, at least one row); None when there is none."""
    lines = text.splitlines()
    found = [(at, end) for at in range(len(lines)) if (end := _end_of_table(lines, at)) - at > 2]
    if not found:
        return None
    at, end = max(found, key=lambda table: table[1] - table[0])
    heads = _cells(lines[at])
    rows = [heads, *(_as_wide(_cells(line), len(heads)) for line in lines[at + 2 : end])]
    return FoundTable(rows, "\n".join(lines[:at]), "\n".join(lines[end:]))


def to_csv(rows: Rows) -> str:
    """No cell can be a formula: what begins like one, and is no number, gets an apostrophe in front."""
    text = io.StringIO()
    csv.writer(text).writerows([_harmless(cell) for cell in row] for row in rows)
    return text.getvalue()


def _harmless(cell: str) -> str:
    dangerous = cell.startswith(_FORMULA) or cell.lstrip().startswith(_FORMULA)
    return "'" + cell if dangerous and not _NUMBER.fullmatch(cell) else cell


def _end_of_table(lines: list[str], at: int) -> int:
    """The index after the last line of the table that begins at this one; the same index when none does."""
    if at + 1 >= len(lines) or "|" not in lines[at]:
        return at
    rule = _cells(lines[at + 1])
    if "|" not in lines[at + 1] or len(rule) != len(_cells(lines[at])) or not all(map(_RULE.fullmatch, rule)):
        return at
    end = at + 2
    while end < len(lines) and "|" in lines[end]:
        end += 1
    return end


def _cells(line: str) -> list[str]:
    line = line.strip().removeprefix("|")
    parts = _CELL_END.split(line)
    if len(parts) > 1 and not parts[-1].strip():
        parts.pop()
    return [_plain(part) for part in parts]


def _plain(cell: str) -> str:
    """Without Markdown's own marks."""
    cell = cell.replace(r"\|", "|").replace("<br>", " ").strip()
    for mark in ("**", "`"):
        if len(cell) > 2 * len(mark) and cell.startswith(mark) and cell.endswith(mark):
            cell = cell.removeprefix(mark).removesuffix(mark)
    return cell


def _as_wide(cells: list[str], width: int) -> list[str]:
    return [*cells[:width], *[""] * (width - len(cells))]
