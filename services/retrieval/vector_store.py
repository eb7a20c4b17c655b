"""The only door to Chroma: the embedded client, cosine space, our own vectors."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Sequence
from functools import cached_property
from threading import Lock
from typing import IO, TYPE_CHECKING

from sqlalchemy import update

from db.tables import Chunk, IndexProperty
from services.errors import IndexInUse, IndexMismatch
from services.retrieval.fusion import ScoredChunk
from services.translation import N_

if TYPE_CHECKING:
    from chromadb.api import ClientAPI
    from chromadb.api.models.Collection import Collection

    from db.database import Database
    from services.retrieval.embedding import Embedder
    from services.settings import Settings

COLLECTION = "chunks"
BATCH = 500


class VectorStore:
    """Vectors of chunks on disk, under the chunk's id. Thread-safe; Chroma is imported and opened at the first use.

    One process owns the folder: an exclusive lock on PORTAL_HOME/chroma.lock is held from the first use until close().
    Every method may raise IndexInUse (another process owns it) or IndexMismatch (made by another embedder).
    """

    def __init__(self, database: Database, settings: Settings, embedder: Embedder) -> None:
        self._settings = settings
        self._database = database
        self._embedder = embedder
        self._opening = Lock()
        self._lock_file: IO | None = None

    def open(self) -> None:
        """Import and open Chroma now (a second or two), rather than at the first question."""
        self._collection()

    def upsert(self, chunk_ids: Sequence[int], embeddings: Sequence[Sequence[float]], metadatas: list[dict]) -> None:
        """Store vectors, replacing those with the same id.

        embeddings: shape (n, embedder.dim). metadatas: {"document_id": int, "collection_id": int} each.
        """
        collection = self._collection()
        for at in range(0, len(chunk_ids), BATCH):
            part = slice(at, at + BATCH)
            collection.upsert(
                ids=[str(chunk_id) for chunk_id in chunk_ids[part]],
                embeddings=list(embeddings[part]),
                metadatas=metadatas[part],
            )

    def delete_document(self, document_id: int) -> None:
        """Forget every vector of the document; none is fine."""
        self._collection().delete(where={"document_id": document_id})

    def search(self, embedding: Sequence[float], collection_ids: Sequence[int], limit: int) -> list[ScoredChunk]:
        """The nearest chunks of the collections, best first.

        score: cosine similarity in [-1, 1] (Chroma returns a distance d; we return 1 - d).
        """
        if not collection_ids:
            return []
        found = self._collection().query(
            query_embeddings=[list(embedding)],
            n_results=limit,
            where={"collection_id": {"$in": list(collection_ids)}},
            include=["distances"],
        )
        return [ScoredChunk(int(i), 1 - d) for i, d in zip(found["ids"][0], found["distances"][0], strict=True)]

    def has(self, chunk_id: int) -> bool:
        """Whether the chunk's vector is stored."""
        return bool(self._collection().get(ids=[str(chunk_id)], include=[])["ids"])

    def count(self) -> int:
        return self._collection().count()

    def reset(self) -> None:
        """Throw every vector away and start an index for the present embedder; all chunks count as not embedded."""
        with self._opening:
            self.__dict__.pop("_opened", None)
            if any(collection.name == COLLECTION for collection in self._client.list_collections()):
                self._client.delete_collection(COLLECTION)
            with self._database.session() as session:
                for name, value in self._properties().items():
                    session.merge(IndexProperty(name=name, value=value))
                session.execute(update(Chunk).values(embedded=False))

    def close(self) -> None:
        """Let go of the folder, for the next process."""
        with self._opening:
            self.__dict__.pop("_opened", None)
            if client := self.__dict__.pop("_client", None):
                client.close()
            if self._lock_file:
                self._lock_file.close()
                self._lock_file = None

    def _collection(self) -> Collection:
        with self._opening:
            return self._opened

    @cached_property
    def _opened(self) -> Collection:
        self._check_embedder()
        return self._client.get_or_create_collection(
            COLLECTION,
            embedding_function=None,  # Chroma's default would download a model
            configuration={"hnsw": {"space": "cosine", "ef_search": 200}},
        )

    @cached_property
    def _client(self) -> ClientAPI:
        self._own_folder()
        import chromadb
        from chromadb.config import Settings as ChromaSettings

        settings = ChromaSettings(anonymized_telemetry=False)
        return chromadb.PersistentClient(str(self._settings.chroma_dir), settings=settings)

    def _own_folder(self) -> None:
        self._settings.home.mkdir(parents=True, exist_ok=True)
        lock_file = (self._settings.home / "chroma.lock").open("a+")
        try:
            fcntl.flock(lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock_file.close()
            raise IndexInUse(
                N_("Another process is using the vector index in {home}."),
                hint=N_("Stop the portal that runs on this folder, or ask through it."),
                home=str(self._settings.home),
            ) from error
        lock_file.truncate(0)
        lock_file.write(f"{os.getpid()}\n")
        lock_file.flush()
        self._lock_file = lock_file

    def _check_embedder(self) -> None:
        """Note the embedder's name and dimension with a new index; compare them with those of an old one."""
        wanted = self._properties()
        with self._database.session() as session:
            stored = {name: row.value for name in wanted if (row := session.get(IndexProperty, name))}
            if not stored:
                session.add_all(IndexProperty(name=name, value=value) for name, value in wanted.items())
        if stored and stored != wanted:
            raise IndexMismatch(
                N_("The index was made with {stored}; the portal is set to {wanted}."),
                hint=N_("Set PORTAL_EMBEDDER back, or have all documents embedded again: cli.py documents reindex."),
                stored=stored.get("embedder", "?"),
                wanted=wanted["embedder"],
            )

    def _properties(self) -> dict[str, str]:
        return {"embedder": self._embedder.name, "embedding_dim": str(self._embedder.dim)}
