"""Code Helper."""

from __future__ import annotations

import re

import pytest

from pages.components import code_words, context
from pages.components.code_comparison import side_by_side
from services.code.answer import CodeAnswer, CodeFile, Stage, Task
from services.errors import BadInput, EngineDied, PortalError
from services.sandbox.jobs import Availability, CheckHint, Ended, Execution, Language, SpeedComparison, Toolchain
from tests.ui.code_fakes import EVERYTHING, SECTIONS, attempt, code_question, code_turn, run
from tests.ui.conftest import text_of

PAGE = "pages/code_helper.py"


def shown(test) -> str:
    return text_of(test).replace("\\", "")


def kept(services, **changes):
    services.code_help.kept = {"c1": [code_turn(**changes)]}


def choose(test, task: Task, conversation: str | None = None):
    return test.button_group(key=f"code-task-{conversation}").set_value(task).run()


def code_field(test):
    return next(area for area in test.text_area if area.label == "Code")


def test_a_requirement_is_asked_in_the_chosen_language_and_kept_under_its_address(opened, services) -> None:
    test = opened(PAGE)
    test.button_group(key="code-language-None-False").set_value("java").run()
    test.chat_input[0].set_value("Write a queue.").run()
    assert services.code_help.asked == [code_question(language="java", words="Write a queue.")]
    assert services.code_help.languages == ["en"]
    assert test.query_params["c"] in ("c1", ["c1"])
    assert "All tests passed (5)" in shown(test)


def test_explanations_are_in_the_language_of_the_screen(opened, services) -> None:
    opened(PAGE, locale="zh-CN").chat_input[0].set_value("写一个队列").run()
    assert services.code_help.languages == ["zh"]


def test_an_example_asks_its_question(opened, services) -> None:
    test = opened(PAGE)
    next(button for button in test.button if "Working" in button.label).click().run()
    assert "ValueError" in services.code_help.asked[0].words


@pytest.mark.parametrize(
    ("task", "label"), [(Task.EXPLAIN, "Explain"), (Task.IMPROVE, "Improve"), (Task.TEST, "Write tests")]
)
def test_given_code_needs_no_words(opened, services, task: Task, label: str) -> None:
    test = choose(opened(PAGE), task)
    code_field(test).set_value("x = 1").run()
    button = test.button(key="code_send")
    assert button.label == label
    button.click().run()
    assert services.code_help.asked == [code_question(task, words="", code="x = 1")]
    assert code_field(test).value == ""


def test_what_cannot_be_asked_is_explained_and_the_code_stays(opened, services) -> None:
    services.code_help.error = BadInput("The code is longer than {limit} characters.", limit=40_000)
    test = choose(opened(PAGE), Task.EXPLAIN)
    code_field(test).set_value("x = 1").run()
    test.button(key="code_send").click().run()
    assert "longer than 40000 characters" in shown(test)
    assert code_field(test).value == "x = 1"


def test_explaining_takes_any_language(opened, services) -> None:
    test = choose(opened(PAGE), Task.EXPLAIN)
    test.button_group(key="code-language-None-True").set_value("other").run()
    test.text_input(key="code-other-None").set_value("COBOL").run()
    code_field(test).set_value("SORT FILE.").run()
    test.button(key="code_send").click().run()
    assert services.code_help.asked[0].language == "COBOL"


def test_files_are_given_along_and_what_is_no_source_is_refused(opened, services) -> None:
    test = choose(opened(PAGE), Task.EXPLAIN)
    uploads = [("twice.py", b"def twice(x): ...", "text/plain"), ("tool", b"\x7fELF\x00", "application/octet-stream")]
    test.file_uploader[0].set_value(uploads).run()
    assert "This is not a text file" in shown(test)
    test.button(key="code_send").click().run()
    assert services.code_help.asked[0].files == (CodeFile("twice.py", "def twice(x): ..."),)


def test_a_follow_up_stays_in_its_conversation_with_its_task_and_language(opened, services) -> None:
    kept(services, question=code_question(Task.IMPROVE, language="java", code="class A {}"))
    test = opened(PAGE, c="c1")
    test.chat_input[0].set_value("Now thread-safe").run()
    [asked] = services.code_help.asked
    assert (asked.task, asked.language, asked.code) == (Task.IMPROVE, "java", SECTIONS.code)
    assert len(services.code_help.kept["c1"]) == 2


