"""Rows of conversations and messages. Every method takes the actor: another's conversation is NotFound."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.database import Database
from db.tables import Conversation, Message, utc_now
from services.errors import NotFound, PortalError
from services.retrieval.citations import Citation
from services.retrieval.places import page_at, place_at
from services.translation import N_

if TYPE_CHECKING:
    from services.retrieval.retriever import Passage

TITLE_LENGTH = 80  # characters of the first question that name a conversation
COMMENT_LENGTH = 2000
Kind = Literal["ask", "code", "image"]
Rating = Literal["up", "down"]


@dataclass(frozen=True)
class StoredPassage:
    """A passage as a turn remembers it: enough to show it and its place after its document is gone."""

    chunk_id: int
    document_id: int
    document: str
    page: int | None  # 1-based document page of a PDF; None for a Word file
    place: str  # headings, and for a Word file the paragraph
    text: str
    score: float

    @classmethod
    def of(cls, passage: Passage) -> StoredPassage:
        return cls(
            chunk_id=passage.chunk_id,
            document_id=passage.document_id,
            document=passage.title,
            page=page_at(passage, 0),
            place=place_at(passage, 0),
            text=passage.text,
            score=passage.score,
        )


@dataclass(frozen=True)
class AskedQuestion:
    """A stored question and the one asked before it in the same conversation ("" for the first)."""

    conversation_id: str
    id: int
    text: str
    previous: str


@dataclass(frozen=True)
class Turn:
    """One question and what came of it. `outcome` as in Answer; `cancelled` also when no answer was ever saved."""

    id: int  # of the question's row
    question: str
    text: str
    outcome: str
    citations: list[Citation] = field(default_factory=list)
    passages: list[StoredPassage] = field(default_factory=list)
    error: PortalError | None = None
    model_id: str = ""
    timings_ms: dict[str, float] = field(default_factory=dict)
    asked_at: datetime | None = None
    asked: dict = field(default_factory=dict)  # the content of the question and of its answer: of the screen's making
    content: dict = field(default_factory=dict)
    rating: str = ""


class Conversations:
    """The repository of the conversations of one kind; each call is one short transaction."""

    def __init__(self, database: Database, kind: Kind = "ask") -> None:
        self._database = database
        self._kind = kind

    def ask(
        self, question: str, *, actor_id: str, conversation_id: str | None, content: dict | None = None
    ) -> AskedQuestion:
        """Store a question, in a new conversation when none is named. Raises NotFound."""
        with self._database.session() as session:
            if conversation_id is None:
                conversation = Conversation(
                    id=secrets.token_hex(16), actor_id=actor_id, kind=self._kind, title=_title(question)
                )
                session.add(conversation)
                session.flush()
                previous = None
            else:
                conversation = self._own(session, conversation_id, actor_id)
                previous = _last_question(session, conversation.id)
            row = Message(conversation_id=conversation.id, kind="question", text=question, content=content or {})
            session.add(row)
            session.flush()
            conversation.updated_at = utc_now()
            return AskedQuestion(conversation.id, row.id, question, previous.text if previous else "")

    def last_question(self, conversation_id: str, *, actor_id: str) -> AskedQuestion:
        """The question asked last. Raises NotFound, also when nothing was asked yet."""
        with self._database.session() as session:
            conversation = self._own(session, conversation_id, actor_id)
            last = _last_question(session, conversation.id)
            if last is None:
                raise _missing()
            before = _last_question(session, conversation.id, before_id=last.id)
            return AskedQuestion(conversation.id, last.id, last.text, before.text if before else "")

    def save_answer(self, answer: Message) -> None:
        """Store an answer; one whose conversation was deleted meanwhile is dropped with it."""
        with self._database.session() as session:
            conversation = session.get(Conversation, answer.conversation_id)
            if conversation is not None:
                session.add(answer)
                conversation.updated_at = utc_now()

    def turns(self, conversation_id: str, *, actor_id: str) -> list[Turn]:
        """Oldest first; a question answered more than once shows its last answer. Raises NotFound."""
        with self._database.session() as session:
            self._own(session, conversation_id, actor_id)
            rows = session.scalars(
                select(Message).where(Message.conversation_id == conversation_id).order_by(Message.id)
            ).all()
        return _pair(rows)

    def recent(self, *, actor_id: str, limit: int) -> list[Conversation]:
        """The actor's conversations, last used first."""
        chosen = select(Conversation).where(Conversation.actor_id == actor_id, Conversation.kind == self._kind)
        with self._database.session() as session:
            return list(session.scalars(chosen.order_by(Conversation.updated_at.desc()).limit(limit)))

    def get(self, conversation_id: str, *, actor_id: str) -> Conversation:
        with self._database.session() as session:
            return self._own(session, conversation_id, actor_id)

    def rename(self, conversation_id: str, title: str, *, actor_id: str) -> None:
        """An empty title changes nothing."""
        with self._database.session() as session:
            conversation = self._own(session, conversation_id, actor_id)
            conversation.title = _title(title) or conversation.title

    def delete(self, conversation_id: str, *, actor_id: str) -> None:
        with self._database.session() as session:
            session.delete(self._own(session, conversation_id, actor_id))

    def rate(self, conversation_id: str, question_id: int, rating: Rating, comment: str, *, actor_id: str) -> None:
        """Rate the last answer to the question. Raises NotFound, also when there is none."""
        with self._database.session() as session:
            self._own(session, conversation_id, actor_id)
            answers = select(Message).where(
                Message.conversation_id == conversation_id, Message.question_id == question_id
            )
            answer = session.scalars(answers.order_by(Message.id.desc()).limit(1)).first()
            if answer is None:
                raise _missing()
            answer.rating, answer.comment = rating, comment[:COMMENT_LENGTH]

    def _own(self, session: Session, conversation_id: str, actor_id: str) -> Conversation:
        conversation = session.get(Conversation, conversation_id)
        if conversation is None or conversation.actor_id != actor_id or conversation.kind != self._kind:
            raise _missing()
        return conversation


def _missing() -> NotFound:
    return NotFound(N_("This conversation does not exist."), hint=N_("It may have been deleted."))


def _title(text: str) -> str:
    words = " ".join(text.split())
    return words if len(words) <= TITLE_LENGTH else words[: TITLE_LENGTH - 1] + "…"


def _last_question(session: Session, conversation_id: str, before_id: int | None = None) -> Message | None:
    chosen = select(Message).where(Message.conversation_id == conversation_id, Message.kind == "question")
    if before_id is not None:
        chosen = chosen.where(Message.id < before_id)
    return session.scalars(chosen.order_by(Message.id.desc()).limit(1)).first()


def _pair(rows: list[Message]) -> list[Turn]:
    """Rows in order of id → one turn per question, in the order asked."""
    turns = {
        row.id: Turn(row.id, row.text, text="", outcome="cancelled", asked_at=row.created_at, asked=row.content)
        for row in rows
        if row.kind == "question"
    }
    for row in rows:
        if row.question_id in turns:
            turns[row.question_id] = _answered(turns[row.question_id], row)
    return list(turns.values())


def _answered(turn: Turn, row: Message) -> Turn:
    return Turn(
        id=turn.id,
        question=turn.question,
        text=row.text,
        outcome=row.outcome,
        citations=[Citation(**record) for record in row.citations],
        passages=[StoredPassage(**record) for record in row.passages],
        error=PortalError.from_record(row.error) if row.error else None,
        model_id=row.model,
        timings_ms=row.timings_ms,
        asked_at=turn.asked_at,
        asked=turn.asked,
        content=row.content,
        rating=row.rating,
    )
