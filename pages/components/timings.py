"""How an answer was made: its steps, how long each took, and the model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from pages.components.context import _
from pages.components.formats import duration
from pages.components.text import escape
from services.translation import N_

if TYPE_CHECKING:
    from services.code.answer import CodeTurn
    from services.conversations import Turn

STEPS = {
    "retrieve": N_("Finding passages"),
    "queue": N_("Waiting in line"),
    "evidence": N_("Choosing sentences"),
    "prompt": N_("Writing the prompt"),
    "first_token": N_("Until the first word"),
    "decode": N_("Writing the answer"),
    "cite": N_("Matching sentences with passages"),
    "run": N_("Running the code and its tests"),
    "repair": N_("Repairing, all together"),
    "save": N_("Saving"),
}


def draw(turn: Turn | CodeTurn) -> None:
    """Steps in their order; parts of a step (retrieve_embed …) belong to diagnostics, not here."""
    rows = [(name, turn.timings_ms[key]) for key, name in STEPS.items() if key in turn.timings_ms]
    for name, spent_ms in rows:
        with st.container(horizontal=True, gap="large"):
            st.markdown(_(name), width="stretch")
            st.markdown(duration(spent_ms), width="content")
    if turn.model_id:
        st.caption(_("Model: {model}", model=escape(turn.model_id)))
    elif turn.outcome in ("refused", "passages"):
        st.caption(_("No model was used."))
