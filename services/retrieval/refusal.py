"""Refusals measured, and the confidence models fitted, on questions that the indexed passages answer or do not.

A question is unanswerable where the article it was written about is left out of the search. Questions about every
other passage are used for fitting; the report is about the others.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from services.retrieval import confidence, evaluation
from services.retrieval.fusion import fuse
from services.retrieval.logistic import fit, threshold_at

if TYPE_CHECKING:
    from services.retrieval.embedding import Embedder
    from services.retrieval.retriever import Rankings
    from services.settings import Settings

DATA = ("xquad_en", "xquad_zh", "squad2_part")
FEW = 4  # articles in a small collection: 20 passages
FALSE_REFUSALS = 0.04  # of the answerable questions of the fitting half: where the threshold is put
FALSE_REFUSALS_CROSS_LINGUAL = 0.2  # these are hard to tell apart; at 0.04 nearly everything would be answered

Choice = Callable[[str, Sequence[str], random.Random], list[str]]  # own article, all articles → those searched


@dataclass(frozen=True)
class Scenario:
    """Questions of one data set asked of the passages of another (or the same), or of some of its articles."""

    name: str
    questions: str
    passages: str
    answerable: bool
    articles: Choice
    models: tuple[str, ...] = ()  # that are fitted on it
    only: bool | None = None  # only the questions that are, or are not, answerable by the passage they were written for


@dataclass(frozen=True)
class Case:
    """One question in one scenario: the model that applies and its features; and both without vectors."""

    fitted_half: bool
    model: str
    values: dict[str, float]
    lexical_model: str
    lexical_values: dict[str, float]


def evaluate_refusal(settings: Settings, embedder: Embedder, folder: Path, limit: int = 400) -> dict:
    """Share of questions refused in each scenario, of those that were not used for fitting.

    folder: holds the files of DATA (.passages.jsonl, .questions.jsonl). limit: questions a scenario.
    → {"threshold", "scenarios": {name: {"questions", "answerable", "refused", "refused_without_vectors"}}}; `refused`
    should be near 0 where answerable, and near 1 elsewhere.
    """
    threshold, report = settings.refusal_threshold, {}
    for scenario, cases in _collect(settings, embedder, folder, limit):
        held_out = [case for case in cases if not case.fitted_half]
        certain = [confidence.predict(case.model, case.values) for case in held_out]
        certain_by_words = [confidence.predict(case.lexical_model, case.lexical_values) for case in held_out]
        report[scenario.name] = {
            "questions": len(held_out),
            "answerable": scenario.answerable,
            "refused": _share_below(certain, threshold),
            "refused_without_vectors": _share_below(certain_by_words, threshold),
        }
    return {"threshold": threshold, "scenarios": report}


def calibrate(settings: Settings, embedder: Embedder, folder: Path, limit: int = 2000) -> dict:
    """Fit every model on the fitting half: what confidence.write_models takes."""
    groups: dict[str, list[tuple[bool, np.ndarray]]] = {name: [] for name in confidence.FEATURES}
    for scenario, cases in _collect(settings, embedder, folder, limit):
        for model in scenario.models:
            groups[model].append((scenario.answerable, _matrix(model, [case for case in cases if case.fitted_half])))
    provenance = {
        "data": "XQuAD en and zh, SQuAD 2.0 (part): questions about every other passage",
        "embedder": embedder.name,
        "false_refusals": {"same_language": FALSE_REFUSALS, "cross_lingual": FALSE_REFUSALS_CROSS_LINGUAL},
        "made_by": "services.retrieval.refusal.calibrate",
    }
    return {"provenance": provenance, "models": {name: _fit(name, groups[name]) for name in groups}}


def scenarios() -> list[Scenario]:
    """The order of the report: per language, then across languages. The first of a model's sets its threshold."""
    squad, english = "squad2_part", ("en", "en-lexical")
    return [
        *_xquad_scenarios("en"),
        Scenario("en, SQuAD 2 of its own passages", squad, squad, True, _all, english, only=True),
        Scenario("en, SQuAD 2 of XQuAD without the article", squad, "xquad_en", False, _without_own, english),
        Scenario("en, SQuAD 2 of XQuAD (the articles are there)", squad, "xquad_en", False, _all, english),
        Scenario("en, SQuAD 2 unanswerable, of its own passages", squad, squad, False, _all, only=False),
        *_xquad_scenarios("zh"),
        *_cross_lingual_scenarios("zh", "en"),
        *_cross_lingual_scenarios("en", "zh"),
    ]


def _xquad_scenarios(language: str) -> list[Scenario]:
    data, models = f"xquad_{language}", (language, f"{language}-lexical")
    return [
        Scenario(f"{language}, XQuAD", data, data, True, _all, models),
        Scenario(f"{language}, XQuAD, 20 passages", data, data, True, _few_with_own, models),
        Scenario(f"{language}, XQuAD without the article", data, data, False, _without_own, models),
        Scenario(f"{language}, XQuAD, 20 other passages", data, data, False, _few_others, models),
    ]


