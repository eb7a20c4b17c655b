"""The questions before something that serves is interrupted: stop, and roll back."""

from __future__ import annotations

from functools import partial

import streamlit as st

from pages.components import dialogs, errors, model_plan, model_words
from pages.components.context import _, services
from pages.components.formats import count, when
from pages.components.text import escape
from services.errors import NotFound
from services.permissions import Actor
from services.translation import N_

STOP, BACK = "model-stop", "model-roll-back"


def draw(user: Actor) -> None:
    dialogs.draw(STOP, _("Stop the model?"), ":material/stop_circle:", partial(_stop, user))
    dialogs.draw(BACK, _("Roll back?"), ":material/undo:", partial(_roll_back, user), wide=True)


def _stop(user: Actor, role: str) -> None:
    operations = services().model_operations
    with errors.shown():
        view = next(view for view in operations.roles(user) if view.role == role)
        st.markdown(f"**{escape(view.status.model_name)}**")
        st.markdown(
            _(
                "Until a model is started again, questions for {roles} show the passages found, without an answer.",
                roles=model_words.roles((role, *view.shared_with)),
            )
        )
        if view.running:
            st.warning(
                _("{n} questions are being answered right now and will be broken off.", n=count(view.running)),
                icon=":material/warning:",
            )
        with st.container(horizontal=True):
            if st.button(_("Stop"), type="primary", key="stop_now"):
                with st.spinner(_("Stopping, until no process is left…")):
                    operations.stop(role, user)
                dialogs.close()
                st.rerun()
            if st.button(_("Cancel"), key="stop_not", on_click=dialogs.close):
                st.rerun()


def _roll_back(user: Actor, about: tuple[str, int]) -> None:
    """about: the role, and the deployment to go back to."""
    role, deployment_id = about
    operations = services().model_operations
    with errors.shown():
        history = operations.history(user, limit=500)
        back_to = next((view for view in history if view.id == deployment_id), None)
        if back_to is None:
            raise NotFound(N_("This deployment is no longer in the history."))
        st.markdown(f"**{escape(back_to.model_name)}**")
        st.caption(escape(model_words.settings(back_to.settings)))
        st.caption(_("ordered by {name}, {when}", name=escape(back_to.created_by_name), when=when(back_to.created_at)))
        plan = operations.plan(role, back_to.model_id, back_to.settings, user)
        model_plan.draw(plan)
        with st.container(horizontal=True):
            if st.button(_("Roll back"), type="primary", key="back_now", disabled=plan.refusal is not None):
                operations.roll_back(role, user, deployment_id)
                dialogs.close()
                st.rerun()
            if st.button(_("Cancel"), key="back_not", on_click=dialogs.close):
                st.rerun()
