"""Golden prompts: a model that has become ready must also answer like one before anybody is sent to it.

A broken quantisation, a wrong chat template or damaged weights give an engine that is healthy and talks nonsense:
"!!!!!!!!", one word for ever, letters of all alphabets.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from services.errors import GoldenPromptFailed
from services.translation import N_

MAX_TOKENS = 12  # a busy CPU makes a few tokens a second, and askers may be waiting
LEAST_READABLE = 0.8  # share of characters that are letters of the expected scripts, digits, space or punctuation
MOST_OF_ONE = 0.5  # share of the most frequent word in an answer of REPEATS words or more
REPEATS = 8
_WORD = re.compile(r"[一-鿿]|[^\W_]+|[^\w\s]")


@dataclass(frozen=True)
class GoldenPrompt:
    """any_of: the answer must contain one of these, whatever the case; empty: any language will do."""

    prompt: str
    any_of: tuple[str, ...] = ()


DEFAULTS = {
    "en": GoldenPrompt("Hello! Please say in one short sentence who you are."),
    "zh": GoldenPrompt("你好！请用一句话介绍你自己。"),
}

Generate = Callable[[list[dict], int], str]  # messages, most tokens → text


def check(generate: Generate, prompts: Sequence[GoldenPrompt]) -> None:
    """Ask each prompt. Raises GoldenPromptFailed with the first answer that will not do."""
    for golden in prompts:
        answer = generate([{"role": "user", "content": golden.prompt}], MAX_TOKENS).strip()
        expected = any(word.casefold() in answer.casefold() for word in golden.any_of) or not golden.any_of
        if not (expected and is_language(answer)):
            raise GoldenPromptFailed(
                N_("The model loaded, but answers the test question “{prompt}” with “{answer}”."),
                hint=N_("Its files may be damaged or its chat template wrong: verify it, or fetch another variant."),
                prompt=golden.prompt,
                answer=answer[:80],
            )


def is_language(text: str) -> bool:
    """Whether a text could be somebody's answer: mostly Latin, Chinese or digits, and not one word over and over."""
    characters = [c for c in text if not c.isspace()]
    if not characters:
        return False
    if sum(map(_readable, characters)) / len(characters) < LEAST_READABLE:
        return False
    words = _WORD.findall(text)
    if not any(word[0].isalnum() for word in words):
        return False
    return len(words) < REPEATS or Counter(words).most_common(1)[0][1] / len(words) < MOST_OF_ONE


def _readable(character: str) -> bool:
    if character.isascii():
        return character.isprintable()
    name = unicodedata.name(character, "")
    return name.startswith(("LATIN", "CJK", "FULLWIDTH", "IDEOGRAPHIC", "LEFT", "RIGHT")) or character in "…–—·“”‘’"
