"""What is around every page: its name in the browser, the way to the others, the engine badge, the language."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

import streamlit as st
from streamlit.errors import StreamlitPageNotFoundError

from pages.components import dialogs, engine_badge
from pages.components.context import _, choose_language, language
from services.permissions import Actor, Permission
from services.translation import LANGUAGES, N_

LOGO = Path(__file__).parent / "logo.svg"
LOGO_ICON = Path(__file__).parent / "logo_icon.svg"
HOME = "Home"  # url_path of the default page
PAGE_SEEN = "page_seen"
LANGUAGE_NAMES = {"zh": "中文", "en": "English"}

# file, title, icon, who may open it
PAGES = [
    ("pages/ask_docs.py", N_("Ask Docs"), ":material/forum:", Permission.ASK),
    ("pages/documents.py", N_("Documents"), ":material/folder_open:", Permission.READ_DOCUMENTS),
]


def draw(user: Actor, title: str) -> None:
    """The same frame whether Home.py ran before the page or not."""
    st.set_page_config(page_title=title + " · " + _("Zhiku"), page_icon=str(LOGO_ICON), layout="centered")
    if st.session_state.get(PAGE_SEEN) != title:
        st.session_state[PAGE_SEEN] = title
        dialogs.close()  # what was open on another page
    st.logo(str(LOGO), icon_image=str(LOGO_ICON), size="large")
    with st.sidebar:
        _link_home()
        for file, name, icon, permission in PAGES:
            if user.may(permission):
                st.page_link(file, label=_(name), icon=icon, width="stretch")
        engine_badge.draw("sidebar")
        _language_switch(user)


def heading(title: str) -> AbstractContextManager:
    """The page's title; what is drawn in the block stands to the right of it."""
    row = st.container(horizontal=True, vertical_alignment="center")
    row.title(title, anchor=False, width="stretch")
    return row


def _link_home() -> None:
    """Streamlit knows Home.py as a file when a page runs without it, and as Home.py's function when it ran."""
    look = {"label": _("Home"), "icon": ":material/home:", "width": "stretch"}
    try:
        st.page_link("Home.py", **look)
    except StreamlitPageNotFoundError:
        st.page_link(st.Page(lambda: None, title="Home", default=True, url_path=HOME), **look)


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
