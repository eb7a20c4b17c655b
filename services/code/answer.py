"""A question about code and what came of it: the words that the service, the screen and the console share."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING

from services.answering import Written
from services.sandbox.jobs import TestRun

if TYPE_CHECKING:
    from collections.abc import Generator

    from services.sandbox.jobs import CheckHint, SpeedComparison


class Task(StrEnum):
    GENERATE = "generate"
    EXPLAIN = "explain"
    IMPROVE = "improve"
    TEST = "test"  # write tests for given code


class Stage(StrEnum):
    """What is being done: writing → running → (repairing → running) → done."""

    WRITING = "writing"
    RUNNING = "running"
    REPAIRING = "repairing"
    DONE = "done"


@dataclass(frozen=True)
class CodeFile:
    name: str
    text: str


@dataclass(frozen=True)
class CodeQuestion:
    """language: python, java, javascript; for EXPLAIN any name, "" when unknown. code: pasted, or of an earlier answer.

    words: the requirement, or what to look at; may be empty where there is code.
    """

    task: Task
    language: str
    words: str
    code: str = ""
    files: tuple[CodeFile, ...] = ()


@dataclass(frozen=True)
class Sections:
    """The tutorial's four: 功能说明, 代码, 测试用例, 注意事项. Each "" when the model wrote none.

    summary and notes are Markdown; code and tests are bare source. language: of the code block as its fence says.
    """

    summary: str = ""
    code: str = ""
    tests: str = ""
    notes: str = ""
    language: str = ""

    @property
    def complete(self) -> bool:
        return all((self.summary, self.code, self.tests, self.notes))


@dataclass(frozen=True)
class Attempt:
    """What the model wrote, and the proof of it. run: None when nothing was run; not_run says why, then.

    baseline: the same tests on the code as it was given (IMPROVE); speed: both compared (IMPROVE).
    """

    text: str
    sections: Sections
    hints: list[CheckHint] = field(default_factory=list)
    run: TestRun | None = None
    not_run: str = ""  # a message to translate, with its params
    not_run_params: dict = field(default_factory=dict)
    baseline: TestRun | None = None
    speed: SpeedComparison | None = None


@dataclass
class CodeAnswer(Written):
    """The answer to one question about code, while it comes and after.

    `deltas` drives everything: writing, running, repairing; empty pieces while nothing new is written. It never raises
    a PortalError. `text` and `sections` are those of the attempt that is being written; attempts: finished ones, the
    second is the repair; shown: index of the better one (the repair only if it passes more).
    warnings: of the input (N_() messages with params as PortalError records), e.g. a key or a licence seen in it.
    """

    conversation_id: str
    question_id: int
    question: CodeQuestion
    answer_language: str  # zh or en: of the explanations
    deltas: Generator[str, None, None] = field(default_factory=lambda: (piece for piece in ()))
    stage: Stage = Stage.WRITING
    sections: Sections = Sections()
    attempts: list[Attempt] = field(default_factory=list)
    shown: int = 0
    warnings: list[dict] = field(default_factory=list)


@dataclass(frozen=True)
class CodeTurn:
    """A question with its finished answer, as the history has it. Same words as in CodeAnswer."""

    id: int  # of the question
    question: CodeQuestion
    attempts: list[Attempt]
    shown: int
    outcome: str
    warnings: list[dict] = field(default_factory=list)
    error: object | None = None  # PortalError
    model_id: str = ""
    timings_ms: dict[str, float] = field(default_factory=dict)
    asked_at: datetime | None = None
    rating: str = ""
