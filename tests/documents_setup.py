"""A library with its ingest queue in a temporary home: real SQLite, full-text index and Chroma, a fake embedder."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from db.database import Database
from services.audit.trail import AuditTrail, open_audit
from services.documents.ingest import IngestQueue
from services.documents.library import Library
from services.documents.membership import Membership
from services.permissions import CONSOLE
from services.retrieval.lexical import LexicalIndex
from services.retrieval.vector_store import VectorStore
from services.settings import Settings
from tests.evaluation_data import EVAL

EVAL_DIR = EVAL


class FakeEmbedder:
    """Unit vectors made of a text's hash; seconds_per_text makes embedding slow, `texts` counts what it got."""

    name, dim = "fake", 8

    def __init__(self, seconds_per_text: float = 0.0) -> None:
        self.seconds_per_text = seconds_per_text
        self.texts: list[str] = []

    def embed_documents(self, texts: Sequence[str]) -> list[list[float]]:
        time.sleep(self.seconds_per_text * len(texts))
        self.texts += texts
        return [self.embed_query(text) for text in texts]

    def embed_query(self, text: str) -> list[float]:
        digest = hashlib.sha256(text.encode()).digest()[: self.dim]
        length = sum(byte * byte for byte in digest) ** 0.5
        return [byte / length for byte in digest]

    def count_tokens(self, text: str) -> int:
        return len(text.split())

    def close(self) -> None:
        pass


@dataclass
class Setup:
    settings: Settings
    database: Database
    embedder: FakeEmbedder
    lexical: LexicalIndex
    vector_store: VectorStore
    audit: AuditTrail
    membership: Membership
    library: Library
    queue: IngestQueue
    collection_id: int

    def add(self, source, title="x.pdf", **options):
        return self.library.add(source, title, actor=CONSOLE, collection_id=self.collection_id, **options)

    def ingest(self, source, title="x.pdf", **options):
        """Add, wait until it is askable or failed, and return the row."""
        document = self.add(source, title, **options)
        assert self.queue.wait_askable(document.id, 120)
        return self.library.get(document.id, CONSOLE)

    def texts(self, document_id: int) -> list[tuple[str, list, list]]:
        """(text, segments, heading path) of a document's chunks in order."""
        sql = "SELECT id FROM chunks WHERE document_id = ? ORDER BY ordinal"
        chunks = [self.library.chunk(row[0], CONSOLE)[1] for row in self.rows(sql, document_id)]
        return [(chunk.text, chunk.segments, chunk.heading_path) for chunk in chunks]

    def rows(self, sql: str, *values) -> list:
        with self.database.engine.connect() as connection:
            return list(connection.exec_driver_sql(sql, values))

    def counts(self) -> dict[str, int]:
        """What must agree when all is ingested: chunks, full-text entries, vectors."""
        return {
            "chunks": self.rows("SELECT count(*) FROM chunks")[0][0],
            "full text": self.rows("SELECT count(*) FROM chunks_fts")[0][0],
            "vectors": self.vector_store.count(),
        }

    def files(self) -> list[str]:
        """Stored and spooled files."""
        home = self.settings.home
        return sorted(p.name for folder in ("documents", "spool") for p in (home / folder).rglob("*") if p.is_file())

    def close(self) -> None:
        self.queue.close()
        self.vector_store.close()
        self.audit.close()
        self.database.close()


def set_up(home: Path, *, embedder: FakeEmbedder | None = None, start: bool = True, **settings) -> Setup:
    """disk_reserve_mib is 1 unless given, so that tests run on small disks."""
    chosen = Settings(home=home, **{"disk_reserve_mib": 1, **settings})
    database = Database.open(chosen.database_path)
    embedder = embedder or FakeEmbedder()
    lexical = LexicalIndex(database)
    vector_store = VectorStore(database, chosen, embedder)
    audit = AuditTrail(open_audit(chosen), chosen)
    membership = Membership(database, audit)
    library = Library(database, chosen, lexical, vector_store, membership=membership, audit=audit)
    queue = IngestQueue(database, library, embedder, lexical, vector_store, chosen)
    collection = library.ensure_collection("Tests", CONSOLE)
    if start:
        queue.start()
    parts = (lexical, vector_store, audit, membership, library, queue)
    return Setup(chosen, database, embedder, *parts, collection.id)
