"""A conversation about pictures as a Markdown document; the pictures themselves are named by their hash."""

from __future__ import annotations

from collections.abc import Sequence

from services.conversation_export import INCOMPLETE, plain
from services.images.question import ImageTurn, Template
from services.images.tables import Rows, find_table
from services.translation import N_, Language, explain, translate

KINDS = {
    Template.GENERAL: N_("A picture"),
    Template.LINE_CHART: N_("A line chart"),
    Template.BAR_CHART: N_("A bar chart"),
    Template.TABLE: N_("A table"),
    Template.SCREENSHOT: N_("A screenshot"),
    Template.FORM: N_("A form"),
    Template.PHOTO: N_("A photo"),
}
FROM_TEXT = N_("Answered from the text in the picture: no vision model looked at it.")
SHOWN_HASH = 12  # digits


def to_markdown(title: str, turns: Sequence[ImageTurn], language: Language) -> str:
    """What people and models wrote is escaped."""
    parts = [f"# {plain(title)}", *(_turn(turn, language) for turn in turns)]
    return "\n\n".join(parts) + "\n"


def _turn(turn: ImageTurn, language: Language) -> str:
    question = turn.question
    parts = [f"## {plain(question.words) or translate(KINDS[question.template], language)}"]
    pictures = ", ".join(sha256[:SHOWN_HASH] for sha256 in question.images)
    parts.append(translate(N_("Pictures: {pictures}"), language).format(pictures=pictures))
    parts += _answer(turn.text)
    if turn.outcome in INCOMPLETE:
        parts.append(f"*{translate(INCOMPLETE[turn.outcome], language)}*")
    if turn.error:
        parts.append(f"*{' '.join(explain(turn.error, language)).strip()}*")
    if turn.mode == "ocr" and turn.text:
        parts.append(f"*{translate(FROM_TEXT, language)}*")
    when = f"{turn.asked_at:%Y-%m-%d %H:%M} UTC" if turn.asked_at else ""
    model = translate(N_("Model: {model}"), language).format(model=plain(turn.model_id)) if turn.model_id else ""
    parts.append(" · ".join(filter(None, [model, when])))
    return "\n\n".join(filter(None, parts))


def _answer(text: str) -> list[str]:
    found = find_table(text)
    if found is None:
        return [_paragraphs(text)]
    return [_paragraphs(found.before), _table(found.rows), _paragraphs(found.after)]


def _table(rows: Rows) -> str:
    lines = ["| " + " | ".join(plain(cell) for cell in row) + " |" for row in rows]
    rule = "|" + " --- |" * len(rows[0])
    return "\n".join([lines[0], rule, *lines[1:]])


def _paragraphs(text: str) -> str:
    return "\n\n".join(plain(line) for line in text.splitlines() if line.strip())
