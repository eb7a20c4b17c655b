"""The ingest queue's view of the rows: short transactions, each leaving a state that a restart can go on from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sqlalchemy import delete, func, select, update
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from db.database import Database
from db.tables import Chunk, Document
from services.documents.files import storage_full
from services.errors import PortalError

if TYPE_CHECKING:
    from services.documents.chunking import ReadChunk
    from services.retrieval.lexical import LexicalIndex

QUEUED, READING, EMBEDDING, READY, FAILED, DELETING = (
    "queued",
    "reading",
    "embedding",
    "ready",
    "failed",
    "deleting",
)


def forget_chunks(session: Session, lexical: LexicalIndex, document_id: int) -> None:
    """Delete a document's chunks and their full-text entries (not their vectors)."""
    ids = list(session.scalars(select(Chunk.id).where(Chunk.document_id == document_id)))
    if ids:
        lexical.remove(session, ids)
        session.execute(delete(Chunk).where(Chunk.document_id == document_id))


def hold(session: Session, document_id: int, *states: str) -> Document | None:
    """The document if it is in one of the states, held: nobody changes it before the transaction ends.

    The write comes before the read: SQLite's transactions begin with the first write.
    """
    held = update(Document).where(Document.id == document_id, Document.state.in_(states)).values(state=Document.state)
    if not session.execute(held, execution_options={"synchronize_session": False}).rowcount:
        return None
    return session.get(Document, document_id, populate_existing=True)


class DocumentRows:
    """Claims and progress of documents being ingested. Several threads use it at once."""

    def __init__(self, database: Database, lexical: LexicalIndex) -> None:
        self._database = database
        self._lexical = lexical

    @contextmanager
    def _session(self):
        """A session that says StorageFull when the database's disk is full."""
        try:
            with self._database.session() as session:
                yield session
        except OperationalError as error:
            if "disk is full" in str(error) or "disk I/O error" in str(error):
                raise storage_full() from error
            raise

    def requeue_interrupted(self) -> list[int]:
        """After a restart: documents caught while being read are queued again; returns ids caught in a deletion."""
        with self._session() as session:
            session.execute(update(Document).where(Document.state == READING).values(state=QUEUED))
            return list(session.scalars(select(Document.id).where(Document.state == DELETING)))

    def claim_next(self) -> Document | None:
        """Take the smallest queued document (the oldest of equals) and mark it as being read."""
        queued = select(Document.id).where(Document.state == QUEUED).order_by(Document.size_bytes, Document.id).limit(1)
        while True:
            with self._session() as session:
                document_id = session.scalar(queued)
                if document_id is None:
                    return None
                if document := hold(session, document_id, QUEUED):
                    forget_chunks(session, self._lexical, document_id)
                    document.state, document.error = READING, None
                    document.pages_done = document.pages_total = document.chunks_done = document.chunks_total = 0
                    document.notes, document.timings_ms = [], {}
                    return document

    def record_pages(self, document_id: int, done: int, total: int) -> bool:
        """Store reading progress; False when the document is no longer being read (deleted)."""
        with self._session() as session:
            return self._update(session, document_id, READING, pages_done=done, pages_total=total)

    def add_chunks(self, document_id: int, collection_id: int, first: int, chunks: Iterable[ReadChunk]) -> bool:
        """Insert chunks, numbered from `first`, with their full-text entries; False when the document went away."""
        with self._session() as session:
            if hold(session, document_id, READING) is None:
                return False
            rows = [
                Chunk(
                    document_id=document_id,
                    collection_id=collection_id,
                    ordinal=ordinal,
                    text=chunk.text,
                    heading_path=chunk.heading_path,
                    segments=chunk.segments,
                    tokens=chunk.tokens,
                )
                for ordinal, chunk in enumerate(chunks, first)
            ]
            session.add_all(rows)
            session.flush()
            self._lexical.add(session, rows)
            return True

    def finish_reading(self, document_id: int, *, pages: int, chunks: int, notes: list, timings_ms: dict) -> bool:
        """The text is indexed: from here on the document is askable."""
        with self._session() as session:
            return self._update(
                session,
                document_id,
                READING,
                state=EMBEDDING,
                pages_done=pages,
                pages_total=pages,
                chunks_total=chunks,
                notes=notes,
                timings_ms=timings_ms,
            )

    def next_batch(self, size: int, *, oldest_first: bool) -> tuple[Document, list[Chunk]] | None:
        """Chunks to embed next, of one document: that with the fewest left, or the oldest one."""
        left = func.count(Chunk.id)
        unfinished = (
            select(Document)
            .join(Chunk, Chunk.document_id == Document.id)
            .where(Document.state == EMBEDDING, ~Chunk.embedded)
            .group_by(Document.id)
            .order_by(Document.id if oldest_first else left, Document.id)
            .limit(1)
        )
        with self._session() as session:
            document = session.scalar(unfinished)
            if document is None:
                return None
            missing = select(Chunk).where(Chunk.document_id == document.id, ~Chunk.embedded)
            return document, list(session.scalars(missing.order_by(Chunk.ordinal).limit(size)))

    def is_embedding(self, document_id: int) -> bool:
        with self._session() as session:
            return session.scalar(select(Document.state).where(Document.id == document_id)) == EMBEDDING

    def record_embedded(self, document_id: int, chunk_ids: Sequence[int], spent_ms: dict[str, float]) -> None:
        """Mark chunks whose vectors are stored; the last ones make the document ready."""
        with self._session() as session:
            document = hold(session, document_id, EMBEDDING)
            if document is None:
                return
            session.execute(update(Chunk).where(Chunk.id.in_(chunk_ids)).values(embedded=True))
            done = func.count(Chunk.id).filter(Chunk.embedded)
            document.chunks_done = session.scalar(select(done).where(Chunk.document_id == document_id))
            times = document.timings_ms
            document.timings_ms = {**times, **{k: round(times.get(k, 0) + v) for k, v in spent_ms.items()}}
            if document.chunks_done >= document.chunks_total:
                document.state = READY

    def fail(self, document_id: int, error: PortalError) -> None:
        """Record why a document cannot be used. What was indexed of a half-read one is removed."""
        with self._session() as session:
            document = hold(session, document_id, QUEUED, READING, EMBEDDING)
            if document is None:
                return
            if document.state == READING:
                forget_chunks(session, self._lexical, document_id)
            document.state, document.error = FAILED, error.to_record()

    def unfinished(self) -> int:
        """How many documents the queue still has work with."""
        with self._session() as session:
            return session.scalar(select(func.count()).where(Document.state.in_([QUEUED, READING, EMBEDDING])))

    def state(self, document_id: int) -> str | None:
        """None: there is no such document."""
        with self._session() as session:
            return session.scalar(select(Document.state).where(Document.id == document_id))

    @staticmethod
    def _update(session: Session, document_id: int, while_state: str, **values: object) -> bool:
        matching = update(Document).where(Document.id == document_id, Document.state == while_state)
        return session.execute(matching.values(**values)).rowcount == 1
