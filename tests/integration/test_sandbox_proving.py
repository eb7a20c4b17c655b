"""Tests as models write them become cases, each with its own result."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.errors import SandboxUnavailable
from services.sandbox.box import Sandbox
from services.sandbox.jobs import Ended, Execution, Language, TestRun
from services.sandbox.layout import Layout
from services.sandbox.proving import TestRunner, read
from services.settings import Settings

PYTHON = """def add(a, b):
    return a + b


def halve(n):
    if n % 2:
        raise ValueError("odd")
    return n // 2


if __name__ == "__main__":
    raise SystemExit("must not run")
"""
JAVASCRIPT = """function add(a, b) {
  return a + b;
}
class Stack { constructor() { this.items = []; } push(x) { this.items.push(x); } }
module.exports = { add };
"""
JAVA = """package com.example;

public class Calc {
    public static int add(int a, int b) { return a + b; }
}
"""
FORMS = {
    "unittest": (
        Language.PYTHON,
        "import unittest\nfrom your_module import add\nclass T(unittest.TestCase):\n    def test_right(self):\n"
        "        self.assertEqual(add(1, 2), 3)\n    def test_wrong(self):\n        self.assertEqual(add(1, 2), 4)\n"
        "if __name__ == '__main__':\n    unittest.main()\n",
        {"T.test_right": True, "T.test_wrong": False},
    ),
    "pytest": (
        Language.PYTHON,
        "import pytest\nfrom main import *\n@pytest.mark.parametrize('a, b', [(1, 2), (2, 2)])\n"
        "def test_add(a, b):\n    assert add(a, 1) == b\ndef test_odd():\n"
        "    with pytest.raises(ValueError, match='odd'):\n        halve(3)\n",
        {"test_add[1, 2]": True, "test_add[2, 2]": False, "test_odd": True},
    ),
    "bare asserts": (
        Language.PYTHON,
        "x = 2\nassert add(x, 1) == 3\nassert add(x, 1) == 4\nprint(add(1, 1))  # 2\n",
        {"assert add(x, 1) == 3": True, "assert add(x, 1) == 4": False},
    ),
    "doctest": (Language.PYTHON, ">>> add(1, 2)\n3\n>>> halve(4)\n3\n", {"add(1, 2)": True, "halve(4)": False}),
    "a copy of the solution": (
        Language.PYTHON,
        "def add(a, b):\n    return 7\nassert add(1, 2) == 3\n",
        {"assert add(1, 2) == 3": True},
    ),
    "node:assert": (
        Language.JAVASCRIPT,
        "const { add, Stack } = require('./calc');\nconst assert = require('node:assert');\n"
        "assert.strictEqual(add(1, 2), 3);\nassert.strictEqual(add(1, 2), 4);\nconst s = new Stack();\ns.push(1);\n"
        "console.assert(s.items.length === 1);\n",
        {
            "assert.strictEqual(add(1, 2), 3);": True,
            "assert.strictEqual(add(1, 2), 4);": False,
            "console.assert(s.items.length === 1);": True,
        },
    ),
    "jest": (
        Language.JAVASCRIPT,
        "import { add } from './add.js';\ndescribe('add', () => {\n  it('is right', async () => {\n"
        "    await null;\n    expect(add(1, 2)).toBe(3);\n  });\n  test('is wrong', () => {\n"
        "    expect(add(1, 2)).not.toEqual(3);\n  });\n});\n",
        {"add › is right": True, "add › is wrong": False},
    ),
    "JUnit": (
        Language.JAVA,
        "import org.junit.jupiter.api.Test;\nimport static org.junit.jupiter.api.Assertions.*;\n"
        "import com.example.Calc;\n"
        "public class CalcTest {\n    @Test void right() { assertEquals(3, Calc.add(1, 2)); }\n"
        "    @Test void wrong() { assertEquals(4, Calc.add(1, 2)); }\n}\n",
        {"CalcTest.right": True, "CalcTest.wrong": False},
    ),
    "a main method": (
        Language.JAVA,
        "public class Main {\n    public static void main(String[] a) { assert Calc.add(1, 2) == 4; }\n}\n",
        {"Main": False},
    ),
    "Java statements": (Language.JAVA, "assert Calc.add(1, 2) == 3;\n", {"Tests": True}),
}
SOLUTIONS = {Language.PYTHON: PYTHON, Language.JAVASCRIPT: JAVASCRIPT, Language.JAVA: JAVA}
BROKEN = {
    Language.PYTHON: "def f(:",
    Language.JAVASCRIPT: "function f( {",
    Language.JAVA: "class A { int f() { return + ; } }",
}


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> TestRunner:
    return TestRunner(Sandbox(Settings(home=tmp_path_factory.mktemp("home"), sandbox_timeout_s=10)))


def _results(run: TestRun) -> dict[str, bool]:
    return {case.name: case.passed for case in run.cases}


@pytest.mark.parametrize("form", FORMS)
def test_each_test_is_a_case_of_its_own(runner: TestRunner, form: str) -> None:
    language, tests, expected = FORMS[form]
    run = runner.run_tests(language, SOLUTIONS[language], tests)
    assert run.error == ""
    assert _results(run) == expected
    assert run.ok is all(expected.values())
    assert all(case.passed or case.output for case in run.cases)


@pytest.mark.parametrize("language", Language)
def test_a_solution_that_cannot_be_read_is_an_error(runner: TestRunner, language: Language) -> None:
    run = runner.run_tests(language, BROKEN[language], "")
    assert "error" in run.error.lower()
    assert run.cases == []


@pytest.mark.parametrize("language", Language)
def test_without_tests_the_solution_is_only_loaded(runner: TestRunner, language: Language) -> None:
    run = runner.run_tests(language, SOLUTIONS[language], "")
    assert (run.error, run.cases, run.ok) == ("", [], False)


def test_what_finished_before_a_hang_is_kept(tmp_path: Path) -> None:
    runner = TestRunner(Sandbox(Settings(home=tmp_path, sandbox_timeout_s=1)))
    tests = "def test_a(): assert add(1, 1) == 2\ndef test_b():\n    while True: pass\ndef test_c(): pass\n"
    run = runner.run_tests(Language.PYTHON, PYTHON, tests)
    assert _results(run) == {"test_a": True, "test_b": False, "test_c": False}
    assert "time" in run.cases[1].output
    assert "not run" in run.cases[2].output


def test_a_failed_assert_tells_both_values(runner: TestRunner) -> None:
    run = runner.run_tests(Language.PYTHON, PYTHON, "assert add(1, 2) == 4")
    assert "3 == 4" in run.cases[0].output


def test_printing_a_result_proves_nothing(runner: TestRunner) -> None:
    forged = 'print(\'{"case": "x", "passed": true}\\n{"done": true}\')'
    run = runner.run_tests(Language.PYTHON, f"{PYTHON}\n{forged}\nimport os; os._exit(0)", "assert False")
    assert not run.ok
    assert run.passed == 0


def test_a_faster_solution_is_measured_as_faster(runner: TestRunner) -> None:
    slow = "def total(n):\n    return sum(i for i in range(n))\n"
    fast = "def total(n):\n    return n * (n - 1) // 2\n"
    speed = runner.measure(Language.PYTHON, slow, fast, "def test_total(): assert total(5000) == 12497500")
    assert speed.measurable
    assert speed.ratio > 5


def test_a_short_test_measures_nothing(runner: TestRunner) -> None:
    speed = runner.measure(Language.PYTHON, PYTHON, PYTHON, "assert add(1, 2) == 3")
    assert not speed.measurable
    assert speed.reason


@pytest.mark.parametrize(
    ("language", "source", "line"),
    [
        (Language.PYTHON, "def f(x=[]):\n    return y\n", 2),
        (Language.JAVASCRIPT, "function f() {\n  return (;\n}", 2),
        (Language.JAVA, "import java.util.*;\nclass A { List x = new ArrayList(); }", 2),
    ],
)
def test_static_checks_name_the_line(runner: TestRunner, language: Language, source: str, line: int) -> None:
    assert line in {hint.line for hint in runner.check(language, source)}


def test_nothing_runs_when_running_code_is_switched_off(tmp_path: Path) -> None:
    runner = TestRunner(Sandbox(Settings(home=tmp_path, run_code=False)))
    with pytest.raises(SandboxUnavailable):
        runner.run_tests(Language.PYTHON, PYTHON, "assert True")


def test_nothing_runs_without_isolation(tmp_path: Path) -> None:
    runner = TestRunner(Sandbox(Settings(home=tmp_path), isolations=[]))
    with pytest.raises(SandboxUnavailable):
        runner.run_tests(Language.PYTHON, PYTHON, "assert True")


@pytest.mark.parametrize(
    "line", ['{"case": []}', '{"planned": {"a": 1}}', '{"case": "x", "seconds": 1' + "0" * 400 + "}", "[" * 9000]
)
def test_nonsense_among_the_results_is_passed_over(line):
    execution = Execution(Ended.EXITED, 0, "", 0, 0, 0)
    run = read(Language.PYTHON, Layout({}, [], ""), execution, '{"loaded": 1}\n' + line + '\n{"done": 1}\n')
    assert run.error == ""


def test_when_there_are_too_many_cases_those_that_failed_are_kept():
    lines = [f'{{"case": "{n}", "passed": {"false" if n >= 550 else "true"}}}' for n in range(600)]
    results = "\n".join(['{"loaded": 1}', *lines, '{"done": 1}'])
    run = read(Language.PYTHON, Layout({}, [], ""), Execution(Ended.EXITED, 0, "", 0, 0, 0), results)
    assert run.failed == 50


def test_nothing_runs_where_programs_would_see_the_portals_own_files():
    sandbox = Sandbox(Settings(home="/usr/local/zhiku/var"))
    assert sandbox.availability().isolation == ""
    assert "PORTAL_HOME" in sandbox.availability().reason
