"""How much happened, over time and by person, action and outcome."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from pages.components import audit_words
from pages.components.context import _, services
from services.audit.filters import Filter
from services.permissions import Actor

MOST = 15  # people or actions in a chart


def draw(user: Actor, chosen: Filter) -> None:
    log = services().audit_log
    by_day = log.counts(chosen, user, "day")
    if not by_day:
        return
    over_time, by_person, by_action = st.tabs([_("Over time"), _("By person"), _("By action")])
    with over_time:
        days = pd.DataFrame({"day": pd.to_datetime([day for day, _n in by_day]), "n": [n for _day, n in by_day]})
        st.bar_chart(days, x="day", y="n", x_label=_("Day (UTC)"), y_label=_("Events"), height=180)
    with by_person:
        _bars([(name or _("Nobody (not signed in)"), n) for name, n in log.counts(chosen, user, "actor")])
    with by_action:
        _bars([(audit_words.action(name), n) for name, n in log.counts(chosen, user, "action")])


def _bars(rows: list[tuple[str, int]]) -> None:
    """The most frequent, longest bar first."""
    frame = pd.DataFrame(rows[:MOST], columns=["label", "n"])
    height = 60 + 28 * len(frame)
    st.bar_chart(frame, x="label", y="n", x_label=_("Events"), y_label="", horizontal=True, sort="-n", height=height)
