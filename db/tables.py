"""The rows of the portal. Times are UTC; ids are integers unless said otherwise."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import JSON, DateTime, Dialect, ForeignKey, Index, String, Text, TypeDecorator, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


def utc_now() -> datetime:
    return datetime.now(UTC)


class UtcDateTime(TypeDecorator[datetime]):
    """Stores UTC without a zone (SQLite has none) and gives aware datetimes back."""

    impl = DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return value.astimezone(UTC).replace(tzinfo=None) if value else None

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return value.replace(tzinfo=UTC) if value else None


class Base(DeclarativeBase):
    type_annotation_map = {datetime: UtcDateTime, dict: JSON, list: JSON}


class Collection(Base):
    """A named set of documents; its members are in db.account_tables. Names may repeat."""

    __tablename__ = "collections"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(200))
    created_at: Mapped[datetime] = mapped_column(default=utc_now)
    created_by: Mapped[str] = mapped_column(String(100))


class Document(Base):
    """An uploaded file.

    state: queued → reading → embedding → ready; from any of them failed (with `error`), and from failed back to
    queued by a retry or a password. A document is askable in `embedding` and `ready`.
    deleting: marked for removal, no longer listed; finished at the next start if the portal was killed.
    pages_*: document pages of a PDF, body blocks (paragraphs and tables) of a Word file.
    """

    __tablename__ = "documents"
    __table_args__ = (UniqueConstraint("collection_id", "sha256"), Index("ix_documents_state", "state"))

    id: Mapped[int] = mapped_column(primary_key=True)
    collection_id: Mapped[int] = mapped_column(ForeignKey("collections.id"))
    sha256: Mapped[str] = mapped_column(String(64), index=True)
    title: Mapped[str] = mapped_column(String(500))  # the file name it was uploaded under
    format: Mapped[str] = mapped_column(String(10))  # pdf, docx
    size_bytes: Mapped[int]
    uploaded_by: Mapped[str] = mapped_column(String(100))
    uploaded_at: Mapped[datetime] = mapped_column(default=utc_now)
    state: Mapped[str] = mapped_column(String(20), default="queued")
    pages_done: Mapped[int] = mapped_column(default=0)
    pages_total: Mapped[int] = mapped_column(default=0)
    chunks_done: Mapped[int] = mapped_column(default=0)  # chunks with a vector
    chunks_total: Mapped[int] = mapped_column(default=0)
    error: Mapped[dict | None]  # PortalError.to_record()
    notes: Mapped[list] = mapped_column(default=list)  # what a reader should know: PortalError.to_record() each
    timings_ms: Mapped[dict] = mapped_column(default=dict)  # read, index, embed, store


class Chunk(Base):
    """A stored passage: what is retrieved, put in a prompt, and cited.

    segments: [[document page or paragraph number (1-based), offset in text], …], first offset 0: the part of `text`
    from an offset to the next lies on that page. heading_path: ["3 Leave", "3.2 Annual leave"].
    """

    __tablename__ = "chunks"
    __table_args__ = (
        Index("ix_chunks_document", "document_id", "ordinal"),
        Index("ix_chunks_unembedded", "document_id", "embedded"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    document_id: Mapped[int] = mapped_column(ForeignKey("documents.id", ondelete="CASCADE"))
    collection_id: Mapped[int] = mapped_column(ForeignKey("collections.id"), index=True)
    ordinal: Mapped[int]
    text: Mapped[str] = mapped_column(Text)
    heading_path: Mapped[list] = mapped_column(default=list)
    segments: Mapped[list]
    tokens: Mapped[int]  # of the embedder's tokenizer
    embedded: Mapped[bool] = mapped_column(default=False)


class Conversation(Base):
    """kind: the screen it was held on: ask, code or image."""

    __tablename__ = "conversations"
    __table_args__ = (Index("ix_conversations_kind", "actor_id", "kind", "updated_at"),)

    id: Mapped[str] = mapped_column(String(32), primary_key=True)  # random hex: not guessable
    actor_id: Mapped[str] = mapped_column(String(100))
    kind: Mapped[str] = mapped_column(String(10), default="ask")
    title: Mapped[str] = mapped_column(String(200))
    created_at: Mapped[datetime] = mapped_column(default=utc_now)
    updated_at: Mapped[datetime] = mapped_column(default=utc_now)


class Message(Base):
    """One turn of a conversation: `question` by a person or `answer` by the portal.

    outcome of an answer: answered, refused, passages (the model was not there: passages only), cancelled, failed.
    content: what the screen of the conversation needs beyond the text. rating of an answer: up, down or none yet.
    """

    __tablename__ = "messages"
    __table_args__ = (Index("ix_messages_conversation", "conversation_id", "id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    conversation_id: Mapped[str] = mapped_column(ForeignKey("conversations.id", ondelete="CASCADE"))
    kind: Mapped[str] = mapped_column(String(10))  # question, answer
    question_id: Mapped[int | None]  # of an answer: the message it answers
    text: Mapped[str] = mapped_column(Text)
    outcome: Mapped[str] = mapped_column(String(20), default="")
    citations: Mapped[list] = mapped_column(default=list)
    passages: Mapped[list] = mapped_column(default=list)
    error: Mapped[dict | None]
    model: Mapped[str] = mapped_column(String(200), default="")
    timings_ms: Mapped[dict] = mapped_column(default=dict)
    content: Mapped[dict] = mapped_column(default=dict)
    rating: Mapped[str] = mapped_column(String(10), default="")
    comment: Mapped[str] = mapped_column(Text, default="")
    created_at: Mapped[datetime] = mapped_column(default=utc_now)


class Preference(Base):
    """What a person chose, e.g. the language of the interface."""

    __tablename__ = "preferences"

    actor_id: Mapped[str] = mapped_column(String(100), primary_key=True)
    name: Mapped[str] = mapped_column(String(50), primary_key=True)
    value: Mapped[str] = mapped_column(String(200))


class IndexProperty(Base):
    """What the vector index was made with: embedder name and dimension."""

    __tablename__ = "index_properties"

    name: Mapped[str] = mapped_column(String(50), primary_key=True)
    value: Mapped[str] = mapped_column(String(500))
