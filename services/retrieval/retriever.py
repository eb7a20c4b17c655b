"""From a question to the passages that may answer it, and how sure the portal is that they do."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from sqlalchemy import select

from db.tables import Chunk, Document
from services.errors import PortalError
from services.retrieval import confidence, lexical
from services.retrieval.fusion import ScoredChunk, fuse
from services.stopwatch import Stopwatch

if TYPE_CHECKING:
    from db.database import Database
    from services.retrieval.embedding import Embedder
    from services.retrieval.lexical import LexicalIndex
    from services.retrieval.vector_store import VectorStore
    from services.settings import Settings

TELLING_WORDS = 0.3  # share of the attainable BM25 from which the best hit by words is taken seriously by itself
CANDIDATES = 30  # chunks taken from each index
VECTOR_WAIT_S = 2.0  # a question waits no longer for vectors (the embedder may still be loading): words alone then
SIMULTANEOUS = 8

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Passage:
    """A chunk with its document, as it was found. score: see fusion.fuse; segments: see db.tables.Chunk."""

    chunk_id: int
    document_id: int
    title: str
    format: str
    text: str
    heading_path: list[str]
    segments: list[list[int]]
    ordinal: int
    score: float


@dataclass(frozen=True)
class Rankings:
    """What each index found, best first, and both together. vector_error: why there are no vectors, if known."""

    question: str
    lexical: list[ScoredChunk]
    vector: list[ScoredChunk]
    fused: list[ScoredChunk]
    weights: dict[str, float]  # of the question's words, see LexicalHits
    vector_error: PortalError | None = None


@dataclass(frozen=True)
class Retrieval:
    """passages: best first. confidence: that they answer the question, in [0, 1]; 0.5 is the calibrated threshold.

    timings_ms: embed, vector, lexical, fuse, load, confidence, total; embed and vector run beside lexical.
    """

    passages: list[Passage]
    confidence: float
    timings_ms: dict[str, float] = field(default_factory=dict)
    vector_error: PortalError | None = None
    question: str = ""  # what was searched for: the question, or with the one before it


class Retriever:
    """Searches words and vectors side by side. Thread-safe."""

    def __init__(
        self,
        database: Database,
        embedder: Embedder,
        lexical_index: LexicalIndex,
        vector_store: VectorStore,
        settings: Settings,
        *,
        vector_wait_s: float = VECTOR_WAIT_S,
    ) -> None:
        self._database = database
        self._embedder = embedder
        self._vector_wait_s = vector_wait_s
        self._lexical = lexical_index
        self._vector_store = vector_store
        self._settings = settings
        self._vector_searches = ThreadPoolExecutor(SIMULTANEOUS, "vector-search")

    def retrieve(
        self,
        question: str,
        *,
        collection_ids: Sequence[int],
        limit: int = 6,
        context_question: str | None = None,
    ) -> Retrieval:
        """Passages of the collections for the question.

        context_question: the question before, in a conversation. When the question alone finds nothing good enough
        ("And in winter?"), both together are tried, and what is found with more confidence is returned.
        """
        watch = Stopwatch()
        found = self._retrieve(question, collection_ids, limit, watch)
        if context_question and found.confidence < self._settings.refusal_threshold:
            joined = self._retrieve(f"{context_question}\n{question}", collection_ids, limit, watch)
            found = max(found, joined, key=lambda retrieval: retrieval.confidence)
        watch.stop()
        return found

    def rank(self, question: str, collection_ids: Sequence[int], watch: Stopwatch) -> Rankings:
        """Both rankings and their fusion, without loading the chunks."""
        vectors = self._vector_searches.submit(self._search_vectors, question, collection_ids)
        with watch.step("lexical"):
            hits = self._lexical.search(question, collection_ids, CANDIDATES)
        vector, error = self._result(vectors, watch)
        with watch.step("fuse"):
            if vector and self._not_embedded_yet(hits.chunks):
                vector = []
            fused = fuse(hits.chunks, vector)
        return Rankings(question, hits.chunks, vector, fused, hits.weights, error)

    def _not_embedded_yet(self, lexical_hits: Sequence[ScoredChunk]) -> bool:
        """Whether the words point to a chunk that has no vector yet: cosines of others would bury it."""
        best = next(iter(lexical_hits), None)
        return best is not None and best.score >= TELLING_WORDS and not self._vector_store.has(best.chunk_id)

    def assess(self, rankings: Rankings, passages: Sequence[Passage]) -> float:
        """Confidence in [0, 1] that the passages (the best of the rankings) answer the question.

        Cosines of an embedder that the models were not fitted for say nothing: its rankings are judged by words alone.
        """
        if not confidence.calibrated_for(self._embedder.name):
            rankings = replace(rankings, vector=[])
        return confidence.assess(rankings, [passage.text for passage in passages])

    def load(self, hits: Sequence[ScoredChunk]) -> list[Passage]:
        """The chunks of the hits with their documents, in the same order; chunks deleted meanwhile are left out."""
        scores = {hit.chunk_id: hit.score for hit in hits}
        columns = (Chunk, Document.title, Document.format)
        statement = select(*columns).join(Document, Document.id == Chunk.document_id).where(Chunk.id.in_(scores))
        with self._database.session() as session:
            rows = {chunk.id: (chunk, title, format_) for chunk, title, format_ in session.execute(statement)}
        return [_passage(*rows[chunk_id], score) for chunk_id, score in scores.items() if chunk_id in rows]

    def warm_up(self) -> None:
        """Load what the first question would wait for: the Chinese dictionary, the embedder, Chroma."""
        lexical.warm_up()
        try:
            self._embedder.embed_query("warm-up")
            self._vector_store.open()
        except PortalError as error:
            log.warning("Searching without vectors: %s", error)

    def close(self) -> None:
        self._vector_searches.shutdown(wait=False, cancel_futures=True)

    def _retrieve(self, question: str, collection_ids: Sequence[int], limit: int, watch: Stopwatch) -> Retrieval:
        rankings = self.rank(question, collection_ids, watch)
        with watch.step("load"):
            passages = self.load(rankings.fused[: max(limit, confidence.PASSAGES)])
        with watch.step("confidence"):
            certainty = self.assess(rankings, passages)
        return Retrieval(passages[:limit], certainty, watch.timings_ms, rankings.vector_error, question)

    def _search_vectors(self, question: str, collection_ids: Sequence[int]) -> tuple[list[ScoredChunk], Stopwatch]:
        watch = Stopwatch()
        with watch.step("embed"):
            embedding = self._embedder.embed_query(question)
        with watch.step("vector"):
            return self._vector_store.search(embedding, collection_ids, CANDIDATES), watch

    def _result(
        self, vectors: Future[tuple[list[ScoredChunk], Stopwatch]], watch: Stopwatch
    ) -> tuple[list[ScoredChunk], PortalError | None]:
        """The hits of the vector search; none when it fails in a known way or takes too long."""
        try:
            hits, spent = vectors.result(self._vector_wait_s)
        except FutureTimeoutError:
            log.warning("Searching without vectors: none within %s s", self._vector_wait_s)
            return [], None
        except PortalError as error:
            log.warning("Searching without vectors: %s", error)
            return [], error
        for step, duration_ms in spent.timings_ms.items():
            watch.add(step, duration_ms)
        return hits, None


def _passage(chunk: Chunk, title: str, format_: str, score: float) -> Passage:
    return Passage(
        chunk_id=chunk.id,
        document_id=chunk.document_id,
        title=title,
        format=format_,
        text=chunk.text,
        heading_path=chunk.heading_path,
        segments=chunk.segments,
        ordinal=chunk.ordinal,
        score=score,
    )
