"""What an audit event is: its fields, and the one way it is written down."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum

_LONGEST = {"actor_id": 100, "actor_name": 200, "address": 100, "target": 500}  # characters


class Action(StrEnum):
    """What somebody did. PAGE: tried to open a screen that is not for them."""

    SIGN_IN = "sign_in"
    SIGN_OUT = "sign_out"
    ASK = "ask"
    REGENERATE = "regenerate"
    CODE = "code"
    IMAGE = "image"
    FEEDBACK = "feedback"
    UPLOAD = "upload"
    DELETE = "delete"
    PREVIEW = "preview"
    EXPORT = "export"
    DOCUMENT_RETRY = "document.retry"
    CONVERSATION_RENAME = "conversation.rename"
    CONVERSATION_DELETE = "conversation.delete"
    COLLECTION_CREATE = "collection.create"
    COLLECTION_CHANGE = "collection.change"
    COLLECTION_DELETE = "collection.delete"
    COLLECTION_MEMBERS = "collection.members"
    REINDEX = "reindex"
    ENGINE_START = "engine.start"
    ENGINE_STOP = "engine.stop"
    ENGINE_SWITCH = "engine.switch"
    ENGINE_ROLL_BACK = "engine.roll_back"
    ENGINE_CANCEL = "engine.cancel"
    MODEL_FETCH = "model.fetch"
    MODEL_REMOVE = "model.remove"
    MODEL_VERIFY = "model.verify"
    MODEL_ADD = "model.add"
    MODEL_FORGET = "model.forget"
    MODEL_EXPORT = "model.export"
    MODEL_IMPORT = "model.import"
    MODEL_SCHEDULE = "model.schedule"
    SETTINGS = "settings"
    PAGE = "page"
    PEOPLE_CREATE = "people.create"
    PEOPLE_INVITE = "people.invite"
    PEOPLE_CHANGE = "people.change"
    PEOPLE_GROUPS = "people.groups"
    PEOPLE_DISABLE = "people.disable"
    PEOPLE_ENABLE = "people.enable"
    PEOPLE_RESET = "people.reset"
    PEOPLE_UNLOCK = "people.unlock"
    PASSWORD_CHANGE = "password.change"
    SESSION_REVOKE = "session.revoke"
    AUDIT_READ = "audit.read"
    AUDIT_VERIFY = "audit.verify"
    AUDIT_EXPORT = "audit.export"
    AUDIT_SEAL = "audit.seal"
    AUDIT_RETENTION = "audit.retention"
    AUDIT_REPLAY = "audit.replay"


class EventOutcome(StrEnum):
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    DENIED = "denied"
    CANCELLED = "cancelled"


@dataclass(frozen=True)
class Event:
    """One recorded act. at: when it ended; duration_ms: None when nobody knows (the portal was killed meanwhile).

    id: 0 until it is in the chain. action and outcome are text here: an old event may have one that is no more.
    """

    at: datetime
    action: str
    outcome: str
    request_id: str
    actor_id: str = ""
    actor_name: str = ""
    address: str = ""
    target: str = ""
    duration_ms: float | None = None
    detail: dict = field(default_factory=dict)
    id: int = 0

    def to_body(self) -> str:
        """The canonical form, which is hashed: JSON with sorted keys, no spaces, text as it is.

        Half a surrogate pair is no text and becomes "?"; over-long names and targets are cut.
        """
        fields = {
            "at": stamp(self.at),
            "action": str(self.action),
            "outcome": str(self.outcome),
            "request_id": self.request_id,
            "duration_ms": self.duration_ms,
            "detail": self.detail,
        }
        fields |= {name: _cut(getattr(self, name), length) for name, length in _LONGEST.items()}
        return canonical(fields)

    @classmethod
    def from_body(cls, event_id: int, body: str) -> Event:
        fields = json.loads(body)
        return cls(id=event_id, **fields | {"at": datetime.fromisoformat(fields["at"])})


def canonical(value: dict) -> str:
    text = json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return text.encode("utf-8", "replace").decode()


def stamp(moment: datetime) -> str:
    """UTC with microseconds, always 27 characters, so that text sorts as time."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")[:26] + "Z"


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"
