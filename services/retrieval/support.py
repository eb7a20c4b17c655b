"""Where in the passages a sentence comes from, and whether what it states stands there."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from services.retrieval import facts, sentences
from services.retrieval.lexical import tokens
from services.retrieval.words import word_list

if TYPE_CHECKING:
    from services.retrieval.retriever import Passage

# Chosen on answers of the default model to XQuAD questions (`cli.py eval answers`).
WORDS, NGRAMS, QUESTION, FACTS = 1.0, 0.6, 0.5, 1.0  # weights of what a window shares with a sentence
TWO_SENTENCES = 0.05  # what the second sentence of a window must add
LATER_PASSAGE = 0.01  # what each place further down the ranking costs
NEAR = 0.3  # share of a sentence that must be in a window for it to count as its source
SHORT = 4  # content words up to which an answer is read together with its question


class Claim:
    """A sentence of an answer, taken apart."""

    def __init__(self, sentence: str, question: str) -> None:
        self.text = sentence
        self.words = frozenset(_content(sentence))
        self.numbers = facts.stated_numbers(sentence)
        self.names = facts.stated_names(sentence)
        self.quotations = [facts.letters(quotation) for quotation in facts.quotations(sentence)]
        self.ngrams = _ngrams(sentence)
        self.is_short = len(self.words) <= SHORT
        self.says_something = bool(self.words - frozenset(_content(question)) or self.numbers or self.names)


@dataclass(frozen=True)
class Window:
    """One sentence of a passage, or two neighbours. start, end: offsets in the passage's text."""

    passage: Passage
    rank: int  # of the passage, from 0
    start: int
    end: int
    parts: tuple[Window, ...] = ()  # of two neighbours: each by itself

    @cached_property
    def text(self) -> str:
        return self.passage.text[self.start : self.end]

    @cached_property
    def words(self) -> frozenset[str]:
        if self.parts:
            return frozenset().union(*(part.words for part in self.parts))
        return frozenset(_content(self.text))

    @cached_property
    def ngrams(self) -> frozenset[str]:
        return _ngrams(self.text)

    @cached_property
    def numbers(self) -> set[str]:
        return facts.known_numbers(self.text)

    @cached_property
    def names(self) -> facts.KnownWords:
        """What may name things for this window: its words, its headings and its document's title."""
        return facts.known_words("\n".join([self.text, *self.passage.heading_path, self.passage.title]))


class Sources:
    """The passages of one answer, cut into windows."""

    def __init__(self, passages: Sequence[Passage], question: str) -> None:
        self._windows = [window for rank, passage in enumerate(passages) for window in _windows(passage, rank)]
        self._question = frozenset(_content(question))
        counts = Counter(word for window in self._windows if not window.parts for word in window.words)
        total = sum(not window.parts for window in self._windows)
        self._weights = {word: math.log(1 + total / count) for word, count in counts.items()}
        self._unseen = math.log(1 + total)

    def support(self, claim: Claim, preferred: set[int]) -> tuple[bool, list[Window]]:
        """(whether everything that the claim states stands in the windows, the one or two windows, best first).

        preferred: ranks of the passages that the model named; the best of their windows is taken if it will do.
        An unsupported claim has its nearest window, or none.
        """
        ranked = sorted(self._windows, key=lambda window: -self._score(claim, window))
        named = [window for window in ranked if window.rank in preferred]
        for candidates in (named, ranked):
            if candidates and self._is_near(claim, candidates[0]) and not _missing(claim, candidates[:1]):
                return True, candidates[:1]
        best = ranked[0]
        if not self._is_near(claim, best):
            return False, []
        for second in ranked[1:]:
            if not _missing(claim, [best, second]):
                return True, [best, second]
        return False, [best]

    def _score(self, claim: Claim, window: Window) -> float:
        question = 2 * QUESTION if claim.is_short else QUESTION
        stated = len(claim.numbers) + len(claim.names)
        found = len(claim.numbers & window.numbers) + sum(not window.names.lack(name) for name in claim.names)
        return (
            WORDS * self._share(claim.words, window.words)
            + NGRAMS * _overlap(claim.ngrams, window.ngrams)
            + question * self._share(self._question, window.words)
            + (FACTS * found / stated if stated else 0.0)
            - TWO_SENTENCES * bool(window.parts)
            - LATER_PASSAGE * window.rank
        )

    def _is_near(self, claim: Claim, window: Window) -> bool:
        """Whether enough of the claim, or of question and claim together, is in the window."""
        words = claim.words | self._question if claim.is_short else claim.words
        return max(self._share(words, window.words), _overlap(claim.ngrams, window.ngrams)) >= NEAR

    def _share(self, wanted: frozenset[str], there: frozenset[str]) -> float:
        """The part of the wanted words that is there, rare words counting more; 0 to 1."""
        total = sum(self._weights.get(word, self._unseen) for word in wanted)
        return sum(self._weights.get(word, self._unseen) for word in wanted & there) / total if total else 0.0


def _missing(claim: Claim, windows: Sequence[Window]) -> bool:
    """Whether a number, a name or a quotation of the claim is in none of the windows."""
    if claim.numbers - set().union(*(window.numbers for window in windows)):
        return True
    if any(all(window.names.lack(name) for window in windows) for name in claim.names):
        return True
    letters = [facts.letters(window.passage.text) for window in windows]
    return any(all(quotation not in text for text in letters) for quotation in claim.quotations)


def _windows(passage: Passage, rank: int) -> list[Window]:
    spans = sentences.split(passage.text)
    single = [Window(passage, rank, span.start, span.end) for span in spans]
    pairs = [Window(passage, rank, one.start, two.end, (one, two)) for one, two in itertools.pairwise(single)]
    return single + pairs


def _content(text: str) -> list[str]:
    """The words that carry meaning: not single Chinese characters, not the commonest English words."""
    return [word for word in tokens(text) if not _is_function_word(word)]


def _is_function_word(word: str) -> bool:
    if len(word) == 1:
        return not word.isdigit()
    return word in word_list("function")


def _ngrams(text: str) -> frozenset[str]:
    """Character trigrams of the letters and digits; pairs where the text is Chinese."""
    letters = facts.letters(text)
    size = 2 if any("\u4e00" <= ch <= "\u9fff" for ch in letters) else 3
    return frozenset(letters[i : i + size] for i in range(max(1, len(letters) - size + 1)))


def _overlap(wanted: frozenset[str], there: frozenset[str]) -> float:
    return len(wanted & there) / len(wanted) if wanted else 0.0
