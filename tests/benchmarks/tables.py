"""Measured rows as people read them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def table(rows: Iterable[dict], columns: Sequence[str]) -> str:
    """Markdown; a row that lacks a column has a blank there."""
    cells = [columns, ["---"] * len(columns), *([str(row.get(name, "")) for name in columns] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)
