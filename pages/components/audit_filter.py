"""What of the record is shown: period, person, action, outcome, words; and the auditor's own saved filters."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import streamlit as st

from pages.components import audit_words, errors
from pages.components.context import _, services
from pages.components.text import escape
from services.audit.filters import Filter
from services.permissions import Actor
from services.translation import N_

# days up to today; None: since ever, or two dates to choose
PERIODS = {"day": 1, "week": 7, "month": 30, "ever": None, "dates": None}
PERIOD_NAMES = {
    "day": N_("Today"),
    "week": N_("7 days"),
    "month": N_("30 days"),
    "ever": N_("Everything"),
    "dates": N_("From – to"),
}
TAKEN_UP = "audit_filter_taken_up"
NAME_LENGTH = 60


def draw(user: Actor) -> Filter:
    """The rows of controls; what they say."""
    _take_up_saved()
    people = dict(services().audit_log.actors(user))
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.segmented_control(
            _("Period"),
            list(PERIODS),
            default="week",
            required=True,
            format_func=lambda period: _(PERIOD_NAMES[period]),
            key="audit_period",
        )
        if st.session_state["audit_period"] == "dates":
            st.date_input(_("From – to"), value=(), key="audit_dates")
    with st.container(horizontal=True, vertical_alignment="bottom"):
        _choice(_("Person"), people, lambda id_: people[id_] or _("Nobody (not signed in)"), "audit_actor")
        _choice(_("Action"), audit_words.ACTIONS, audit_words.action, "audit_action")
        _choice(_("Outcome"), audit_words.OUTCOMES, audit_words.outcome, "audit_outcome")
        st.text_input(_("Words"), placeholder=_("in questions, answers, names"), key="audit_text")
        _saved(user)
    return _present()


def zone() -> ZoneInfo:
    """The browser's time zone: an auditor's day begins at their midnight."""
    return ZoneInfo(st.context.timezone or "UTC")


def _choice(label: str, options: Iterable[str], words: Callable[[str], str], key: str) -> None:
    st.selectbox(label, list(options), index=None, format_func=words, placeholder=_("All"), key=key)


def _present() -> Filter:
    """What the controls say now."""
    chosen = st.session_state
    since, until = _period(chosen["audit_period"], chosen.get("audit_dates", ()))
    return Filter(
        since=since,
        until=until,
        actor=chosen["audit_actor"],
        action=chosen["audit_action"],
        outcome=chosen["audit_outcome"],
        text=chosen["audit_text"].strip(),
    )


def _period(period: str, dates: Sequence[date]) -> tuple[datetime | None, datetime | None]:
    """[since, until). Whole days, so that pages and charts do not move with every second."""
    if period == "dates" and len(dates) == 2:
        return _midnight(dates[0]), _midnight(dates[1] + timedelta(days=1))
    if days := PERIODS[period]:
        return _midnight(datetime.now(zone()).date() - timedelta(days=days - 1)), None
    return None, None


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), zone())


def _saved(user: Actor) -> None:
    """Keep the present choice under a name, take up one that was kept."""
    log = services().audit_log
    with st.popover(_("Saved filters"), icon=":material/bookmark:"):
        for name, kept in log.saved(user).items():
            with st.container(horizontal=True, vertical_alignment="center"):
                if st.button(escape(name), key=f"use-{name}", type="tertiary", width="stretch"):
                    st.session_state[TAKEN_UP] = kept
                    st.rerun()
                if st.button(" ", icon=":material/delete:", help=_("Delete"), key=f"forget-{name}", type="tertiary"):
                    log.forget(user, name)
                    st.rerun()
        with st.form("save_filter", border=False, clear_on_submit=True):
            name = st.text_input(_("Name"), max_chars=NAME_LENGTH)
            if st.form_submit_button(_("Save this filter"), icon=":material/bookmark_add:", width="stretch"):
                with errors.shown():
                    log.save(user, name, _present())
                    st.rerun()


def _take_up_saved() -> None:
    """Set the controls before they are drawn, as a saved filter says."""
    kept = st.session_state.pop(TAKEN_UP, None)
    if kept is None:
        return
    days = [moment.astimezone(zone()).date() for moment in (kept.since, kept.until) if moment]
    today = datetime.now(zone()).date()
    st.session_state["audit_period"] = "dates" if days else "ever"
    if days:
        last = days[1] - timedelta(days=1) if kept.until else today
        st.session_state["audit_dates"] = (days[0], max(days[0], last))
    for name in ("actor", "action", "outcome"):
        st.session_state[f"audit_{name}"] = getattr(kept, name)
    st.session_state["audit_text"] = kept.text
