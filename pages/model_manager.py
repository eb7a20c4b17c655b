"""Model Manager: what serves, what could, and the way from one to the other."""

import streamlit as st

from pages.components import (
    frame,
    model_accuracy,
    model_add,
    model_catalogue,
    model_deployment,
    model_downloads,
    model_files,
    model_history,
    model_log,
    model_roles,
    model_rollout,
    model_schedules,
    model_serving,
    model_switch,
)
from pages.components.context import _, require
from services.permissions import Permission

user = require(Permission.RUN_MODELS)
frame.draw(user, _("Model Manager"), wide=True)
with frame.heading(_("Model Manager")):
    model_files.import_button()
    model_add.button()
model_rollout.draw(user)
model_roles.draw(user)
model_downloads.draw(user)
catalogue, history, schedules, accuracy = st.tabs(
    [_("Catalogue"), _("History"), _("Planned switches"), _("Memory estimates")]
)
with catalogue:
    model_catalogue.draw(user)
with history:
    model_history.draw(user)
with schedules:
    model_schedules.draw(user)
with accuracy:
    model_accuracy.draw(user)
for dialog in (model_switch, model_serving, model_deployment, model_log, model_files, model_add):
    dialog.draw(user)
