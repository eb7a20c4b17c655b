"""The events, newest first, a page at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
import streamlit as st

from pages.components import audit_words, dialogs
from pages.components.audit_event import EVENT
from pages.components.context import _, services
from pages.components.formats import duration, exactly
from services.audit.filters import Filter
from services.permissions import Actor

if TYPE_CHECKING:
    from services.audit.events import Event

PER_PAGE = 50
PATH = "audit_path"  # (filter, ids that the pages so far begin before): keyset paging has no page numbers
TABLE = "audit_table"  # a number that makes the table new, so that its selection is gone
ROW_HEIGHT = 35
QUESTION_SHOWN = 100  # characters


def draw(user: Actor, chosen: Filter) -> None:
    path = _path(chosen)
    page = services().audit_log.search(chosen, user, before_id=path[-1], limit=PER_PAGE)
    if not page.events:
        st.info(
            _("Nothing was recorded that fits. Choose a longer period or fewer conditions."),
            icon=":material/search_off:",
        )
        return
    st.caption(_("Choose a row to see the whole event with its proof."))
    _table(page.events, len(path))
    with st.container(horizontal=True, horizontal_alignment="center", vertical_alignment="center"):
        st.button(
            _("Newer"), icon=":material/chevron_left:", disabled=len(path) == 1, on_click=_newer, key="audit_newer"
        )
        st.markdown(_("Page {n}", n=len(path)), width="content")
        st.button(
            _("Older"),
            icon=":material/chevron_right:",
            icon_position="right",
            disabled=not page.more,
            on_click=_older,
            args=(page.next_before_id,),
            key="audit_older",
        )


def _table(events: list[Event], page_number: int) -> None:
    rows = pd.DataFrame(
        {
            "id": [event.id for event in events],
            "at": [exactly(event.at) for event in events],
            "who": [event.actor_name or _("Nobody (not signed in)") for event in events],
            "action": [audit_words.action(event.action) for event in events],
            "target": [event.target or event.detail.get("question", "")[:QUESTION_SHOWN] for event in events],
            "outcome": [audit_words.outcome(event.outcome) for event in events],
            "duration": [duration(event.duration_ms) if event.duration_ms else "" for event in events],
            "address": [event.address for event in events],
        }
    )
    labels = {
        "id": _("No."),
        "at": _("Time"),
        "who": _("Person"),
        "action": _("Action"),
        "target": _("What"),
        "outcome": _("Outcome"),
        "duration": _("Duration"),
        "address": _("Address"),
    }
    version = st.session_state.setdefault(TABLE, 0)
    event = st.dataframe(
        rows,
        hide_index=True,
        on_select="rerun",
        selection_mode="single-row",
        column_config=labels,
        height=ROW_HEIGHT * (len(rows) + 1) + 3,
        key=f"audit-{version}-{page_number}",
    )
    if event.selection.rows:
        st.session_state[TABLE] = version + 1
        dialogs.open_dialog(EVENT, int(rows["id"].iloc[event.selection.rows[0]]))


def _path(chosen: Filter) -> list[int | None]:
    """Another filter begins at its newest event."""
    kept_filter, path = st.session_state.get(PATH, (None, [None]))
    if kept_filter != chosen:
        path = [None]
        st.session_state[PATH] = (chosen, path)
    return path


def _older(before_id: int) -> None:
    st.session_state[PATH][1].append(before_id)


def _newer() -> None:
    st.session_state[PATH][1].pop()
