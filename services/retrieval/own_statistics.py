"""BM25 from the statistics of the asker's own collections.

FTS5's bm25() counts words over the whole index: with it a rare word of somebody else's document would lower its weight
for everybody, and whether a question is refused would tell what stands in collections that the asker cannot read.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from sqlalchemy import TextClause, bindparam
from sqlalchemy import text as sql
from sqlalchemy.orm import Session

from services.retrieval.fusion import ScoredChunk

CANDIDATES = 5  # times the limit: taken in FTS5's order, then scored anew
K1, B = 1.2, 0.75  # as FTS5
_PART = re.compile(r"[^\W_]+")


def _of_collections(statement: str) -> TextClause:
    return sql(statement).bindparams(bindparam("collections", expanding=True))


_FOUND = _of_collections(
    "SELECT chunks_fts.rowid, chunks_fts.tokens FROM chunks_fts JOIN chunks ON chunks.id = chunks_fts.rowid"
    " WHERE chunks_fts MATCH :match AND chunks.collection_id IN :collections ORDER BY chunks_fts.rank LIMIT :limit"
)
_CHUNKS = _of_collections("SELECT count(*) FROM chunks WHERE collection_id IN :collections")
_WITH_WORD = _of_collections(
    "SELECT count(*) FROM chunks_fts WHERE chunks_fts MATCH :match"
    " AND chunks_fts.rowid IN (SELECT id FROM chunks WHERE collection_id IN :collections)"
)
_OTHERS = _of_collections("SELECT 1 FROM chunks WHERE collection_id NOT IN :collections LIMIT 1")


def others_are_indexed(session: Session, collection_ids: Sequence[int]) -> bool:
    """Whether the index holds chunks outside of these collections."""
    return session.execute(_OTHERS, {"collections": list(collection_ids)}).first() is not None


def frequencies(session: Session, phrases: Sequence[str], collection_ids: Sequence[int]) -> tuple[int, dict[str, int]]:
    """The number of chunks in the collections, and in how many of them each phrase stands."""
    values = {"collections": list(collection_ids)}
    total = session.execute(_CHUNKS, values).scalar_one()
    found = {p: session.execute(_WITH_WORD, values | {"match": quoted(p)}).scalar_one() for p in phrases}
    return total, found


def search(
    session: Session, phrases: Sequence[str], collection_ids: Sequence[int], idf: dict[str, float], limit: int
) -> list[ScoredChunk]:
    """The best chunks with their BM25, best first. idf: of each phrase, in these collections."""
    match = " OR ".join(map(quoted, phrases))
    values = {"match": match, "collections": list(collection_ids), "limit": CANDIDATES * limit}
    rows = session.execute(_FOUND, values).all()
    if not rows:
        return []
    mean_length = sum(len(tokens.split()) for _id, tokens in rows) / len(rows)
    scored = [ScoredChunk(id_, _bm25(tokens, phrases, idf, mean_length)) for id_, tokens in rows]
    return sorted(scored, key=lambda hit: (-hit.score, hit.chunk_id))[:limit]


def quoted(phrase: str) -> str:
    """Nothing in a question is an FTS5 operator; a compound becomes a phrase of its parts."""
    return '"' + phrase.replace('"', '""') + '"'


def _bm25(tokens: str, phrases: Sequence[str], idf: dict[str, float], mean_length: float) -> float:
    length = len(tokens.split())
    padded = f" {tokens} "
    score = 0.0
    for phrase in phrases:
        count = padded.count(f" {' '.join(_PART.findall(phrase))} ")
        score += idf[phrase] * count * (K1 + 1) / (count + K1 * (1 - B + B * length / mean_length))
    return score


def fts5_idf(total: int, frequency: int) -> float:
    """What FTS5's bm25() weighs a phrase with."""
    return max(math.log((total - frequency + 0.5) / (frequency + 0.5)), 1e-6)
