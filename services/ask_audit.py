"""Audit events of questions: begun before anything is done, ended with all that the answer rests on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from services.answer_audit import Recorder, event_outcome, sha256
from services.audit.details import AskDetail
from services.audit.trail import Act, AuditTrail
from services.retrieval.places import place_at

if TYPE_CHECKING:
    from services.ask import Answer
    from services.engines.models import ModelStore


class AskRecorder(Recorder):
    """Turns answers into audit events. Thread-safe."""

    def __init__(self, audit: AuditTrail, models: ModelStore) -> None:
        super().__init__(audit)
        self._models = models

    def end(self, act: Act, answer: Answer, collection_ids: Sequence[int]) -> None:
        """What was asked and answered, from which passages, by which model. Raises AuditUnavailable."""
        act.end(event_outcome(answer), detail=self._detail(answer, collection_ids))

    def _detail(self, answer: Answer, collection_ids: Sequence[int]) -> AskDetail:
        return AskDetail(
            question=answer.question,
            answer=answer.text,
            answer_sha256=sha256(answer.text),
            meaning=answer.meaning if answer.meaning != answer.question else "",
            conversation_id=answer.conversation_id,
            collections=list(collection_ids),
            prompt_template=answer.prompt_template,
            model=answer.model_id,
            model_sha256=self._models.file_sha256(answer.model_id) if answer.model_id else "",
            chunks=[
                {
                    "id": passage.chunk_id,
                    "document_id": passage.document_id,
                    "document": passage.title,
                    "sha256": sha256(passage.text),
                    "place": place_at(passage, 0),
                }
                for passage in answer.passages
            ],
            citations=[
                {"marker": citation.marker, "chunk_id": citation.chunk_id, "supported": citation.supported}
                for citation in answer.citations
            ],
            prompt_tokens=answer.prompt_tokens,
            completion_tokens=answer.completion_tokens,
            timings_ms={step: round(duration_ms, 1) for step, duration_ms in answer.timings_ms.items()},
            outcome=str(answer.outcome),
            confidence=round(answer.confidence, 4),
        )
