"""The ingest queue: reads queued documents and embeds their chunks, in threads of the portal.

All state is in the rows, so a restart goes on where the last process ended: documents caught while being read are
read again, embedding continues with the chunks that have no vector. A kill between two steps repeats work, it never
leaves a chunk marked as embedded whose vector is missing.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable
from itertools import count
from typing import TYPE_CHECKING

from db.database import Database
from db.tables import Chunk, Document
from services.documents.extract import Extraction, extract
from services.documents.library import Library
from services.documents.rows import QUEUED, READING, DocumentRows
from services.errors import PortalError, StorageFull
from services.settings import Settings
from services.stopwatch import Stopwatch
from services.translation import N_

if TYPE_CHECKING:
    from services.retrieval.embedding import Embedder
    from services.retrieval.lexical import LexicalIndex
    from services.retrieval.vector_store import VectorStore

INDEX_BATCH = 32  # chunks per transaction: others wait for the database's write lock that long
EMBED_BATCH = 8  # chunks per call of the embedder: the time after which another document gets its turn
OLDEST_EVERY = 4  # of so many batches one goes to the oldest document, so that small ones cannot starve it
PROGRESS_INTERVAL_S = 0.4
IDLE_WAIT_S = 5.0

log = logging.getLogger(__name__)


class IngestQueue:
    """settings.readers threads that each drive a reading child, and one that embeds. Started and closed once."""

    def __init__(  # noqa: PLR0917 - the bootstrap names them in this order
        self,
        database: Database,
        library: Library,
        embedder: Embedder,
        lexical: LexicalIndex,
        vector_store: VectorStore,
        settings: Settings,
    ) -> None:
        self._library, self._embedder, self._vector_store = library, embedder, vector_store
        self._settings = settings
        self._rows = DocumentRows(database, lexical)
        self._closing = threading.Event()
        self._changed = threading.Condition()
        self._changes = 0
        self._threads: list[threading.Thread] = []
        self._turns = count()

    def start(self) -> None:
        """Begin work, first on what an earlier process left unfinished."""
        self._library.on_change = self.notify
        interrupted_deletions = self._rows.requeue_interrupted()
        works: list[tuple[str, Callable[[], bool]]] = [("read", self._read_next)] * self._settings.readers
        for name, work in [*works, ("embed", self._embed_next)]:
            thread = threading.Thread(target=self._loop, args=(work,), name=f"ingest-{name}", daemon=True)
            self._threads.append(thread)
            thread.start()
        for document_id in interrupted_deletions:
            with _logged("finishing a deletion"):
                self._library.finish_delete(document_id)

    def close(self) -> None:
        """End after the batch at hand; a file that is being read is read again by the next process."""
        self._closing.set()
        self.notify()
        for thread in self._threads:
            thread.join()
        self._threads.clear()

    def notify(self) -> None:
        """There may be something to do."""
        with self._changed:
            self._changes += 1
            self._changed.notify_all()

    def wait_idle(self, timeout_s: float) -> bool:
        """Wait until nothing is queued, being read or embedded; False when the time is over."""
        return self._wait_until(lambda: not self._rows.unfinished(), timeout_s)

    def wait_askable(self, document_id: int, timeout_s: float) -> bool:
        """Wait until a document is askable or has failed; False when the time is over."""
        return self._wait_until(lambda: self._rows.state(document_id) not in (QUEUED, READING), timeout_s)

    def _wait_until(self, reached: Callable[[], bool], timeout_s: float) -> bool:
        deadline_s = time.monotonic() + timeout_s
        while True:
            seen = self._changes
            if reached():
                return True
            left_s = deadline_s - time.monotonic()
            if left_s <= 0:
                return False
            self._sleep_until_change(seen, left_s)

    def _sleep_until_change(self, seen: int, timeout_s: float) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._changes != seen, timeout_s)

    def _loop(self, work: Callable[[], bool]) -> None:
        """Work until there is none, then wait for a change. A bug or a full disk ends a step, not the thread."""
        while not self._closing.is_set():
            seen, worked = self._changes, False
            with _logged("ingesting"):
                worked = work()
            if worked:
                self.notify()
            else:
                self._sleep_until_change(seen, IDLE_WAIT_S)

    def _read_next(self) -> bool:
        document = self._rows.claim_next()
        if document is None:
            return False
        with self._failures_of(document.id):
            self._read(document)
        return True

    def _read(self, document: Document) -> None:
        watch = Stopwatch()
        self._library.check_room()
        with watch.step("read"):
            path = self._library.file_path(document)
            extraction = extract(path, document.format, self._settings, self._page_recorder(document.id))
        if extraction is None:
            return
        with watch.step("index"):
            indexed = self._index(document, extraction)
        if indexed:
            self._rows.finish_reading(
                document.id,
                pages=extraction.pages,
                chunks=len(extraction.chunks),
                notes=extraction.notes,
                timings_ms={name: round(spent) for name, spent in watch.timings_ms.items()},
            )

    def _page_recorder(self, document_id: int) -> Callable[[int, int], bool]:
        """Stores reading progress a few times a second; says False once reading makes no sense any more."""
        last_s = 0.0

        def record(done: int, total: int) -> bool:
            nonlocal last_s
            if self._closing.is_set():
                return False
            if time.monotonic() - last_s < PROGRESS_INTERVAL_S:
                return True
            last_s = time.monotonic()
            return self._rows.record_pages(document_id, done, total)

        return record

    def _index(self, document: Document, extraction: Extraction) -> bool:
        from services.retrieval.lexical import warm_up

        warm_up()  # loading the dictionary takes seconds: not while holding the database's write lock
        chunks = extraction.chunks
        for first in range(0, len(chunks), INDEX_BATCH):
            batch = chunks[first : first + INDEX_BATCH]
            if self._closing.is_set() or not self._rows.add_chunks(document.id, document.collection_id, first, batch):
                return False
        return True

    def _embed_next(self) -> bool:
        oldest_first = next(self._turns) % OLDEST_EVERY == OLDEST_EVERY - 1
        batch = self._rows.next_batch(EMBED_BATCH, oldest_first=oldest_first)
        if batch is None:
            return False
        document, chunks = batch
        with self._failures_of(document.id):
            self._embed(document, chunks)
        return True

    def _embed(self, document: Document, chunks: list[Chunk]) -> None:
        watch = Stopwatch()
        with watch.step("embed"):
            embeddings = self._embedder.embed_documents([embedding_text(chunk) for chunk in chunks])
        ids = [chunk.id for chunk in chunks]
        where = {"document_id": document.id, "collection_id": document.collection_id}
        with watch.step("store"), self._library.vectors:
            if not self._rows.is_embedding(document.id):
                return
            self._vector_store.upsert(ids, embeddings, [where] * len(ids))
        self._rows.record_embedded(document.id, ids, watch.timings_ms)

    @contextlib.contextmanager
    def _failures_of(self, document_id: int):
        """What goes wrong costs this document only; its row says why."""
        try:
            yield
        except PortalError as error:
            self._give_up(document_id, error)
        except Exception as error:
            log.exception("document %d could not be ingested", document_id)
            self._give_up(document_id, self._explain(error))

    def _explain(self, error: Exception) -> PortalError:
        try:
            self._library.check_room()  # on a full disk every library fails in its own way
        except StorageFull as full:
            return full
        return PortalError(
            N_("The document could not be processed: {reason}."),
            hint=N_("Try again; if it fails again, an administrator finds the details in the portal's log."),
            reason=type(error).__name__,
        )

    def _give_up(self, document_id: int, error: PortalError) -> None:
        """Record the failure; on a full disk as soon as the database can be written again."""
        while not self._closing.is_set():
            try:
                self._rows.fail(document_id, error)
                return
            except StorageFull:
                self._closing.wait(IDLE_WAIT_S)


def embedding_text(chunk: Chunk) -> str:
    """What is embedded of a chunk: its headings are part of its meaning."""
    return "\n".join([" > ".join(chunk.heading_path), chunk.text]) if chunk.heading_path else chunk.text


@contextlib.contextmanager
def _logged(doing: str):
    try:
        yield
    except Exception:
        log.exception("%s failed", doing)
