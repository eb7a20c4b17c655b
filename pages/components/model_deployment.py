"""One deployment, whole: settings, command, version, memory, outcome; and the way back to it."""

from __future__ import annotations

import shlex
from functools import partial
from typing import TYPE_CHECKING

import streamlit as st

from pages.components import dialogs, errors, model_log, model_serving, model_words
from pages.components.context import _, services
from pages.components.formats import exactly, gib, span
from pages.components.text import escape
from services.errors import NotFound
from services.permissions import Actor
from services.translation import N_

if TYPE_CHECKING:
    from services.engines.views import DeploymentView

DEPLOYMENT = "deployment"
GOOD = ("retired", "stopped")


def draw(user: Actor) -> None:
    dialogs.draw(DEPLOYMENT, _("Deployment"), ":material/deployed_code:", partial(_show, user), wide=True)


def _show(user: Actor, deployment_id: int) -> None:
    with errors.shown():
        view = _view(deployment_id, user)
        st.markdown(f"**{escape(view.model_name)}** · {model_words.roles(view.roles)}")
        st.caption(escape(model_words.settings(view.settings)))
        _facts(view)
        if view.error:
            errors.show(view.error)
        _actions(view)
        with st.expander(_("Settings"), icon=":material/tune:"):
            st.json(view.settings.model_dump(mode="json"), expanded=True)
        if view.command:
            with st.expander(_("Command"), icon=":material/terminal:"):
                st.code(shlex.join(view.command), language=None, wrap_lines=True)
                environment = "\n".join(f"{name}={value}" for name, value in sorted(view.environment.items()))
                st.code(environment or "–", language=None, wrap_lines=True)


def _view(deployment_id: int, user: Actor) -> DeploymentView:
    for view in services().model_operations.history(user, limit=500):
        if view.id == deployment_id:
            return view
    raise NotFound(N_("This deployment is no longer in the history."))


def _facts(view: DeploymentView) -> None:
    facts = {
        _("Outcome"): model_words.outcome(view.outcome),
        _("Ordered"): f"{exactly(view.created_at)} · {view.created_by_name}",
        _("Ready"): exactly(view.ready_at) if view.ready_at else "–",
        _("Ended"): exactly(view.ended_at) if view.ended_at else "–",
        _("Loaded in"): span(view.load_s) if view.load_s is not None else "–",
        _("Memory, predicted → measured"): _memory(view),
        _("Version of the engine"): view.engine_version or "–",
    }
    with st.container(gap=None):
        for label, value in facts.items():
            with st.container(horizontal=True, gap="small"):
                st.caption(label, width=220)
                st.markdown(f":small[{escape(value)}]", width="stretch")


def _memory(view: DeploymentView) -> str:
    if not (view.predicted_mib and view.measured_mib):
        return f"{gib(view.predicted_mib) if view.predicted_mib else '–'} → –"
    error = view.predicted_mib / view.measured_mib - 1
    return f"{gib(view.predicted_mib)} → {gib(view.measured_mib)} ({error:+.0%})"


def _actions(view: DeploymentView) -> None:
    with st.container(horizontal=True, gap="xsmall"):
        if view.outcome in GOOD:
            for role in view.roles:
                dialogs.button(
                    _("Roll {role} back to this", role=model_words.role(role)),
                    model_serving.BACK,
                    (role, view.id),
                    icon=":material/undo:",
                    key=f"back-to-{view.id}-{role}",
                )
        model_log.button(view.id, key=f"log-of-{view.id}")
