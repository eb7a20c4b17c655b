"""A conversation about code as a Markdown document: what was asked, the code, and what running it gave."""

from __future__ import annotations

from collections.abc import Sequence

from services.code.answer import Attempt, CodeTurn
from services.code.prompting import fenced, given_code
from services.conversation_export import plain
from services.translation import N_, Language, translate

TITLES = {
    "summary": N_("What it does"),
    "code": N_("Code"),
    "tests": N_("Tests"),
    "notes": N_("Notes"),
}
PASSED = N_("Tests passed: {passed} of {all}")


def to_markdown(title: str, turns: Sequence[CodeTurn], language: Language) -> str:
    """What people and models wrote outside of code blocks is escaped."""
    parts = [f"# {plain(title)}", *(_turn(turn, language) for turn in turns)]
    return "\n\n".join(parts) + "\n"


def _turn(turn: CodeTurn, language: Language) -> str:
    question = turn.question
    parts = [f"## {plain(question.words or question.task)}", fenced(given_code(question), question.language)]
    if turn.attempts:
        parts += _attempt(turn.attempts[turn.shown], question.language, language)
    when = f"{turn.asked_at:%Y-%m-%d %H:%M} UTC" if turn.asked_at else ""
    model = translate(N_("Model: {model}"), language).format(model=plain(turn.model_id)) if turn.model_id else ""
    parts.append(" · ".join(filter(None, [model, when])))
    return "\n\n".join(filter(None, parts))


def _attempt(attempt: Attempt, code_language: str, language: Language) -> list[str]:
    sections, parts = attempt.sections, []
    for name, title in TITLES.items():
        text = getattr(sections, name)
        shown = fenced(text, code_language) if name in ("code", "tests") else _paragraphs(text)
        if shown:
            parts.append(f"### {translate(title, language)}\n\n{shown}")
    if attempt.run is not None:
        numbers = {"passed": attempt.run.passed, "all": len(attempt.run.cases)}
        parts.append(f"**{translate(PASSED, language).format(**numbers)}**")
    return parts


def _paragraphs(text: str) -> str:
    return "\n".join(plain(line) for line in text.splitlines() if line.strip())
