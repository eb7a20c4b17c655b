"""Citations: which passage supports each sentence of an answer, found by the portal and not by the model."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from services.retrieval import sentences
from services.retrieval.places import page_at, place_at
from services.retrieval.support import Claim, Sources, Window

if TYPE_CHECKING:
    from services.retrieval.retriever import Passage

_MARKER = re.compile(r"\s*[\[【]\s*(\d{1,2}(?:\s*[,，、]\s*\d{1,2})*)\s*[\]】]")


@dataclass(frozen=True)
class Citation:
    """One sentence of an answer, and the span of a chunk that it rests on.

    marker: the n of "[n]", numbered by first use, one number per chunk and place; 0 when not supported.
    page: 1-based document page of a PDF; None for a Word file.
    place: headings, and for a Word file the paragraph: "3 Leave › 3.2 Annual leave ¶ 12".
    quote: the supporting span exactly as in the chunk's text; "" when nothing is near.
    sentence: exactly as in the answer's text. One sentence may rest on two places: two citations.
    supported: False when a number, a name or a quotation of the sentence is not in its passages; then the chunk is the
    nearest one (chunk_id 0: nothing is near), for the reader to check.
    """

    marker: int
    chunk_id: int
    document_id: int
    document: str
    page: int | None
    place: str
    quote: str
    sentence: str
    supported: bool


def align(text: str, passages: Sequence[Passage], *, question: str = "") -> list[Citation]:
    """The citations of an answer's sentences, in their order. Sentences that claim nothing ("Yes.") have none.

    text: as the model wrote it. Its own markers [n] count passages from 1: one that the sentence really rests on is
    kept, any other is moved to where the sentence comes from, or the sentence is not supported.
    question: what a short answer ("Saint Mary") means; helps to choose among the places that contain it.
    """
    if not passages:
        return []
    sources = Sources(passages, question)
    numbers: dict[tuple[int, int | None, str], int] = {}
    citations: list[Citation] = []
    for sentence, preferred in _claims(text, len(passages)):
        claim = Claim(sentence, question)
        if any(known.sentence == sentence for known in citations) or not (
            claim.says_something or sentence == text.strip()
        ):
            continue
        supported, windows = sources.support(claim, preferred)
        citations += [_citation(sentence, window, supported, numbers) for window in windows]
        if not windows:
            citations.append(Citation(0, 0, 0, "", None, "", "", sentence, supported=False))
    return citations


def without_markers(text: str, passages: int) -> str:
    """The text without the markers that a model wrote: [1] to [passages]."""

    def drop(match: re.Match) -> str:
        return "" if all(1 <= number <= passages for number in _numbers(match)) else match[0]

    return _MARKER.sub(drop, text).strip()


def with_markers(text: str, citations: Sequence[Citation]) -> str:
    """The text with [n] after each sentence that is cited."""
    markers: dict[str, list[int]] = {}
    for citation in citations:
        if citation.supported and citation.marker not in markers.setdefault(citation.sentence, []):
            markers[citation.sentence].append(citation.marker)
    parts, begin = [], 0
    for span in sentences.split(text):
        cited = "".join(f"[{number}]" for number in markers.get(text[span.start : span.end], []))
        parts.append(text[begin : span.end] + (f" {cited}" if cited else ""))
        begin = span.end
    return "".join(parts) + text[begin:]


def _claims(text: str, passages: int) -> list[tuple[str, set[int]]]:
    """(sentence without markers, indexes of the passages that its own markers name) of each sentence.

    The sentences are those of the text without markers; a marker belongs to the sentence that it stands in or follows.
    """
    plain = without_markers(text, passages)
    spans = sentences.split(plain)
    named: list[set[int]] = [set() for _ in spans]
    for match in _MARKER.finditer(text):
        offset = len(without_markers(text[: match.start()], passages))
        before = [i for i, span in enumerate(spans) if span.start < offset]
        if before:
            named[before[-1]] |= {number - 1 for number in _numbers(match) if 1 <= number <= passages}
    return [(plain[span.start : span.end], named[i]) for i, span in enumerate(spans)]


def _numbers(match: re.Match) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", match[1])]


def _citation(
    sentence: str, window: Window, supported: bool, numbers: dict[tuple[int, int | None, str], int]
) -> Citation:
    passage = window.passage
    page, place = page_at(passage, window.start), place_at(passage, window.start)
    marker = numbers.setdefault((passage.chunk_id, page, place), len(numbers) + 1) if supported else 0
    return Citation(
        marker=marker,
        chunk_id=passage.chunk_id,
        document_id=passage.document_id,
        document=passage.title,
        page=page,
        place=place,
        quote=passage.text[window.start : window.end],
        sentence=sentence,
        supported=supported,
    )
