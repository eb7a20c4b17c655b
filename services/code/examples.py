"""Examples that a requirement gives, as tests: what a person wrote down as expected is the best test there is."""

from __future__ import annotations

import ast
import doctest
import re

from services.code.python_source import NOT_PYTHON

_ARROW = re.compile(
    r"^\s*(?P<call>\w+\(.*\))\s*(?:==>|=>|->|➞|→|⇒|==|=|应返回|返回|returns?|should return)\s*"
    r"(?P<value>.+?)[。.;；]?\s*$"
)
MOST = 20


def examples_in(requirement: str) -> str:
    """Python assert lines for the examples of the requirement; "" without any.

    Read are doctests (`>>> f(1)` and the value on the next line) and lines like `f(1) → 2`. An example whose value is
    no literal is left out.
    """
    found = [*_doctests(requirement), *_arrows(requirement)]
    lines = [f"assert {call} == {value}" for call, value in found if _is_call(call) and _is_literal(value)]
    return "\n".join(dict.fromkeys(lines[:MOST]))


def _doctests(text: str) -> list[tuple[str, str]]:
    try:
        examples = doctest.DocTestParser().get_examples(text)
    except ValueError:
        return []
    return [(example.source.strip(), example.want.strip()) for example in examples]


def _arrows(text: str) -> list[tuple[str, str]]:
    matches = [
        _ARROW.match(line.replace("`", "").strip().removeprefix(">>>").strip("-* ")) for line in text.splitlines()
    ]
    return [(match["call"], match["value"].strip()) for match in matches if match]


def _is_call(source: str) -> bool:
    try:
        return isinstance(ast.parse(source, mode="eval").body, ast.Call)
    except NOT_PYTHON:
        return False


def _is_literal(source: str) -> bool:
    try:
        ast.literal_eval(source)
    except (*NOT_PYTHON, TypeError):  # e.g. a set of lists
        return False
    return True
