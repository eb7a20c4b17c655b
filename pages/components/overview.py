"""Home's cards and figures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from pages.components.context import _
from pages.components.formats import count
from services.permissions import Actor, Permission
from services.translation import N_

if TYPE_CHECKING:
    from services.documents.library import Statistics


# page, permission, title, what it is for, label of its link, icon
DOORS = [
    (
        "pages/ask_docs.py",
        Permission.ASK,
        N_("Ask Docs"),
        N_("Ask in your own words and get an answer with the document and page it rests on."),
        N_("Ask a question"),
        ":material/forum:",
    ),
    (
        "pages/code_helper.py",
        Permission.ASK,
        N_("Code Helper"),
        N_("Have code written, explained, improved and tested. Code and tests are run to see whether they work."),
        N_("Ask about code"),
        ":material/code:",
    ),
    (
        "pages/documents.py",
        Permission.READ_DOCUMENTS,
        N_("Documents"),
        N_("Add PDF and Word files. You can ask about them as soon as their text is read."),
        N_("Add or manage documents"),
        ":material/folder_open:",
    ),
    (
        "pages/model_manager.py",
        Permission.RUN_MODELS,
        N_("Model Manager"),
        N_("See what runs and how it fares; fetch, start and switch models, with a way back."),
        N_("Manage models"),
        ":material/memory:",
    ),
    (
        "pages/people.py",
        Permission.MANAGE_PEOPLE,
        N_("People"),
        N_("Invite people, give them roles and groups, close accounts."),
        N_("Manage people"),
        ":material/groups:",
    ),
    (
        "pages/audit.py",
        Permission.READ_AUDIT,
        N_("Audit"),
        N_("See who asked what, from which documents and with which model, and prove that the record is whole."),
        N_("Open the record"),
        ":material/history_edu:",
    ),
]


def doors(user: Actor) -> None:
    """What the person can do here, one card each, two in a row."""
    open_to = [door for door in DOORS if user.may(door[1])]
    for row in (open_to[at : at + 2] for at in range(0, len(open_to), 2)):
        for column, (page, _permission, title, purpose, label, icon) in zip(st.columns(2), row, strict=False):
            with column.container(border=True, height="stretch"):
                st.subheader(_(title), anchor=False)
                st.markdown(_(purpose))
                st.page_link(page, label=_(label), icon=icon)


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
