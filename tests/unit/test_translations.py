"""Every string that a person can see has its Chinese."""

from __future__ import annotations

import re
from functools import cache

import pytest
from babel.messages import Catalog, Message
from babel.messages.extract import extract_from_file
from babel.messages.pofile import read_po

from services.translation import LOCALES

ROOT = LOCALES.parent
SOURCES = [
    path
    for pattern in ("*.py", "pages/**/*.py", "services/**/*.py")
    for path in ROOT.glob(pattern)
    if path.name != "setup.py"
]
PLACEHOLDER = re.compile(r"{(\w+)[^}]*}")


@cache
def extracted() -> set[str]:
    """The msgids in _() and N_() of the sources as they are now."""
    keywords = {"_": None, "N_": None}
    return {
        message
        for path in SOURCES
        for _line, message, _comments, _context in extract_from_file("python", path, keywords=keywords)
        if isinstance(message, str)
    }


@cache
def chinese() -> Catalog:
    with (LOCALES / "zh" / "LC_MESSAGES" / "zhiku.po").open("rb") as source:
        return read_po(source, locale="zh")


def entries() -> list[Message]:
    return [message for message in chinese() if message.id]


def test_every_msgid_is_translated() -> None:
    missing = sorted(msgid for msgid in extracted() if not (entry := chinese().get(msgid)) or not entry.string)
    assert missing == [], "run `make translations` and translate them"


def test_no_translation_is_fuzzy_or_left_over() -> None:
    assert [entry.id for entry in entries() if entry.fuzzy] == []
    assert [entry.id for entry in entries() if entry.id not in extracted()] == []


@pytest.mark.parametrize("entry", entries(), ids=lambda entry: entry.id[:40])
def test_the_placeholders_of_a_translation_are_those_of_its_msgid(entry: Message) -> None:
    assert set(PLACEHOLDER.findall(entry.string)) == set(PLACEHOLDER.findall(entry.id))


def test_no_msgid_hides_in_an_f_string() -> None:
    """pybabel does not look into f-strings."""
    hidden = re.compile(r"""f["'][^"'\n]*\{N?_\(["']""")
    assert [str(path) for path in SOURCES if hidden.search(path.read_text())] == []
