"""The four sections out of what a model wrote: headings it forgot, fences it left open, tests among the code.

Works on any prefix of a text, so a screen can draw the sections while they are being written.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass

from services.code.answer import Sections
from services.code.python_source import parsed

HEADINGS = {
    "summary": """
        功能说明 功能描述 功能 说明 代码说明 代码解释 解释 概述 思路
        what it does|what the code does|description|summary|explanation|overview|function|functionality
        functional description|purpose|how it works""",
    "code": """
        代码 代码实现 完整代码 实现 实现代码 优化后的代码 改进后的代码 修改后的代码 代码示例
        code|complete code|full code|the code|implementation|solution|improved code|optimized code|corrected code
        fixed code|python code|java code|javascript code""",
    "tests": """
        测试用例 测试代码 测试 单元测试 用例
        test cases|tests|test code|unit tests|test case|testing|test""",
    "notes": """
        注意事项 注意 注意事项与优化建议 注意事项和优化建议 优化建议 补充说明 改进说明
        notes|note|pitfalls|caveats|considerations|precautions|remarks|pitfalls and optimisation
        pitfalls and optimizations|notes and pitfalls|important notes|changes|what changed|improvements""",
}
_ORNAMENT = re.compile(
    r"^[\s#>*_【\[]*(?:(?:第?[一二三四五六1-9①-⑥][.、)）:：]?|\([1-9]\)|（[一二三四1-9]）)\s*)?[\s*_【\[]*"
)
_FENCE = re.compile(r"^\s*(```+|~~~+)\s*([\w+#.-]*)")
_TEST_LINE = re.compile(
    r"^\s*(?:assert\b|@(?:Test|pytest)\b|def test_|class Test|import unittest|unittest\.main|(?:console\.)?assert[.(]"
    r"|describe\(|it\(|test\(|expect\(|>>> )",
    re.MULTILINE,
)


def _names(listed: str) -> list[str]:
    """Chinese names are parted by spaces, English ones by bars."""
    lines = [line.strip() for line in listed.strip().splitlines()]
    return [name for line in lines for name in (line.split("|") if line.isascii() else line.split())]


KINDS = {name: kind for kind, listed in HEADINGS.items() for name in _names(listed)}


@dataclass(frozen=True)
class _Piece:
    """kind: of the heading above it, "" without. fenced: a code block; language: of its fence."""

    kind: str
    fenced: bool
    language: str
    text: str


def parse(text: str) -> Sections:
    """The sections as far as they are there."""
    pieces = list(_pieces(text))
    blocks = _blocks([piece for piece in pieces if piece.fenced])
    first = next((at for at, piece in enumerate(pieces) if piece.fenced), len(pieces))
    prose = {"summary": [], "notes": []}
    for at, piece in enumerate(pieces):
        if not piece.fenced and piece.text.strip():
            kind = piece.kind if piece.kind in prose else "summary" if at < first else "notes"
            prose[kind].append(piece.text.strip())
    code, tests, language = blocks
    if language in {"", "python"} and not tests:
        code, tests = _split_python(code)
    joined = {kind: "\n\n".join(texts) for kind, texts in prose.items()}
    return Sections(joined["summary"], code, tests, joined["notes"], language)


def _pieces(text: str) -> Iterator[_Piece]:
    kind, fence, language, lines = "", "", "", []
    for line in text.splitlines():
        match = _FENCE.match(line)
        if fence and match and match[1].startswith(fence) and not match[2]:
            yield _Piece(kind, True, language, "\n".join(lines))
            fence, lines = "", []
        elif not fence and match:
            yield _Piece(kind, False, "", "\n".join(lines))
            fence, language, lines = match[1], match[2].lower(), []
        elif not fence and (found := _heading(line)):
            yield _Piece(kind, False, "", "\n".join(lines))
            kind, rest = found
            lines = [rest] if rest else []
        else:
            lines.append(line)
    if fence and lines and lines[-1].strip() in {"`", "``"}:
        lines.pop()  # the end of the block, half written
    yield _Piece(kind, bool(fence), language if fence else "", "\n".join(lines))


def _heading(line: str) -> tuple[str, str] | None:
    """The section that a line begins, and what else stands on it."""
    if len(line) > 400 or not line.strip():
        return None
    bare = _ORNAMENT.sub("", line, count=1)
    name, colon, rest = re.match(r"^(.*?)(?:[\s*_】\]]*([:：])|$)(.*)$", bare.strip()).groups()
    name = name.strip(" *_】]#").casefold()
    kind = KINDS.get(name) or KINDS.get(re.sub(r"\s*[(（].*[)）]$", "", name))
    if kind is None:
        return None
    marked = colon or line.lstrip()[:1] in "#*【" or bare != line.lstrip()
    if not marked and name == "test":
        return None
    return kind, rest.strip(" *_")


def _blocks(fenced: list[_Piece]) -> tuple[str, str, str]:
    """Code, tests and the code's language: by heading, else by what they look like; examples of use are neither."""
    code = [piece for piece in fenced if not _is_test(piece)]
    tests = [piece for piece in fenced if _is_test(piece)]
    if not code and tests and tests[0].kind != "tests":
        code, tests = tests[:1], tests[1:]
    main = max(code, key=lambda piece: len(piece.text), default=None)
    if main is None:
        return "", "\n\n".join(piece.text for piece in tests), tests[0].language if tests else ""
    return main.text.strip("\n"), "\n\n".join(piece.text.strip("\n") for piece in tests), main.language


def _is_test(piece: _Piece) -> bool:
    if piece.kind in {"tests", "code"}:
        return piece.kind == "tests"
    return _TEST_LINE.search(piece.text) is not None


def _split_python(code: str) -> tuple[str, str]:
    """Tests that stand in the same block, at its top level: functions test_*, TestCase classes and asserts."""
    tree = parsed(code)
    if tree is None:
        return code, ""
    tests = [node for node in tree.body if _tests_something(node)]
    if not tests or len(tests) == len(tree.body):
        return code, ""
    lines = code.splitlines()
    taken = {number for node in tests for number in range(_begins(node), node.end_lineno + 1)}
    kept = [line for number, line in enumerate(lines, 1) if number not in taken]
    moved = [line for number, line in enumerate(lines, 1) if number in taken]
    return "\n".join(kept).strip("\n"), "\n".join(moved)


def _tests_something(node: ast.stmt) -> bool:
    if isinstance(node, ast.FunctionDef):
        return node.name.startswith("test_")
    if isinstance(node, ast.ClassDef):
        return any("TestCase" in ast.unparse(base) for base in node.bases)
    return isinstance(node, ast.Assert)


def _begins(node: ast.stmt) -> int:
    decorators = getattr(node, "decorator_list", [])
    return min([node.lineno, *(decorator.lineno for decorator in decorators)])
