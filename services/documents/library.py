"""The library: collections, documents and their files. Reading and indexing them is the ingest queue's work."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from sqlalchemy import func, select, update
from sqlalchemy.exc import IntegrityError

from db.database import Database
from db.tables import Chunk, Collection, Document
from services.audit.details import CollectionDetail, FileDetail
from services.audit.events import Action
from services.audit.trail import AuditTrail
from services.documents.extract import unlock
from services.documents.files import FileStore, Spooled, clean_title
from services.documents.membership import Access, Member, Membership, add_members
from services.documents.reading.refusals import password_needed
from services.documents.rows import DELETING, EMBEDDING, FAILED, QUEUED, READY, forget_chunks, hold
from services.errors import NotFound, PasswordNeeded
from services.permissions import CONSOLE, Actor, Permission, check
from services.settings import Settings
from services.translation import N_

if TYPE_CHECKING:
    from services.retrieval.lexical import LexicalIndex
    from services.retrieval.vector_store import VectorStore


@dataclass(frozen=True)
class Statistics:
    """Counts over the readable collections. embedded: chunks that have a vector."""

    documents: int
    chunks: int
    embedded: int


class Library:
    """Rows and files of documents, for one process. Thread-safe.

    `on_change` is called after a document was queued; the ingest queue puts its `notify` there.
    `vectors` serialises "is the document still there? then write its vectors" against deleting.
    """

    def __init__(
        self,
        database: Database,
        settings: Settings,
        lexical: LexicalIndex,
        vector_store: VectorStore,
        *,
        membership: Membership,
        audit: AuditTrail,
    ) -> None:
        self._database = database
        self._membership = membership
        self._audit = audit
        self._settings = settings
        self._lexical = lexical
        self._vector_store = vector_store
        self._files = FileStore(settings)
        self._placing = threading.Lock()  # a file and its row appear and disappear together
        self.vectors = threading.Lock()
        self.on_change: Callable[[], None] = lambda: None

    def collections(self, actor: Actor) -> list[Collection]:
        """The collections that the actor may read, by name."""
        return self._collections(self._membership.readable(actor))

    def editable_collections(self, actor: Actor) -> list[Collection]:
        """Those of them that the actor may add documents to, by name."""
        return self._collections(self._membership.editable(actor))

    def managed_collections(self, actor: Actor) -> list[Collection]:
        """All collections, by name, for whoever decides on their members."""
        check(actor, Permission.MANAGE_COLLECTIONS)
        with self._database.session() as session:
            return list(session.scalars(select(Collection).order_by(Collection.name)))

    def ensure_collection(self, name: str, actor: Actor) -> Collection:
        """The collection of that name among those the actor may read, made when it is missing.

        Its first member is the actor as an editor; of what the console makes, everybody as readers.
        """
        self._audit.require(actor, Permission.EDIT_DOCUMENTS, Action.COLLECTION_CREATE, name)
        name = clean_title(name)
        readable = self._membership.readable(actor)
        with self._placing, self._database.session(writing=True) as session:
            found = session.scalar(select(Collection).where(Collection.name == name, Collection.id.in_(readable)))
            if found is not None:
                return found
            with self._audit.act(actor, Action.COLLECTION_CREATE, target=name) as act:
                found = Collection(name=name, created_by=actor.id)
                session.add(found)
                session.flush()
                own = Member(Access.EDITOR, person_id=actor.id)
                add_members(session, found.id, [Member(Access.READER) if actor == CONSOLE else own])
                act.detail = CollectionDetail(collection_id=found.id, name=name)
            return found

    def list(self, actor: Actor, collection_ids: Iterable[int] | None = None) -> list[Document]:
        """Documents of the actor's collections, of those named (None: of all), newest first."""
        readable = self._membership.readable(actor, None if collection_ids is None else list(collection_ids))
        query = select(Document).where(Document.state != DELETING, Document.collection_id.in_(readable))
        with self._database.session() as session:
            return list(session.scalars(query.order_by(Document.id.desc())))

    def get(self, document_id: int, actor: Actor) -> Document:
        """Raises NotFound, also for a document in somebody else's collection."""
        readable = self._membership.readable(actor)
        with self._database.session() as session:
            document = session.get(Document, document_id)
        if document is None or document.state == DELETING or document.collection_id not in readable:
            raise NotFound(N_("This document no longer exists."), hint=N_("Reload the page."))
        return document

    def chunk(self, chunk_id: int, actor: Actor) -> tuple[Document, Chunk]:
        """A chunk and its document. Raises NotFound, also for one in somebody else's collection."""
        readable = self._membership.readable(actor)
        with self._database.session() as session:
            chunk = session.get(Chunk, chunk_id)
        if chunk is None or chunk.collection_id not in readable:
            raise NotFound(N_("This passage no longer exists: its document was deleted or read again."))
        return self.get(chunk.document_id, actor), chunk

    def statistics(self, actor: Actor) -> Statistics:
        """Counts over the collections that the actor may read."""
        readable = self._membership.readable(actor)
        with self._database.session() as session:
            documents = session.scalar(
                select(func.count()).where(Document.state != DELETING, Document.collection_id.in_(readable))
            )
            chunks, embedded = session.execute(
                select(func.count(Chunk.id), func.count(Chunk.id).filter(Chunk.embedded)).where(
                    Chunk.collection_id.in_(readable)
                )
            ).one()
        return Statistics(documents, chunks, embedded)

    def file_path(self, document: Document) -> Path:
        """The file to read and show: the decrypted copy where there is one, else the uploaded bytes."""
        unlocked = self._files.unlocked(document.sha256, document.format, document.id)
        return unlocked if unlocked.exists() else self._files.original(document.sha256, document.format)

    def check_room(self) -> None:
        """Raise StorageFull when less than the reserve is free."""
        self._files.check_room(0)

    def add(
        self, source: Path | BinaryIO, title: str, *, actor: Actor, collection_id: int, password: str | None = None
    ) -> Document:
        """Store a file and queue it for reading; the same bytes in the same collection give the document there is.

        A wrong password leaves the document `failed` with PasswordNeeded. A failed twin is tried again.
        Raises EmptyFile, FileTooLarge, StorageFull, UnsupportedFormat, NotFound (collection), Denied (a reader of it).
        """
        self._membership.require_editor(actor, collection_id, Action.UPLOAD)
        title = clean_title(title)
        with self._audit.act(actor, Action.UPLOAD, target=title) as act, self._files.spool(source) as spooled:
            document = self._place(spooled, title, actor, collection_id, locked=password is not None)
            act.detail = _detail(document)
        if document.state == FAILED:
            try:
                return self.retry(document.id, actor, password)
            except PasswordNeeded:
                return self.get(document.id, actor)
        self.on_change()
        return document

    def _place(self, spooled: Spooled, title: str, actor: Actor, collection_id: int, *, locked: bool) -> Document:
        """The row for a spooled file. locked: wait in `failed` until the password was tried."""
        same = select(Document).where(Document.collection_id == collection_id, Document.sha256 == spooled.sha256)
        with self._database.session() as session:
            found = session.scalar(same)
        if found is not None and found.state == DELETING:
            self.finish_delete(found.id)
        elif found is not None:
            return found
        document = Document(
            collection_id=collection_id,
            sha256=spooled.sha256,
            title=title,
            format=spooled.format,
            size_bytes=spooled.size_bytes,
            uploaded_by=actor.id,
            state=FAILED if locked else QUEUED,
            error=password_needed().to_record() if locked else None,
        )
        with self._placing:
            self._files.keep(spooled)
            try:
                with self._database.session() as session:
                    if session.get(Collection, collection_id) is None:
                        raise NotFound(N_("This collection no longer exists."), hint=N_("Reload the page."))
                    session.add(document)
                return document
            except IntegrityError:  # somebody uploaded the same file at the same moment
                with self._database.session() as session:
                    return session.scalars(same).one()
            finally:
                self._remove_unused(spooled.sha256, spooled.format)

    def retry(self, document_id: int, actor: Actor, password: str | None = None) -> Document:
        """Queue a failed document again; any other is left as it is.

        password: the file is decrypted in a limited child and that copy is kept beside the upload, so that page
        previews and later readings need no password; the password itself is stored nowhere. The SHA-256 stays
        that of the upload. Raises PasswordNeeded when the password is wrong, NotFound, StorageFull.
        """
        document = self._editable(document_id, actor, Action.DOCUMENT_RETRY)
        if document.state != FAILED:
            return document
        with self._audit.act(actor, Action.DOCUMENT_RETRY, target=document.title, detail=_detail(document)):
            if password is not None:
                self._unlock(document, password)
            elif document.error and document.error["kind"] == PasswordNeeded.__name__:
                raise password_needed()
            with self._database.session() as session:
                if row := hold(session, document_id, FAILED):
                    row.state = EMBEDDING if row.chunks_total else QUEUED
                    row.error = None
        self.on_change()
        return self.get(document_id, actor)

    def reindex(self, actor: Actor) -> int:
        """Throw all vectors away and have every chunk embedded again, by the present embedder; how many documents."""
        self._audit.require(actor, Permission.RUN_MODELS, Action.REINDEX)
        with self._audit.act(actor, Action.REINDEX), self.vectors:
            self._vector_store.reset()
            with self._database.session() as session:
                embedded = Document.state.in_((EMBEDDING, READY)) | (
                    (Document.state == FAILED) & (Document.chunks_total > 0)
                )
                begun = session.execute(
                    update(Document).where(embedded).values(state=EMBEDDING, error=None, chunks_done=0)
                )
        self.on_change()
        return begun.rowcount

    def _unlock(self, document: Document, password: str) -> None:
        original = self._files.original(document.sha256, document.format)
        unlocked = self._files.unlocked(document.sha256, document.format, document.id)
        self._files.check_room(2 * document.size_bytes)
        unlock(original, document.format, password, unlocked, self._settings)

    def delete(self, document_id: int, actor: Actor) -> None:
        """Remove a document from rows, full-text index, vectors and disk, also while it is being read or embedded."""
        document = self._editable(document_id, actor, Action.DELETE)
        with self._audit.act(actor, Action.DELETE, target=document.title, detail=_detail(document)):
            with self._database.session() as session:
                document = session.get(Document, document_id)
                if document is None:
                    return
                document.state = DELETING
                session.flush()
                forget_chunks(session, self._lexical, document_id)
            self.finish_delete(document_id)

    def _editable(self, document_id: int, actor: Actor, action: Action) -> Document:
        """The document, if the actor is an editor of its collection. Raises NotFound, Denied."""
        document = self.get(document_id, actor)
        self._membership.require_editor(actor, document.collection_id, action)
        return document

    def _collections(self, ids: Sequence[int]) -> list[Collection]:
        with self._database.session() as session:
            return list(session.scalars(select(Collection).where(Collection.id.in_(ids)).order_by(Collection.name)))

    def finish_delete(self, document_id: int) -> None:
        """The part of a deletion after its mark is committed: repeatable, also run for marks found at a restart."""
        with self.vectors:
            self._vector_store.delete_document(document_id)
        with self._placing:
            with self._database.session() as session:
                document = session.get(Document, document_id)
                if document is None:
                    return
                forget_chunks(session, self._lexical, document_id)
                session.delete(document)
            self._files.unlocked(document.sha256, document.format, document_id).unlink(missing_ok=True)
            self._remove_unused(document.sha256, document.format)

    def _remove_unused(self, sha256: str, format: str) -> None:
        """Unlink the uploaded bytes when no row names them. The caller holds `_placing`."""
        with self._database.session() as session:
            used = session.scalar(select(Document.id).where(Document.sha256 == sha256).limit(1))
        if used is None:
            self._files.original(sha256, format).unlink(missing_ok=True)


def _detail(document: Document) -> FileDetail:
    return FileDetail(
        document_id=document.id,
        title=document.title,
        sha256=document.sha256,
        size_bytes=document.size_bytes,
        collection=str(document.collection_id),
    )
