"""A question about pictures and what came of it: the words that the service, the screen and the console share."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Literal

from services.answering import Written
from services.images.pictures import CleanImage, ImageText, Region

if TYPE_CHECKING:
    from collections.abc import Generator

    from services.errors import PortalError
    from services.images.tables import Rows
    from services.translation import Language

Mode = Literal["", "vision", "ocr"]  # "": not known yet; ocr: answered from the text read in the pictures


class Template(StrEnum):
    """What kind of picture it is."""

    GENERAL = "general"
    LINE_CHART = "line_chart"
    BAR_CHART = "bar_chart"
    TABLE = "table"
    SCREENSHOT = "screenshot"
    FORM = "form"
    PHOTO = "photo"


class Form(StrEnum):
    """How the answer is to be written."""

    FREE = "free"
    POINTS = "points"
    TABLE = "table"


@dataclass(frozen=True)
class ImageQuestion:
    """words: may be empty: the picture is then analysed as its template says.

    images: SHA-256 of admitted pictures, or of ones in the person's conversations; empty in a follow-up: those of the
    turn before. region: the part of a single picture that is meant. with_text: a vision model is also given the text
    that was read in the pictures.
    """

    words: str
    images: tuple[str, ...] = ()
    region: Region | None = None
    template: Template = Template.GENERAL
    form: Form = Form.FREE
    with_text: bool = False


@dataclass
class ImageAnswer(Written):
    """The answer to one question about pictures, while it comes and after.

    `deltas` drives everything, reading included; empty pieces while nothing new is written. It never raises a
    PortalError. question: with the images that were looked at. readings: one for each picture, boxes in pixels of the
    whole picture; none when a vision model answered without. cut: not all the text read had room in the prompt.
    table: the rows of the table in the answer, column heads first, if there is one.
    """

    conversation_id: str
    question_id: int
    question: ImageQuestion
    language: Language
    pictures: list[CleanImage] = field(default_factory=list)
    mode: Mode = ""
    readings: list[ImageText] = field(default_factory=list)
    cut: bool = False
    table: Rows | None = None
    deltas: Generator[str, None, None] = field(default_factory=lambda: (piece for piece in ()))


@dataclass(frozen=True)
class ImageTurn:
    """A question with its finished answer, as the history has it. Same words as in ImageAnswer."""

    id: int  # of the question
    question: ImageQuestion
    text: str
    outcome: str
    mode: Mode = ""
    readings: list[ImageText] = field(default_factory=list)
    cut: bool = False
    table: Rows | None = None
    error: PortalError | None = None
    model_id: str = ""
    timings_ms: dict[str, float] = field(default_factory=dict)
    asked_at: datetime | None = None
    rating: str = ""
