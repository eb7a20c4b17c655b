"""The four sections of an answer about code."""

from __future__ import annotations

import streamlit as st

from pages.components.context import _
from pages.components.text import prose
from services.code.answer import Sections
from services.code.export import TITLES


def draw(sections: Sections, language: str) -> None:
    """What a model wrote outside of code is text and nothing more."""
    for name, title in TITLES.items():
        text = getattr(sections, name)
        if not text.strip():
            continue
        st.markdown(f"**{_(title)}**")
        if name in ("code", "tests"):
            st.code(text, language=(language or sections.language).lower() or None)
        else:
            st.markdown(prose(text))
