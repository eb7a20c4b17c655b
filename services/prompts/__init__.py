"""Prompts: Markdown templates by set and language, filled in one pass so that no text can play template.

A set is a folder: answer.<language>.md (the user's message: {passages} first, {question} last), passage.<language>.md
(one passage: {number}, {title}, {text}) and, if the model does better with one, system.<language>.md.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from services.evidence import Excerpt
from services.translation import Language

FOLDER = Path(__file__).parent
_PLACEHOLDER = re.compile(r"\{(\w+)\}")
_CONTROL = re.compile(r"<(?=\s*/?\s*passage\b|\|)", re.IGNORECASE)


def answer_messages(template: str, language: Language, evidence: Sequence[Excerpt], question: str) -> list[dict]:
    """The messages that ask for an answer from the evidence.

    template: name of a set. Passages and question are data: braces in them stay braces, and what would end a passage
    or a message (</passage>, <|im_end|>) is made harmless.
    """
    passage = _read(template, "passage", language)
    passages = [
        fill(passage, number=str(excerpt.number), title=_as_data(excerpt.title), text=_as_data(excerpt.text))
        for excerpt in evidence
    ]
    user = fill(_read(template, "answer", language), passages="\n\n".join(passages), question=_as_data(question))
    system = _read(template, "system", language)
    return ([{"role": "system", "content": system}] if system else []) + [{"role": "user", "content": user}]


def render(template: str, part: str, language: Language, /, **texts: str) -> str:
    """A part of a set with its {placeholders} filled; the texts are data."""
    return fill(_read(template, part, language), **{name: _as_data(text) for name, text in texts.items()})


def fill(template: str, **values: str) -> str:
    """The template with its {placeholders} replaced, once: values are not looked into. KeyError for an unknown one."""
    return _PLACEHOLDER.sub(lambda match: values[match[1]], template)


@cache
def _read(template: str, part: str, language: Language) -> str:
    """A file of a set without its last line break; "" for a set that has no system message."""
    path = FOLDER / template / f"{part}.{language}.md"
    if part == "system" and not path.exists():
        return ""
    return path.read_text(encoding="utf-8").rstrip("\n")


def _as_data(text: str) -> str:
    """The text with a space in what a chat template or our own delimiters would take for control."""
    return _CONTROL.sub("< ", text)
