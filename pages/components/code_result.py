"""What came of running an answer's code: the verdict, each test, hints, and the repair."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from pages.components.code_words import score, verdict
from pages.components.context import _
from pages.components.formats import duration
from pages.components.text import escape

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.code.answer import Attempt, CodeTurn
    from services.sandbox.jobs import CheckHint, TestRun

SHORTEST_TOLD_S = 0.001


def draw(turn: CodeTurn) -> None:
    attempt = turn.attempts[turn.shown]
    kind, words = verdict(attempt)
    if kind == "passed":
        st.success(words, icon=":material/check_circle:")
    elif kind == "failed":
        tried = "  \n" + _("One repair was tried. Check the code before you use it.") if len(turn.attempts) > 1 else ""
        st.error(f"**{words}**{tried}", icon=":material/cancel:")
    elif words:
        st.caption(f":material/do_not_disturb_on: {words}")
    if attempt.run and (attempt.run.cases or attempt.run.error):
        with st.expander(_("Test results"), icon=":material/checklist:", expanded=kind == "failed"):
            cases(attempt.run)
    _hints(attempt.hints)
    if len(turn.attempts) > 1:
        _repair(turn)


def cases(run: TestRun) -> None:
    """Each test with its output, failed ones first; or why none could run."""
    if run.error:
        st.code(run.error, language=None, wrap_lines=True)
    for case in sorted(run.cases, key=lambda case: case.passed):
        mark = ":green[:material/check:]" if case.passed else ":red[:material/close:]"
        took = f" · {duration(case.seconds * 1000)}" if case.seconds and case.seconds >= SHORTEST_TOLD_S else ""
        st.markdown(f"{mark} {escape(case.name)}{took}")
        if case.output:
            st.code(case.output, language=None, wrap_lines=True)
    if run.failed and not run.error and run.execution.output.strip():
        st.caption(_("Output of the program"))
        st.code(run.execution.output, language=None, wrap_lines=True)


def _hints(hints: Sequence[CheckHint]) -> None:
    if not hints:
        return
    with st.expander(_("Hints of the code check: {n}", n=len(hints)), icon=":material/rule:"):
        for hint in hints:
            name = f" ({hint.code})" if hint.code else ""
            st.markdown(_("Line {line}: {hint}", line=hint.line, hint=escape(hint.message + name)))


def _repair(turn: CodeTurn) -> None:
    first, repaired = turn.attempts[0], turn.attempts[1]
    if turn.shown == 1:
        words = _("Repaired once. First: {first}. Now: {now}.", first=score(first.run), now=score(repaired.run))
        _other(words, _("The first attempt"), first, turn.question.language)
    else:
        words = _("One repair was tried. It was not better, so the first attempt is shown.")
        _other(words, _("The repair that was tried"), repaired, turn.question.language)


def _other(words: str, title: str, attempt: Attempt, language: str) -> None:
    st.caption(f":material/build: {words}")
    with st.expander(title, icon=":material/history:"):
        st.code(attempt.sections.code or attempt.sections.tests or attempt.text, language=language or None)
        if attempt.run:
            cases(attempt.run)
