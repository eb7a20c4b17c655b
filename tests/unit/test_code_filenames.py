"""What downloaded code is called."""

from __future__ import annotations

import pytest

from services.code.filenames import solution_name, suite_name

LONE_TEST = "assert add(1, 2) == 3"


@pytest.mark.parametrize(
    ("language", "code", "name"),
    [
        ("python", "def add(a, b):\n    def inner(): ...\n", "add.py"),
        ("python", "import re\n\nclass HTTPServerPool:\n    def get(self): ...\n", "http_server_pool.py"),
        ("python", "def one(): ...\ndef two(): ...\n", "solution.py"),
        ("python", "", "solution.py"),
        ("java", "class Helper {}\npublic final class LruCache<K, V> {}\n", "LruCache.java"),
        ("java", "class Sums { }\n", "Sums.java"),
        ("java", "// nothing", "Solution.java"),
        ("javascript", "export default function groupBy(rows) {}\n", "groupBy.js"),
        ("javascript", "const a = 1;", "solution.js"),
        ("cobol", "SORT FILE.", "solution.txt"),
    ],
)
def test_a_solution_is_called_after_the_one_thing_it_defines(language: str, code: str, name: str) -> None:
    assert solution_name(language, code) == name


@pytest.mark.parametrize(
    "tests",
    ["from solution import add", "import solution", "require('./solution')", 'import {add} from "./solution.js"'],
)
def test_tests_that_import_the_solution_keep_its_name(tests: str) -> None:
    assert solution_name("python", "def add(a, b): ...", tests) == "solution.py"


@pytest.mark.parametrize(
    ("language", "code", "tests", "name"),
    [
        ("python", "def add(a, b): ...", LONE_TEST, "test_add.py"),
        ("java", "public class Sums {}", "class SumsChecks {}", "SumsChecks.java"),
        ("java", "public class Sums {}", "assert true;", "SumsTest.java"),
        ("javascript", "function add() {}", LONE_TEST, "add.test.js"),
    ],
)
def test_tests_are_called_as_their_runner_expects(language: str, code: str, tests: str, name: str) -> None:
    assert suite_name(language, code, tests) == name


def test_a_name_is_never_a_path() -> None:
    assert "/" not in solution_name("java", "public class ../../Evil {}")
    assert len(solution_name("python", f"def {'a' * 400}(): ...")) < 80