def _cross_lingual_scenarios(asked: str, indexed: str) -> list[Scenario]:
    name, models = f"{asked} questions of {indexed} XQuAD", ("cross-lingual",)
    return [
        Scenario(name, f"xquad_{asked}", f"xquad_{indexed}", True, _all, models),
        Scenario(f"{name} without the article", f"xquad_{asked}", f"xquad_{indexed}", False, _without_own, models),
    ]


def _all(own: str, articles: Sequence[str], _: random.Random) -> list[str]:
    return list(articles)


def _without_own(own: str, articles: Sequence[str], _: random.Random) -> list[str]:
    return [article for article in articles if article != own]


def _few_others(own: str, articles: Sequence[str], choice: random.Random) -> list[str]:
    return choice.sample(_without_own(own, articles, choice), FEW)


def _few_with_own(own: str, articles: Sequence[str], choice: random.Random) -> list[str]:
    return [own, *choice.sample(_without_own(own, articles, choice), FEW - 1)]


def _collect(settings: Settings, embedder: Embedder, folder: Path, limit: int) -> Iterator[tuple[Scenario, list[Case]]]:
    """Every scenario with its cases, `limit` questions evenly taken from the file."""
    remembering = evaluation.RememberingEmbedder(embedder, settings.home / "eval")
    passages = {name: evaluation.read_passages(folder / f"{name}.passages.jsonl") for name in DATA}
    questions = {name: evaluation.read_questions(folder / f"{name}.questions.jsonl") for name in DATA}
    indexes = {name: evaluation.EvaluationIndex(settings, remembering, passages[name]) for name in DATA}
    try:
        for scenario in scenarios():
            asked = [q for q in questions[scenario.questions] if scenario.only in (None, q.answerable)]
            taken = asked[:: max(1, len(asked) // limit)]
            home = indexes[scenario.questions]
            yield scenario, [_case(scenario, question, home, indexes[scenario.passages]) for question in taken]
            remembering.save()
    finally:
        for index in indexes.values():
            index.close()


def _case(
    scenario: Scenario,
    question: evaluation.TestQuestion,
    home: evaluation.EvaluationIndex,
    index: evaluation.EvaluationIndex,
) -> Case:
    """home: the index of the passages the question was written for."""
    own = home.title_of[question.pid]
    choice = random.Random(question.text)  # the same articles whenever it is run
    rankings = index.rank(question.text, scenario.articles(own, list(index.collections), choice))
    model, values = _look(index, rankings)
    lexical_only = replace(rankings, vector=[], fused=fuse(rankings.lexical, []))
    lexical_model, lexical_values = _look(index, lexical_only)
    fitted = evaluation.in_fitted_half(home.chunk_ids[question.pid])
    return Case(fitted, model, values, lexical_model, lexical_values)


def _look(index: evaluation.EvaluationIndex, rankings: Rankings) -> tuple[str, dict[str, float]]:
    texts = [passage.text for passage in index.retriever.load(rankings.fused[: confidence.PASSAGES])]
    if not texts:
        return confidence.NOTHING_FOUND, {}
    return confidence.situation(rankings, texts), confidence.features(rankings, texts)


def _matrix(model: str, cases: Sequence[Case]) -> np.ndarray:
    """Shape (cases in which the model applies, its features)."""
    names = confidence.FEATURES[model]
    rows = [case.values for case in cases if case.model == model]
    rows += [case.lexical_values for case in cases if case.lexical_model == model]
    return np.array([[values[name] for name in names] for values in rows]).reshape(len(rows), len(names))


def _fit(model: str, groups: Sequence[tuple[bool, np.ndarray]]) -> dict:
    """Every scenario weighs the same; the threshold stands where FALSE_REFUSALS of the first scenario fall below."""
    answered = [rows for answerable, rows in groups if answerable]
    refused = [rows for answerable, rows in groups if not answerable]
    intercept, coefficients = fit(answered, refused)
    cross_lingual = model == "cross-lingual"
    share = FALSE_REFUSALS_CROSS_LINGUAL if cross_lingual else FALSE_REFUSALS
    calibrated_on = np.vstack(answered) if cross_lingual else answered[0]
    shift = threshold_at(calibrated_on @ coefficients + intercept, share)
    names = confidence.FEATURES[model]
    rounded = {name: round(float(weight), 4) for name, weight in zip(names, coefficients, strict=True)}
    return {"intercept": round(float(intercept - shift), 4), "coefficients": rounded}


def _share_below(values: Sequence[float], threshold: float) -> float:
    return round(sum(value < threshold for value in values) / len(values), 4) if values else 0.0
