"""A conversation on the screen: its history, the answer that is coming, and what can be done with both."""

from __future__ import annotations

import time
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import streamlit as st

from pages.components import citations, engine_badge, errors
from pages.components.context import _, services
from pages.components.formats import count
from pages.components.text import escape, prose
from pages.components.ticking import ticking
from pages.components.timings import draw as draw_timings
from services.permissions import Actor

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from services.ask import Answer
    from services.code.answer import CodeTurn
    from services.conversations import Turn
    from services.engines.gate import QueuePlace

ASKED = "question_asked"  # an example was clicked
AGAIN = "answer_again"  # Regenerate was clicked
STREAMING = "answer_streaming"
TICK_S = 0.5
NAMED_DOCUMENTS = 3
PERSON, PORTAL = ":material/person:", ":material/auto_stories:"


def question() -> str | None:
    """What was just asked: typed, or clicked on as an example."""
    typed = st.chat_input(_("Ask about your documents"), submit_mode="stop", key="question")
    return typed or st.session_state.pop(ASKED, None)


def asks_again() -> bool:
    """Whether Regenerate was just clicked."""
    return st.session_state.pop(AGAIN, False)


def replay(turns: Sequence[Turn]) -> None:
    """The turns, oldest first; the last one can be answered again."""
    for turn in turns:
        with st.chat_message("user", avatar=PERSON):
            st.markdown(escape(turn.question))
        with st.chat_message("assistant", avatar=PORTAL):
            _answer(turn)
            _actions(turn, last=turn is turns[-1])


def stream(answer: Answer) -> None:
    """Draw the answer while it comes; then draw the page again, where it is the last turn of the history."""
    st.query_params["c"] = answer.conversation_id
    if answer.outcome is None:
        with repainted_when_stopped():
            with st.chat_message("user", avatar=PERSON):
                st.markdown(escape(answer.question))
            with st.chat_message("assistant", avatar=PORTAL):
                _write(answer)
    st.rerun()


def examples(user: Actor) -> None:
    """What an empty conversation shows: how to begin."""
    if not services().library.list(user):
        st.info(_("There are no documents yet. Add some, then ask about them here."), icon=":material/info:")
        st.page_link("pages/documents.py", label=_("Add documents"), icon=":material/upload_file:")
        return
    engine_badge.draw_unless_ready("ask")
    st.markdown(_("Ask in your own words. Every answer names the document and the page it rests on."))
    st.caption(_("For example"))
    for example in (
        _("How many days of unused annual leave can I carry over?"),
        _("What is the hotel limit on a trip to Shanghai?"),
        _("What does VPN error E305 mean?"),
        _("Where do I go when the fire alarm rings?"),
    ):
        st.button(example, icon=":material/chat_bubble:", on_click=_ask_example, args=(example,), width="stretch")


def _write(answer: Answer) -> None:
    """The text as it grows, and until it begins what is being waited for."""
    place, began = st.empty(), time.monotonic()
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption(_found(answer))
        st.button(_("Stop"), icon=":material/stop_circle:", type="tertiary", key="stop")  # any click ends this run
    with closing(ticking(answer.deltas, TICK_S)) as deltas:
        place.markdown(":shimmer[" + _("Reading the passages…") + "]")
        for _delta in deltas:
            place.markdown(progress(answer, waited_s=round(time.monotonic() - began)))


def progress(answer: Answer, *, waited_s: int) -> str:
    """The text so far, or what is being waited for. Not the sum of the deltas: an answer may begin anew."""
    if answer.text:
        return prose(answer.text) + " ▍"
    words = place_in_line(answer.waiting) if answer.waiting else _being_read(answer, waited_s)
    return f":shimmer[{words}]"


def _being_read(answer: Answer, waited_s: int) -> str:
    if answer.restarts:
        return _("The model was replaced; the new one begins the answer anew… {n} s", n=waited_s)
    return _("Reading the passages… {n} s", n=waited_s)


def place_in_line(waiting: QueuePlace) -> str:
    """typical_s is how long the whole takes, not what is left of it."""
    numbers = {"n": waiting.place, "of": waiting.of, "s": round(waiting.typical_s)}
    if waiting.reason == "loading":
        return _("You are number {n} of {of} in the queue; the model is being loaded, about {s} s", **numbers)
    return _("You are number {n} of {of} in the queue; the model is being switched, about {s} s", **numbers)


def _found(answer: Answer) -> str:
    titles = list(dict.fromkeys(escape(passage.title) for passage in answer.passages))
    named = " · ".join(titles[:NAMED_DOCUMENTS])
    return _("Passages found: {n} · {documents}", n=count(len(answer.passages)), documents=named)


@contextmanager
def repainted_when_stopped() -> Iterator[None]:
    """Stop ends the script in the middle of the block. The fragment runs only when no script does: then the page is
    drawn from history."""
    st.session_state[STREAMING] = True
    st.fragment(_repaint, run_every=1)()
    yield
    del st.session_state[STREAMING]


def _repaint() -> None:
    if st.session_state.get(STREAMING) == "seen":
        del st.session_state[STREAMING]
        st.rerun()
    elif STREAMING in st.session_state:
        st.session_state[STREAMING] = "seen"  # the run that began the answer


def _answer(turn: Turn) -> None:
    match turn.outcome:
        case "refused":
            st.markdown(escape(turn.text))
            with st.expander(_("The nearest passages"), icon=":material/search:"):
                citations.draw_passages(turn.passages, key=str(turn.id))
        case "passages":
            _why_passages_only(turn)
            citations.draw_passages(turn.passages, key=str(turn.id))
        case _:
            st.markdown(citations.cited(turn.text, turn.citations))
            if turn.outcome == "cancelled":
                st.caption(_("Stopped before the end."))
            if turn.error:
                errors.show(turn.error)
            citations.draw_sources(turn.citations, key=str(turn.id))


def _why_passages_only(turn: Turn) -> None:
    why = errors.in_words(turn.error) if turn.error else ""
    found = _("These passages fit your question best:") if turn.passages else _("No passage fits your question.")
    st.info(f"{why}\n\n{found}".strip(), icon=":material/hourglass_top:")


def _actions(turn: Turn, *, last: bool) -> None:
    with st.container(horizontal=True, gap="xsmall"):
        if last:
            again_button(turn.id)
        if turn.text:
            with st.popover(_("Copy"), icon=":material/content_copy:", type="tertiary", key=f"copy-{turn.id}"):
                st.code(turn.text, language=None, wrap_lines=True)
        made_of(turn)


def again_button(turn_id: int) -> None:
    st.button(_("Answer again"), icon=":material/refresh:", type="tertiary", key=f"again-{turn_id}", on_click=_again)


def made_of(turn: Turn | CodeTurn) -> None:
    """How the answer was made, behind a button."""
    if turn.timings_ms:
        with st.popover(_("How this answer was made"), icon=":material/timer:", type="tertiary", key=f"made-{turn.id}"):
            draw_timings(turn)


def _ask_example(example: str) -> None:
    st.session_state[ASKED] = example


def _again() -> None:
    st.session_state[AGAIN] = True
