"""The proof of an answer: its code and tests run in the sandbox, checked, and compared with what was given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from services.code.answer import Attempt, CodeQuestion, Sections, Task
from services.code.examples import examples_in
from services.code.prompting import given_code
from services.code.python_source import parsed
from services.errors import SandboxUnavailable
from services.sandbox.jobs import Language, TestRun
from services.sandbox.proving import TestRunner
from services.translation import N_

CUT_OFF_MAX = 5  # lines
NO_CODE = N_("There is no code in the answer.")
NOT_PROVABLE = N_("This language is not run here.")
NO_TESTS = N_("The answer has no tests.")


@dataclass(frozen=True)
class Proof:
    """Blocks while programs run; `cancelled` is asked meanwhile."""

    runner: TestRunner

    def prove(self, question: CodeQuestion, text: str, sections: Sections, cancelled: Callable[[], bool]) -> Attempt:
        """The attempt with all that could be found out about it. What cannot be run is no failure: not_run says why."""
        attempt = Attempt(text, sections)
        if question.task is Task.EXPLAIN:
            return attempt
        language = _provable(question.language)
        solution, tests = _to_run(question, sections)
        if language is None or not solution.strip():
            return replace(attempt, not_run=NO_CODE if language else NOT_PROVABLE)
        try:
            attempt = replace(attempt, hints=self.runner.check(language, solution))
            run = self.runner.run_tests(language, solution, tests, cancelled=cancelled)
            attempt = replace(attempt, run=run, not_run="" if run.cases or run.error else NO_TESTS)
            if question.task is Task.IMPROVE and tests:
                attempt = self._compare(attempt, given_code(question), tests, cancelled)
        except SandboxUnavailable as error:
            return replace(attempt, not_run=error.message, not_run_params=error.params)
        return attempt

    def _compare(self, attempt: Attempt, before: str, tests: str, cancelled: Callable[[], bool]) -> Attempt:
        """The same tests on the code as it was given, and the speed of both where both pass some."""
        language, after = attempt.run.language, attempt.sections.code
        baseline = self.runner.run_tests(language, before, tests, cancelled=cancelled)
        speed = None
        if attempt.run.passed and baseline.passed:
            speed = self.runner.measure(language, before, after, tests, cancelled=cancelled)
        return replace(attempt, baseline=baseline, speed=speed)


def needs_repair(attempt: Attempt) -> bool:
    """Whether running it showed something that the model can be told."""
    return attempt.run is not None and bool(attempt.run.error or attempt.run.failed)


def better(attempts: list[Attempt]) -> int:
    """Index of the attempt that proved itself more; of equals the first."""
    return max(range(len(attempts)), key=lambda at: _worth(attempts[at].run))


def _worth(run: TestRun | None) -> tuple[bool, int]:
    """Whether it loads, and how many tests pass: not which share, or a repair would win by leaving tests out."""
    return (not run.error, run.passed) if run else (False, 0)


def _provable(language: str) -> Language | None:
    return Language(language) if language in set(Language) else None


def _to_run(question: CodeQuestion, sections: Sections) -> tuple[str, str]:
    """Solution and tests: the model's, and for Python the examples that the requirement itself gives."""
    if question.task is Task.TEST:
        return given_code(question), sections.tests or sections.code
    if question.language != Language.PYTHON:
        return sections.code, sections.tests
    tests = filter(None, (examples_in(question.words), _whole_statements(sections.tests)))
    return sections.code, "\n\n".join(tests)


def _whole_statements(source: str) -> str:
    """Python without its last lines, where the model was cut off in the middle of a statement."""
    lines = source.splitlines()
    for dropped in range(min(len(lines), CUT_OFF_MAX)):
        text = "\n".join(lines[: len(lines) - dropped])
        if parsed(text) is not None:
            return text
    return source
