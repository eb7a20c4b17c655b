"""Audit events of questions about pictures, and of pictures that the gate refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.answer_audit import Recorder, event_outcome, sha256
from services.audit.details import ImageDetail
from services.audit.events import Action, EventOutcome
from services.audit.trail import Act, AuditTrail

if TYPE_CHECKING:
    from services.engines.models import ModelStore
    from services.errors import PortalError
    from services.images.question import ImageAnswer
    from services.permissions import Actor


class ImageRecorder(Recorder):
    """Turns answers about pictures into audit events. Thread-safe."""

    def __init__(self, audit: AuditTrail, models: ModelStore) -> None:
        super().__init__(audit)
        self._models = models

    def refused(self, actor: Actor, name: str, error: PortalError) -> None:
        """A picture that cannot be used. name: of the upload. Raises AuditUnavailable."""
        detail = ImageDetail(outcome=type(error).__name__)
        self._audit.record(actor, Action.IMAGE, EventOutcome.FAILED, name, detail)

    def end(self, act: Act, answer: ImageAnswer) -> None:
        """What was asked and answered, about which pictures, by which model. Raises AuditUnavailable."""
        act.end(event_outcome(answer), detail=self._detail(answer))

    def _detail(self, answer: ImageAnswer) -> ImageDetail:
        question, text = answer.question, "\n\n".join(reading.layout for reading in answer.readings)
        return ImageDetail(
            question=question.words,
            answer=answer.text,
            answer_sha256=sha256(answer.text),
            text=text,
            text_sha256=sha256(text) if text else "",
            images=[
                {"sha256": image.sha256, "width": image.width, "height": image.height, "format": image.format}
                for image in answer.pictures
            ],
            region=question.region,
            mode=answer.mode,
            template=str(question.template),
            conversation_id=answer.conversation_id,
            prompt_template=answer.prompt_template,
            model=answer.model_id,
            model_sha256=self._models.file_sha256(answer.model_id) if answer.model_id else "",
            prompt_tokens=answer.prompt_tokens,
            completion_tokens=answer.completion_tokens,
            timings_ms={step: round(duration_ms, 1) for step, duration_ms in answer.timings_ms.items()},
            outcome=str(answer.outcome),
        )
