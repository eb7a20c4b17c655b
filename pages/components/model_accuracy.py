"""How right the memory estimates were: predicted against measured, start by start."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

import pandas as pd
import streamlit as st

from pages.components import model_words
from pages.components.context import _, services
from pages.components.formats import count, gib, when
from services.permissions import Actor

if TYPE_CHECKING:
    from services.engines.corrections import Accuracy

GOOD_WITHIN = 0.15
ROW_HEIGHT = 35


def draw(user: Actor) -> None:
    rows = services().model_operations.accuracy(user)
    if not rows:
        st.info(
            _("No start was measured yet. After each one, what was predicted stands here beside what it took."),
            icon=":material/straighten:",
        )
        return
    off = [abs(row.corrected_error) for row in rows]
    st.markdown(
        _(
            "{n} starts measured. Corrected by the starts before, half of the predictions were off by **{median}** "
            "or less; **{good} of {n}** were within {within}.",
            n=count(len(rows)),
            median=f"{median(off):.0%}",
            good=count(sum(one <= GOOD_WITHIN for one in off)),
            within=f"{GOOD_WITHIN:.0%}",
        )
    )
    st.dataframe(_table(rows), hide_index=True, height=ROW_HEIGHT * (min(len(rows), 15) + 1) + 3, key="accuracy")


def _table(rows: list[Accuracy]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            _("Started"): [when(row.started_at) for row in rows],
            _("Model"): [row.model_id for row in rows],
            _("Engine"): [model_words.engine(row.engine) for row in rows],
            _("Context, tokens"): [count(row.context_tokens) if row.context_tokens else "–" for row in rows],
            _("Requests"): [row.max_num_seqs for row in rows],
            _("Predicted"): [gib(row.predicted_mib) for row in rows],
            _("Measured"): [gib(row.measured_mib) for row in rows],
            _("Off by"): [f"{row.error:+.0%}" for row in rows],
            _("After correction"): [f"{row.corrected_error:+.0%}" for row in rows],
        }
    )
