"""From a sentence of an answer to the place in the document that it rests on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import streamlit as st

from pages.components.context import _
from pages.components.source_view import Source, open_source
from pages.components.text import escape, prose

if TYPE_CHECKING:
    from services.conversations import StoredPassage
    from services.retrieval.citations import Citation

QUOTE_LENGTH = 220  # characters of a quote or passage on a card; the whole is one click away


@dataclass(frozen=True)
class Piece:
    """A stretch of an answer with the numbers of its sources; unsupported: its documents do not say this."""

    text: str
    markers: tuple[int, ...] = ()
    unsupported: bool = False


def pieces(text: str, citations: Iterable[Citation]) -> list[Piece]:
    """Cut the answer after each cited sentence. A sentence that is not in the text is passed over."""
    found: list[Piece] = []
    position = 0
    for sentence, of_sentence in _by_sentence(citations).items():
        begin = text.find(sentence, position)
        if begin < 0 or not sentence:
            continue
        if begin > position:
            found.append(Piece(text[position:begin]))
        position = begin + len(sentence)
        markers = tuple(dict.fromkeys(c.marker for c in of_sentence if c.supported and c.marker))
        found.append(Piece(sentence, markers, unsupported=not any(c.supported for c in of_sentence)))
    if position < len(text):
        found.append(Piece(text[position:]))
    return found


def cited(text: str, citations: Iterable[Citation]) -> str:
    """The answer as Markdown: [n] after each sentence that is backed, a mark on each that is not.

    Private-use characters stand for the marks while the text is escaped.
    """
    notes: list[str] = []
    parts: list[str] = []
    for piece in pieces(text, citations):
        parts.append(piece.text.rstrip())
        marks = [f":blue-badge[{n}]" for n in piece.markers]
        if piece.unsupported:
            marks.append(":orange-badge[:material/help: " + _("not backed by the documents") + "]")
        if marks:
            notes.append(" " + " ".join(marks))
            parts.append("\ue000")
        parts.append(piece.text[len(piece.text.rstrip()) :])
    shown = prose("".join(parts))
    for note in notes:
        shown = shown.replace("\ue000", note, 1)
    return shown


def draw_sources(citations: Sequence[Citation], key: str) -> None:
    """One card per marker: document, page or place, quote, and the way to the page itself."""
    for marker, of_marker in _by_marker(citations).items():
        first = of_marker[0]
        source = Source(
            document_id=first.document_id,
            title=first.document,
            page=first.page,
            place=first.place,
            chunk_id=first.chunk_id,
            spans=tuple(dict.fromkeys(c.quote for c in of_marker if c.quote)),
        )
        _card(f":blue-badge[{marker}]", source, " … ".join(source.spans), key=f"{key}-{marker}")


def draw_passages(passages: Sequence[StoredPassage], key: str) -> None:
    """The nearest passages, best first, when there is no worded answer."""
    for number, passage in enumerate(passages):
        source = Source(
            document_id=passage.document_id,
            title=passage.document,
            page=passage.page,
            place=passage.place,
            chunk_id=passage.chunk_id,
            spans=(passage.text,),
        )
        _card("", source, passage.text, key=f"{key}-p{number}")


def _card(badge: str, source: Source, quote: str, key: str) -> None:
    with st.container(border=True, gap="xsmall"):
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.markdown(f"{badge} **{escape(source.title)}**".strip(), width="stretch")
            label = _("Page {n}", n=source.page) if source.page else _("Paragraph")
            st.button(
                label,
                icon=":material/visibility:",
                help=_("Show the place in the document"),
                key=f"source-{key}",
                on_click=open_source,
                args=(source,),
            )
        if source.place:
            st.caption(escape(source.place))
        st.markdown(escape(_shortened(quote)))


def _shortened(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= QUOTE_LENGTH else text[:QUOTE_LENGTH].rstrip() + "…"


def _by_sentence(citations: Iterable[Citation]) -> dict[str, list[Citation]]:
    groups: dict[str, list[Citation]] = {}
    for citation in citations:
        groups.setdefault(citation.sentence, []).append(citation)
    return groups


def _by_marker(citations: Iterable[Citation]) -> dict[int, list[Citation]]:
    groups: dict[int, list[Citation]] = {}
    for citation in citations:
        if citation.supported and citation.marker:
            groups.setdefault(citation.marker, []).append(citation)
    return dict(sorted(groups.items()))
