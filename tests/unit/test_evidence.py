"""Evidence: the best sentences within a budget."""

from __future__ import annotations

from services.evidence import GAP, choose_evidence
from services.retrieval.retriever import Passage


def passage(chunk_id, text, title="handbook.pdf", headings=()):
    return Passage(
        chunk_id=chunk_id,
        document_id=1,
        title=title,
        format="pdf",
        text=text,
        heading_path=list(headings),
        segments=[[1, 0]],
        ordinal=chunk_id,
        score=1.0,
    )


def words(text):
    return len(text.split())


LONG = passage(
    1,
    "The canteen opens at noon. It serves soup. Annual leave is 20 days. It must be booked early. "
    "Bicycles stand in the yard. Visitors ring the bell. Parking is free. Doors close at nine.",
    headings=["1 General", "1.1 Annual leave"],
)
OTHER = passage(2, "Hotels are booked by the office. Annual leave abroad needs a note.")


def chosen(budget, question="How much annual leave?", passages=(LONG, OTHER)):
    return choose_evidence(question, passages, budget_tokens=budget, count_tokens=words)


def test_the_best_passage_comes_last():
    assert [excerpt.passage for excerpt in chosen(1000)] == [OTHER, LONG]


def test_sentences_that_only_distract_are_left_out():
    texts = [excerpt.text for excerpt in chosen(1000)]
    assert texts[0] == "Annual leave abroad needs a note."
    assert "Hotels" not in " ".join(texts)


def test_the_best_sentence_and_its_neighbours_come_first():
    (excerpt,) = chosen(13, passages=[LONG])
    assert excerpt.text == "It serves soup. Annual leave is 20 days. It must be booked early."


def test_the_budget_holds():
    for budget in range(6, 40):
        assert sum(words(excerpt.text.replace(GAP, " ")) for excerpt in chosen(budget)) <= budget


def test_one_sentence_is_taken_even_over_the_budget():
    (excerpt,) = chosen(1)
    assert excerpt.text == "Annual leave is 20 days."


def test_a_gap_is_marked_and_the_documents_order_kept():
    scattered = passage(1, "Leave is 20 days. The canteen opens at noon every single day. Annual leave needs a form.")
    (excerpt,) = chosen(9, "annual leave form", passages=[scattered])
    assert excerpt.text == "Leave is 20 days. … Annual leave needs a form."


def test_numbers_are_the_ranks_of_the_passages():
    nothing = passage(3, "")
    assert [excerpt.number for excerpt in chosen(1000, passages=[nothing, LONG, OTHER])] == [3, 2]


def test_the_title_names_document_and_innermost_heading():
    assert chosen(14)[-1].title == "handbook.pdf › 1.1 Annual leave"


def test_no_passages_give_no_evidence():
    assert chosen(100, passages=[]) == []


def test_chinese_sentences_are_chosen_alike():
    manual = passage(1, "食堂中午开门。年假为二十天。自行车停在院子里。电梯很慢。停车免费。大门九点关闭。")
    (excerpt,) = choose_evidence("年假有多少天？", [manual], budget_tokens=7, count_tokens=len)
    assert excerpt.text == "年假为二十天。"
