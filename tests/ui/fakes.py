"""Stand-ins for the services behind the screens: no engine, no index. Accounts, members, audit are real."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import SimpleNamespace

from PIL import Image, ImageDraw

from db.database import Database
from db.tables import Collection, Conversation, Document
from services.accounts.accounts import Accounts
from services.accounts.people import People
from services.accounts.sso import SingleSignOn
from services.ask import Answer, Outcome
from services.audit.log import AuditLog
from services.audit.trail import AuditTrail, open_audit
from services.conversations import StoredPassage, Turn
from services.documents.library import Statistics
from services.documents.membership import Membership
from services.documents.preview import Paragraph, PassageView
from services.engines.gate import QueuePlace
from services.engines.states import EngineState, EngineStatus
from services.errors import EngineStartFailed, NotFound, PortalError
from services.permissions import Actor
from services.preferences import Preferences
from services.retrieval.citations import Citation
from services.settings import Settings
from tests.fakes import ADMIN, ANNA, AUDITOR, NO_ROLE, USER, QuickPasswords, add_people
from tests.ui.code_fakes import FakeCodeHelp
from tests.ui.model_fakes import FakeModelOperations

NOON = datetime(2026, 11, 20, 4, 0, tzinfo=UTC)


def engine_status(state: EngineState = EngineState.READY, **changes) -> EngineStatus:
    values = {
        "role": "chat",
        "state": state,
        "reason": "",
        "error": None,
        "model_id": "qwen2.5-coder-0.5b-instruct",
        "model_name": "Qwen2.5-Coder 0.5B",
        "elapsed_s": 45.2,
        "typical_start_s": 80.0,
        "pid": None,
        "base_url": None,
    }
    return EngineStatus(**values | changes)


def failed_engine() -> EngineStatus:
    error = EngineStartFailed("Not enough memory for the model.", hint="Choose a smaller model.")
    return engine_status(EngineState.FAILED, error=error)


def document(id_: int, **changes) -> Document:
    values = {
        "id": id_,
        "collection_id": 1,
        "sha256": f"{id_:064x}",
        "title": f"handbook-{id_}.pdf",
        "format": "pdf",
        "size_bytes": 1_400_000,
        "uploaded_by": "anna",
        "uploaded_at": NOON,
        "state": "ready",
        "pages_done": 251,
        "pages_total": 251,
        "chunks_done": 1024,
        "chunks_total": 1024,
        "error": None,
        "notes": [],
        "timings_ms": {"read": 4200, "embed": 93_000},
    }
    return Document(**values | changes)


def citation(marker: int = 1, **changes) -> Citation:
    values = {
        "marker": marker,
        "chunk_id": 7,
        "document_id": 1,
        "document": "handbook-1.pdf",
        "page": 3,
        "place": "2 Leave › 2.4 Annual leave",
        "quote": "Up to 5 days of unused annual leave are carried over.",
        "sentence": "You can carry over 5 days.",
        "supported": True,
    }
    return Citation(**values | changes)


def passage(chunk_id: int = 7, **changes) -> StoredPassage:
    values = {
        "chunk_id": chunk_id,
        "document_id": 1,
        "document": "handbook-1.pdf",
        "page": 3,
        "place": "2 Leave › 2.4 Annual leave",
        "text": "Up to 5 days of unused annual leave are carried over.",
        "score": 1.0,
    }
    return StoredPassage(**values | changes)


def turn(outcome: str = "answered", **changes) -> Turn:
    values = {
        "id": 1,
        "question": "How many days can I carry over?",
        "text": "You can carry over 5 days.",
        "outcome": outcome,
        "citations": [citation()],
        "passages": [passage()],
        "model_id": "qwen2.5-coder-0.5b-instruct",
        "timings_ms": {"retrieve": 31.0, "first_token": 2400.0, "decode": 900.0},
        "asked_at": NOON,
    }
    return Turn(**values | changes)


@dataclass
class FakeDeployments:
    now: EngineStatus = field(default_factory=engine_status)

    def status(self, role: str) -> EngineStatus:
        return self.now

    def log_tail(self, role: str, lines: int) -> list[str]:
        return ["RuntimeError: out of memory"]


@dataclass
class FakeLibrary:
    documents: list[Document] = field(default_factory=list)
    names: list[str] = field(default_factory=lambda: ["Handbook"])
    read_only: bool = False  # nobody is an editor of anything
    refuse: dict[str, PortalError] = field(default_factory=dict)  # by title, on add and retry
    deleted: list[int] = field(default_factory=list)
    retried: list[tuple[int, str | None]] = field(default_factory=list)

    def collections(self, actor: Actor) -> list[Collection]:
        return [Collection(id=number, name=name, created_by="anna") for number, name in enumerate(self.names, 1)]

    def editable_collections(self, actor: Actor) -> list[Collection]:
        return [] if self.read_only else self.collections(actor)

    def managed_collections(self, actor: Actor) -> list[Collection]:
        return self.collections(actor)

    def ensure_collection(self, name: str, actor: Actor) -> Collection:
        self.names.append(name)
        return self.collections(actor)[-1]

    def list(self, actor: Actor, collection_ids=None) -> list[Document]:
        return [d for d in self.documents if collection_ids is None or d.collection_id in collection_ids]

    def get(self, document_id: int, actor: Actor) -> Document:
        for found in self.documents:
            if found.id == document_id:
                return found
        raise NotFound("This document no longer exists.")

    def statistics(self, actor: Actor) -> Statistics:
        chunks = sum(d.chunks_total for d in self.documents)
        return Statistics(len(self.documents), chunks, sum(d.chunks_done for d in self.documents))

    def add(self, source, title: str, *, actor: Actor, collection_id: int, password: str | None = None) -> Document:
        if title in self.refuse:
            raise self.refuse[title]
        same = [d for d in self.documents if d.title == title]
        if same:
            return same[0]
        new = document(len(self.documents) + 100, title=title, collection_id=collection_id, state="queued")
        self.documents.insert(0, new)
        return new

    def retry(self, document_id: int, actor: Actor, password: str | None = None) -> Document:
        found = self.get(document_id, actor)
        if found.title in self.refuse:
            raise self.refuse[found.title]
        self.retried.append((document_id, password))
        return found

    def delete(self, document_id: int, actor: Actor) -> None:
        self.documents.remove(self.get(document_id, actor))
        self.deleted.append(document_id)


class FakePreview:
    def page_image(self, document: Document, page: int, quotes: list[str], actor: Actor) -> bytes:
        image = Image.new("RGB", (700, 990), "white")
        ImageDraw.Draw(image).text((80, 80), f"page {page}: {quotes}", fill="black")
        png = io.BytesIO()
        image.save(png, "PNG")
        return png.getvalue()

    def passage(self, chunk_id: int, actor: Actor, quotes=()) -> PassageView:
        text = "Before. Up to 5 days of unused annual leave are carried over. After."
        return PassageView(1, "guide.docx", ["B Leave"], text, [Paragraph(12, text, [(8, 61)])])


@dataclass
class FakeAsk:
    turns: dict[str, list[Turn]] = field(default_factory=dict)  # by conversation id
    outcome: Outcome = Outcome.ANSWERED
    deltas: tuple[str, ...] = ("You can ", "carry over ", "5 days.")
    line: tuple[QueuePlace, ...] = ()  # where it waits before the first delta
    restarts: bool = False  # the model is replaced in the middle, and the answer begins anew
    error: PortalError | None = None  # raised by stream()
    asked: list[tuple[str, list[int] | None]] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)

    def stream(self, question, *, actor, conversation_id=None, collection_ids=None, language=None) -> Answer:
        if self.error:
            raise self.error
        self.asked.append((question, collection_ids))
        answer = Answer(conversation_id or "c1", 1, question, "en", passages=[SimpleNamespace(title="handbook-1.pdf")])
        if self.outcome is not Outcome.ANSWERED:
            answer.outcome = self.outcome
            self._save(answer, str(self.outcome))
        else:
            self._save(answer, "cancelled")  # as the real one: a question without an answer was stopped
            answer.deltas = self._write(answer)
        return answer

    def regenerate(self, conversation_id, actor, collection_ids=None) -> Answer:
        last = self.turns[conversation_id].pop()
        return self.stream(last.question, actor=actor, conversation_id=conversation_id)

    def history(self, conversation_id: str, actor: Actor) -> list[Turn]:
        if conversation_id not in self.turns:
            raise NotFound("This conversation does not exist.", hint="It may have been deleted.")
        return self.turns[conversation_id]

    def conversations(self, actor: Actor, limit: int = 20) -> list[Conversation]:
        return [Conversation(id=id_, actor_id=actor.id, title=turns[0].question) for id_, turns in self.turns.items()]

    def rename(self, conversation_id: str, title: str, actor: Actor) -> None: ...

    def delete(self, conversation_id: str, actor: Actor) -> None:
        del self.turns[conversation_id]
        self.deleted.append(conversation_id)

    def export_markdown(self, conversation_id: str, actor: Actor, language: str) -> str:
        return "# Conversation"

    def _write(self, answer: Answer) -> Iterator[str]:
        for answer.waiting in self.line:
            yield ""
        answer.waiting = None
        if self.restarts:
            answer.text = "Half an answer"
            yield answer.text
            answer.text, answer.restarts = "", 1
            yield ""
        for delta in self.deltas:
            answer.text += delta
            yield delta
        answer.outcome = self.outcome
        self._save(answer, str(self.outcome))

    def _save(self, answer: Answer, outcome: str) -> None:
        turns = self.turns.setdefault(answer.conversation_id, [])
        if turns and turns[-1].question == answer.question:
            turns.pop()
        turns.append(turn(outcome, id=len(turns) + 1, question=answer.question, text=answer.text))


def fake_services(settings: Settings, **parts) -> SimpleNamespace:
    """What services() returns, with the people of tests/fakes.py; parts replace single services."""
    database = Database.open(settings.database_path)
    add_people(database, ANNA, USER, ADMIN, AUDITOR, NO_ROLE)
    audit_database = open_audit(settings)
    audit = AuditTrail(audit_database, settings)
    accounts = Accounts(database, settings, audit, passwords=QuickPasswords())
    return SimpleNamespace(
        **{
            "settings": settings,
            "database": database,
            "deployments": FakeDeployments(),
            "model_operations": FakeModelOperations(),
            "library": FakeLibrary(),
            "preview": FakePreview(),
            "ask": FakeAsk(),
            "code_help": FakeCodeHelp(),
            "preferences": Preferences(database),
            "audit": audit,
            "audit_log": AuditLog(audit_database, audit, settings),
            "accounts": accounts,
            "sso": SingleSignOn(database, settings, audit, accounts.sessions),
            "people": People(database, accounts, audit),
            "membership": Membership(database, audit),
        }
        | parts
    )
