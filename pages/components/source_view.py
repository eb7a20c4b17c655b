"""The dialog that shows a place in a document, the span marked: a page as an image, or a Word file's paragraph."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import streamlit as st

from pages.components import dialogs, errors
from pages.components.context import _, services
from pages.components.text import escape, highlighted
from services.permissions import Actor

SOURCE = "source"
PAGE = "source_page"


@dataclass(frozen=True)
class Source:
    """A place in a document. page: 1-based, of a PDF; None for a Word file. spans: what to mark there."""

    document_id: int
    title: str
    page: int | None
    place: str
    chunk_id: int
    spans: tuple[str, ...]


def open_source(source: Source) -> None:
    """As a callback: a button's click."""
    st.session_state[PAGE] = source.page
    dialogs.open_dialog(SOURCE, source)


def draw(user: Actor) -> None:
    """The dialog, if a source is open."""
    dialogs.draw(SOURCE, _("Source"), ":material/description:", partial(_show, user), wide=True)


def _show(user: Actor, source: Source) -> None:
    st.markdown(f"**{escape(source.title)}**" + (f"  \n{escape(source.place)}" if source.place else ""))
    with errors.shown():
        if source.page is None:
            _show_passage(source, user)
        else:
            _show_page(source, user)


def _show_passage(source: Source, user: Actor) -> None:
    passage = services().preview.passage(source.chunk_id, user, source.spans)
    with st.container(border=True):
        for paragraph in passage.paragraphs:
            st.caption(_("Paragraph {n}", n=paragraph.number))
            st.markdown(highlighted(paragraph.text, paragraph.marked))


def _show_page(source: Source, user: Actor) -> None:
    document = services().library.get(source.document_id, user)
    page = st.session_state[PAGE]
    _turning(page, document.pages_total)
    spans = list(source.spans) if page == source.page else []
    image = services().preview.page_image(document, page, spans, user)
    st.image(image, width="stretch", alt=_("Page {n} of {document}", n=page, document=source.title))


def _turning(page: int, pages: int) -> None:
    with st.container(horizontal=True, horizontal_alignment="center", vertical_alignment="center"):
        st.button(
            _("Previous page"), icon=":material/chevron_left:", disabled=page <= 1, on_click=_turn, args=(page - 1,)
        )
        st.markdown(_("Page {n} of {total}", n=page, total=pages), width="content")
        st.button(
            _("Next page"),
            icon=":material/chevron_right:",
            icon_position="right",
            disabled=page >= pages,
            on_click=_turn,
            args=(page + 1,),
        )


def _turn(page: int) -> None:
    st.session_state[PAGE] = page
