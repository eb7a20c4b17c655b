"""What is to be done with code: task, language, the code itself, and the words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from pages.components import code_examples, errors
from pages.components.code_words import LANGUAGES, TASKS, language_name, runnable
from pages.components.context import _, language, services
from pages.components.text import escape
from pages.components.upload import STYLES
from services.code.answer import CodeFile, CodeQuestion, Task
from services.code.given_files import LARGEST_KB, code_file
from services.code_help import WORDS_MAX
from services.errors import PortalError
from services.permissions import Actor
from services.translation import N_

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.code.answer import CodeTurn

SENT = "code_sent"  # how many questions this visitor sent: what was given for the last one is not given again
OTHER = "other"
SEND = {Task.EXPLAIN: N_("Explain"), Task.IMPROVE: N_("Improve"), Task.TEST: N_("Write tests")}
CODE_HEIGHT_PX = 220


def draw(user: Actor, conversation_id: str | None, turns: Sequence[CodeTurn]) -> CodeQuestion | None:
    """The question, if one was just asked: by Enter, the task's button or an example."""
    last = turns[-1] if turns else None
    task = _task(conversation_id, last)
    code_language = _language(conversation_id, last, task)
    latest = latest_code(turns)
    code, files = _given(task, latest, opened=task in SEND and not turns)
    sends = task in SEND and st.button(
        _(SEND[task]), type="primary", icon=":material/send:", key="code_send", disabled=not (code or files or latest)
    )
    _what_runs(user)
    beginning = st.empty()  # emptied at once when a question is asked
    typed = st.chat_input(_placeholder(turns), submit_mode="stop", max_chars=WORDS_MAX, key="code_words")
    if example := code_examples.chosen():
        return example
    if typed or sends:
        code = code or ("" if files or task is Task.GENERATE else latest)
        return CodeQuestion(task, code_language, typed or "", code, files)
    if not turns:
        with beginning.container():
            code_examples.draw()
    return None


def clear() -> None:
    """Empty the fields for code, when the page is drawn next."""
    st.session_state[SENT] = st.session_state.get(SENT, 0) + 1


def latest_code(turns: Sequence[CodeTurn]) -> str:
    """Of the last answer that has some; "" without."""
    for turn in reversed(turns):
        if turn.attempts and turn.question.task is not Task.TEST and turn.attempts[turn.shown].sections.code:
            return turn.attempts[turn.shown].sections.code
    return ""


def _task(conversation_id: str | None, last: CodeTurn | None) -> Task:
    return st.segmented_control(
        _("Task"),
        list(Task),
        default=last.question.task if last else Task.GENERATE,
        required=True,
        format_func=lambda task: _(TASKS[task]),
        key=f"code-task-{conversation_id}",
    )


def _language(conversation_id: str | None, last: CodeTurn | None, task: Task) -> str:
    """Explaining takes any language."""
    before = last.question.language if last else "python"
    offered = [*LANGUAGES, OTHER] if task is Task.EXPLAIN else list(LANGUAGES)
    known = before if before in LANGUAGES else offered[-1] if task is Task.EXPLAIN else "python"
    chosen = st.segmented_control(
        _("Programming language"),
        offered,
        default=known,
        required=True,
        format_func=lambda name: _("Another language") if name == OTHER else language_name(name),
        key=f"code-language-{conversation_id}-{OTHER in offered}",
    )
    if chosen != OTHER:
        return chosen
    return st.text_input(
        _("Which language?"),
        value="" if before in LANGUAGES else before,
        max_chars=40,
        key=f"code-other-{conversation_id}",
    ).strip()


def _given(task: Task, latest: str, *, opened: bool) -> tuple[str, tuple[CodeFile, ...]]:
    """Pasted code, and files."""
    number = st.session_state.get(SENT, 0)
    label = _("The code to work on") if task in SEND else _("Give code along")
    with st.expander(label, icon=":material/code:", expanded=opened):
        if latest:
            st.caption(_("Without other code the code of the last answer is taken."))
            st.button(
                _("Use the code of the last answer"),
                icon=":material/content_paste:",
                key="code_use_latest",
                on_click=lambda: st.session_state.update({f"code-given-{number}": latest}),
            )
        code = st.text_area(_("Code"), height=CODE_HEIGHT_PX, key=f"code-given-{number}")
        st.html(STYLES / f"uploader.{language()}.css")
        uploads = st.file_uploader(
            _("Text files, up to {limit} KB each", limit=LARGEST_KB),
            accept_multiple_files=True,
            max_upload_size=1,
            key=f"code-files-{number}",
        )
        return code, _read(uploads)


def _read(uploads) -> tuple[CodeFile, ...]:
    """The files that are source; why each of the others is not is drawn."""
    files = []
    for upload in uploads:
        try:
            files.append(code_file(upload.name, upload.getvalue()))
        except PortalError as error:
            st.error(f"{escape(upload.name)}  \n{errors.in_words(error)}", icon=":material/block:")
    return tuple(files)


def _placeholder(turns: Sequence[CodeTurn]) -> str:
    return _("Say what to change, e.g. now make it thread-safe") if turns else _("Say what the code should do")


def _what_runs(user: Actor) -> None:
    if services().settings.run_code:
        st.caption(runnable(services().code_help.availability(user)))
    else:
        st.caption(_("Running code is switched off."))
