"""The audit event of a question: begun before anything is searched, ended with all that the answer rests on."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING

from services.audit.details import AskDetail, ConversationDetail
from services.audit.events import Action, EventOutcome
from services.audit.trail import Act, AuditTrail
from services.errors import Denied, PortalError
from services.permissions import Actor, Permission
from services.retrieval.places import place_at

if TYPE_CHECKING:
    from services.ask import Answer
    from services.engines.models import ModelStore

OUTCOMES = {"cancelled": EventOutcome.CANCELLED, "failed": EventOutcome.FAILED}  # of an answer; the rest succeeded


class AskRecorder:
    """Turns answers into audit events. Thread-safe."""

    def __init__(self, audit: AuditTrail, models: ModelStore) -> None:
        self._audit = audit
        self._models = models

    def require(self, actor: Actor, action: Action) -> None:
        """Raise Denied, recorded, unless the actor may ask."""
        self._audit.require(actor, Permission.ASK, action)

    def act(self, actor: Actor, action: Action, conversation_id: str) -> AbstractContextManager[Act]:
        """An act on a conversation that is over with the block."""
        return self._audit.act(actor, action, conversation_id, ConversationDetail(conversation_id=conversation_id))

    @contextmanager
    def begun(self, actor: Actor, action: Action, conversation_id: str | None) -> Iterator[Act]:
        """An act that outlives the block, to be ended with `end`; a failure in the block ends it."""
        act = self._audit.begin(actor, action, detail=ConversationDetail(conversation_id=conversation_id or ""))
        try:
            yield act
        except PortalError as error:
            act.end(EventOutcome.DENIED if isinstance(error, Denied) else EventOutcome.FAILED)
            raise
        except BaseException:
            act.end(EventOutcome.FAILED)
            raise

    def end(self, act: Act, answer: Answer, collection_ids: Sequence[int]) -> None:
        """What was asked and answered, from which passages, by which model. Raises AuditUnavailable."""
        outcome = OUTCOMES.get(str(answer.outcome), EventOutcome.SUCCEEDED)
        act.end(outcome, detail=self._detail(answer, collection_ids))

    def _detail(self, answer: Answer, collection_ids: Sequence[int]) -> AskDetail:
        return AskDetail(
            question=answer.question,
            answer=answer.text,
            answer_sha256=_sha256(answer.text),
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
                    "sha256": _sha256(passage.text),
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


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
