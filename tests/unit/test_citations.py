"""The portal cites: what an answer states is found in the passages, or flagged."""

from __future__ import annotations

import pytest

from services.retrieval.citations import align, with_markers, without_markers
from services.retrieval.retriever import Passage

QUESTION = "How many days of annual leave do employees get?"
QUESTION_ZH = "员工有多少天年假？"


def passage(chunk_id, text, *, title="handbook.pdf", format="pdf", headings=(), segments=((1, 0),)):
    return Passage(
        chunk_id=chunk_id,
        document_id=chunk_id,
        title=title,
        format=format,
        text=text,
        heading_path=list(headings),
        segments=[list(segment) for segment in segments],
        ordinal=0,
        score=1.0,
    )


LEAVE = passage(
    1,
    "Every employee gets 20 days of annual leave per year. Up to 5 unused days move to the next year. "
    "Ms. Zhang in Human Resources approves it and says “plan your leave early”.",
    segments=((3, 0), (4, 54)),
)
TRAVEL = passage(
    2, "Hotels are paid up to 1,200 crowns a night in Prague. Taxi receipts are needed.", title="travel.pdf"
)
LEAVE_ZH = passage(
    3, "员工每年享有十五天带薪年假。入职满十年的员工享有 20 天年假。申请由人力资源部张伟批准。", title="手册.pdf"
)
TRAVEL_ZH = passage(4, "出差住宿标准为每晚 500 元。北京和上海为每晚 800 元。", title="差旅.pdf")
ENGLISH, CHINESE = [LEAVE, TRAVEL], [LEAVE_ZH, TRAVEL_ZH]


def only(citations):
    assert len(citations) == 1
    return citations[0]


def test_a_sentence_is_cited_with_document_page_and_the_span_as_it_stands_there():
    citation = only(align("Employees get 20 days of annual leave.", ENGLISH, question=QUESTION))
    assert (citation.marker, citation.document, citation.page, citation.supported) == (1, "handbook.pdf", 3, True)
    assert citation.quote == "Every employee gets 20 days of annual leave per year."


def test_the_page_is_the_one_of_the_span_and_not_of_the_chunk():
    citation = only(align("Up to 5 unused days move to the next year.", ENGLISH))
    assert citation.page == 4


def test_a_word_file_is_cited_by_heading_and_paragraph():
    word = passage(
        9, LEAVE.text, title="handbook.docx", format="docx", headings=["3 Leave"], segments=((12, 0), (13, 54))
    )
    citation = only(align("Employees get 20 days of annual leave.", [word]))
    assert (citation.page, citation.place) == (None, "3 Leave ¶ 12")


@pytest.mark.parametrize(
    ("answer", "passages", "question", "quote"),
    [
        ("20 days", ENGLISH, QUESTION, "Every employee gets 20 days of annual leave per year."),
        ("Zhang", ENGLISH, "Who approves leave?", "Ms. Zhang"),
        ("张伟", CHINESE, "年假由谁批准？", "申请由人力资源部张伟批准。"),
        ("800 元", CHINESE, "上海的住宿标准是多少？", "北京和上海为每晚 800 元。"),
    ],
)
def test_a_bare_answer_is_found_with_the_help_of_the_question(answer, passages, question, quote):
    citation = only(align(answer, passages, question=question))
    assert citation.supported
    assert quote in citation.quote


@pytest.mark.parametrize(
    ("answer", "passages"),
    [
        ("Employees get twenty days of annual leave.", ENGLISH),
        ("Hotels are paid up to 1200 crowns.", ENGLISH),
        ("员工每年有15天年假。", CHINESE),
        ("员工每年有１５天年假。", CHINESE),
        ("住宿标准为每晚五百元。", CHINESE),
    ],
)
def test_the_same_number_in_another_script_is_the_same_number(answer, passages):
    assert all(citation.supported for citation in align(answer, passages))


