"""Questions and attempts as JSON for the conversation's rows, and back."""

from __future__ import annotations

from dataclasses import asdict, replace

from services.code.answer import Attempt, CodeAnswer, CodeFile, CodeQuestion, CodeTurn, Sections, Task
from services.conversations import Turn
from services.sandbox.jobs import CheckHint, Ended, Execution, Language, SpeedComparison, TestCase, TestRun

SECTIONS = ("summary", "code", "tests", "notes")
OUTPUT_MAX = 4000  # characters of a program's output that are kept


def question_record(question: CodeQuestion) -> dict:
    return asdict(question)


def question_of(record: dict, words: str) -> CodeQuestion:
    files = tuple(CodeFile(**file) for file in record.get("files", ()))
    return CodeQuestion(
        Task(record.get("task", Task.GENERATE)),
        record.get("language", ""),
        record.get("words", words),
        record.get("code", ""),
        files,
    )


def attempt_record(attempt: Attempt) -> dict:
    """Without what a program left behind, its output cut."""
    return asdict(replace(attempt, run=_short(attempt.run), baseline=_short(attempt.baseline)))


def attempt_of(record: dict) -> Attempt:
    speed = record["speed"]
    return Attempt(
        text=record["text"],
        sections=Sections(**record["sections"]),
        hints=[CheckHint(**hint) for hint in record["hints"]],
        run=_run_of(record["run"]),
        not_run=record["not_run"],
        not_run_params=record["not_run_params"],
        baseline=_run_of(record["baseline"]),
        speed=SpeedComparison(**speed) if speed else None,
    )


def code_result(answer: CodeAnswer) -> dict:
    """What the console prints: the better attempt, and what came of running it."""
    attempt = answer.attempts[answer.shown] if answer.attempts else None
    return {
        "sections": {name: getattr(attempt.sections, name) for name in SECTIONS} if attempt else {},
        "run": _run_result(attempt, len(answer.attempts) > 1) if attempt else None,
        "outcome": str(answer.outcome),
        "error": answer.error.to_record() if answer.error else None,
        "warnings": answer.warnings,
        "tokens": {"prompt": answer.prompt_tokens, "completion": answer.completion_tokens},
        "timings_ms": answer.timings_ms,
        "model": answer.model_id,
    }


def _run_result(attempt: Attempt, repaired: bool) -> dict | None:
    run = attempt.run
    if run is None:
        return {"not_run": attempt.not_run.format(**attempt.not_run_params)} if attempt.not_run else None
    failed = [f"{case.name}: {case.output}" for case in run.cases if not case.passed]
    output = run.error or "\n".join(failed) or run.execution.output[-OUTPUT_MAX:]
    return {"passed": run.passed, "failed": run.failed, "output": output, "repaired": repaired}


def turn_of(turn: Turn) -> CodeTurn:
    """One whose answer was never saved has no attempts."""
    return CodeTurn(
        id=turn.id,
        question=question_of(turn.asked, turn.question),
        attempts=[attempt_of(record) for record in turn.content.get("attempts", [])],
        shown=turn.content.get("shown", 0),
        outcome=turn.outcome,
        warnings=turn.content.get("warnings", []),
        error=turn.error,
        model_id=turn.model_id,
        timings_ms=turn.timings_ms,
        asked_at=turn.asked_at,
        rating=turn.rating,
    )


def _short(run: TestRun | None) -> TestRun | None:
    if run is None:
        return None
    return replace(run, execution=replace(run.execution, output=run.execution.output[-OUTPUT_MAX:], left={}))


def _run_of(record: dict | None) -> TestRun | None:
    if record is None:
        return None
    execution = Execution(**record["execution"] | {"ended": Ended(record["execution"]["ended"])})
    cases = [TestCase(**case) for case in record["cases"]]
    return TestRun(Language(record["language"]), cases, record["error"], execution)
