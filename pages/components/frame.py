"""What is around every page: its name in the browser, the way to the others, the engine badge, the language."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

import streamlit as st

from pages.components import account_menu, dialogs, engine_badge, home_link
from pages.components.context import _, choose_language, language
from services.permissions import Actor, Permission
from services.translation import LANGUAGES, N_

LOGO = Path(__file__).parent / "logo.svg"
LOGO_ICON = Path(__file__).parent / "logo_icon.svg"
PAGE_SEEN = "page_seen"
LANGUAGE_NAMES = {"zh": "中文", "en": "English"}

# file, title, icon, who may open it
PAGES = [
    ("pages/ask_docs.py", N_("Ask Docs"), ":material/forum:", Permission.ASK),
    ("pages/code_helper.py", N_("Code Helper"), ":material/code:", Permission.ASK),
    ("pages/documents.py", N_("Documents"), ":material/folder_open:", Permission.READ_DOCUMENTS),
    ("pages/model_manager.py", N_("Model Manager"), ":material/memory:", Permission.RUN_MODELS),
    ("pages/people.py", N_("People"), ":material/groups:", Permission.MANAGE_PEOPLE),
    ("pages/audit.py", N_("Audit"), ":material/history_edu:", Permission.READ_AUDIT),
]


def draw(user: Actor, title: str, *, wide: bool = False) -> None:
    """The same frame whether Home.py ran before the page or not. wide: for tables."""
    layout = "wide" if wide else "centered"
    st.set_page_config(page_title=title + " · " + _("Zhiku"), page_icon=str(LOGO_ICON), layout=layout)
    if st.session_state.get(PAGE_SEEN) != title:
        st.session_state[PAGE_SEEN] = title
        dialogs.close()  # what was open on another page
    st.logo(str(LOGO), icon_image=str(LOGO_ICON), size="large")
    with st.sidebar:
        home_link.draw()
        for file, name, icon, permission in PAGES:
            if user.may(permission):
                st.page_link(file, label=_(name), icon=icon, width="stretch")
        if user.may(Permission.ASK):
            engine_badge.draw("sidebar")
        account_menu.draw(user)
        _language_switch(user)


def heading(title: str) -> AbstractContextManager:
    """The page's title; what is drawn in the block stands to the right of it."""
    row = st.container(horizontal=True, vertical_alignment="center")
    row.title(title, anchor=False, width="stretch")
    return row


def _language_switch(user: Actor) -> None:
    chosen = st.segmented_control(
        _("Language"),
        LANGUAGES,
        default=language(),
        format_func=LANGUAGE_NAMES.get,
        required=True,
        label_visibility="collapsed",
        key="language_switch",
    )
    if chosen != language():
        choose_language(user, chosen)
        st.rerun()
