"""Evidence: the best sentences of the retrieved passages, with their neighbours, within a token budget.

On a CPU engine reading the prompt is the wait, so every sentence in it has to earn its place.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from services.retrieval.lexical import content_tokens, tokens
from services.retrieval.sentences import Span, split

if TYPE_CHECKING:
    from services.retrieval.retriever import Passage

# Chosen on 200 XQuAD questions per language: how often the answer is among the evidence, against its length.
RANK_WEIGHT = 0.5  # how much being in the first passage counts, against a full overlap with the question
RANK_DECAY = 0.5  # what of it is left with each passage further down
FLOOR = 0.4  # share of the best sentence's score below which a sentence only distracts
NEIGHBOUR = 0.25  # what of a sentence's score each of its two neighbours gets
GAP = " … "  # between sentences that do not follow each other


@dataclass(frozen=True)
class Excerpt:
    """What of one passage goes into the prompt. number: the passage's rank, from 1: what a model's [n] means."""

    number: int
    passage: Passage
    text: str

    @property
    def title(self) -> str:
        """Document and innermost heading, in one line."""
        return " › ".join([self.passage.title, *self.passage.heading_path[-1:]])


@dataclass(frozen=True)
class _Sentence:
    rank: int
    position: int  # in its passage
    span: Span
    text: str


def choose_evidence(
    question: str, passages: Sequence[Passage], *, budget_tokens: int, count_tokens: Callable[[str], int]
) -> list[Excerpt]:
    """The sentences worth reading, grouped by passage, sentences in the document's order.

    The best passage comes last, next to the question: a small model answers from what it read last.
    The best sentence is taken even when it alone is over the budget. Titles are not counted.
    Raises what count_tokens raises (EngineNotReady).
    """
    listed = [
        _Sentence(rank, position, span, passage.text[span.start : span.end])
        for rank, passage in enumerate(passages)
        for position, span in enumerate(split(passage.text))
    ]
    scores = _scores(question, listed)
    chosen: list[_Sentence] = []
    left = budget_tokens
    for index in sorted(range(len(listed)), key=lambda i: -scores[i]):
        if scores[index] < FLOOR * max(scores):
            break
        needed = count_tokens(listed[index].text)
        if needed <= left or not chosen:
            chosen.append(listed[index])
            left -= needed
    return [
        _excerpt(rank, passages[rank], chosen) for rank in sorted({sentence.rank for sentence in chosen}, reverse=True)
    ]


def _scores(question: str, listed: Sequence[_Sentence]) -> list[float]:
    """Overlap with the question, rare words counting more; then what the neighbours give, and the passage's rank."""
    wanted = set(content_tokens(question))
    words = [wanted & set(tokens(sentence.text)) for sentence in listed]
    counts = Counter(word for found in words for word in found)
    weights = {word: math.log(1 + len(listed) / counts[word]) if counts[word] else 0.0 for word in wanted}
    whole = sum(weights.values()) or 1.0
    own = [sum(weights[word] for word in found) / whole for found in words]
    return [
        own[i]
        + NEIGHBOUR * sum(own[j] for j in (i - 1, i + 1) if _same_passage(listed, i, j))
        + RANK_WEIGHT * RANK_DECAY**sentence.rank
        for i, sentence in enumerate(listed)
    ]


def _same_passage(listed: Sequence[_Sentence], i: int, j: int) -> bool:
    return 0 <= j < len(listed) and listed[i].rank == listed[j].rank


def _excerpt(rank: int, passage: Passage, chosen: Sequence[_Sentence]) -> Excerpt:
    """The passage's chosen sentences; neighbours keep what stands between them."""
    own = sorted((sentence for sentence in chosen if sentence.rank == rank), key=lambda sentence: sentence.position)
    text = own[0].text
    for before, after in itertools.pairwise(own):
        follows = after.position == before.position + 1
        text += (passage.text[before.span.end : after.span.start] if follows else GAP) + after.text
    return Excerpt(number=rank + 1, passage=passage, text=text)
