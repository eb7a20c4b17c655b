"""A conversation about code on the screen: its history, and the answer that is coming."""

from __future__ import annotations

import time
from contextlib import closing
from typing import TYPE_CHECKING

import streamlit as st

from pages.components import code_actions, code_comparison, code_result, conversation, errors
from pages.components.code_sections import draw as draw_sections
from pages.components.code_words import TASKS, language_name, stage
from pages.components.context import _
from pages.components.conversation import PERSON, PORTAL, TICK_S
from pages.components.text import escape, prose
from pages.components.ticking import ticking
from services.code.answer import Sections, Task
from services.code.prompting import given_code
from services.errors import PortalError
from services.permissions import Actor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.code.answer import CodeAnswer, CodeQuestion, CodeTurn

REDRAWN_EVERY_S = 0.2
SHORT_CODE_LINES = 12


def replay(turns: Sequence[CodeTurn], conversation_id: str | None, user: Actor) -> None:
    """The turns, oldest first; the last one can be answered again."""
    for turn in turns:
        _question(turn.question)
        with st.chat_message("assistant", avatar=PORTAL):
            _answer(turn)
            code_actions.draw(turn, conversation_id, user, last=turn is turns[-1])


def stream(answer: CodeAnswer) -> None:
    """Draw the answer while it comes; then draw the page again, where it is the last turn of the history."""
    st.query_params["c"] = answer.conversation_id
    if answer.outcome is None:
        with conversation.repainted_when_stopped():
            _question(answer.question)
            with st.chat_message("assistant", avatar=PORTAL):
                _warnings(answer.warnings)
                _write(answer)
    st.rerun()


def _write(answer: CodeAnswer) -> None:
    """The sections as they grow, and under them what is being done."""
    sections, doing = st.empty(), st.empty()
    st.button(_("Stop"), icon=":material/stop_circle:", type="tertiary", key="stop")  # any click ends this run
    began = drawn = time.monotonic()
    seen = answer.stage
    doing.markdown(_doing(answer, 0))
    with closing(ticking(answer.deltas, TICK_S)) as deltas:
        for _delta in deltas:
            now = time.monotonic()
            if answer.stage is not seen:
                seen, began = answer.stage, now
            elif now - drawn < REDRAWN_EVERY_S:
                continue
            drawn = now
            doing.markdown(_doing(answer, round(now - began)))
            with sections.container():
                _written(answer)


def _doing(answer: CodeAnswer, waited_s: int) -> str:
    words = conversation.place_in_line(answer.waiting) if answer.waiting else stage(answer, waited_s=waited_s)
    return f":shimmer[{words}]"


def _written(answer: CodeAnswer) -> None:
    """Until the repair has its first words, the attempt that is being repaired."""
    if answer.text:
        _sections(answer.text, answer.sections, answer.question.language)
    elif answer.attempts:
        _sections(answer.attempts[-1].text, answer.attempts[-1].sections, answer.question.language)


def _sections(text: str, sections: Sections, language: str) -> None:
    """A model that wrote no section at all wrote a text."""
    if sections == Sections(language=sections.language):
        st.markdown(prose(text))
    else:
        draw_sections(sections, language)


def _question(question: CodeQuestion) -> None:
    with st.chat_message("user", avatar=PERSON):
        st.caption(f"{_(TASKS[question.task])} · {escape(language_name(question.language))}")
        st.markdown(escape(question.words))
        code = given_code(question)
        if not code:
            return
        names = ", ".join(escape(file.name) for file in question.files)
        lines = len(code.splitlines())
        label = _("Given code, lines: {n}", n=lines) + (f" · {names}" if names else "")
        with st.expander(label, icon=":material/code:", expanded=lines <= SHORT_CODE_LINES):
            st.code(code, language=question.language or None)


def _answer(turn: CodeTurn) -> None:
    _warnings(turn.warnings)
    if turn.attempts:
        attempt, question = turn.attempts[turn.shown], turn.question
        _sections(attempt.text, attempt.sections, question.language)
        code_result.draw(turn)
        if question.task is Task.IMPROVE and attempt.sections.code:
            code_comparison.draw(given_code(question), attempt)
    if turn.outcome == "cancelled":
        st.caption(_("Stopped before the end."))
    if turn.error:
        errors.show(turn.error)


def _warnings(records: Sequence[dict]) -> None:
    for record in records:
        st.warning(errors.in_words(PortalError.from_record(record)), icon=":material/warning:")
