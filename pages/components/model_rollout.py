"""The switch that is going on, or how the last one ended: the same for every administrator."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from pages.components import errors, model_words
from pages.components.context import _, services
from pages.components.formats import count, span, when
from pages.components.text import escape
from services.engines.views import Mode, Step
from services.permissions import Actor

if TYPE_CHECKING:
    from services.engines.views import RolloutView

REFRESH_S, REFRESH_QUIET_S = 1, 5
SEEN = "rollout_seen"
DISMISSED = "rollout_dismissed"  # the name of a preference: an outcome stays until this person has seen it
WAITING_SHARE = 0.97  # of the bar, when it takes longer than it used to


def draw(user: Actor) -> None:
    """Refreshes itself without the rest of the page, which is drawn again when a rollout begins or ends."""
    view = services().model_operations.rollout(user)
    st.session_state[SEEN] = _mark(view)
    going_on = view is not None and not view.step.over
    st.fragment(_banner, run_every=REFRESH_S if going_on else REFRESH_QUIET_S)(user)


def _banner(user: Actor) -> None:
    view = services().model_operations.rollout(user)
    if _mark(view) != st.session_state.get(SEEN):
        st.rerun()
    if view is None:
        return
    if not view.step.over:
        _going_on(view, user)
    elif services().preferences.get(user, DISMISSED) != _name(view):
        _over(view, user)


def _mark(view: RolloutView | None) -> tuple | None:
    return (_name(view), view.step.over) if view else None


def _name(view: RolloutView) -> str:
    """One rollout of all, past portals' included: numbers of deployments may be used by several."""
    return f"{view.deployment_id} {view.started_at.isoformat()}"


def _going_on(view: RolloutView, user: Actor) -> None:
    with st.container(border=True, gap="small", key="rollout"):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown(":blue[:material/sync:] " + _headline(view), width="stretch")
            if view.step is not Step.RETIRING and st.button(_("Cancel the switch"), icon=":material/close:"):
                with errors.shown():
                    services().model_operations.cancel_rollout(user)
        st.markdown(_steps(view))
        if view.typical_start_s:
            st.progress(min(view.elapsed_s / view.typical_start_s, WAITING_SHARE))
        st.caption(_facts(view))


def _headline(view: RolloutView) -> str:
    names = {"roles": f"**{model_words.roles(view.roles)}**", "model": f"**{escape(view.model_name)}**"}
    if view.mode is Mode.FIRST:
        return _("{roles}: starting {model}", **names)
    return _("{roles}: switching to {model}", **names)


def _steps(view: RolloutView) -> str:
    """Done ones ticked, the present one bold, the rest grey."""
    way = model_words.WAYS[view.mode]
    if view.step not in way:
        return f":orange[:material/undo: **{_(model_words.STEPS[view.step])}**]"
    at = way.index(view.step)
    words = [f":green[:material/check: {_(model_words.STEPS[step])}]" for step in way[:at]]
    words.append(f":blue[:material/arrow_right: **{_(model_words.STEPS[view.step])}**]")
    words += [f":gray[{_(model_words.STEPS[step])}]" for step in way[at + 1 :]]
    return " \u2002 ".join(words)


def _facts(view: RolloutView) -> str:
    elapsed = _("{n} so far", n=span(view.elapsed_s))
    if view.typical_start_s:
        elapsed = _("{n} of about {typical}", n=span(view.elapsed_s), typical=span(view.typical_start_s))
    return " · ".join(
        [
            elapsed,
            _("{n} questions wait", n=count(view.queued)),
            _("{n} are being answered", n=count(view.running)),
            _("ordered by {name}, {when}", name=escape(view.started_by), when=when(view.started_at)),
        ]
    )


def _over(view: RolloutView, user: Actor) -> None:
    names = {"roles": model_words.roles(view.roles), "model": escape(view.model_name)}
    facts = _(
        "After {n}. Ordered by {name}, {when}.",
        n=span(view.elapsed_s),
        name=escape(view.started_by),
        when=when(view.started_at),
    )
    with st.container(horizontal=True, vertical_alignment="center", key="rollout-outcome"):
        with st.container(width="stretch"):
            match view.step:
                case Step.DONE:
                    words = _("**{roles}** is served by **{model}** now.", **names)
                    st.success(f"{words} {facts}", icon=":material/check_circle:")
                case Step.CANCELLED:
                    words = _("**{roles}**: the switch to {model} was cancelled. {facts}", **names, facts=facts)
                    st.info(words, icon=":material/cancel:")
                case _:
                    _failed(view, names, facts)
        if st.button(_("Dismiss"), icon=":material/close:", type="tertiary", key="dismiss-rollout"):
            services().preferences.set(user, DISMISSED, _name(view))
            st.rerun()


def _failed(view: RolloutView, names: dict[str, str], facts: str) -> None:
    words = _("**{roles}**: the switch to **{model}** failed.", **names)
    if view.mode is not Mode.FIRST:
        words += " " + _("The model from before serves as it did.")
    why = errors.in_words(view.error) if view.error else ""
    st.error(f"{words} {facts}  \n{why}", icon=":material/error:")
