"""What a solution and its tests are called as files: after what they define, where that is one thing."""

from __future__ import annotations

import re

from services.sandbox.jobs import Language

ENDINGS = {Language.PYTHON: "py", Language.JAVA: "java", Language.JAVASCRIPT: "js"}
PLAIN = "solution"
LONGEST_STEM = 60
_PYTHON = (r"^class (\w+)", r"^(?:async )?def (\w+)")
_JAVASCRIPT = (r"^(?:export (?:default )?)?class (\w+)", r"^(?:export (?:default )?)?(?:async )?function\*? (\w+)")
_JAVA = r"^[ \t]*(?:(?:final|abstract|sealed)\s+)?(?:class|record|enum|interface)\s+(\w+)"
_JAVA_PUBLIC = r"\bpublic\s+(?:(?:final|abstract|sealed)\s+)?(?:class|record|enum|interface)\s+(\w+)"
_IMPORTED = r"\b(?:from|import|require)\b[ ('\"./]*solution\b"


def solution_name(language: str, code: str, tests: str = "") -> str:
    """Java demands the name of the public class; tests that import `solution` keep that name."""
    stem = _java_type(code, "Solution") if language == Language.JAVA else _stem(language, code, tests)
    return f"{stem}.{ENDINGS.get(language, 'txt')}"


def suite_name(language: str, code: str, tests: str) -> str:
    """As the usual test runner of the language finds it."""
    stem = solution_name(language, code, tests).rpartition(".")[0]
    match language:
        case Language.PYTHON:
            return f"test_{stem}.py"
        case Language.JAVA:
            return f"{_java_type(tests, stem + 'Test')}.java"
        case Language.JAVASCRIPT:
            return f"{stem}.test.js"
    return f"{stem}_tests.txt"


def _stem(language: str, code: str, tests: str) -> str:
    patterns = {Language.PYTHON: _PYTHON, Language.JAVASCRIPT: _JAVASCRIPT}.get(language, ())
    if re.search(_IMPORTED, tests):
        return PLAIN
    for pattern in patterns:
        names = re.findall(pattern, code, re.MULTILINE)
        if len(names) == 1:
            return (_snake(names[0]) if language == Language.PYTHON else names[0])[:LONGEST_STEM]
    return PLAIN


def _java_type(source: str, otherwise: str) -> str:
    found = re.search(_JAVA_PUBLIC, source) or re.search(_JAVA, source, re.MULTILINE)
    return found[1][:LONGEST_STEM] if found else otherwise


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()
