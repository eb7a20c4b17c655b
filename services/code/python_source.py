"""Python that a model wrote, parsed if it can be: the parser itself gives up on some texts in ways of its own."""

from __future__ import annotations

import ast

NOT_PYTHON = (SyntaxError, ValueError, MemoryError, RecursionError)  # the last two: nested too deeply


def parsed(source: str) -> ast.Module | None:
    try:
        return ast.parse(source)
    except NOT_PYTHON:
        return None
