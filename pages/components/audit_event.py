"""One event, whole: what was recorded, the proof, and for a question its passages and a replay."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING

import streamlit as st

from pages.components import audit_words, dialogs, errors
from pages.components.context import _, services
from pages.components.formats import exactly
from pages.components.text import escape
from services.permissions import Actor

if TYPE_CHECKING:
    from services.audit.events import Event
    from services.audit.log import EventView
    from services.audit_replay import PassageThen, Replay

EVENT = "audit_event"
SHOWN_APART = ("question", "code", "answer", "chunks")  # of the detail


def draw(user: Actor) -> None:
    dialogs.draw(EVENT, _("Event"), ":material/history_edu:", partial(_show, user), wide=True)


def _show(user: Actor, event_id: int) -> None:
    with errors.shown():
        view = services().audit_log.event(event_id, user)
        _facts(view.event)
        if view.event.action in ("ask", "regenerate"):
            _question(view.event)
            _passages(view.event, user)
        elif view.event.action == "code":
            _question(view.event)
        st.markdown("**" + _("Details") + "**")
        st.json({k: v for k, v in view.event.detail.items() if k not in SHOWN_APART}, expanded=1)
        _proof(view)


def _facts(event: Event) -> None:
    who = event.actor_name or _("Nobody (not signed in)")
    st.markdown(f"**{audit_words.action(event.action)}** · {audit_words.outcome(event.outcome)} · {escape(who)}")
    facts = [exactly(event.at), event.address, event.target, _("request {id}", id=event.request_id)]
    st.caption(escape(" · ".join(fact for fact in facts if fact)))


def _question(event: Event) -> None:
    st.markdown("**" + _("Question") + "**")
    st.markdown(escape(event.detail.get("question") or _("(not stored)")))
    if code := event.detail.get("code"):
        st.markdown("**" + _("Given code") + "**")
        st.code(code, language=event.detail.get("language") or None)
    st.markdown("**" + _("Answer") + "**")
    none = _("(none: only passages were shown)") if event.detail.get("outcome") == "passages" else _("(not stored)")
    answer = event.detail.get("answer")
    if answer and event.action == "code":
        st.code(answer, language="markdown", wrap_lines=True)
    else:
        st.markdown(escape(answer or none))


def _passages(event: Event, user: Actor) -> None:
    passages = services().replays.passages(event.id, user)
    if passages:
        st.markdown("**" + _("Passages as they were") + "**")
    for passage in passages:
        _passage(passage)
    if st.button(_("Replay against today's index"), icon=":material/replay:", key=f"replay-{event.id}"):
        with errors.shown():
            _replayed(services().replays.replay(event.id, user))


def _passage(passage: PassageThen) -> None:
    words = {
        "same": _("unchanged"),
        "changed": _("this place reads differently today"),
        "deleted": _("the document was deleted"),
    }
    with st.expander(f"{escape(passage.document)} · {escape(passage.place)} · {words[passage.now]}"):
        st.markdown(escape(passage.text) if passage.text is not None else _("The words are gone; their hash is kept."))
        st.caption(f"SHA-256 {passage.sha256}")


def _replayed(replay: Replay) -> None:
    if replay.same_passages:
        words = _("Same passages: the same question finds the same today.")
        if replay.then != replay.now:
            words = _("Same passages, in another order.")
        st.success(words, icon=":material/check:")
    else:
        documents = ", ".join(map(escape, replay.changed_documents))
        st.warning(_("Documents changed: {documents}", documents=documents), icon=":material/difference:")
        then, now = st.columns(2)
        _found(then, _("Then"), replay.then, replay.now)
        _found(now, _("Today"), replay.now, replay.then)
    if replay.model_changed:
        names = {"then": escape(replay.model_then), "now": escape(replay.model_now or _("none is running"))}
        st.warning(_("Model changed: {then} then, {now} today.", **names), icon=":material/swap_horiz:")
    st.caption(
        _(
            "Confidence {then} then, {now} today.",
            then=f"{replay.confidence_then:.2f}",
            now=f"{replay.confidence_now:.2f}",
        )
    )
    if replay.masked:
        st.caption(_("Personal data in the question was masked, so the search may differ a little."))


def _found(column, label: str, own: list[tuple], others: list[tuple]) -> None:
    known = {other[2] for other in others}
    column.markdown(f"**{label}**")
    for document, place, sha256 in own:
        mark = "" if sha256 in known else ":orange[:material/difference:] "
        column.markdown(f"{mark}{escape(document)} · {escape(place)}")


def _proof(view: EventView) -> None:
    if view.ok:
        st.success(_("The event is as it was written, and follows the one before it."), icon=":material/verified:")
    else:
        st.error(_("The event or the one before it was changed: the hashes do not agree."), icon=":material/gpp_bad:")
    with st.expander(_("Proof")):
        st.code(f"previous  {view.previous or '–'}\nhash      {view.hash}\nrecomputed {view.recomputed}", language=None)
        st.code(json.dumps(json.loads(view.body), ensure_ascii=False, indent=2), language="json", wrap_lines=True)
