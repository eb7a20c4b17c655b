"""Questions and answers about pictures as JSON for the conversation's rows, and back."""

from __future__ import annotations

from dataclasses import asdict, replace

from services.conversations import Turn
from services.images.pictures import ImageText, TextLine
from services.images.question import Form, ImageAnswer, ImageQuestion, ImageTurn, Template

LINES_MAX = 1000  # lines of one picture's text that are kept


def question_record(question: ImageQuestion) -> dict:
    """Without the words: they are the row's text. worded: whether there were any."""
    record = asdict(question)
    return record | {"worded": bool(record.pop("words"))}


def question_of(record: dict, words: str) -> ImageQuestion:
    """The question of a row; one that had no words has the name of its template there."""
    region = record.get("region")
    return ImageQuestion(
        words=words if record.get("worded", True) else "",
        images=tuple(record.get("images", ())),
        region=tuple(region) if region else None,
        template=Template(record.get("template", Template.GENERAL)),
        form=Form(record.get("form", Form.FREE)),
        with_text=record.get("with_text", False),
    )


def answer_record(answer: ImageAnswer) -> dict:
    readings = [replace(reading, lines=reading.lines[:LINES_MAX]) for reading in answer.readings]
    return {
        "mode": answer.mode,
        "readings": [asdict(reading) for reading in readings],
        "cut": answer.cut,
        "table": answer.table,
    }


def turn_of(turn: Turn) -> ImageTurn:
    """One whose answer was never saved has no text and no mode."""
    return ImageTurn(
        id=turn.id,
        question=question_of(turn.asked, turn.question),
        text=turn.text,
        outcome=turn.outcome,
        mode=turn.content.get("mode", ""),
        readings=[_reading_of(record) for record in turn.content.get("readings", [])],
        cut=turn.content.get("cut", False),
        table=turn.content.get("table"),
        error=turn.error,
        model_id=turn.model_id,
        timings_ms=turn.timings_ms,
        asked_at=turn.asked_at,
        rating=turn.rating,
    )


def image_result(answer: ImageAnswer) -> dict:
    """What the console prints; of the first picture."""
    image = answer.pictures[0]
    return {
        "answer": answer.text,
        "mode": answer.mode,
        "image": {"width": image.width, "height": image.height, "format": image.original_format or image.format},
        "text": "\n\n".join(reading.layout for reading in answer.readings),
        "text_cut": answer.cut,
        "table": answer.table,
        "refused": answer.outcome == "refused",
        "outcome": str(answer.outcome),
        "error": answer.error.to_record() if answer.error else None,
        "tokens": {"prompt": answer.prompt_tokens, "completion": answer.completion_tokens},
        "timings_ms": answer.timings_ms,
        "model": answer.model_id,
    }


def _reading_of(record: dict) -> ImageText:
    lines = [
        TextLine(line["text"], tuple(tuple(corner) for corner in line["box"]), line["confidence"])
        for line in record["lines"]
    ]
    return ImageText(lines, record["layout"], record["seconds"])
