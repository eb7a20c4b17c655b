"""The word lists of words.toml, read when first needed."""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path

FILE = Path(__file__).with_name("words.toml")


@cache
def word_list(name: str) -> frozenset[str]:
    """The words of one list, lower case. KeyError for a list that is not there."""
    return frozenset(_lists()[name].split())


@cache
def number_words() -> dict[str, int]:
    """English numerals → values."""
    pairs = (entry.split("=") for entry in _lists()["numbers"].split())
    return {word: int(value) for word, value in pairs}


@cache
def _lists() -> dict[str, str]:
    return tomllib.loads(FILE.read_text(encoding="utf-8"))
