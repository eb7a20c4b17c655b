"""Full-text search: jieba tokens in SQLite's FTS5, ranked by BM25.

Chinese has no spaces, so the text is cut into words before it is stored; a question is cut the same way.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from threading import Lock
from typing import TYPE_CHECKING, Protocol

from sqlalchemy import bindparam
from sqlalchemy import text as sql

from services.retrieval import own_statistics
from services.retrieval.fusion import ScoredChunk
from services.retrieval.own_statistics import fts5_idf, quoted

if TYPE_CHECKING:
    from jieba import Tokenizer
    from sqlalchemy.orm import Session

    from db.database import Database

_WORD = re.compile(r"[^\W_]+(?:[-_./:@+#][^\W_]+)*")  # a word, a number, or a compound: apt-get, etc/fstab, 3.2
_PART = re.compile(r"[^\W_]+")
_POSSESSIVE = re.compile(r"['’]s\b")
_HAN = re.compile(r"[㐀-鿿豈-﫿]+")
_loading = Lock()
# Sentences of passages are cut into words for the evidence and again for the citations; some come back every day.
_REMEMBERED_TEXTS, _REMEMBERED_LENGTH = 10_000, 1_000

# Left out of a question's search: without them it is faster and ranks better (XQuAD en, nDCG@10 0.965 → 0.968).
_STOP_WORDS = """
a an the of in on at to for by with from and or is are was were be been do does did what which who whom whose when
where how why that this it its as into has have had can could would will should i we my our me you your there
的 了 是 在 和 与 什么 哪 哪个 哪些 哪里 谁 多少 如何 怎么 怎样 为什么 何时 吗 呢 有 被 几 个 我 我们 你 请问
"""


def tokens(text: str) -> list[str]:
    """Words of a text in their order: lower case, full-width forms and accents folded, no punctuation.

    Chinese is cut into words and the words inside them (科学院 → 科学 学院 科学院); English plurals become singular.
    A compound gives its parts and then itself: apt-get → apt, get, apt-get.
    """
    return list(_tokens(text) if len(text) <= _REMEMBERED_LENGTH else _tokens.__wrapped__(text))


@lru_cache(maxsize=_REMEMBERED_TEXTS)
def _tokens(text: str) -> tuple[str, ...]:
    found: list[str] = []
    for match in _WORD.finditer(_POSSESSIVE.sub("", fold(text))):
        compound = match.group()
        parts = _PART.findall(compound)
        for part in parts:
            found += _split_scripts(part)
        if len(parts) > 1 and not _HAN.search(compound):
            found.append(_PART.sub(lambda part: singular(part.group()), compound))
    return tuple(found)


def content_tokens(question: str) -> list[str]:
    """The tokens of a question without the words every question has; all of them when nothing else is left."""
    every = list(dict.fromkeys(tokens(question)))
    return [token for token in every if token not in _stop_words()] or every


def singular(word: str) -> str:
    """An English plural without its s, the same for every text: policies → policy, Texas → texa."""
    if len(word) < 4 or not word.isascii() or not word.isalpha() or word.endswith(("ss", "us", "is")):
        return word
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith(("sses", "shes", "ches", "xes")):
        return word[:-2]
    return word.removesuffix("s")


def fold(text: str) -> str:
    """Lower case, compatibility forms (Ａ, ①, ﬁ) and accents folded."""
    folded = unicodedata.normalize("NFKC", text).lower()
    if folded.isascii():
        return folded
    bare = "".join(ch for ch in unicodedata.normalize("NFD", folded) if not unicodedata.combining(ch))
    return unicodedata.normalize("NFC", bare)


def warm_up() -> None:
    """Load the dictionary (about a second, 80 MB), so that the first question does not wait for it."""
    segmenter()


@cache
def _stop_words() -> frozenset[str]:
    return frozenset(singular(word) for word in _STOP_WORDS.split())


def _split_scripts(part: str) -> list[str]:
    """A run of letters and digits, its Chinese stretches cut into words: 第3章usb → 第, 3, 章, usb."""
    found, start = [], 0
    for han in _HAN.finditer(part):
        found += [singular(part[start : han.start()])] if han.start() > start else []
        found += segmenter().cut_for_search(han.group())
        start = han.end()
    return found + ([singular(part[start:])] if start < len(part) else [])


def segmenter() -> Tokenizer:
    with _loading:
        return _load_segmenter()


@cache
def _load_segmenter() -> Tokenizer:
    """jieba with its own dictionary, read from the package: its cache would be a file in the shared /tmp."""
    import jieba

    segmenter = jieba.Tokenizer()
    segmenter.FREQ, segmenter.total = segmenter.gen_pfdict(segmenter.get_dict_file())
    segmenter.initialized = True
    return segmenter


_SEARCH = sql(
    "SELECT chunks_fts.rowid, -bm25(chunks_fts) AS score FROM chunks_fts"
    " JOIN chunks ON chunks.id = chunks_fts.rowid"
    " WHERE chunks_fts MATCH :match AND chunks.collection_id IN :collections"
    " ORDER BY score DESC, chunks_fts.rowid LIMIT :limit"
).bindparams(bindparam("collections", expanding=True))


# The words of the index with their frequencies; a view on it, made once per connection.
_VOCABULARY = sql("CREATE VIRTUAL TABLE IF NOT EXISTS temp.chunks_words USING fts5vocab('main', 'chunks_fts', 'row')")
_FREQUENCIES = sql("SELECT term, doc FROM temp.chunks_words WHERE term IN :words").bindparams(
    bindparam("words", expanding=True)
)
_K1_PLUS_1 = 2.2  # FTS5's k1 is 1.2
_PRIOR = 200  # chunks: keeps the weights of words apart in a small index


@dataclass(frozen=True)
class LexicalHits:
    """What a search found, and the weight of each word of the question: the rarer in the index, the heavier."""

    chunks: list[ScoredChunk]
    weights: dict[str, float]


class IndexedChunk(Protocol):
    """What is read of a chunk: db.tables.Chunk has it."""

    id: int
    text: str
    heading_path: list


class LexicalIndex:
    """The table chunks_fts: rowid is the chunk's id, `tokens` its words separated by spaces."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, session: Session, chunks: Iterable[IndexedChunk]) -> None:
        """Index chunks that have their id, in the caller's transaction; their heading path is searched too."""
        rows = [{"id": chunk.id, "tokens": _stored(chunk)} for chunk in chunks]
        if rows:
            session.execute(sql("INSERT INTO chunks_fts (rowid, tokens) VALUES (:id, :tokens)"), rows)

    def remove(self, session: Session, chunk_ids: Iterable[int]) -> None:
        """Forget chunks, in the caller's transaction; ids that are not there are ignored."""
        rows = [{"id": chunk_id} for chunk_id in chunk_ids]
        if rows:
            session.execute(sql("DELETE FROM chunks_fts WHERE rowid = :id"), rows)

    def search(self, question: str, collection_ids: Sequence[int], limit: int) -> LexicalHits:
        """Chunks of the collections that share a word with the question, best first.

        score: BM25 as a share of the most that a chunk could get for this question, in about [0, 1]: a question of
        which little is found has low scores, also for its best chunk.
        """
        question_tokens = content_tokens(question)
        words = [token for token in question_tokens if token.isalnum()]
        if not words or not collection_ids:
            return LexicalHits([], {})
        with self._database.session() as session:
            if own_statistics.others_are_indexed(session, collection_ids):
                total, frequencies = own_statistics.frequencies(session, question_tokens, collection_ids)
                idf = {token: fts5_idf(total, frequency) for token, frequency in frequencies.items()}
                found = own_statistics.search(session, question_tokens, collection_ids, idf, limit)
            else:
                total, frequencies = _frequencies(session, words)
                found = _search(session, question_tokens, collection_ids, limit)
        most = _K1_PLUS_1 * sum(fts5_idf(total, frequencies.get(word, 0)) for word in words)
        weights = {word: math.log((total + _PRIOR) / (frequencies.get(word, 0) + 1)) for word in words}
        return LexicalHits([ScoredChunk(hit.chunk_id, hit.score / most) for hit in found], weights)


def _stored(chunk: IndexedChunk) -> str:
    """Single words only: FTS5 takes a compound apart itself, and would count its parts twice."""
    whole = "\n".join([*chunk.heading_path, chunk.text])
    return " ".join(token for token in tokens(whole) if token.isalnum())


def _search(
    session: Session, question_tokens: Sequence[str], collection_ids: Sequence[int], limit: int
) -> list[ScoredChunk]:
    """FTS5's own ranking, over an index that is the asker's altogether."""
    match = " OR ".join(map(quoted, question_tokens))
    rows = session.execute(_SEARCH, {"match": match, "collections": list(collection_ids), "limit": limit})
    return [ScoredChunk(chunk_id, score) for chunk_id, score in rows]


def _frequencies(session: Session, words: Sequence[str]) -> tuple[int, dict[str, int]]:
    """The number of chunks, and in how many of them each word stands (words that stand in none are left out)."""
    session.execute(_VOCABULARY)
    total = session.execute(sql("SELECT count(*) FROM chunks")).scalar_one()
    rows = session.execute(_FREQUENCIES, {"words": list(words)})
    return total, {word: count for word, count in rows}