def test_the_code_of_the_last_answer_can_be_taken_and_changed(opened, services) -> None:
    kept(services)
    test = opened(PAGE, c="c1")
    test.button(key="code_use_latest").click().run()
    assert code_field(test).value == SECTIONS.code


def test_an_answer_has_its_sections_its_verdict_and_its_tests_failed_ones_first(opened, services) -> None:
    kept(services, attempts=[attempt(run=run(3, 2))])
    test = opened(PAGE, c="c1")
    words = shown(test)
    assert "Adds two numbers" in words
    assert [code.value for code in test.code[:2]] == [SECTIONS.code.strip(), SECTIONS.tests.strip()]
    assert "2 of 5 tests failed" in test.error[0].value
    assert words.index("assert add(0, 1) =") < words.index("assert add(0, 0) =")
    assert "it was 1" in words


def test_a_repair_shows_both_scores_and_keeps_the_first_attempt(opened, services) -> None:
    kept(services, attempts=[attempt(run=run(2, 3)), attempt(run=run(5))], shown=1)
    test = opened(PAGE, c="c1")
    assert "Repaired once. First: 2 of 5 tests passed. Now: 5 of 5 tests passed." in shown(test)
    assert "The first attempt" in [expander.label for expander in test.expander]


def test_what_still_fails_after_the_repair_is_said_plainly(opened, services) -> None:
    kept(services, attempts=[attempt(run=run(4, 1)), attempt(run=run(3, 2))])
    test = opened(PAGE, c="c1")
    assert "1 of 5 tests failed" in test.error[0].value
    assert "Check the code before you use it" in test.error[0].value
    assert "It was not better" in shown(test)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"run": None, "not_run": "This language is not run here."}, "Not run: This language is not run here."),
        ({"run": run(0), "not_run": "The answer has no tests."}, "Not run: The answer has no tests."),
        ({"run": run(0, error="SyntaxError: x")}, "The tests could not run"),
        ({"run": run(2, execution=Execution(Ended.TIME, None, "", 20, 20, 9))}, "took too long"),
    ],
)
def test_what_was_not_run_to_its_end_says_why(opened, services, changes: dict, words: str) -> None:
    kept(services, attempts=[attempt(**changes)])
    test = opened(PAGE, c="c1")
    assert words in shown(test)
    assert not test.success


def test_an_explanation_has_no_verdict(opened, services) -> None:
    kept(services, question=code_question(Task.EXPLAIN), attempts=[attempt(run=None)])
    assert "Not run" not in shown(opened(PAGE, c="c1"))


def test_hints_name_their_line(opened, services) -> None:
    kept(services, attempts=[attempt(hints=[CheckHint(7, "S307", "eval is used")])])
    assert "Line 7: eval is used (S307)" in shown(opened(PAGE, c="c1"))


def test_warnings_stand_above_the_answer(opened, services) -> None:
    kept(services, warnings=[PortalError("Line {line} looks like a secret ({kind}).", line=3, kind="key").to_record()])
    assert "Line 3 looks like a secret" in opened(PAGE, c="c1").warning[0].value.replace("\\", "")


def test_improved_code_is_compared_with_what_was_given(opened, services) -> None:
    better = attempt(baseline=run(2, 3), speed=SpeedComparison(True, "", 0.46, 0.2))
    kept(services, question=code_question(Task.IMPROVE, code="def add(a, b):\n    return a - b\n"), attempts=[better])
    test = opened(PAGE, c="c1")
    words = shown(test)
    assert "Before: 2 of 5 tests passed · after: 5 of 5 tests passed" in words
    assert "2.3 times as fast as before" in words
    assert "+     return a + b" in words


def test_lines_that_stay_stand_at_the_same_height() -> None:
    assert side_by_side("a\nb\nc", "a\nB\nB2\nc") == ("  a\n- b\n \n  c", "  a\n+ B\n+ B2\n  c")


@pytest.mark.parametrize(
    ("ratio", "words"), [((0.2, 0.4), "Slower: takes 2.0 times"), ((0.4, 0.2), "2.0 times as fast")]
)
def test_speed_is_told_both_ways(services, ratio, words: str) -> None:
    context.use(services)
    assert words in code_words.speed(SpeedComparison(True, "", *ratio))


def test_code_and_tests_are_downloaded_under_fitting_names(opened, services) -> None:
    kept(services)
    labels = [element.proto.label for element in opened(PAGE, c="c1").main if element.type == "download_button"]
    assert [label for label in labels if label.endswith(".py")] == ["add.py", "test_add.py"]


