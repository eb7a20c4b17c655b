"""Every deployment there was: who ordered what, how long it took to load, and what became of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
import streamlit as st

from pages.components import dialogs, model_words
from pages.components.context import _, services
from pages.components.formats import gib, span, when
from pages.components.model_deployment import DEPLOYMENT
from services.permissions import Actor

if TYPE_CHECKING:
    from services.engines.views import DeploymentView

MOST_ROWS = 50
TABLE = "history_table"  # a number that makes the table new, so that its selection is gone
ROW_HEIGHT = 35


def draw(user: Actor) -> None:
    history = services().model_operations.history(user, limit=MOST_ROWS)
    if not history:
        st.info(
            _("Nothing was ever started. What you start is listed here, with who did it and how it went."),
            icon=":material/history:",
        )
        return
    st.caption(
        _("Choose a row for its settings, command and log, or to roll back to it. Memory: predicted → measured.")
    )
    version = st.session_state.setdefault(TABLE, 0)
    event = st.dataframe(
        _table(history),
        hide_index=True,
        on_select="rerun",
        selection_mode="single-row",
        height=ROW_HEIGHT * (min(len(history), 15) + 1) + 3,
        key=f"history-{version}",
    )
    if event.selection.rows:
        st.session_state[TABLE] = version + 1
        dialogs.open_dialog(DEPLOYMENT, history[event.selection.rows[0]].id)


def _table(history: list[DeploymentView]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            _("Ordered"): [when(view.created_at) for view in history],
            _("Model"): [view.model_name for view in history],
            _("For"): [model_words.roles(view.roles) for view in history],
            _("Engine"): [model_words.engine(view.settings.engine) for view in history],
            _("How"): [_(model_words.REASONS.get(view.reason, view.reason)) for view in history],
            _("Person"): [view.created_by_name for view in history],
            _("Loaded in"): [span(view.load_s) if view.load_s is not None else "–" for view in history],
            _("Outcome"): [model_words.outcome(view.outcome) for view in history],
            _("Memory"): [_memory(view) for view in history],
        }
    )


def _memory(view: DeploymentView) -> str:
    predicted, measured = (gib(mib) if mib else "–" for mib in (view.predicted_mib, view.measured_mib))
    return f"{predicted} → {measured}"
