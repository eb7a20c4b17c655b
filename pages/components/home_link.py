"""The way to the first screen, from everywhere."""

from __future__ import annotations

import streamlit as st
from streamlit.errors import StreamlitPageNotFoundError

from pages.components.context import _

HOME = "Home"  # url_path of the default page


def draw() -> None:
    """Streamlit knows Home.py as a file when a page runs without it, and as Home.py's function when it ran."""
    look = {"label": _("Home"), "icon": ":material/home:", "width": "stretch"}
    try:
        st.page_link("Home.py", **look)
    except StreamlitPageNotFoundError:
        st.page_link(st.Page(lambda: None, title="Home", default=True, url_path=HOME), **look)