def test_a_thumb_is_kept_and_then_a_comment_can_be_given(opened, services) -> None:
    kept(services)
    test = opened(PAGE, c="c1")
    test.feedback[0].set_value(1).run()
    assert services.code_help.rated == [("c1", 1, "up", "")]
    kept(services, rating="down")
    test = opened(PAGE, c="c1")
    next(area for area in test.text_area if "good or wrong" in area.label).set_value("It loops.")
    next(button for button in test.button if button.label == "Send").click().run()
    assert services.code_help.rated[-1] == ("c1", 1, "down", "It loops.")


def test_answering_again_replaces_the_last_answer(opened, services) -> None:
    kept(services)
    opened(PAGE, c="c1").button(key="again-1").click().run()
    assert len(services.code_help.kept["c1"]) == 1
    assert services.code_help.asked == [code_question()]


@pytest.mark.parametrize(
    ("stage", "first", "words"),
    [
        (Stage.WRITING, None, "Writing… 3 s"),
        (Stage.RUNNING, None, "Running the code and its tests… 3 s"),
        (Stage.REPAIRING, run(3, 2), "2 of 5 tests failed: repairing… 3 s"),
        (Stage.REPAIRING, run(0, error="SyntaxError"), "The code did not run: repairing… 3 s"),
    ],
)
def test_the_stage_is_told_with_its_seconds(services, stage: Stage, first, words: str) -> None:
    context.use(services)
    answer = CodeAnswer("c1", 1, code_question(), "en", stage=stage, attempts=[attempt(run=first)])
    assert code_words.stage(answer, waited_s=3) == words


def test_the_screen_says_what_runs_here_and_what_is_missing(opened, services) -> None:
    assert "Runs here: Python 3.11, Java 17, JavaScript 20" in shown(opened(PAGE))
    without = EVERYTHING | {Language.JAVA: Toolchain(Language.JAVA, "", "default-jdk-headless")}
    services.code_help.runs_here = Availability("namespaces", "", without)
    assert "Java does not run here: default-jdk-headless is to be installed" in shown(opened(PAGE))
    services.code_help.runs_here = Availability("", "no {isolation} here", EVERYTHING)
    assert "Code is not run here: no {isolation} here" in shown(opened(PAGE))


def test_the_screen_says_that_running_is_switched_off(opened, services) -> None:
    services.settings = services.settings.model_copy(update={"run_code": False})
    assert "Running code is switched off" in shown(opened(PAGE))
    assert "Runs here" not in shown(opened(PAGE))


def test_an_answer_that_broke_off_keeps_its_text_and_says_why(opened, services) -> None:
    kept(
        services, attempts=[attempt(run=None)], outcome="failed", error=EngineDied("The model stopped.", hint="Again.")
    )
    test = opened(PAGE, c="c1")
    assert SECTIONS.code.strip() in [code.value for code in test.code]
    assert "The model stopped" in test.error[0].value


@pytest.mark.parametrize("hostile", ["![x](http://evil/x.png)", "<img src=x>", "[here](http://evil)", "$$x$$", "# Big"])
def test_what_a_model_or_a_program_wrote_is_never_markup(opened, services, hostile: str) -> None:
    bad = run(0, 1, cases=[])
    bad.cases.append(type(run().cases[0])(hostile, False, hostile))
    hostile_sections = type(SECTIONS)(hostile, "x", "y", hostile)
    attempts = [attempt(sections=hostile_sections, run=bad, hints=[CheckHint(1, hostile, hostile)])]
    given = code_question(words=hostile, language=hostile, code="a", files=(CodeFile(hostile, "b"),))
    kept(services, question=given, attempts=attempts)
    test = opened(PAGE, c="c1")
    assert "Something unexpected" not in shown(test)
    unescaped = re.compile(r"(?<!\\)" + re.escape(hostile))
    drawn = [element.value for element in [*test.markdown, *test.caption, *test.error]]
    assert not [words for words in [*drawn, *(expander.label for expander in test.expander)] if unescaped.search(words)]


def test_a_conversation_is_deleted_after_the_question(opened, services) -> None:
    kept(services)
    test = opened(PAGE, c="c1")
    next(button for button in test.button if button.label == "Delete conversation").click().run()
    assert "questions, code and answers are deleted" in shown(test)
    test.button(key="delete_conversation").click().run()
    assert services.code_help.deleted == ["c1"]


def test_another_persons_conversation_does_not_exist(opened) -> None:
    assert "This conversation does not exist" in opened(PAGE, c="someone-elses").error[0].value
