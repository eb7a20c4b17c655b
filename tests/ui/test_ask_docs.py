"""Ask Docs."""

from __future__ import annotations

import re

import pytest

from pages.components import context, conversation
from services.ask import Answer, Outcome
from services.engines.gate import QueuePlace
from services.errors import BadInput, EngineDied, EngineNotReady
from tests.ui.conftest import text_of
from tests.ui.fakes import citation, document, engine_status, passage, turn

PAGE = "pages/ask_docs.py"
LOADING = EngineNotReady("The model is loading.", hint="Searching works already.")


def test_without_documents_the_page_says_where_to_add_some(opened) -> None:
    assert "There are no documents yet" in opened(PAGE).info[0].value


def test_an_example_asks_its_question(opened, services) -> None:
    services.library.documents = [document(1)]
    test = opened(PAGE)
    example = next(button for button in test.button if "VPN" in button.label)
    example.click().run()
    assert services.ask.asked == [("What does VPN error E305 mean?", None)]


def test_a_question_is_answered_and_the_address_names_the_conversation(opened, services) -> None:
    test = opened(PAGE)
    test.chat_input[0].set_value("How many days?").run()
    assert test.query_params["c"] in ("c1", ["c1"])
    shown = text_of(test)
    assert "You can carry over 5 days" in shown.replace("\\", "")
    assert ":blue-badge[1]" in shown
    assert "handbook" in shown


def test_a_follow_up_stays_in_its_conversation(opened, services) -> None:
    services.ask.turns = {"c9": [turn()]}
    test = opened(PAGE, c="c9")
    test.chat_input[0].set_value("And next year?").run()
    assert [t.question for t in services.ask.turns["c9"]] == ["How many days can I carry over?", "And next year?"]


def test_what_cannot_be_asked_is_explained_and_the_history_stays(opened, services) -> None:
    services.ask.turns = {"c1": [turn()]}
    services.ask.error = BadInput("The question is longer than {limit} characters.", limit=2000)
    test = opened(PAGE, c="c1")
    test.chat_input[0].set_value("Too long").run()
    assert "longer than 2000 characters" in test.error[0].value
    assert "How many days can I carry over" in text_of(test)


def test_a_refusal_shows_the_nearest_passages_folded(opened, services) -> None:
    services.ask.turns = {"c1": [turn("refused", text="Not found in the documents", citations=[])]}
    test = opened(PAGE, c="c1")
    assert "Not found in the documents" in text_of(test)
    assert [expander.label for expander in test.expander] == ["The nearest passages"]


def test_while_the_model_loads_the_passages_are_there_with_the_reason(opened, services) -> None:
    services.deployments.now = engine_status("starting")
    services.ask.turns = {"c1": [turn("passages", text="", citations=[], error=LOADING)]}
    test = opened(PAGE, c="c1")
    assert "The model is loading" in test.info[0].value
    assert "Up to 5 days of unused annual leave" in text_of(test)


def test_an_answer_that_broke_off_keeps_its_text_and_says_why(opened, services) -> None:
    failed = turn("failed", text="You can carry", citations=[], error=EngineDied("The model stopped.", hint="Again."))
    services.ask.turns = {"c1": [failed]}
    test = opened(PAGE, c="c1")
    assert "You can carry" in text_of(test)
    assert "The model stopped" in test.error[0].value


def test_a_sentence_without_support_is_marked(opened, services) -> None:
    lies = citation(0, sentence="It ends in May.", supported=False, quote="", chunk_id=0)
    services.ask.turns = {"c1": [turn(text="You can carry over 5 days. It ends in May.", citations=[citation(), lies])]}
    assert "not backed by the documents" in text_of(opened(PAGE, c="c1"))


@pytest.mark.parametrize(
    "hostile", ["![x](http://evil/x.png)", "<img src=x>", "[here](http://evil)", ":material/delete:", "$$x$$", "# Big"]
)
def test_what_a_model_or_a_document_wrote_is_never_markup(opened, services, hostile: str) -> None:
    services.ask.turns = {
        "c1": [turn(question=hostile, text=hostile, citations=[], passages=[]), turn("refused", text=hostile, id=2)]
    }
    services.ask.turns["c1"][1].passages[0] = passage(text=hostile, document=hostile, place=hostile)
    test = opened(PAGE, c="c1")
    assert not test.exception
    unescaped = re.compile(r"(?<!\\)" + re.escape(hostile))
    assert not [element.value for element in [*test.markdown, *test.caption] if unescaped.search(element.value)]


