"""Dialogs that stay open while the page behind them is drawn again.

Streamlit closes a dialog as soon as the page runs without calling it, and the page runs by itself: when the model
becomes ready, when a file was read. So what is open is kept until the person answers or dismisses it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import streamlit as st

OPEN = "open_dialog"  # (kind, what it is about): one at a time


def open_dialog(kind: str, about: object) -> None:
    """Show the dialog when the page is drawn next. Fit for a button's on_click."""
    st.session_state[OPEN] = (kind, about)


def button(label: str, kind: str, about: object, **look) -> None:
    """A button that opens the dialog; from a fragment too, which by itself would draw no dialog. look: of st.button."""
    if st.button(label, **look):
        open_dialog(kind, about)
        st.rerun()


def close() -> None:
    st.session_state.pop(OPEN, None)


def draw(
    kind: str,
    title: str,
    icon: str,
    body: Callable[[object], None],
    *,
    wide: bool = False,
    width: Literal["small", "medium", "large"] = "small",
) -> None:
    """Draw the dialog if it is the open one; body gets what it is about."""
    opened, about = st.session_state.get(OPEN, (None, None))
    if opened == kind:
        st.dialog(title, icon=icon, width="medium" if wide else width, on_dismiss=close)(body)(about)
