"""Given and improved code side by side: what changed, and what the same tests and the clock say of both."""

from __future__ import annotations

from difflib import SequenceMatcher
from typing import TYPE_CHECKING

import streamlit as st

from pages.components.code_words import score, speed
from pages.components.context import _

if TYPE_CHECKING:
    from services.code.answer import Attempt


def draw(before: str, attempt: Attempt) -> None:
    """`diff` colours the marked lines; on a narrow screen the columns stand one below the other."""
    if attempt.baseline and attempt.run:
        st.markdown(_("Before: {before} · after: {after}", before=score(attempt.baseline), after=score(attempt.run)))
    if attempt.speed:
        st.markdown(f":material/speed: {speed(attempt.speed)}")
    if not before.strip():
        return
    old, new = side_by_side(before, attempt.sections.code)
    with st.expander(_("What changed"), icon=":material/difference:"):
        left, right = st.columns(2)
        left.caption(_("Before"))
        left.code(old, language="diff")
        right.caption(_("After"))
        right.code(new, language="diff")


def side_by_side(before: str, after: str) -> tuple[str, str]:
    """Both with equal lines at the same height; changed lines begin with - and +, all others with spaces."""
    old, new = before.strip("\n").splitlines(), after.strip("\n").splitlines()
    left: list[str] = []
    right: list[str] = []
    for change, i1, i2, j1, j2 in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        marks = ("  ", "  ") if change == "equal" else ("- ", "+ ")
        height = max(i2 - i1, j2 - j1)
        left += _column(old[i1:i2], marks[0], height)
        right += _column(new[j1:j2], marks[1], height)
    return "\n".join(left), "\n".join(right)


def _column(lines: list[str], mark: str, height: int) -> list[str]:
    return [mark + line for line in lines] + [" "] * (height - len(lines))
