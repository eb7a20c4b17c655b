"""What can be done with an answer about code: copy, download, rate, answer again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from pages.components.context import _, services
from pages.components.conversation import again_button, made_of
from services.code.answer import Task
from services.code.filenames import solution_name, suite_name
from services.code.prompting import given_code
from services.conversations import COMMENT_LENGTH
from services.permissions import Actor

if TYPE_CHECKING:
    from services.code.answer import CodeTurn

RATINGS = ("down", "up")  # in the order of st.feedback("thumbs")


def draw(turn: CodeTurn, conversation_id: str, user: Actor, *, last: bool) -> None:
    with st.container(horizontal=True, gap="xsmall", vertical_alignment="center"):
        if last:
            again_button(turn.id)
        if turn.attempts:
            _copy(turn)
            _downloads(turn)
        made_of(turn)
        _rating(turn, conversation_id, user)


def _copy(turn: CodeTurn) -> None:
    with st.popover(_("Copy all"), icon=":material/content_copy:", type="tertiary", key=f"copy-{turn.id}"):
        st.code(turn.attempts[turn.shown].text, language=None, wrap_lines=True)


def _downloads(turn: CodeTurn) -> None:
    question, sections = turn.question, turn.attempts[turn.shown].sections
    code = given_code(question) if question.task is Task.TEST else sections.code
    names = {"code": solution_name(question.language, code, sections.tests)}
    names["tests"] = suite_name(question.language, code, sections.tests)
    for part, name in names.items():
        text = getattr(sections, part)
        if text.strip():
            st.download_button(
                name,
                data=text.rstrip("\n") + "\n",
                file_name=name,
                mime="text/plain",
                icon=":material/download:",
                type="tertiary",
                on_click="ignore",
                help=_("Download as a file"),
                key=f"download-{part}-{turn.id}",
            )


def _rating(turn: CodeTurn, conversation_id: str, user: Actor) -> None:
    key = f"thumbs-{turn.id}"
    rated = RATINGS.index(turn.rating) if turn.rating else None
    st.feedback("thumbs", key=key, default=rated, on_change=_rate, args=(key, turn.id, conversation_id, user))
    if turn.rating:
        with st.popover(_("Comment"), icon=":material/comment:", type="tertiary", key=f"comment-{turn.id}"):
            _comment(turn, conversation_id, user)


def _comment(turn: CodeTurn, conversation_id: str, user: Actor) -> None:
    with st.form(f"comment-form-{turn.id}", border=False, clear_on_submit=True):
        comment = st.text_area(_("What was good or wrong?"), max_chars=COMMENT_LENGTH)
        if st.form_submit_button(_("Send"), icon=":material/send:") and comment.strip():
            services().code_help.rate(conversation_id, turn.id, turn.rating, user, comment.strip())
            st.toast(_("Thank you."))


def _rate(key: str, question_id: int, conversation_id: str, user: Actor) -> None:
    """As a callback. A click on the same thumb takes the mark away on the screen; what was said stays."""
    thumb = st.session_state[key]
    if thumb is not None:
        services().code_help.rate(conversation_id, question_id, RATINGS[thumb], user)
