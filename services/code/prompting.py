"""The messages that ask a model about code: the task's template, the code of the turn before, what to repair."""

from __future__ import annotations

from collections.abc import Sequence

from services.code.answer import Attempt, CodeQuestion, Task
from services.prompts import render
from services.sandbox.jobs import TestRun
from services.translation import Language

NAMES = {"python": "Python", "java": "Java", "javascript": "JavaScript"}
FAILURES_MAX = 1500  # characters of what went wrong that a model is told
SHOWN_CASES = 3


def first_messages(template: str, question: CodeQuestion, earlier: str, language: Language) -> list[dict]:
    """earlier: code of the turn before, for a follow-up that gives none itself."""
    given = given_code(question)
    tests = ""
    if question.task is not Task.EXPLAIN and question.language in NAMES:
        tests = render(template, f"tests_{question.language}", language)
    part = str(question.task)
    if earlier and not given:
        given, part = earlier, part if question.task is not Task.GENERATE else "follow_up"
    texts = {"language": NAMES.get(question.language, question.language), "tests": tests, "words": question.words}
    text = render(template, part, language, code=fenced(given, question.language), **texts)
    return [{"role": "user", "content": text}]


def repair_messages(template: str, messages: Sequence[dict], attempt: Attempt, language: Language) -> list[dict]:
    """The first messages, what the model answered to them, and what went wrong when it was run."""
    assert attempt.run is not None
    request = render(template, "repair", language, failures=failures_of(attempt.run))
    return [
        *messages,
        {"role": "assistant", "content": attempt.text},
        {"role": "user", "content": request},
    ]


def given_code(question: CodeQuestion) -> str:
    """Pasted code and files as one text."""
    sign = "//" if question.language in {"java", "javascript"} else "#"
    named = [f"{sign} {file.name}\n{file.text}" if len(question.files) > 1 else file.text for file in question.files]
    return "\n\n".join(text for text in (question.code, *named) if text.strip())


def fenced(code: str, language: str) -> str:
    """A Markdown code block that no fence inside the code can end; "" for no code."""
    if not code.strip():
        return ""
    fence = "```"
    while fence in code:
        fence += "`"
    return f"{fence}{language}\n{code.strip(chr(10))}\n{fence}"


def failures_of(run: TestRun) -> str:
    """What went wrong, short: the compiler's words, or the first failed tests with why."""
    if run.error:
        return run.error[-FAILURES_MAX:]
    failed = [case for case in run.cases if not case.passed]
    lines = [f"{case.name}\n{case.output}".strip() for case in failed[:SHOWN_CASES]]
    return "\n\n".join(lines)[:FAILURES_MAX]
