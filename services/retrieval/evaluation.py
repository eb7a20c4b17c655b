"""Retrieval measured on questions whose passage is known, through the same classes that the portal uses.

Every passage is one chunk, every article one collection, in a portal folder of its own: PORTAL_HOME/eval/<hash>.
Vectors are kept there by the hash of their text: embedding a few hundred passages takes minutes on a CPU.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np

from db.database import Database
from db.tables import Chunk, Collection, Document
from services.retrieval.lexical import LexicalIndex
from services.retrieval.retriever import Rankings, Retriever
from services.retrieval.vector_store import VectorStore
from services.stopwatch import Stopwatch

if TYPE_CHECKING:
    from services.retrieval.embedding import Embedder
    from services.settings import Settings

EMBED_BATCH = 8
VECTOR_WAIT_S = 600  # measurements do without no vector
RANKED = 10  # of nDCG@10
PARTS = ("lexical", "vector", "fused")


@dataclass(frozen=True)
class TestPassage:
    pid: str
    title: str  # of the article it is from
    text: str


@dataclass(frozen=True)
class TestQuestion:
    """pid: the passage that answers it, or that an unanswerable one was written about."""

    pid: str
    text: str
    answerable: bool


def read_passages(path: Path) -> list[TestPassage]:
    """JSON lines with pid, title, text."""
    return [TestPassage(row["pid"], row["title"], row["text"]) for row in _rows(path)]


def read_questions(path: Path) -> list[TestQuestion]:
    """JSON lines with pid, question and perhaps answerable; of questions asked twice the first stays, as in MTEB."""
    unique = {row["question"]: row for row in reversed(list(_rows(path)))}
    rows = reversed(unique.values())
    return [TestQuestion(row["pid"], row["question"], row.get("answerable", True)) for row in rows]


class RememberingEmbedder:
    """An embedder that keeps its vectors in a file, by the hash of the text."""

    def __init__(self, embedder: Embedder, folder: Path) -> None:
        self.name, self._embedder = embedder.name, embedder
        self._path = folder / f"vectors-{_digest([embedder.name])}.npz"
        self._lock = Lock()
        self._vectors: dict[str, np.ndarray] = {}
        if self._path.exists():
            with np.load(self._path) as stored:
                self._vectors = dict(zip(stored["keys"].tolist(), stored["vectors"], strict=True))

    @property
    def dim(self) -> int:
        return self._embedder.dim

    def embed_documents(self, texts: Sequence[str]) -> list[list[float]]:
        keys = [_digest(["passage", text]) for text in texts]
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in self._vectors}
        for start in range(0, len(missing), EMBED_BATCH):
            batch = list(missing.items())[start : start + EMBED_BATCH]
            vectors = self._embedder.embed_documents([text for _, text in batch])
            self._remember(zip([key for key, _ in batch], vectors, strict=True))
        return [self._vectors[key].tolist() for key in keys]

    def embed_query(self, text: str) -> list[float]:
        key = _digest(["query", text])
        if key not in self._vectors:
            self._remember([(key, self._embedder.embed_query(text))])
        return self._vectors[key].tolist()

    def forget_queries(self, texts: Iterable[str]) -> None:
        """So that the next embed_query of them is really computed, and timed."""
        for text in texts:
            self._vectors.pop(_digest(["query", text]), None)

    def count_tokens(self, text: str) -> int:
        return self._embedder.count_tokens(text)

    def save(self) -> None:
        with self._lock:
            keys, vectors = list(self._vectors), np.array(list(self._vectors.values()), dtype=np.float32)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(self._path, keys=np.array(keys), vectors=vectors)

    def close(self) -> None:
        self.save()

    def _remember(self, pairs: Iterable[tuple[str, Sequence[float]]]) -> None:
        with self._lock:
            self._vectors |= {key: np.asarray(vector, dtype=np.float32) for key, vector in pairs}


class EvaluationIndex:
    """Passages in a portal folder of their own, with a retriever on it. Made once per set of passages."""

    def __init__(self, settings: Settings, embedder: RememberingEmbedder, passages: Sequence[TestPassage]) -> None:
        digest = _digest([embedder.name, *(f"{p.pid}\n{p.title}\n{p.text}" for p in passages)])
        self.settings = settings.model_copy(update={"home": settings.home / "eval" / digest})
        self.chunk_ids = {passage.pid: number for number, passage in enumerate(passages, start=1)}
        titles = list(dict.fromkeys(passage.title for passage in passages))
        self.collections = {title: number for number, title in enumerate(titles, start=1)}
        self.title_of = {passage.pid: passage.title for passage in passages}
        self._database = Database.open(self.settings.database_path)
        self._store = VectorStore(self._database, self.settings, embedder)
        self._lexical = LexicalIndex(self._database)
        self._fill(passages, embedder)
        self.retriever = Retriever(
            self._database, embedder, self._lexical, self._store, self.settings, vector_wait_s=VECTOR_WAIT_S
        )
        self.retriever.warm_up()

    def rank(self, question: str, titles: Iterable[str] | None = None, watch: Stopwatch | None = None) -> Rankings:
        """Rankings over the articles (None: all)."""
        wanted = self.collections.values() if titles is None else (self.collections[title] for title in titles)
        return self.retriever.rank(question, list(wanted), watch or Stopwatch())

    def close(self) -> None:
        self.retriever.close()
        self._store.close()
        self._database.close()

    def _fill(self, passages: Sequence[TestPassage], embedder: RememberingEmbedder) -> None:
        """Vectors first, rows last: an interrupted filling is begun again."""
        with self._database.session() as session:
            if session.get(Chunk, len(passages)):
                return
        where = [(self.chunk_ids[p.pid], self.collections[p.title]) for p in passages]
        metadatas = [{"document_id": collection, "collection_id": collection} for _, collection in where]
        vectors = embedder.embed_documents([passage.text for passage in passages])
        self._store.upsert([chunk_id for chunk_id, _ in where], vectors, metadatas)
        embedder.save()
        with self._database.session() as session:
            for title, number in self.collections.items():
                session.add(Collection(id=number, name=title, created_by="evaluation"))
                session.add(_document(number, title))
            session.flush()
            chunks = [
                _chunk(chunk_id, collection, passage.text)
                for (chunk_id, collection), passage in zip(where, passages, strict=True)
            ]
            session.add_all(chunks)
            session.flush()
            self._lexical.add(session, chunks)


def evaluate_retrieval(settings: Settings, embedder: Embedder, passages_file: Path, questions_file: Path) -> dict:
    """{"questions", "passages", "scores": {part: {half: {ndcg_at_10, recall_at_1, …}}}, "timings_ms": {step: …}}.

    part: lexical, vector, fused. half: all, chosen_on (questions of every other passage: fusion was chosen on them)
    and held_out. Questions are embedded anew, so that the timings are real; unanswerable ones are left out.
    """
    passages = read_passages(passages_file)
    questions = [question for question in read_questions(questions_file) if question.answerable]
    remembering = RememberingEmbedder(embedder, settings.home / "eval")
    index = EvaluationIndex(settings, remembering, passages)
    try:
        remembering.forget_queries(question.text for question in questions)
        ranks: dict[str, list[int]] = {part: [] for part in PARTS}
        timings: dict[str, list[float]] = {}
        for question in questions:
            watch = Stopwatch()
            rankings = index.rank(question.text, watch=watch)
            watch.stop()
            for step, duration_ms in watch.timings_ms.items():
                timings.setdefault(step, []).append(duration_ms)
            for part in PARTS:
                found = [hit.chunk_id for hit in getattr(rankings, part)]
                ranks[part].append(rank_of(index.chunk_ids[question.pid], found))
    finally:
        remembering.save()
        index.close()
    halves = [in_fitted_half(index.chunk_ids[question.pid]) for question in questions]
    return {
        "questions": len(questions),
        "passages": len(passages),
        "embedder": embedder.name,
        "scores": {part: _scores_by_half(ranks[part], halves) for part in PARTS},
        "timings_ms": {step: _spread(values) for step, values in timings.items()},
    }


def rank_of(wanted: int, found: Sequence[int]) -> int:
    """1-based place; 0 when it was not found."""
    return found.index(wanted) + 1 if wanted in found else 0


def score(ranks: Sequence[int]) -> dict[str, float]:
    """Of 1-based ranks of the one right passage (0: not found). nDCG with one right answer is 1 / log2(rank + 1)."""
    count = len(ranks) or 1
    return {
        "ndcg_at_10": round(sum(1 / math.log2(r + 1) for r in ranks if 0 < r <= RANKED) / count, 4),
        "recall_at_1": round(sum(r == 1 for r in ranks) / count, 4),
        "recall_at_3": round(sum(0 < r <= 3 for r in ranks) / count, 4),
        "mrr": round(sum(1 / r for r in ranks if r) / count, 4),
    }


def in_fitted_half(passage_number: int) -> bool:
    """Whether questions of the passage may be used for choosing; the others are held out."""
    return passage_number % 2 == 1


def _scores_by_half(ranks: Sequence[int], halves: Sequence[bool]) -> dict[str, dict[str, float]]:
    fitted = [rank for rank, in_half in zip(ranks, halves, strict=True) if in_half]
    held_out = [rank for rank, in_half in zip(ranks, halves, strict=True) if not in_half]
    return {"all": score(ranks), "chosen_on": score(fitted), "held_out": score(held_out)}


def _spread(values: Sequence[float]) -> dict[str, float]:
    return {"median": round(median(values), 2), "p95": round(sorted(values)[int(0.95 * (len(values) - 1))], 2)}


def _document(number: int, title: str) -> Document:
    return Document(
        id=number,
        collection_id=number,
        sha256=_digest([title]),
        title=title,
        format="docx",
        size_bytes=0,
        uploaded_by="evaluation",
        state="ready",
    )


def _chunk(chunk_id: int, collection_id: int, text: str) -> Chunk:
    return Chunk(
        id=chunk_id,
        document_id=collection_id,
        collection_id=collection_id,
        ordinal=chunk_id,
        text=text,
        segments=[[1, 0]],
        tokens=0,
        embedded=True,
    )


def _rows(path: Path) -> Iterable[dict]:
    with path.open(encoding="utf-8") as lines:
        yield from (json.loads(line) for line in lines if line.strip())


def _digest(parts: Iterable[str]) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:24]
