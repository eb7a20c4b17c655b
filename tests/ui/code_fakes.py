"""Stand-ins for code help: turns as they are kept, and a service that writes, runs and repairs nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from db.tables import Conversation
from services.code.answer import Attempt, CodeAnswer, CodeQuestion, CodeTurn, Sections, Stage, Task
from services.errors import NotFound, PortalError
from services.permissions import Actor
from services.sandbox.jobs import Availability, Ended, Execution, Language, TestCase, TestRun, Toolchain

SECTIONS = Sections(
    "Adds two numbers.", "def add(a, b):\n    return a + b\n", "assert add(1, 2) == 3\n", "None.", "python"
)
EVERYTHING = {
    Language.PYTHON: Toolchain(Language.PYTHON, "3.11.2"),
    Language.JAVA: Toolchain(Language.JAVA, "17.0.13"),
    Language.JAVASCRIPT: Toolchain(Language.JAVASCRIPT, "20.18.0"),
}


def run(passed: int = 1, failed: int = 0, **changes) -> TestRun:
    cases = [TestCase(f"assert add({n}, 0) == {n}", True) for n in range(passed)]
    cases += [TestCase(f"assert add({n}, 1) == 0", False, f"it was {n + 1}") for n in range(failed)]
    ended = Execution(Ended.EXITED, 1 if failed else 0, "", 0.2, 0.1, 12.0)
    return TestRun(**{"language": Language.PYTHON, "cases": cases, "error": "", "execution": ended} | changes)


def attempt(**changes) -> Attempt:
    values = {"text": "## Code\nas the model wrote it", "sections": SECTIONS, "run": run(5)}
    return Attempt(**values | changes)


def code_question(task: Task = Task.GENERATE, **changes) -> CodeQuestion:
    return CodeQuestion(**{"task": task, "language": "python", "words": "Write add(a, b)."} | changes)


def code_turn(**changes) -> CodeTurn:
    values = {
        "id": 1,
        "question": code_question(),
        "attempts": [attempt()],
        "shown": 0,
        "outcome": "answered",
        "model_id": "qwen2.5-coder-0.5b-instruct",
        "timings_ms": {"first_token": 2400.0, "decode": 900.0, "run": 300.0},
    }
    return CodeTurn(**values | changes)


@dataclass
class FakeCodeHelp:
    kept: dict[str, list[CodeTurn]] = field(default_factory=dict)  # by conversation id
    error: PortalError | None = None  # raised by stream()
    stages: tuple[Stage, ...] = (Stage.WRITING, Stage.RUNNING)
    asked: list[CodeQuestion] = field(default_factory=list)
    languages: list[str] = field(default_factory=list)  # of the explanations
    rated: list[tuple] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    runs_here: Availability = field(default_factory=lambda: Availability("bubblewrap", "", EVERYTHING))

    def stream(self, question, *, actor, conversation_id=None, language) -> CodeAnswer:
        if self.error:
            raise self.error
        self.asked.append(question)
        self.languages.append(language)
        answer = CodeAnswer(conversation_id or "c1", len(self.asked), question, language)
        answer.deltas = self._write(answer)
        return answer

    def regenerate(self, conversation_id: str, actor: Actor, language) -> CodeAnswer:
        last = self.kept[conversation_id].pop()
        return self.stream(last.question, actor=actor, conversation_id=conversation_id, language=language)

    def turns(self, conversation_id: str, actor: Actor) -> list[CodeTurn]:
        if conversation_id not in self.kept:
            raise NotFound("This conversation does not exist.", hint="It may have been deleted.")
        return list(self.kept[conversation_id])

    def availability(self, actor: Actor) -> Availability:
        return self.runs_here

    def conversations(self, actor: Actor, limit: int = 20) -> list[Conversation]:
        return [
            Conversation(id=id_, actor_id=actor.id, title=kept[0].question.words) for id_, kept in self.kept.items()
        ]

    def rename(self, conversation_id: str, title: str, actor: Actor) -> None: ...

    def delete(self, conversation_id: str, actor: Actor) -> None:
        del self.kept[conversation_id]
        self.deleted.append(conversation_id)

    def rate(self, conversation_id: str, question_id: int, rating: str, actor: Actor, comment: str = "") -> None:
        self.rated.append((conversation_id, question_id, rating, comment))

    def export_markdown(self, conversation_id: str, actor: Actor, language: str) -> str:
        return "# Conversation"

    def _write(self, answer: CodeAnswer) -> Iterator[str]:
        for answer.stage in self.stages:
            answer.text, answer.sections = "as the model wrote it", SECTIONS
            yield ""
        answer.outcome, answer.stage = "answered", Stage.DONE
        turns = self.kept.setdefault(answer.conversation_id, [])
        turns.append(code_turn(id=len(turns) + 1, question=answer.question))
