"""One order out of two rankings."""

from __future__ import annotations

from services.retrieval.fusion import LEXICAL_WEIGHT, ScoredChunk, fuse


def hits(*pairs):
    return [ScoredChunk(chunk_id, score) for chunk_id, score in pairs]


def order(fused):
    return [hit.chunk_id for hit in fused]


def test_a_chunk_that_both_found_comes_before_one_that_only_one_found():
    fused = fuse(hits((1, 0.6), (2, 0.5)), hits((3, 0.86), (1, 0.85), (4, 0.80)))
    assert order(fused)[0] == 1


def test_a_poor_word_match_does_not_displace_a_near_passage():
    fused = fuse(hits((9, 0.1)), hits((1, 0.90), (2, 0.80)))
    assert order(fused) == [1, 9, 2]


def test_without_vectors_the_words_decide():
    fused = fuse(hits((7, 0.4), (8, 0.3)), [])
    assert order(fused) == [7, 8]
    assert fused[0].score == 0.4 * LEXICAL_WEIGHT


def test_without_word_matches_the_vectors_decide():
    assert order(fuse([], hits((1, 0.9), (2, 0.8)))) == [1, 2]


def test_equal_scores_have_a_stable_order():
    assert order(fuse([], hits((5, 0.9), (2, 0.9)))) == [2, 5]


def test_nothing_found_is_no_order():
    assert fuse([], []) == []
