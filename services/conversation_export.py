"""A conversation as a Markdown document: questions, answers with [n], and their sources."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from services.retrieval.citations import Citation, with_markers
from services.translation import N_, Language, explain, translate

if TYPE_CHECKING:
    from services.conversations import Turn

_MARKDOWN = re.compile(r"([\\`*_{}\[\]<>#|])")
UNSUPPORTED = N_("Not supported by the passages: {sentence}")
INCOMPLETE = {"cancelled": N_("This answer was stopped."), "failed": N_("This answer is incomplete.")}


def to_markdown(title: str, turns: Sequence[Turn], language: Language) -> str:
    """The whole conversation; what people, documents and models wrote is escaped."""
    parts = [f"# {plain(title)}", *(_turn(turn, language) for turn in turns)]
    return "\n\n".join(parts) + "\n"


def _turn(turn: Turn, language: Language) -> str:
    lines = [f"## {plain(turn.question)}"]
    if turn.text:
        lines.append(plain(with_markers(turn.text, turn.citations)))
    if turn.outcome in INCOMPLETE:
        lines.append(f"*{translate(INCOMPLETE[turn.outcome], language)}*")
    if turn.error:
        lines.append(f"*{' '.join(explain(turn.error, language)).strip()}*")
    unsupported = dict.fromkeys(citation.sentence for citation in turn.citations if not citation.supported)
    lines += [f"> {translate(UNSUPPORTED, language).format(sentence=plain(sentence))}" for sentence in unsupported]
    if sources := _sources(turn.citations, language):
        lines.append(f"**{translate(N_('Sources'), language)}**\n\n{sources}")
    lines.append(_footer(turn, language))
    return "\n\n".join(line for line in lines if line)


def _sources(citations: Sequence[Citation], language: Language) -> str:
    """One line for each marker and quote, in the order of the markers."""
    cited = sorted({(c.marker, c.document, c.page, c.place, c.quote) for c in citations if c.supported}, key=_order)
    lines = []
    for marker, document, page, place, quote in cited:
        where = [document, translate(N_("page {page}"), language).format(page=page) if page else "", place]
        lines.append(f"- \\[{marker}\\] {plain(', '.join(filter(None, where)))}: “{plain(quote)}”")
    return "\n".join(lines)


def _order(source: tuple) -> tuple[int, str]:
    return source[0], source[-1]


def _footer(turn: Turn, language: Language) -> str:
    """The model and the time (UTC) of the answer."""
    when = f"{turn.asked_at:%Y-%m-%d %H:%M} UTC" if turn.asked_at else ""
    model = translate(N_("Model: {model}"), language).format(model=plain(turn.model_id)) if turn.model_id else ""
    return " · ".join(filter(None, [model, when]))


def plain(text: str) -> str:
    """One paragraph in which nothing is Markdown or HTML."""
    return _MARKDOWN.sub(r"\\\1", " ".join(text.split()))
