"""The way of a question about code, with a fake model and the real sandbox."""

from __future__ import annotations

import pytest

from services.audit.filters import Filter
from services.code.answer import CodeFile, CodeQuestion, Stage, Task
from services.errors import BadInput, Denied, EngineNotReady, NotFound
from services.permissions import CONSOLE
from tests.fakes import ANNA, AUDITOR, USER, FakeChatModel
from tests.services_setup import built

GOOD = """## What it does
Adds.
## Code
```python
def add(a, b):
    return a + b
```
## Tests
```python
assert add(1, 2) == 3
```
## Notes
None."""
BAD = GOOD.replace("a + b", "a - b")
ASK = CodeQuestion(Task.GENERATE, "python", "Write add(a, b).")


@pytest.fixture
def portal(fresh):
    """(services, model): answer with model.reply."""
    model = FakeChatModel(GOOD)
    with built(fresh(), model) as services:
        yield services, model


def answered(services, question=ASK, actor=ANNA, **options):
    answer = services.code_help.stream(question, actor=actor, language="en", **options)
    stages = {answer.stage for _delta in answer.deltas}
    return answer, stages


def in_turn(*replies):
    left = list(replies)
    return lambda _request: left.pop(0) if len(left) > 1 else left[0]


def test_code_is_written_parsed_run_and_kept(portal):
    services, _model = portal
    answer, stages = answered(services)
    assert (answer.outcome, answer.stage) == ("answered", Stage.DONE)
    assert answer.attempts[0].run.ok
    assert Stage.WRITING in stages
    [turn] = services.code_help.turns(answer.conversation_id, ANNA)
    assert turn.attempts == answer.attempts
    assert turn.question == ASK


def test_a_failed_test_brings_one_repair_round_that_is_told_why(portal):
    services, model = portal
    model.reply = in_turn(BAD, GOOD)
    answer, _stages = answered(services)
    assert [attempt.run.ok for attempt in answer.attempts] == [False, True]
    assert answer.shown == 1
    told = model.requests[1].messages
    assert "assert add(1, 2) == 3" in told[-1]["content"]
    assert "a - b" in told[-2]["content"]


def test_a_repair_that_cannot_be_had_leaves_the_first_answer_as_it_is(portal):
    services, model = portal

    def reply(_request):
        model.unavailable = EngineNotReady("No model is running.")
        return BAD

    model.reply = reply
    answer, _stages = answered(services)
    assert (answer.outcome, answer.error, len(answer.attempts)) == ("answered", None, 1)


def test_after_one_repair_the_truth_is_told(portal):
    services, model = portal
    model.reply = BAD
    answer, _stages = answered(services)
    assert len(model.requests) == 2
    assert not answer.attempts[answer.shown].run.ok
    assert answer.outcome == "answered"


def test_a_repair_that_is_worse_is_not_shown(portal):
    services, model = portal
    model.reply = in_turn(BAD.replace("assert", "assert add(2, 0) == 2\nassert", 1), BAD.replace("def add", "def add("))
    answer, _stages = answered(services)
    assert answer.shown == 0


def test_a_repair_does_not_win_by_leaving_tests_out(portal):
    services, model = portal
    tests = "assert add(1, 2) == 3\nassert add(2, 2) == 4\nassert add(1, 1) == 3"
    model.reply = in_turn(GOOD.replace("assert add(1, 2) == 3", tests), GOOD)
    answer, _stages = answered(services)
    assert [(attempt.run.passed, attempt.run.failed) for attempt in answer.attempts] == [(2, 1), (1, 0)]
    assert answer.shown == 0


def test_examples_of_the_requirement_are_run_too(portal):
    services, model = portal
    model.reply = GOOD.replace("assert add(1, 2) == 3", "print(add(1, 2))")
    answer, _stages = answered(services, CodeQuestion(Task.GENERATE, "python", "Write add.\n>>> add(2, 2)\n4\n"))
    assert [case.name for case in answer.attempts[0].run.cases] == ["assert add(2, 2) == 4"]


def test_improving_runs_the_same_tests_before_and_after(portal):
    services, _model = portal
    question = CodeQuestion(Task.IMPROVE, "python", "", "def add(a, b):\n    return a - b\n")
    answer, _stages = answered(services, question)
    attempt = answer.attempts[0]
    assert (attempt.baseline.passed, attempt.run.passed) == (0, 1)


def test_tests_are_run_on_the_code_that_was_given(portal):
    services, model = portal
    model.reply = "## Tests\n```python\nassert twice(2) == 4\nassert twice(2) == 5\n```"
    question = CodeQuestion(Task.TEST, "python", "", files=(CodeFile("twice.py", "def twice(x):\n    return 2 * x\n"),))
    answer, _stages = answered(services, question)
    assert [case.passed for case in answer.attempts[0].run.cases] == [True, False]


