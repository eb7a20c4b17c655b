"""What the model is doing, in words, on every page."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from pages.components import errors
from pages.components.context import _, services
from pages.components.text import escape

if TYPE_CHECKING:
    from services.engines.deployments import EngineStatus

ROLE = "chat"
REFRESH_S = 2  # while something is going on
REFRESH_QUIET_S = 20  # while the model is ready: it may still fail
LOG_LINES = 30
STATE_SEEN = "engine_state_seen"
QUIET = ("ready", "")  # nothing is going on


def draw(where: str) -> None:
    """The badge, refreshing itself without the rest of the page. where: tells several on one page apart."""
    seen = st.session_state[STATE_SEEN] = _mark(services().deployments.status(ROLE))
    st.fragment(_badge, run_every=REFRESH_QUIET_S if seen == QUIET else REFRESH_S)(where)


def draw_unless_ready(where: str) -> None:
    """In the page itself, where the answer is waited for: the sidebar is out of sight on a telephone."""
    if str(services().deployments.status(ROLE).state) != "ready":
        draw(where)


def _badge(where: str) -> None:
    status = services().deployments.status(ROLE)
    with st.container(border=True, gap="xsmall", key=f"engine-badge-{where}"):
        show(status)
    if _mark(status) != st.session_state.get(STATE_SEEN):
        st.rerun()  # the page around it looks different with a model


def _mark(status: EngineStatus) -> tuple[str, str]:
    return str(status.state), status.switching_to


def switching(status: EngineStatus) -> bool:
    """Whether another model is on its way; not so when the role points at it already, and it loads or serves."""
    arrived = status.switching_to == status.model_name and str(status.state) in ("starting", "ready")
    return bool(status.switching_to) and not arrived


def show(status: EngineStatus) -> None:
    """One state, one way to say it."""
    if switching(status):
        st.markdown(":blue[:material/sync:] " + _("Switching to {model}", model=escape(status.switching_to)))
        if not status.ready:
            st.caption(_("Questions wait in a queue until it is ready."))
            return
    match str(status.state):
        case "ready":
            st.markdown(":green[:material/check_circle:] " + _("Ready: {model}", model=escape(status.model_name)))
        case "starting":
            _loading(status)
        case "failed":
            _failed(status)
        case "draining" | "stopping":
            st.markdown(":orange[:material/pending:] " + _("The model is being stopped"))
        case _:
            st.markdown(":gray[:material/pause_circle:] " + _("No model is running"))
            st.caption(_("Searching works all the same."))


def _loading(status: EngineStatus) -> None:
    typical_s = status.typical_start_s
    words = _("Loading model, {elapsed} s", elapsed=round(status.elapsed_s))
    if typical_s:
        words = _(
            "Loading model, {elapsed} s of about {typical} s",
            elapsed=round(status.elapsed_s),
            typical=round(typical_s),
        )
    st.markdown(":blue[:material/hourglass_top:] " + words)
    if typical_s:
        st.progress(min(status.elapsed_s / typical_s, 0.97))
    st.caption(escape(status.model_name))


def _failed(status: EngineStatus) -> None:
    st.markdown(":red[:material/error:] **" + _("The model failed") + "**")
    if status.error:
        st.caption(errors.in_words(status.error))
    with st.popover(_("Details"), icon=":material/terminal:"):
        lines = services().deployments.log_tail(ROLE, LOG_LINES)
        st.code("\n".join(lines) or _("The log is empty."), language=None, wrap_lines=True)
