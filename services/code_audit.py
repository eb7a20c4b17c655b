"""Audit events of questions about code."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.answer_audit import Recorder, event_outcome, sha256
from services.audit.details import CodeDetail
from services.audit.trail import Act, AuditTrail
from services.code.prompting import given_code

if TYPE_CHECKING:
    from services.code.answer import Attempt, CodeAnswer
    from services.engines.models import ModelStore


class CodeRecorder(Recorder):
    """Turns answers about code into audit events. Thread-safe."""

    def __init__(self, audit: AuditTrail, models: ModelStore) -> None:
        super().__init__(audit)
        self._models = models

    def end(self, act: Act, answer: CodeAnswer) -> None:
        """What was asked and written, and what came of running it. Raises AuditUnavailable."""
        act.end(event_outcome(answer), detail=self._detail(answer))

    def _detail(self, answer: CodeAnswer) -> CodeDetail:
        question, code = answer.question, given_code(answer.question)
        text = "\n\n".join(attempt.text for attempt in answer.attempts)
        return CodeDetail(
            question=question.words,
            code=code,
            code_sha256=sha256(code) if code else "",
            answer=text,
            answer_sha256=sha256(text),
            task=str(question.task),
            language=question.language,
            conversation_id=answer.conversation_id,
            prompt_template=answer.prompt_template,
            model=answer.model_id,
            model_sha256=self._models.file_sha256(answer.model_id) if answer.model_id else "",
            runs=[_run(attempt) for attempt in answer.attempts],
            prompt_tokens=answer.prompt_tokens,
            completion_tokens=answer.completion_tokens,
            timings_ms={step: round(duration_ms, 1) for step, duration_ms in answer.timings_ms.items()},
            outcome=str(answer.outcome),
        )


def _run(attempt: Attempt) -> dict:
    run = attempt.run
    if run is None:
        return {"not_run": attempt.not_run}
    failed_to_load = bool(run.error)
    return {"passed": run.passed, "failed": run.failed, "error": failed_to_load, "ended": str(run.execution.ended)}