@pytest.mark.parametrize(
    ("lie", "passages", "question"),
    [
        ("Employees get 25 days of annual leave per year.", ENGLISH, QUESTION),
        ("25 days", ENGLISH, QUESTION),
        ("Employees get thirty days of annual leave per year.", ENGLISH, QUESTION),
        ("Hotels are paid up to 120 crowns a night in Prague.", ENGLISH, ""),
        ("Employees get 20% of annual leave per year.", ENGLISH, QUESTION),
        ("Ms. Johnson in Human Resources approves it.", ENGLISH, "Who approves leave?"),
        ("Johnson approves annual leave.", ENGLISH, "Who approves leave?"),
        ("Johnson", ENGLISH, "Who approves leave?"),
        ("Hotels are paid up to 1,200 crowns a night in Vienna.", ENGLISH, ""),
        ("Ms. Zhang says “leave must be taken by March”.", ENGLISH, ""),
        ('The handbook says "every employee gets a car per year".', ENGLISH, ""),
        ("员工每年有18天年假。", CHINESE, QUESTION_ZH),
        ("员工每年享有二十五天带薪年假。", CHINESE, QUESTION_ZH),
        ("申请由人力资源部王小明批准。", CHINESE, "年假由谁批准？"),
        ("王小明", CHINESE, "年假由谁批准？"),
        ("北京和广州为每晚 800 元。", CHINESE, ""),
        ("手册说：“年假必须在三月前休完”。", CHINESE, ""),
        ("The capital of France has many cats.", ENGLISH, QUESTION),
    ],
)
def test_a_lie_is_flagged(lie, passages, question):
    citations = align(lie, passages, question=question)
    assert citations
    assert not any(citation.supported or citation.marker for citation in citations)


def test_a_true_sentence_beside_a_lie_keeps_its_citation():
    citations = align("Employees get 20 days of annual leave. Hotels are paid up to 999 crowns.", ENGLISH)
    assert [citation.supported for citation in citations] == [True, False]


def test_a_sentence_from_two_places_has_two_citations():
    text = "年假为十五天，北京每晚800元。"
    citations = align(text, CHINESE)
    assert {citation.chunk_id for citation in citations} == {3, 4}
    assert with_markers(text, citations) == f"{text} [1][2]"


def test_markers_count_places_in_the_order_of_first_use():
    text = "Taxi receipts are needed. Employees get 20 days of annual leave. Hotels are paid up to 1,200 crowns."
    citations = align(text, ENGLISH)
    assert [citation.marker for citation in citations] == [1, 2, 1]
    assert with_markers(text, citations) == (
        "Taxi receipts are needed. [1] Employees get 20 days of annual leave. [2] "
        "Hotels are paid up to 1,200 crowns. [1]"
    )


def test_a_models_own_marker_is_kept_when_it_holds_and_moved_when_not():
    twin = passage(7, LEAVE.text, title="copy.pdf")
    assert only(align("Employees get 20 days of annual leave [2].", [LEAVE, twin])).chunk_id == 7
    assert only(align("Employees get 20 days of annual leave [2].", ENGLISH)).chunk_id == LEAVE.chunk_id
    assert not only(align("Employees get 25 days of annual leave [1].", ENGLISH)).supported


def test_a_marker_after_the_stop_belongs_to_the_sentence_before_it():
    twin = passage(7, LEAVE.text, title="copy.pdf")
    citations = align("Employees get 20 days of annual leave. [2] Taxi receipts are needed. [3]", [LEAVE, twin, TRAVEL])
    assert [citation.chunk_id for citation in citations] == [7, 2]


def test_a_models_markers_leave_the_text_and_other_brackets_stay():
    assert without_markers("Yes [1], see a list[9] there.[2]", passages=3) == "Yes, see a list[9] there."


def test_a_bare_yes_is_read_with_its_question():
    citation = only(align("Yes.", ENGLISH, question="Do employees get 20 days of annual leave?"))
    assert citation.quote.startswith("Every employee")


def test_no_passages_give_no_citations():
    assert align("Anything.", []) == []


def test_words_cut_by_a_line_break_and_ligatures_are_read_as_whole():
    broken = passage(5, "The o\ufb03ce is closed on New\nYear's Day, by the man-\nagement's decision.")
    assert only(align("The office is closed on New Year's Day by decision of the management.", [broken])).supported
