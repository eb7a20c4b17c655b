"""Proves a solution: runs its tests in the sandbox, each as a case of its own."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterable
from dataclasses import replace

from services.sandbox.box import Sandbox
from services.sandbox.checking import check
from services.sandbox.comparing import measure
from services.sandbox.jobs import (
    CheckHint,
    Ended,
    Execution,
    Language,
    Program,
    SpeedComparison,
    TestCase,
    TestRun,
)
from services.sandbox.layout import Layout, layout
from services.sandbox.running import safe_text

NAME_MAX, OUTPUT_MAX = 200, 4000  # characters
CASES_MAX = 500
DAY_S = 86_400
NAMES = ("case", "skipped", "begun", "planned")  # of tests, in a line of results
WHY = {
    Ended.TIME: "did not end in time",
    Ended.MEMORY: "used more memory than allowed",
    Ended.OUTPUT: "wrote more output than allowed",
    Ended.KILLED: "was killed by the system",
    Ended.CANCELLED: "was cancelled",
    Ended.EXITED: "ended the whole program",
}
NOT_RUN = "not run: the program had ended before"


class TestRunner:
    """Blocks like the sandbox, and raises what it raises."""

    __test__ = False  # for pytest

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    def run_tests(
        self,
        language: Language,
        solution: str,
        tests: str,
        *,
        cancelled: Callable[[], bool] = lambda: False,
        name: str | None = None,
    ) -> TestRun:
        """tests: as a model writes them: functions, classes, bare asserts, with or without imports of the solution.

        name: of the solution's file, where its messages should bear it. Without tests only the solution is loaded.
        """
        results = f".results-{secrets.token_hex(8)}"
        placed = layout(language, solution, tests, results)
        program = Program(language, placed.files, placed.command, self._sandbox.limits())
        execution = self._sandbox.run(program, wanted=[results], cancelled=cancelled)
        return read(language, placed, execution, execution.left.get(results, ""), name)

    def measure(
        self, language: Language, before: str, after: str, tests: str, *, cancelled: Callable[[], bool] = lambda: False
    ) -> SpeedComparison:
        """Of two solutions, by the tests that pass with both; about a second, five at most."""
        return measure(self._sandbox, language, before, after, tests, cancelled=cancelled)

    def check(self, language: Language, source: str) -> list[CheckHint]:
        return check(self._sandbox, language, source)


def read(language: Language, placed: Layout, execution: Execution, results: str, name: str | None = None) -> TestRun:
    """results: lines of JSON as the runners write them, possibly cut in the middle, possibly written by the program."""
    facts = list(_facts(results))
    errors = [str(fact["error"]) for fact in facts if "error" in fact]
    ended = any("done" in fact for fact in facts)
    error = _renamed(safe_text(errors[0].encode(errors="replace")), placed, name) if errors else ""
    if not error and not any("loaded" in fact for fact in facts):
        error = _renamed(_never_loaded(execution), placed, name)
    cases = [] if error else _cases(facts, "" if ended else WHY[execution.ended])
    cases = sorted(cases, key=lambda case: case.passed) if len(cases) > CASES_MAX else cases  # none that failed is cut
    return TestRun(language, cases[:CASES_MAX], error[-OUTPUT_MAX:], replace(execution, left={}))


def _facts(results: str) -> Iterable[dict]:
    for line in results.splitlines():
        try:
            fact = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(fact, dict) and all(isinstance(fact.get(name, ""), str) for name in NAMES):
            yield fact


def _never_loaded(execution: Execution) -> str:
    said = execution.output.strip()[-OUTPUT_MAX:]
    if execution.ended is Ended.EXITED and said:
        return said
    reason = WHY[execution.ended]
    return f"{said}\nThe solution {reason} while it was loaded.".strip()


def _cases(facts: list[dict], why: str) -> list[TestCase]:
    """why: what ended the program before its end; "" when it came to its end."""
    cases = [_case(fact) for fact in facts if "case" in fact]
    settled = {fact[kind] for fact in facts for kind in ("case", "skipped") if kind in fact}
    begun = [fact["begun"] for fact in facts if "begun" in fact]
    hanging = [name for name in begun if name not in settled]
    cases += [TestCase(_short(name), False, why or WHY[Ended.EXITED]) for name in hanging]
    if why:
        touched = settled | set(begun)
        bases = {str(name).split("[")[0] for name in touched}
        planned = [fact["planned"] for fact in facts if "planned" in fact]
        cases += [TestCase(_short(name), False, NOT_RUN) for name in planned if name not in touched | bases]
    return cases


def _case(fact: dict) -> TestCase:
    seconds = fact.get("seconds")
    return TestCase(
        name=_short(fact["case"]),
        passed=fact.get("passed") is True,
        output=safe_text(str(fact.get("output", ""))[:OUTPUT_MAX].encode(errors="replace")),
        seconds=float(seconds) if isinstance(seconds, int | float) and 0 <= seconds < DAY_S else None,
    )


def _short(name: object) -> str:
    return " ".join(safe_text(str(name).encode(errors="replace")).split())[:NAME_MAX]


def _renamed(text: str, placed: Layout, name: str | None) -> str:
    return text.replace(placed.solution_name, name) if name and placed.solution_name else text
