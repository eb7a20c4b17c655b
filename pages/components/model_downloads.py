"""What is being fetched, with progress, and what was paused or failed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from pages.components import errors, model_words
from pages.components.context import _, services
from pages.components.formats import size, span
from pages.components.text import escape
from services.permissions import Actor
from services.translation import N_

if TYPE_CHECKING:
    from services.engines.downloads import DownloadView

REFRESH_S, REFRESH_QUIET_S = 1, 10
SEEN = "downloads_seen"
PERCENT = 100  # the total of steps that count no bytes
ACTIVE = ("queued", "running")
STATES = {
    "queued": (":gray[:material/schedule:]", N_("Waiting")),
    "running": (":blue[:material/downloading:]", ""),
    "paused": (":orange[:material/pause_circle:]", N_("Paused")),
    "failed": (":red[:material/error:]", N_("Failed")),
}


def draw(user: Actor) -> None:
    """Refreshes itself without the rest of the page, which is drawn again when a download begins or ends."""
    views = services().model_operations.downloads(user)
    st.session_state[SEEN] = _mark(views)
    busy = any(view.state in ACTIVE for view in views)
    st.fragment(_list, run_every=REFRESH_S if busy else REFRESH_QUIET_S)(user)


def _list(user: Actor) -> None:
    views = services().model_operations.downloads(user)
    if _mark(views) != st.session_state.get(SEEN):
        st.rerun()
    shown = [view for view in views if view.state in STATES]
    if not shown:
        return
    with st.container(border=True, gap="xsmall", key="downloads"):
        st.markdown("**" + _("Being fetched") + "**")
        for view in shown:
            _one(view, user)


def _mark(views: list[DownloadView]) -> list[tuple]:
    return [(view.model_id, view.state) for view in views]


def _one(view: DownloadView, user: Actor) -> None:
    icon, state = STATES[view.state]
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.markdown(f"{icon} {escape(view.name)}", width="stretch")
        st.caption(_(state or view.step), width="content")
        _actions(view, user)
    if view.error is not None:
        st.caption(errors.in_words(view.error))
    elif view.state != "queued":
        share = min(view.done / view.total, 1.0) if view.total else 0.0
        st.progress(share)
        st.caption(_facts(view))


def _facts(view: DownloadView) -> str:
    facts = []
    if view.total == PERCENT:
        facts.append(f"{view.done} %")
    elif view.total:
        facts.append(_("{done} of {total}", done=size(view.done), total=size(view.total)))
    if view.state == "running" and view.rate_bytes_s and view.total != PERCENT:
        facts.append(_("{rate} a second", rate=size(round(view.rate_bytes_s))))
    if view.state == "running" and view.eta_s is not None:
        facts.append(_("{n} left", n=span(view.eta_s)))
    if view.source:
        facts.append(_("from {source}", source=escape(_(model_words.SOURCES.get(view.source, view.source)))))
    if view.started_by:
        facts.append(_("by {name}", name=escape(view.started_by)))
    return " · ".join(facts)


def _actions(view: DownloadView, user: Actor) -> None:
    operations, model_id = services().model_operations, view.model_id
    look = {"type": "tertiary"}
    if view.state in ACTIVE:
        if st.button(_("Pause"), icon=":material/pause:", key=f"pause-{model_id}", **look):
            with errors.shown():
                operations.pause(model_id, user)
    elif st.button(_("Go on"), icon=":material/play_arrow:", key=f"resume-{model_id}", **look):
        with errors.shown():
            operations.resume(model_id, user)
    help_ = _("Deletes what was downloaded so far")
    if st.button(_("Cancel"), icon=":material/close:", key=f"cancel-{model_id}", help=help_, **look):
        with errors.shown():
            operations.cancel_fetch(model_id, user)
