"""Every string that a person can see has its Chinese."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest
from babel.messages import Catalog, Message
from babel.messages.extract import extract_from_dir
from babel.messages.frontend import parse_mapping_cfg
from babel.messages.pofile import read_po

from services.translation import LOCALES

ROOT = LOCALES.parent
SOURCES = [path for pattern in ("*.py", "pages/**/*.py", "services/**/*.py", "web/*.py") for path in ROOT.glob(pattern)]
PLACEHOLDER = re.compile(r"{(\w+)[^}]*}")


@cache
def extracted() -> set[str]:
    """The msgids in _() and N_() of the sources and templates as they are now: what `make translations` collects."""
    with (LOCALES / "babel.cfg").open() as mapping:
        methods, options = parse_mapping_cfg(mapping)
    keywords = {"_": None, "N_": None}
    found = extract_from_dir(ROOT, methods, options, keywords=keywords, directory_filter=_ours)
    return {message for _file, _line, message, _comments, _context in found if isinstance(message, str)}


def _ours(folder: str) -> bool:
    return Path(folder).name in {"", "pages", "components", "services", "web", "templates"} or "services" in folder


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