def test_explaining_runs_nothing_and_takes_any_language(portal):
    services, model = portal
    model.reply = "## What it does\nIt sorts."
    answer, _stages = answered(services, CodeQuestion(Task.EXPLAIN, "cobol", "", "SORT FILE."))
    assert answer.attempts[0].run is None
    assert "SORT FILE." in model.requests[0].messages[0]["content"]


def test_a_follow_up_works_on_the_code_of_the_answer_before(portal):
    services, model = portal
    first, _stages = answered(services)
    answered(services, CodeQuestion(Task.GENERATE, "python", "Now thread-safe."), conversation_id=first.conversation_id)
    asked = model.requests[-1].messages[0]["content"]
    assert "def add(a, b):" in asked
    assert "Now thread-safe." in asked


def test_code_is_not_run_where_that_is_switched_off(fresh):
    with built(fresh(run_code=False), FakeChatModel(GOOD)) as services:
        answer, _stages = answered(services)
    assert answer.attempts[0].run is None
    assert "switched off" in answer.attempts[0].not_run


def test_stopping_while_programs_run_keeps_what_was_written(portal):
    services, model = portal
    model.reply = GOOD.replace("return a + b", "while True: pass")
    answer = services.code_help.stream(ASK, actor=ANNA, language="en")
    for _delta in answer.deltas:
        if answer.stage is Stage.RUNNING:
            break
    answer.deltas.close()
    assert answer.outcome == "cancelled"
    [turn] = services.code_help.turns(answer.conversation_id, ANNA)
    assert "while True" in turn.attempts[0].sections.code


def test_without_a_model_the_question_is_kept_and_the_reason_told(portal):
    services, model = portal
    model.unavailable = EngineNotReady("No model is running.")
    answer, _stages = answered(services)
    assert (answer.outcome, str(answer.error)) == ("failed", "No model is running.")


def test_what_runs_and_what_was_given_is_in_the_audit(portal):
    services, _model = portal
    answered(services, CodeQuestion(Task.IMPROVE, "python", "faster", "def add(a, b):\n    return b + a\n"), actor=USER)
    [event] = services.audit_log.search(Filter(action="code"), AUDITOR).events
    detail = event.detail
    assert (event.outcome, detail["task"], detail["language"]) == ("succeeded", "improve", "python")
    assert detail["runs"] == [{"passed": 1, "failed": 0, "error": False, "ended": "exited"}]
    assert "b + a" in detail["code"]


def test_anothers_conversation_does_not_exist(portal):
    services, _model = portal
    answer, _stages = answered(services)
    for act in (
        lambda: services.code_help.turns(answer.conversation_id, USER),
        lambda: services.code_help.stream(ASK, actor=USER, language="en", conversation_id=answer.conversation_id),
        lambda: services.code_help.regenerate(answer.conversation_id, USER, "en"),
        lambda: services.ask.history(answer.conversation_id, ANNA),
    ):
        with pytest.raises(NotFound):
            act()


def test_who_may_not_ask_may_not_have_code_written(portal):
    services, _model = portal
    with pytest.raises(Denied):
        answered(services, actor=AUDITOR)


@pytest.mark.parametrize(
    "question",
    [
        CodeQuestion(Task.GENERATE, "python", "  "),
        CodeQuestion(Task.GENERATE, "python", "x" * 4001),
        CodeQuestion(Task.EXPLAIN, "", "", "x" * 40_001),
        CodeQuestion(Task.IMPROVE, "", "", "x = 1"),
    ],
)
def test_nothing_to_work_on_and_too_much_are_refused(portal, question):
    services, model = portal
    with pytest.raises(BadInput):
        answered(services, question)
    assert model.requests == []


def test_a_rating_is_kept_and_an_export_holds_code_and_result(portal):
    services, _model = portal
    answer, _stages = answered(services)
    services.code_help.rate(answer.conversation_id, answer.question_id, "up", ANNA, "good")
    assert services.code_help.turns(answer.conversation_id, ANNA)[0].rating == "up"
    exported = services.code_help.export_markdown(answer.conversation_id, ANNA, "en")
    assert "```python\ndef add(a, b):\n    return a + b\n```" in exported
    assert "Tests passed: 1 of 1" in exported


def test_regenerating_takes_the_answers_place(portal):
    services, model = portal
    first, _stages = answered(services)
    model.reply = GOOD.replace("Adds.", "Sums up.")
    again = services.code_help.regenerate(first.conversation_id, ANNA, "en")
    list(again.deltas)
    [turn] = services.code_help.turns(first.conversation_id, ANNA)
    assert turn.attempts[0].sections.summary == "Sums up."
    assert model.requests[-1].temperature > 0


def test_the_console_gets_sections_and_run(portal):
    services, _model = portal
    from services.operations import Operations

    result = Operations(services).run("code", {"requirement": "Write add.", "language": "python", "run": True})
    assert result["sections"]["code"].startswith("def add")
    assert result["run"] == {"passed": 1, "failed": 0, "output": "", "repaired": False}
    assert services.code_help.conversations(CONSOLE) == []
