"""Words of Chinese and English texts, as they are indexed and asked for."""

from __future__ import annotations

import pytest

from services.retrieval.lexical import content_tokens, fold, singular, tokens


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("run apt-get on /etc/fstab", ["run", "apt", "get", "apt-get", "on", "etc", "fstab", "etc/fstab"]),
        ("version 3.2", ["version", "3", "2", "3.2"]),
        ("ＵＳＢ ３", ["usb", "3"]),
        ("Zürich", ["zurich"]),
        ("the company’s policies", ["the", "company", "policy"]),
        ("“；！？", []),
        ("", []),
    ],
)
def test_a_text_becomes_its_words_and_compounds(text, expected):
    assert tokens(text) == expected


def test_chinese_gives_long_words_and_the_words_inside_them():
    assert {"科学", "科学院", "中国科学院"} <= set(tokens("中国科学院"))


def test_chinese_and_latin_in_one_run_are_taken_apart():
    found = tokens("第3章usb设备")
    assert {"3", "usb", "设备"} <= set(found)


def test_a_question_loses_the_words_that_every_question_has():
    assert content_tokens("What is the notice period?") == ["notice", "period"]
    assert "什么" not in content_tokens("年假的规定是什么")


def test_a_question_of_nothing_else_keeps_them():
    assert content_tokens("什么是") == ["什么", "是"]


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("policies", "policy"),
        ("boxes", "box"),
        ("class", "class"),
        ("status", "status"),
        ("days", "day"),
        ("gas", "gas"),
    ],
)
def test_plural_and_singular_are_one_word(word, expected):
    assert singular(word) == expected


def test_folding_keeps_korean_whole():
    assert fold("한국어") == "한국어"
