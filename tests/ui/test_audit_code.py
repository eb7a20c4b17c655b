"""Events of questions about code, in the record."""

from __future__ import annotations

from pages.components import audit_event, dialogs
from services.audit.details import CodeDetail
from services.audit.events import Action
from services.audit.filters import Filter
from tests.fakes import ANNA, AUDITOR
from tests.ui.conftest import text_of


def test_an_event_about_code_shows_the_question_the_given_code_and_the_answer_as_written(opened, services) -> None:
    detail = CodeDetail(
        question="What is it?", code="def given(): ...", answer="## Code\n    kept = 1", language="python"
    )
    services.audit.begin(ANNA, Action.CODE).end("succeeded", detail=detail)
    [event] = services.audit_log.search(Filter(action=Action.CODE), AUDITOR).events
    test = opened("pages/audit.py", actor=AUDITOR)
    test.session_state[dialogs.OPEN] = (audit_event.EVENT, event.id)
    words = text_of(test.run())
    assert "What is it" in words
    assert "def given(): ..." in [code.value for code in test.code]
    assert "## Code\n    kept = 1" in [code.value for code in test.code]