def test_a_source_opens_at_its_page_and_turns(opened, services) -> None:
    services.library.documents = [document(1)]
    services.ask.turns = {"c1": [turn()]}
    test = opened(PAGE, c="c1")
    next(button for button in test.button if button.label == "Page 3").click().run()
    assert "Page 3 of 251" in text_of(test)


def test_the_place_in_a_word_file_is_its_paragraph_with_the_quote_marked(opened, services) -> None:
    services.ask.turns = {"c1": [turn(citations=[citation(page=None, place="B Leave ¶ 12")])]}
    test = opened(PAGE, c="c1")
    next(button for button in test.button if button.label == "Paragraph").click().run()
    assert ":orange-background[Up to 5 days" in text_of(test)


def test_a_source_whose_document_is_gone_says_so(opened, services) -> None:
    services.ask.turns = {"c1": [turn()]}
    test = opened(PAGE, c="c1")
    next(button for button in test.button if button.label == "Page 3").click().run()
    assert "This document no longer exists" in text_of(test)


def test_answering_again_replaces_the_last_answer(opened, services) -> None:
    services.ask.turns = {"c1": [turn()]}
    test = opened(PAGE, c="c1")
    services.ask.deltas = ("Another answer.",)
    test.button(key="again-1").click().run()
    assert [t.text for t in services.ask.turns["c1"]] == ["Another answer."]


@pytest.mark.parametrize(("reason", "words"), [("switching", "being switched"), ("loading", "being loaded")])
def test_who_waits_for_a_model_sees_the_place_in_the_queue(services, reason: str, words: str) -> None:
    context.use(services)
    answer = Answer("c1", 1, "How many days?", "en", waiting=QueuePlace(2, 5, reason, 40.4))
    shown = conversation.progress(answer, waited_s=3)
    assert f"You are number 2 of 5 in the queue; the model is {words}, about 40 s" in shown


def test_an_answer_that_begins_anew_shows_nothing_of_the_half_one(services) -> None:
    context.use(services)
    answer = Answer("c1", 1, "How many days?", "en", text="You can carry")
    assert "You can carry" in conversation.progress(answer, waited_s=3)
    answer.text, answer.restarts = "", 1
    assert "the new one begins the answer anew… 3 s" in conversation.progress(answer, waited_s=3)


@pytest.mark.parametrize("line", [(), (QueuePlace(2, 5, "switching", 40.0), QueuePlace(1, 4, "switching", 40.0))])
def test_a_question_that_waited_or_began_anew_is_answered_whole(opened, services, line) -> None:
    services.ask.line, services.ask.restarts = line, True
    test = opened(PAGE)
    test.chat_input[0].set_value("How many days?").run()
    shown = text_of(test).replace("\\", "")
    assert "You can carry over 5 days" in shown
    assert "Half an answer" not in shown


def test_another_persons_conversation_does_not_exist(opened) -> None:
    assert "This conversation does not exist" in opened(PAGE, c="someone-elses").error[0].value


def test_a_conversation_is_deleted_after_the_question(opened, services) -> None:
    services.ask.turns = {"c1": [turn()]}
    test = opened(PAGE, c="c1")
    next(button for button in test.button if button.label == "Delete conversation").click().run()
    assert "The documents stay" in text_of(test)
    assert services.ask.deleted == []
    test.button(key="delete_conversation").click().run()
    assert services.ask.deleted == ["c1"]


def test_only_the_chosen_collections_are_searched(opened, services) -> None:
    services.library.names = ["Handbook", "Safety"]
    test = opened(PAGE)
    test.button_group(key="scope").set_value([2]).run()
    test.chat_input[0].set_value("Where?").run()
    assert services.ask.asked == [("Where?", [2])]


def test_an_outcome_known_at_once_needs_no_stream(opened, services) -> None:
    services.ask.outcome = Outcome.REFUSED
    test = opened(PAGE)
    test.chat_input[0].set_value("Who wins?").run()
    assert "The nearest passages" in [expander.label for expander in test.expander]
