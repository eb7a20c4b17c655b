"""A card for each role: what serves it, how it fares, and what can be done about it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from pages.components import dialogs, engine_badge, errors, model_log, model_serving, model_switch, model_words
from pages.components.context import _, services
from pages.components.formats import count, gib, span
from pages.components.text import escape
from services.engines.states import EngineState
from services.permissions import Actor
from services.translation import N_

if TYPE_CHECKING:
    from collections.abc import Callable

    from services.engines.states import EngineStatus
    from services.engines.views import RoleView, Sample

REFRESH_S, REFRESH_QUIET_S = 2, 5
SEEN = "roles_seen"
RUNS = (EngineState.STARTING, EngineState.READY, EngineState.DRAINING)
SETTLED = (EngineState.READY, EngineState.STOPPED, EngineState.FAILED)
BADGES = {
    EngineState.READY: (N_("Ready"), ":material/check_circle:", "green"),
    EngineState.STARTING: (N_("Loading"), ":material/hourglass_top:", "blue"),
    EngineState.DRAINING: (N_("Finishing answers"), ":material/pending:", "orange"),
    EngineState.STOPPING: (N_("Stopping"), ":material/pending:", "orange"),
    EngineState.FAILED: (N_("Failed"), ":material/error:", "red"),
    EngineState.STOPPED: (N_("Stopped"), ":material/pause_circle:", "gray"),
}


def draw(user: Actor) -> None:
    """Refreshes itself without the rest of the page, which is drawn again when a state or a model has changed."""
    views = services().model_operations.roles(user)
    st.session_state[SEEN] = _mark(views)
    quiet = all(view.status.state in SETTLED for view in views)
    st.fragment(_cards, run_every=REFRESH_QUIET_S if quiet else REFRESH_S)(user)


def _cards(user: Actor) -> None:
    views = services().model_operations.roles(user)
    if _mark(views) != st.session_state.get(SEEN):
        st.rerun()
    for column, view in zip(st.columns(len(views)), views, strict=True):
        with column.container(border=True, height="stretch", gap="small", key=f"role-{view.role}"):
            _card(view, user)


def _mark(views: list[RoleView]) -> list[tuple]:
    return [(view.status.state, view.deployment and view.deployment.id) for view in views]


def _card(view: RoleView, user: Actor) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        icon = model_words.ROLE_ICONS[view.role]
        st.markdown(f"{icon} **{model_words.role(view.role)}**", width="stretch")
        _badge(view)
    if view.deployment is None:
        st.markdown(_(model_words.PURPOSES[view.role]))
        st.caption(_("No model was chosen for it yet. Fetch one from the catalogue below, then choose it here."))
        model_switch.button(_("Choose a model"), view.role, key=f"switch-{view.role}", type="primary")
        return
    _what(view)
    match view.status.state:
        case EngineState.READY:
            _figures(view, services().model_operations.samples(view.role, user))
        case EngineState.STARTING:
            _loading(view.status)
        case EngineState.FAILED:
            _failure(view.status)
        case EngineState.STOPPED if view.status.unloaded:
            st.caption(_("Unloaded because nobody asked for a while. The next question loads it again."))
    _actions(view, user)


def _badge(view: RoleView) -> None:
    words, icon, colour = BADGES[view.status.state]
    if engine_badge.switching(view.status):
        words, icon, colour = N_("Switching"), ":material/sync:", "blue"
    elif view.deployment is None:
        words, icon, colour = N_("Not set up"), ":material/radio_button_unchecked:", "gray"
    st.badge(_(words), icon=icon, color=colour)


def _what(view: RoleView) -> None:
    with st.container(gap=None):
        st.markdown(f"**{escape(view.deployment.model_name)}**")
        st.caption(escape(model_words.settings(view.deployment.settings)))
        if view.shared_with:
            st.caption(_("The same engine also serves: {roles}", roles=model_words.roles(view.shared_with)))


def _figures(view: RoleView, samples: list[Sample]) -> None:
    rates = [sample.tokens_per_s for sample in samples if sample.tokens_per_s is not None]
    waits = [sample.first_token_ms for sample in samples if sample.first_token_ms is not None]
    left, right = st.columns(2, wrap=False)
    with left:
        _chart(_("Tokens per second"), rates, "{:.1f}".format)
    with right:
        _chart(_("Time to first token"), waits, _brief)
    memory = view.sample.memory_mib if view.sample else None
    facts = {
        _("Requests"): _("{n} running, {waiting} waiting", n=count(view.running), waiting=count(_waiting(view))),
        _("Memory"): gib(memory) if memory else "–",
        _("Ready for"): span(view.uptime_s) if view.uptime_s is not None else "–",
    }
    with st.container(gap=None):
        for label, value in facts.items():
            with st.container(horizontal=True, gap="small", wrap=False):
                st.caption(label, width="stretch")
                st.markdown(f":small[{value}]", width="content")


def _brief(duration_ms: float) -> str:
    """Without words, which would stand higher than the figure beside it."""
    return f"{duration_ms:.0f} ms" if duration_ms < 1000 else f"{duration_ms / 1000:.1f} s"


def _waiting(view: RoleView) -> int:
    """In the portal's queue and in the engine's own."""
    return view.queued + (view.sample.waiting if view.sample else 0)


def _chart(label: str, values: list[float], words: Callable[[float], str]) -> None:
    """The last quarter of an hour; the figure is the newest."""
    look = {"chart_data": values, "chart_type": "area"} if len(values) > 1 else {}
    st.metric(label, words(values[-1]) if values else "–", **look)


def _loading(status: EngineStatus) -> None:
    words = _("Loading for {n}", n=span(status.elapsed_s))
    if status.typical_start_s:
        words = _("Loading: {n} of about {typical}", n=span(status.elapsed_s), typical=span(status.typical_start_s))
    st.progress(min(status.elapsed_s / (status.typical_start_s or 60), 0.97), words)


def _failure(status: EngineStatus) -> None:
    if status.error is None:
        return
    st.markdown(f":red[:material/error:] {errors.in_words(status.error)}")
    if decisive := status.error.params.get("log"):
        st.code(str(decisive), language=None, wrap_lines=True)


def _actions(view: RoleView, user: Actor) -> None:
    """While a switch is going on the banner has the buttons."""
    role = view.role
    with st.container(horizontal=True, gap="small", vertical_alignment="center"):
        if not engine_badge.switching(view.status):
            model_switch.button(_("Switch"), role, key=f"switch-{role}", icon=":material/swap_horiz:")
            _start_or_stop(view, user)
            if view.last_good:
                look = {"icon": ":material/undo:", "key": f"back-{role}", "type": "tertiary"}
                dialogs.button(_("Roll back"), model_serving.BACK, (role, view.last_good.id), **look)
        model_log.icon_button(view.deployment.id, key=f"log-{role}")


def _start_or_stop(view: RoleView, user: Actor) -> None:
    role, state = view.role, view.status.state
    look = {"type": "tertiary"}
    if state in RUNS:
        dialogs.button(_("Stop"), model_serving.STOP, role, icon=":material/stop_circle:", key=f"stop-{role}", **look)
        return
    stopping = state is EngineState.STOPPING
    if st.button(_("Start"), icon=":material/play_circle:", key=f"start-{role}", disabled=stopping, **look):
        with errors.shown():
            services().model_operations.start(role, user)
            st.rerun()
