"""Answerability: how sure the portal is that the passages it found answer the question.

A small model cannot judge that itself, so it is a logistic regression over what the two searches saw. There is one
model per situation (question's language; passages in another language; no vectors yet), fitted and shifted so that
0.5 is the calibrated threshold; confidence.json holds coefficients and provenance, `cli.py eval refusal` measures.
No feature depends on how many chunks are indexed, except through which chunks are the best.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from services.retrieval import sentences
from services.retrieval.lexical import tokens
from services.translation import language_of

if TYPE_CHECKING:
    from services.retrieval.fusion import ScoredChunk
    from services.retrieval.retriever import Rankings

PASSAGES = 3  # the best ones, in which the question's words are looked for
NOTHING_FOUND = "nothing-found"  # the situation without any passage: no model, confidence 0
COEFFICIENTS = Path(__file__).with_name("confidence.json")

_LATIN = re.compile(r"[A-Za-z][A-Za-z'-]+")
_DIGIT = re.compile(r"\d")

HYBRID_FEATURES = (
    "cosine", "cosine_lead", "best_passage", "mean_passage", "best_sentence", "best_pair", "number_missing",
    "names_missing", "agreement",
)  # fmt: skip
LEXICAL_FEATURES = (
    "lexical", "lexical_lead", "best_passage", "mean_passage", "best_sentence", "best_pair", "number_missing",
    "names_missing",
)  # fmt: skip
CROSS_LINGUAL_FEATURES = ("cosine", "cosine_lead", "cosine_lead_of_5", "cosine_lead_of_all")
FEATURES = {
    "en": HYBRID_FEATURES,
    "zh": HYBRID_FEATURES,
    "en-lexical": LEXICAL_FEATURES,
    "zh-lexical": LEXICAL_FEATURES,
    "cross-lingual": CROSS_LINGUAL_FEATURES,
}


def assess(rankings: Rankings, texts: Sequence[str]) -> float:
    """Confidence in [0, 1] that the texts, the best passages in their order, answer the question; 0 without any."""
    if not texts:
        return 0.0
    return predict(situation(rankings, texts), features(rankings, texts))


def situation(rankings: Rankings, texts: Sequence[str]) -> str:
    """Which model applies: a key of FEATURES. The best passage says in which language the answer would be."""
    language = language_of(rankings.question)
    if not rankings.vector:
        return f"{language}-lexical"
    return language if language_of(texts[0]) == language else "cross-lingual"


def features(rankings: Rankings, texts: Sequence[str]) -> dict[str, float]:
    """Everything that any of the models looks at.

    cosine*: of the passage that came first, and the lead of the nearest chunk over the next ones. lexical*: share of
    the attainable BM25. best_* and mean_passage: share of the question's words, rare ones weighing more, that stand in
    a passage, a sentence, two sentences. *_missing: numbers and names of the question that stand in no passage.
    """
    best = [_sentence_tokens(text) for text in texts[:PASSAGES]]
    found = [set().union(*passage) for passage in best]
    everywhere = set().union(*found)
    covered = [_coverage(rankings.weights, passage) for passage in found]
    names = _names(rankings.question)
    return {
        **_cosine_features(rankings),
        "lexical": rankings.lexical[0].score if rankings.lexical else 0.0,
        "lexical_lead": _lead(rankings.lexical, 1),
        "best_passage": covered[0],
        "mean_passage": sum(covered) / len(covered),
        "best_sentence": max(_coverage(rankings.weights, words) for passage in best for words in passage),
        "best_pair": max(_coverage(rankings.weights, words) for passage in best for words in _pairs(passage)),
        "number_missing": float(any(_DIGIT.search(w) and w not in everywhere for w in rankings.weights)),
        "names_missing": sum(name not in everywhere for name in names) / len(names) if names else 0.0,
        "agreement": float(_first(rankings.lexical) == _first(rankings.vector) is not None),
    }


def predict(situation_: str, values: Mapping[str, float]) -> float:
    """Confidence in [0, 1] by the model of the situation."""
    if situation_ == NOTHING_FOUND:
        return 0.0
    model = models()[situation_]
    logit = model["intercept"] + sum(weight * values[name] for name, weight in model["coefficients"].items())
    return 1 / (1 + math.exp(-max(min(logit, 50.0), -50.0)))


def calibrated_for(embedder: str) -> bool:
    """Whether the models were fitted on the cosines of this embedder: each has a scale of its own."""
    return _document()["provenance"]["embedder"] == embedder


def models() -> dict[str, dict]:
    """{situation: {"intercept": b, "coefficients": {feature: w}}}"""
    return _document()["models"]


def write_models(document: dict) -> None:
    """Make {"provenance", "models"} what the portal uses."""
    COEFFICIENTS.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    _document.cache_clear()


@cache
def _document() -> dict:
    return json.loads(COEFFICIENTS.read_text(encoding="utf-8"))


def _cosine_features(rankings: Rankings) -> dict[str, float]:
    cosines = {hit.chunk_id: hit.score for hit in rankings.vector}
    first = rankings.fused[0].chunk_id if rankings.fused else None
    return {
        "cosine": cosines.get(first, min(cosines.values(), default=0.0)),
        "cosine_lead": _lead(rankings.vector, 1),
        "cosine_lead_of_5": _lead(rankings.vector, 5),
        "cosine_lead_of_all": _lead(rankings.vector, len(rankings.vector)),
    }


def _lead(hits: Sequence[ScoredChunk], of: int) -> float:
    """How far the best score is ahead of the mean of the next `of`; 0 when there is no next."""
    others = [hit.score for hit in hits[1 : of + 1]]
    return hits[0].score - sum(others) / len(others) if others else 0.0


def _first(hits: Sequence[ScoredChunk]) -> int | None:
    return hits[0].chunk_id if hits else None


def _sentence_tokens(text: str) -> list[set[str]]:
    return [set(tokens(text[span.start : span.end])) for span in sentences.split(text)] or [set()]


def _pairs(passage: list[set[str]]) -> list[set[str]]:
    """Each two neighbouring sentences together; a single sentence stands for itself."""
    return [first | second for first, second in pairwise(passage)] or passage


def _coverage(weights: Mapping[str, float], words: set[str]) -> float:
    """Share, in [0, 1], of the question's words that are among the words, by weight."""
    total = sum(weights.values())
    return sum(weight for word, weight in weights.items() if word in words) / total if total else 0.0


def _names(question: str) -> list[str]:
    """Tokens that name something: Latin words in Chinese; capitalised words but the first in English."""
    words = _LATIN.findall(question)
    named = words if language_of(question) == "zh" else [word for word in words[1:] if word[0].isupper()]
    return [token for word in named for token in tokens(word) if token.isalnum()]
