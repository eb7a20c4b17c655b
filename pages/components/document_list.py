"""The documents: paged, filtered, refreshing itself only while something is in progress."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from pages.components import document_card
from pages.components.context import _, services
from pages.components.formats import count
from services.permissions import Actor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.documents.library import Document

PER_PAGE = 10
FILTERED_FROM = 6  # documents: with fewer there is nothing to look for
REFRESH_S = 2
LIST_PAGE = "document_list_page"
IN_PROGRESS = ("queued", "reading", "embedding")
FILTERS = {"all": None, "in_progress": IN_PROGRESS, "failed": ("failed",), "ready": ("ready",)}


def draw(user: Actor, collection_ids: Sequence[int] | None) -> None:
    """The list; by itself every two seconds until all files are done."""
    busy = any(document.state in IN_PROGRESS for document in services().library.list(user, collection_ids))
    st.fragment(_list, run_every=REFRESH_S if busy else None)(user, collection_ids, busy)


def _list(user: Actor, collection_ids: Sequence[int] | None, was_busy: bool) -> None:
    documents = services().library.list(user, collection_ids)
    if not documents:
        st.info(_("Nothing here yet. Drop PDF or Word files above and press Add."), icon=":material/upload_file:")
        return
    editable = {collection.id for collection in services().library.editable_collections(user)}
    chosen = _filtered(documents) if len(documents) >= FILTERED_FROM else documents
    page, pages = _page_of(len(chosen))
    for document in chosen[page * PER_PAGE : (page + 1) * PER_PAGE]:
        document_card.draw(document, user, editable=document.collection_id in editable)
    if pages > 1:
        _pager(page, pages)
    if was_busy != any(d.state in IN_PROGRESS for d in documents):
        st.rerun()


def _filtered(documents: Sequence[Document]) -> list[Document]:
    """By state and by words of the title."""
    numbers = {name: sum(_matches(d, name) for d in documents) for name in FILTERS}
    words = {
        "all": _("All {n}", n=count(numbers["all"])),
        "in_progress": _("In progress {n}", n=count(numbers["in_progress"])),
        "failed": _("Failed {n}", n=count(numbers["failed"])),
        "ready": _("Ready {n}", n=count(numbers["ready"])),
    }
    with st.container(horizontal=True, vertical_alignment="bottom"):
        name = st.segmented_control(
            _("Show"),
            list(FILTERS),
            default="all",
            format_func=words.get,
            required=True,
            key="state_filter",
            label_visibility="collapsed",
            on_change=_to_first_page,
        )
        title = st.text_input(
            _("Find a title"),
            placeholder=_("Find a title"),
            key="title_filter",
            icon=":material/search:",
            label_visibility="collapsed",
            on_change=_to_first_page,
        )
    return [d for d in documents if _matches(d, name) and title.strip().lower() in d.title.lower()]


def _matches(document: Document, name: str) -> bool:
    states = FILTERS[name]
    return states is None or document.state in states


def _page_of(documents: int) -> tuple[int, int]:
    """(page to show, counted from 0; number of pages)"""
    pages = max(1, -(-documents // PER_PAGE))
    return min(st.session_state.get(LIST_PAGE, 0), pages - 1), pages


def _pager(page: int, pages: int) -> None:
    with st.container(horizontal=True, horizontal_alignment="center", vertical_alignment="center"):
        st.button(_("Previous"), icon=":material/chevron_left:", disabled=page == 0, on_click=_turn, args=(page - 1,))
        st.markdown(_("{n} of {total}", n=page + 1, total=pages), width="content")
        st.button(
            _("Next"),
            icon=":material/chevron_right:",
            icon_position="right",
            disabled=page + 1 >= pages,
            on_click=_turn,
            args=(page + 1,),
        )


def _turn(page: int) -> None:
    st.session_state[LIST_PAGE] = page


def _to_first_page() -> None:
    _turn(0)
