"""The switch dialog: role, model, settings; what it takes and what will happen, live; then the order."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import streamlit as st

from pages.components import dialogs, errors, model_plan, model_settings, model_words
from pages.components.context import _, services
from services.engines.options import DeploymentSettings
from services.engines.views import ROLES
from services.errors import DoesNotFit
from services.permissions import Actor

if TYPE_CHECKING:
    from services.engines.memory import Suggestion
    from services.engines.views import RoleView, RolloutPlan
    from services.model_operations import ModelRow

SWITCH = "model-switch"
DRAFT = "model_switch_draft"


@dataclass(frozen=True)
class _Draft:
    """What is set so far. version: changes when the settings came from elsewhere than the controls, to renew these."""

    model_id: str = ""
    settings: DeploymentSettings | None = None
    version: int = 0


def button(label: str, role: str | None, model_id: str | None = None, **look) -> None:
    """Opens the dialog afresh. look: of st.button."""
    if st.button(label, **look):
        st.session_state.pop(DRAFT, None)
        dialogs.open_dialog(SWITCH, (role, model_id))
        st.rerun()


def draw(user: Actor) -> None:
    dialogs.draw(SWITCH, _("Switch the model"), ":material/swap_horiz:", partial(_form, user), wide=True)


def usable(rows: list[ModelRow], role: str) -> dict[str, ModelRow]:
    """Models that could be ordered for the role: made for it, and here (or served elsewhere)."""
    return {row.model_id: row for row in rows if row.ready and role in row.entry.roles}


def _form(user: Actor, about: tuple[str | None, str | None]) -> None:
    """about: the role and the model that the dialog was opened for, if any."""
    with errors.shown():
        rows = services().model_operations.catalogue(user)
        role = _role(rows, *about)
        choice = usable(rows, role)
        if not choice:
            st.info(
                _("No model for this role is on this machine yet. Fetch one from the catalogue first."),
                icon=":material/download:",
            )
            return
        row = choice[_model(choice, about[1] or _present(role, user))]
        draft = _draft(row, role, user)
        device = row.estimate.device if row.estimate else "cpu"
        settings = model_settings.draw(
            draft.settings, row.entry, model_words.variant_of(row), device=device, version=draft.version
        )
        st.session_state[DRAFT] = replace(draft, settings=settings)
        if _serves_already(role, row.model_id, settings, user):
            st.info(_("This is what serves now. Choose another model or change a setting."), icon=":material/check:")
            return
        plan = services().model_operations.plan(role, row.model_id, settings, user)
        model_plan.draw(plan, _apply)
        _order(plan, user)


def _role(rows: list[ModelRow], role: str | None, model_id: str | None) -> str:
    """Chosen among all roles, or among those that the given model is made for."""
    row = next((row for row in rows if row.model_id == model_id), None)
    options = [name for name in ROLES if row is None or name in row.entry.roles]
    return st.segmented_control(
        _("Role"),
        options,
        default=role if role in options else options[0],
        required=True,
        format_func=model_words.role,
        key="switch_role",
    )


def _model(choice: dict[str, ModelRow], preset: str | None) -> str:
    options = list(choice)
    return st.selectbox(
        _("Model"),
        options,
        options.index(preset) if preset in options else 0,
        format_func=lambda model_id: model_words.model(choice[model_id]),
        key="switch_model",
    )


def _serves_already(role: str, model_id: str, settings: DeploymentSettings, user: Actor) -> bool:
    view = _view(role, user)
    return (
        view.status.ready
        and view.deployment is not None
        and (view.deployment.model_id, view.deployment.settings) == (model_id, settings)
    )


def _present(role: str, user: Actor) -> str | None:
    view = _view(role, user)
    return view.deployment.model_id if view.deployment else None


def _view(role: str, user: Actor) -> RoleView:
    return next(view for view in services().model_operations.roles(user) if view.role == role)


def _draft(row: ModelRow, role: str, user: Actor) -> _Draft:
    """Another model begins with its defaults; the one that the role has already, with the settings it runs with."""
    draft = st.session_state.get(DRAFT, _Draft())
    if draft.model_id == row.model_id:
        return draft
    operations = services().model_operations
    view = _view(role, user)
    if view.deployment and view.deployment.model_id == row.model_id:
        settings = view.deployment.settings
    else:
        settings = operations.settings_for(row.model_id, user)
    return _Draft(row.model_id, settings, draft.version + 1)


def _apply(suggestion: Suggestion) -> None:
    draft = st.session_state[DRAFT]
    st.session_state[DRAFT] = replace(draft, settings=suggestion.settings, version=draft.version + 1)


def _order(plan: RolloutPlan, user: Actor) -> None:
    """What stands in the dialog stays there when the order is refused."""
    overrule = isinstance(plan.refusal, DoesNotFit) and st.checkbox(
        _("Start it anyway: the estimate may be wrong"), key="switch_anyway"
    )
    with st.container(horizontal=True):
        ordered = st.button(
            _("Start") if not plan.replaces else _("Switch"),
            type="primary",
            key="switch_now",
            disabled=plan.refusal is not None and not overrule,
        )
        if st.button(_("Cancel"), key="switch_not", on_click=dialogs.close):
            st.rerun()
    if ordered:
        operations = services().model_operations
        operations.switch(plan.role, plan.model_id, plan.settings, user, anyway=overrule)
        dialogs.close()
        st.rerun()
