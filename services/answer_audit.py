"""Events of the services that answer: begun before anything is done, ended with all that the answer rests on."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING

from services.audit.details import ConversationDetail
from services.audit.events import Action, EventOutcome
from services.audit.trail import Act, AuditTrail
from services.errors import Denied, PortalError
from services.permissions import Actor, Permission

if TYPE_CHECKING:
    from services.answering import Written

OUTCOMES = {"cancelled": EventOutcome.CANCELLED, "failed": EventOutcome.FAILED}  # of an answer; the rest succeeded


class Recorder:
    """Turns what people ask into audit events. Thread-safe."""

    def __init__(self, audit: AuditTrail) -> None:
        self._audit = audit

    def require(self, actor: Actor, action: Action) -> None:
        """Raise Denied, recorded, unless the actor may ask."""
        self._audit.require(actor, Permission.ASK, action)

    def act(self, actor: Actor, action: Action, conversation_id: str, rating: str = "") -> AbstractContextManager[Act]:
        """An act on a conversation that is over with the block."""
        detail = ConversationDetail(conversation_id=conversation_id, rating=rating)
        return self._audit.act(actor, action, conversation_id, detail)

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


def event_outcome(answer: Written) -> EventOutcome:
    return OUTCOMES.get(str(answer.outcome), EventOutcome.SUCCEEDED)


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
