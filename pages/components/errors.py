"""How failures look: one wrapper for every page, fragment and callback.

server.py gives `draw` to st.App(on_script_error=…), which calls it for whatever a page, a fragment or a callback did
not catch. `shown` is for an action after which the rest of the page is still to be drawn.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Iterator
from contextlib import contextmanager

import streamlit as st

from pages.components import home_link
from pages.components.context import _, language
from pages.components.text import escape
from services.errors import Denied, PortalError
from services.translation import explain

log = logging.getLogger(__name__)


@contextmanager
def shown() -> Iterator[None]:
    """Draw a PortalError of the block where it happens, and go on after the block."""
    try:
        yield
    except PortalError as error:
        show(error)


def show(error: PortalError) -> None:
    """Message and hint in the person's language."""
    st.error(in_words(error), icon=":material/error:")


def in_words(error: PortalError) -> str:
    """Message and hint as escaped Markdown, the message in bold; values inside may be a stranger's text."""
    message, hint = explain(error, language())
    return f"**{escape(message)}**" + (f"  \n{escape(hint)}" if hint else "")


def draw(error: Exception) -> bool:
    """Draw any uncaught failure; True tells Streamlit that this is done. A bug is logged under an id."""
    if isinstance(error, PortalError):
        show(error)
        if isinstance(error, Denied):
            home_link.draw()  # a screen that is not for this person has no frame
        return True
    incident = secrets.token_hex(4)
    log.error("Unexpected failure %s", incident, exc_info=error)
    st.error(
        _(
            "**Something unexpected went wrong.** Please give your administrator this number: {id}",
            id=incident,
        ),
        icon=":material/bug_report:",
    )
    return True
