"""Makes what a model calls Java compile: snippets without a class, packages, public classes, imports of JUnit.

Lines keep their numbers, so that the compiler speaks of the lines that a person sees.
"""

from __future__ import annotations

import re

TYPE = re.compile(
    r"^(?:public\s+|final\s+|abstract\s+|sealed\s+)*(?:class|interface|enum|record|@interface)\s+(\w+)", re.MULTILINE
)
PUBLIC_TYPE = re.compile(
    r"^public\s+((?:final\s+|abstract\s+|sealed\s+)*(?:class|interface|enum|record|@interface)\s)", re.MULTILINE
)
PACKAGE = re.compile(r"^[ \t]*package\s+[\w.]+\s*;", re.MULTILINE)
IMPORT = re.compile(r"^[ \t]*import\s+(?:static\s+)?[\w.*]+\s*;", re.MULTILINE)
JUNIT = re.compile(
    r"^([ \t]*import\s+(?:static\s+)?)org\.junit\.(?:jupiter\.(?:api|params)\.)?(?:function\.)?", re.MULTILINE
)
KNOWN_IMPORT = re.compile(r"import\s+(?:static\s+)?(?:java|javax|jdk|proving)\.")
ALWAYS = "import java.util.*; import java.util.function.*; import java.util.stream.*; "
FOR_TESTS = "import proving.JUnit.*; import static proving.JUnit.Assertions.*; "


def solution(source: str) -> str:
    text = _plain(source)
    return ALWAYS + (text if TYPE.search(text) else _wrapped("class Solution {", text, "}"))


def tests(source: str, solution_source: str) -> tuple[str, list[str]]:
    """The text, and the names of the classes to run in it."""
    text = _plain(source)
    if not text.strip():
        return "", []
    for name in set(TYPE.findall(text)) & set(TYPE.findall(_plain(solution_source))):
        text = _without(text, name)  # a copy of the solution: the solution itself is to be tested
    classes = TYPE.findall(text)
    if not classes:
        methods = "@Test" in text or re.search(r"\bstatic\s+\w+[\w<>\[\]]*\s+\w+\s*\(", text)
        begin = "class Tests {" if methods else "class Tests { public static void main(String[] a) throws Exception {"
        text, classes = _wrapped(begin, text, "}" if methods else "}}"), ["Tests"]
    extra = "" if "proving.JUnit" in text else FOR_TESTS if "@Test" in text else ""
    return ALWAYS + extra + text, classes


def _plain(source: str) -> str:
    text = JUNIT.sub(r"\1proving.JUnit.", PACKAGE.sub("", source))
    text = IMPORT.sub(lambda found: found[0] if KNOWN_IMPORT.search(found[0]) else "", text)
    return PUBLIC_TYPE.sub(r"\1", text)


def _wrapped(begin: str, text: str, end: str) -> str:
    """Imports go before the class, on the same first line."""
    imports = " ".join(found.strip() for found in IMPORT.findall(text))
    return f"{imports} {begin} {IMPORT.sub('', text)}\n{end}"


def _without(text: str, name: str) -> str:
    """The text without that type; its lines stay, empty."""
    found = next(match for match in TYPE.finditer(text) if match[1] == name)
    depth, end = 0, len(text)
    for position in range(found.end(), len(text)):
        depth += {"{": 1, "}": -1}.get(text[position], 0)
        if text[position] == "}" and depth == 0:
            end = position + 1
            break
    return text[: found.start()] + "\n" * text.count("\n", found.start(), end) + text[end:]
