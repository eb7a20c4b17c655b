"""Switches at a time of day: a large model for the night, the usual one for the morning."""

from __future__ import annotations

from datetime import datetime, time
from typing import TYPE_CHECKING

import streamlit as st

from pages.components import errors, model_switch, model_words
from pages.components.context import _, services
from pages.components.formats import when
from pages.components.text import escape
from services.engines.views import ROLES
from services.permissions import Actor

if TYPE_CHECKING:
    from services.engines.schedules import Schedule
    from services.model_operations import ModelRow

WORKDAYS = [0, 1, 2, 3, 4]
EVENING = time(22, 0)


def draw(user: Actor) -> None:
    rows = services().model_operations.catalogue(user)
    names = {row.model_id: model_words.model(row) for row in rows}
    schedules = services().model_operations.schedules(user)
    if not schedules:
        st.info(
            _("No switch is planned. Plan one below: a large model for the night, the usual one for the morning."),
            icon=":material/schedule:",
        )
    for schedule in schedules:
        _one(schedule, names.get(schedule.model_id, schedule.model_id), user)
    _new(rows, user)


def _one(schedule: Schedule, model: str, user: Actor) -> None:
    with st.container(border=True, gap="xsmall"):
        with st.container(horizontal=True, vertical_alignment="center"):
            when_ = f"**{schedule.at}** · {model_words.days(schedule.days)}"
            what = f"{model_words.role(schedule.role)} → **{escape(model)}**"
            st.markdown(f"{when_} \u2002 {what}", width="stretch")
            if st.button(_("Remove"), icon=":material/delete:", type="tertiary", key=f"unplan-{schedule.id}"):
                with errors.shown():
                    services().model_operations.remove_schedule(schedule.id, user)
                    st.rerun()
        facts = [model_words.settings(schedule.settings), _("planned by {name}", name=schedule.created_by_name)]
        if schedule.last_run_at:
            facts.append(_("last run {when}", when=when(schedule.last_run_at)))
        st.caption(escape(" · ".join(facts)))
        if schedule.last_error:
            st.markdown(f":red[:material/error:] {errors.in_words(schedule.last_error)}")


def _new(rows: list[ModelRow], user: Actor) -> None:
    """The model is run with its default settings."""
    st.markdown("**" + _("Plan a switch") + "**")
    role = st.segmented_control(
        _("Role"), ROLES, default=ROLES[0], required=True, format_func=model_words.role, key="plan_role"
    )
    choice = model_switch.usable(rows, role)
    if not choice:
        st.caption(_("No model for this role is on this machine yet. Fetch one from the catalogue first."))
        return
    with st.form("plan", border=False):
        with st.container(horizontal=True, vertical_alignment="bottom"):
            model_id = st.selectbox(_("Model"), list(choice), format_func=lambda m: model_words.model(choice[m]))
            at = st.time_input(_("Time ({zone})", zone=datetime.now().astimezone().tzname()), EVENING, width=160)
        days = st.pills(
            _("Days"),
            list(range(7)),
            selection_mode="multi",
            default=WORKDAYS,
            format_func=lambda d: _(model_words.DAYS[d]),
        )
        sent = st.form_submit_button(_("Plan it"), icon=":material/event_repeat:")
    if sent:
        with errors.shown():
            operations = services().model_operations
            settings = operations.settings_for(model_id, user)
            operations.add_schedule(role, model_id, settings, user, at=f"{at:%H:%M}", days=days)
            st.rerun()
