"""How much personal data the masking finds, and how much else it takes for it, on made-up sentences.

A value counts as found when none of its characters is left; a placeholder counts as right when it stands for nothing
but personal data of its kind.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from services.audit.masking import PLACEHOLDERS, Span, find
from services.audit.masking_sentences import Sentence, generate
from services.audit.masking_values import RARE
from services.translation import LANGUAGES

SENTENCES = 3000  # for each language, half of them with personal data
SEED = 20261122


@dataclass
class _Score:
    """Of one kind: values in usual and rare formats, those found of them, placeholders, those that are right."""

    usual: int = 0
    usual_found: int = 0
    rare: int = 0
    rare_found: int = 0
    placeholders: int = 0
    right: int = 0

    def to_json(self) -> dict:
        return {
            "recall": _share(self.usual_found, self.usual),
            "recall_rare_formats": _share(self.rare_found, self.rare),
            "precision": _share(self.right, self.placeholders),
            "values": self.usual + self.rare,
            "placeholders": self.placeholders,
        }


def _share(part: int, whole: int) -> float | None:
    return round(part / whole, 4) if whole else None


@dataclass
class _Scores:
    by_kind: dict[str, _Score] = field(default_factory=lambda: {kind: _Score() for kind in PLACEHOLDERS})
    made: Counter[str] = field(default_factory=Counter)
    missed: Counter[str] = field(default_factory=Counter)
    mistaken: Counter[str] = field(default_factory=Counter)

    def add(self, sentence: Sentence) -> None:
        found = find(sentence.text)
        self.made[sentence.made] += 1
        for value in sentence.spans:
            score = self.by_kind[value.kind]
            covered = _is_covered(value, found, sentence.text)
            if sentence.made in RARE:
                score.rare, score.rare_found = score.rare + 1, score.rare_found + covered
            else:
                score.usual, score.usual_found = score.usual + 1, score.usual_found + covered
            self.missed[sentence.made] += not covered
        for span in found:
            score = self.by_kind[span.kind]
            score.placeholders += 1
            right = any(value.kind == span.kind and _within(span, value) for value in sentence.spans)
            score.right += right
            self.mistaken[sentence.made] += not right

    def to_json(self) -> dict:
        total = _Score()
        for score in self.by_kind.values():
            for name, number in vars(score).items():
                setattr(total, name, getattr(total, name) + number)
        return total.to_json() | {"kinds": {kind: score.to_json() for kind, score in self.by_kind.items()}}


def evaluate_masking(sentences: int = SENTENCES, seed: int = SEED) -> dict:
    """Recall (of usual and of rare formats) and precision by language and kind, each format as often as any other,
    and the formats that were missed or mistaken, with the share of each that was.
    """
    everything, result = _Scores(), {}
    for language in LANGUAGES:
        scores = _Scores()
        for sentence in generate(language, sentences, seed):
            scores.add(sentence)
            everything.add(sentence)
        result[language] = scores.to_json()
    shares = {"missed": everything.missed, "mistaken": everything.mistaken}
    return {
        "sentences": sentences * len(LANGUAGES),
        "seed": seed,
        "overall": everything.to_json(),
        **result,
        **{
            name: {made: round(number / everything.made[made], 3) for made, number in counts.most_common() if number}
            for name, counts in shares.items()
        },
    }


def _is_covered(value: Span, found: list[Span], text: str) -> bool:
    open_places = (at for at in range(value.start, value.end) if not any(s.start <= at < s.end for s in found))
    return not any(text[at].isalnum() for at in open_places)


def _within(span: Span, value: Span) -> bool:
    """A bracket or space more is no harm."""
    return value.start - 1 <= span.start and span.end <= value.end + 1
