"""Sentences of Chinese and English text."""

from __future__ import annotations

import pytest

from services.retrieval.sentences import LONGEST, split


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One. Two! Three?", ["One.", "Two!", "Three?"]),
        ("See e.g. the U.S. branch. Dr. Li left.", ["See e.g. the U.S. branch.", "Dr. Li left."]),
        ("Section 3.2 grants 10.5 days. More follows.", ["Section 3.2 grants 10.5 days.", "More follows."]),
        ("一句。两句！他说：“好。”第三句", ["一句。", "两句！", "他说：“好。”", "第三句"]),
        ("版本 2.0 已发布。See www.example.com for more.", ["版本 2.0 已发布。", "See www.example.com for more."]),
        ("broken by\na line end. Next", ["broken by\na line end.", "Next"]),
        ("Needed:\n- a form\n- a photo", ["Needed:", "- a form", "- a photo"]),
        ("1. Leave\n2. Travel", ["1. Leave", "2. Travel"]),
        ("Heading\n\nText here.", ["Heading", "Text here."]),
        ("", []),
        (" \n ", []),
    ],
)
def test_split(text, expected):
    assert [text[span.start : span.end] for span in split(text)] == expected


def test_a_table_without_stops_is_cut_at_its_lines():
    table = "\n".join(f"row {n} cell" for n in range(LONGEST // 5))
    assert max(span.end - span.start for span in split(table)) < LONGEST
