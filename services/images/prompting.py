"""The messages that ask a model about pictures: the picture itself, or the text that was read in it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from services.images.question import ImageQuestion, ImageTurn
from services.prompts import render

if TYPE_CHECKING:
    from services.images.pictures import ImageText
    from services.translation import Language

TEXT_TOKENS = 1500  # most that the text of all pictures may take of a prompt
EARLIER_MAX = 600  # characters of the turn before that a follow-up reminds the model of

CountTokens = Callable[[str], int]


def vision_messages(
    template: str,
    question: ImageQuestion,
    *,
    picture_url: str,
    text: str,
    earlier: ImageTurn | None,
    language: Language,
) -> list[dict]:
    """One picture (a data: URL) and the question. text: that was read in it, or ""."""
    evidence = render(template, "evidence", language, text=text) if text else ""
    words = render(template, "vision", language, **_parts(template, question, language), evidence=evidence).strip()
    parts = [{"type": "image_url", "image_url": {"url": picture_url}}, {"type": "text", "text": words}]
    return [*_reminder(earlier), {"role": "user", "content": parts}]


def reading_messages(
    template: str, question: ImageQuestion, *, text: str, earlier: ImageTurn | None, language: Language
) -> list[dict]:
    """The text that was read, and the question after it."""
    words = render(template, "reading", language, **_parts(template, question, language), text=text).strip()
    return [*_reminder(earlier), {"role": "user", "content": words}]


def read_text(
    template: str, readings: Sequence[ImageText], language: Language, count_tokens: CountTokens
) -> tuple[str, bool]:
    """The layouts of all pictures, numbered when there are several, and whether they had to be cut.

    Each gets an equal share of TEXT_TOKENS. "" when nothing was read in any.
    """
    share = TEXT_TOKENS // max(1, len(readings))
    texts = [_within(reading.layout.strip(), share, count_tokens) for reading in readings]
    cut = any(text != reading.layout.strip() for text, reading in zip(texts, readings, strict=True))
    if len(texts) > 1 and any(texts):
        texts = [render(template, "numbered", language, number=str(at), text=text) for at, text in enumerate(texts, 1)]
    return "\n\n".join(texts), cut


def _within(text: str, budget_tokens: int, count_tokens: CountTokens) -> str:
    """As many whole lines from the top as the budget has room for; of a single long line its beginning."""
    if count_tokens(text) <= budget_tokens:
        return text
    lines = text.split("\n")
    fits, too_many = 0, len(lines)
    while too_many - fits > 1:
        middle = (fits + too_many) // 2
        if count_tokens("\n".join(lines[:middle])) <= budget_tokens:
            fits = middle
        else:
            too_many = middle
    return "\n".join(lines[:fits]) or text[:budget_tokens]


def _parts(template: str, question: ImageQuestion, language: Language) -> dict[str, str]:
    """What the words do not say is said by the kind of picture: what to look at, and what it is."""
    kind = render(template, f"kind/{question.template}", language)
    task = question.words or render(template, f"task/{question.template}", language)
    form = render(template, f"form/{question.form}", language)
    return {"kind": kind, "question": task, "form": form}


def _reminder(earlier: ImageTurn | None) -> list[dict]:
    if earlier is None or not earlier.text or not earlier.question.words:
        return []
    return [
        {"role": "user", "content": earlier.question.words[:EARLIER_MAX]},
        {"role": "assistant", "content": earlier.text[:EARLIER_MAX]},
    ]
