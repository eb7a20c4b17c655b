"""Home's cards and figures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from pages.components.context import _
from pages.components.formats import count

if TYPE_CHECKING:
    from services.documents.library import Statistics


def doors() -> None:
    """What can be done here, one card each."""
    left, right = st.columns(2)
    with left.container(border=True, height="stretch"):
        st.subheader(_("Ask Docs"), anchor=False)
        st.markdown(_("Ask in your own words and get an answer with the document and page it rests on."))
        st.page_link("pages/ask_docs.py", label=_("Ask a question"), icon=":material/forum:")
    with right.container(border=True, height="stretch"):
        st.subheader(_("Documents"), anchor=False)
        st.markdown(_("Add PDF and Word files. You can ask about them as soon as their text is read."))
        st.page_link("pages/documents.py", label=_("Add or manage documents"), icon=":material/folder_open:")


def index(statistics: Statistics) -> None:
    """How much can be asked about. Nothing indexed has no share."""
    share = f"{100 * statistics.embedded // statistics.chunks} %" if statistics.chunks else "–"
    figures = st.columns(3)
    figures[0].metric(_("Documents"), count(statistics.documents), border=True)
    figures[1].metric(_("Passages"), count(statistics.chunks), border=True)
    figures[2].metric(
        _("Searchable by meaning"),
        share,
        border=True,
        help=_("Every passage can be found by its words at once; finding it by meaning follows in the background."),
    )
