"""Examples of questions about code: how to begin."""

from __future__ import annotations

import streamlit as st

from pages.components.code_words import TASKS, language_name
from pages.components.context import _
from services.code.answer import CodeQuestion, Task

CHOSEN = "code_example"
SLOW = """def common(first, second):
    found = []
    for item in first:
        if item in second and item not in found:
            found.append(item)
    return found
"""


def chosen() -> CodeQuestion | None:
    """The example that was just clicked."""
    return st.session_state.pop(CHOSEN, None)


def draw() -> None:
    st.caption(_("For example"))
    for title, example in _examples():
        label = " · ".join((_(TASKS[example.task]), language_name(example.language), title))
        st.button(label, icon=":material/code:", on_click=_choose, args=(example,), width="stretch")


def _examples() -> list[tuple[str, CodeQuestion]]:
    days = _(
        "Write working_days(start, end, holidays): the number of working days between two dates, both included,"
        " without weekends and the given holidays. With type hints; a ValueError when end is before start."
    )
    totals = _("Write groupTotals(orders): the sum of amount for each customer, largest first.")
    cache = _("Write a class LruCache with get and put; when it is full, the entry unused for longest leaves.")
    faster = _("Make this faster: the items that two lists have in common.")
    return [
        (_("Working days between two dates"), CodeQuestion(Task.GENERATE, "python", days)),
        (_("Totals for each customer"), CodeQuestion(Task.GENERATE, "javascript", totals)),
        (_("A cache that forgets what is not used"), CodeQuestion(Task.GENERATE, "java", cache)),
        (_("Make a slow function faster"), CodeQuestion(Task.IMPROVE, "python", faster, SLOW)),
    ]


def _choose(example: CodeQuestion) -> None:
    st.session_state[CHOSEN] = example
