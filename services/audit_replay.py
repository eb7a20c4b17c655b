"""A recorded question looked at again: the passages as they were, and what the same question would find today."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sqlalchemy import select

from db.database import Database
from db.tables import Chunk, Document, Message
from services.audit.details import AuditDetail
from services.audit.events import Action
from services.audit.log import AuditLog
from services.audit.trail import AuditTrail
from services.errors import BadInput
from services.permissions import Actor, Permission, check
from services.retrieval.places import place_at
from services.translation import N_

if TYPE_CHECKING:
    from services.engines.deployments import Deployments
    from services.engines.models import ModelStore
    from services.retrieval.retriever import Retriever

ASKS = (Action.ASK, Action.REGENERATE)
ROLE = "chat"


@dataclass(frozen=True)
class PassageThen:
    """A passage that an answer rested on. text: as it was; None when nobody has these words any more.

    now: "same", "changed" (its place holds other words) or "deleted".
    """

    document: str
    place: str
    sha256: str
    text: str | None
    now: str


@dataclass(frozen=True)
class Replay:
    """The same question against today's index. then, now: (document, place, sha256) of the passages, best first.

    same_passages: whatever their order.

    model_then, model_now: catalogue ids; a model counts as changed also when its file is another one.
    masked: personal data in the question was replaced before it was stored, so the search differs a little.
    """

    same_passages: bool
    changed_documents: list[str]
    model_changed: bool
    model_then: str
    model_now: str
    confidence_then: float
    confidence_now: float
    masked: bool
    then: list[tuple[str, str, str]] = field(default_factory=list)
    now: list[tuple[str, str, str]] = field(default_factory=list)


class Replays:
    """For auditors. Reads chunks of any collection, but only those that a recorded answer rested on, or would today."""

    def __init__(
        self,
        database: Database,
        log: AuditLog,
        trail: AuditTrail,
        *,
        retriever: Retriever,
        deployments: Deployments,
        models: ModelStore,
    ) -> None:
        self._database = database
        self._log = log
        self._trail = trail
        self._retriever = retriever
        self._deployments = deployments
        self._models = models

    def passages(self, event_id: int, actor: Actor) -> list[PassageThen]:
        """What the answer of the event rested on, best first. Raises NotFound (event), BadInput (not a question)."""
        detail = self._ask(event_id, actor)
        kept = self._kept_texts(detail.get("conversation_id", ""))
        return [self._then(chunk, kept) for chunk in detail.get("chunks", [])]

    def replay(self, event_id: int, actor: Actor) -> Replay:
        """Search again with the asker's collections of then. Raises NotFound, BadInput (no question was stored)."""
        check(actor, Permission.READ_AUDIT)
        with self._trail.act(actor, Action.AUDIT_REPLAY, str(event_id), AuditDetail(event_id=event_id)):
            detail = self._ask(event_id, actor)
            question = detail.get("meaning") or detail.get("question")
            if not question:
                raise BadInput(
                    N_("The text of this question was not stored."),
                    hint=N_("PORTAL_AUDIT_TEXT says whether texts are kept in full, masked or not at all."),
                )
            then = [(c["document"], c["place"], c["sha256"]) for c in detail.get("chunks", [])]
            found = self._retriever.retrieve(
                question, collection_ids=detail.get("collections", []), limit=max(len(then), 1)
            )
        now = [(p.title, place_at(p, 0), _sha256(p.text)) for p in found.passages]
        return Replay(
            same_passages={p[2] for p in then} == {p[2] for p in now},
            changed_documents=_changed(then, now),
            model_then=detail.get("model", ""),
            confidence_then=detail.get("confidence", 0.0),
            confidence_now=round(found.confidence, 4),
            masked="[" in question,
            then=then,
            now=now,
            **self._model(detail),
        )

    def _model(self, detail: dict) -> dict:
        """Whether today's model is another one; an answer that needed no model has none to compare."""
        model_id = self._deployments.status(ROLE).model_id or ""
        sha256 = self._models.file_sha256(model_id) if model_id else ""
        changed = bool(detail.get("model")) and detail.get("model_sha256", "") != sha256
        return {"model_now": model_id, "model_changed": changed}

    def _ask(self, event_id: int, actor: Actor) -> dict:
        event = self._log.event(event_id, actor).event
        if event.action not in ASKS:
            raise BadInput(N_("This event is no question."))
        return event.detail

    def _kept_texts(self, conversation_id: str) -> dict[str, str]:
        """Texts by hash that the conversation remembers; none when it was deleted."""
        query = select(Message.passages).where(Message.conversation_id == conversation_id)
        with self._database.session() as session:
            kept = [passage["text"] for passages in session.scalars(query) for passage in passages]
        return {_sha256(text): text for text in kept}

    def _then(self, chunk: dict, kept: dict[str, str]) -> PassageThen:
        with self._database.session() as session:
            row = session.get(Chunk, chunk["id"])
            same = session.scalar(select(Document.id).where(Document.id == chunk["document_id"])) is not None
        text_now = row.text if row else None
        if text_now is not None and _sha256(text_now) == chunk["sha256"]:
            return PassageThen(chunk["document"], chunk["place"], chunk["sha256"], text_now, "same")
        state = "changed" if same else "deleted"
        return PassageThen(chunk["document"], chunk["place"], chunk["sha256"], kept.get(chunk["sha256"]), state)


def _changed(then: Sequence[tuple[str, str, str]], now: Sequence[tuple[str, str, str]]) -> list[str]:
    """Titles of documents whose passages of then are not among those found now, or the other way round."""
    differing = {p[2] for p in then} ^ {p[2] for p in now}
    return sorted({document for document, _place, sha256 in (*then, *now) if sha256 in differing})


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
