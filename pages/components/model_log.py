"""An engine's log: followed while it is written, searched, and downloaded."""

from __future__ import annotations

from functools import partial

import streamlit as st

from pages.components import dialogs, errors
from pages.components.context import _, services
from pages.components.formats import count
from services.permissions import Actor

LOG, ICON = "model-log", ":material/terminal:"
SHOWN_LINES, ALL_LINES = 400, 200_000
HEIGHT = 440
REFRESH_S = 3


def button(deployment_id: int, *, key: str) -> None:
    dialogs.button(_("Log"), LOG, deployment_id, icon=ICON, key=key)


def icon_button(deployment_id: int, *, key: str) -> None:
    """For where room is scarce."""
    dialogs.button(" ", LOG, deployment_id, icon=ICON, key=key, type="tertiary", help=_("Log"))


def draw(user: Actor) -> None:
    dialogs.draw(LOG, _("Log of the engine"), ICON, partial(_show, user), width="large")


def _show(user: Actor, deployment_id: int) -> None:
    with st.container(horizontal=True, vertical_alignment="bottom"):
        query = st.text_input(
            _("Find in the log"), icon=":material/search:", placeholder="error", key=f"log-query-{deployment_id}"
        )
        st.download_button(
            _("Download"),
            partial(_whole, deployment_id, user),
            f"engine-{deployment_id}.log",
            "text/plain",
            icon=":material/download:",
            on_click="ignore",
        )
    st.fragment(_lines, run_every=REFRESH_S)(deployment_id, query.strip(), user)


def _lines(deployment_id: int, query: str, user: Actor) -> None:
    with errors.shown():
        lines = services().model_operations.log(deployment_id, user, query=query, limit=SHOWN_LINES)
        if lines:
            with st.container(height=HEIGHT, border=False, autoscroll=True, key="engine-log"):
                st.code("\n".join(lines), language=None, wrap_lines=True)
            st.caption(_("The newest {n} lines, the last one below", n=count(len(lines))))
        else:
            nothing = _("No line has these words.") if query else _("The log is empty.")
            st.info(nothing, icon=":material/search_off:")


def _whole(deployment_id: int, user: Actor) -> str:
    return "\n".join(services().model_operations.log(deployment_id, user, limit=ALL_LINES))
