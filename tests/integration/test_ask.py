"""Asking, with a real database and a fake model: answers, refusals, failures, Stop, and who sees what."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest

from db.database import Database
from db.tables import Chunk, Collection, Document
from services.ask import NOT_FOUND, AskService, Outcome
from services.ask_audit import AskRecorder
from services.audit.trail import AuditTrail, open_audit
from services.chat_failures import retired
from services.documents.membership import Access, Member, Membership
from services.engines.catalogue import Catalogue
from services.engines.states import nothing_ordered
from services.errors import BadInput, Denied, EngineDied, EngineNotReady, IndexMismatch, NotFound
from services.permissions import CONSOLE, Actor, Role
from services.retrieval.evaluation import EvaluationIndex, RememberingEmbedder
from services.retrieval.evaluation import TestPassage as PassageOfTest
from services.retrieval.retriever import Passage, Retrieval
from services.settings import Settings
from tests.documents_setup import FakeEmbedder
from tests.fakes import AUDITOR, FakeChatModel, add_people

ANNA = Actor(id="anna", name="anna", roles=frozenset({Role.USER}))
BEN = Actor(id="ben", name="ben", roles=frozenset({Role.USER}))
MODEL = "qwen2.5-coder-0.5b-instruct"
QUESTION = "How many days of annual leave do employees get?"
TRUE = "Employees get 20 days of annual leave."
STARTING = EngineNotReady("The model is starting.", hint="Wait.", elapsed_s=10)


def passage(chunk_id=1, text="Every employee gets 20 days of annual leave. It is booked early."):
    return Passage(
        chunk_id=chunk_id,
        document_id=1,
        title="handbook.pdf",
        format="pdf",
        text=text,
        heading_path=["3 Leave"],
        segments=[[7, 0]],
        ordinal=0,
        score=0.9,
    )


@dataclass
class ListedPassages:
    """A retriever that finds the same passages for every question."""

    passages: list[Passage] = field(default_factory=lambda: [passage()])
    confidence: float = 0.9
    error: Exception | None = None
    searched: str = ""
    asked: list[tuple] = field(default_factory=list)

    def retrieve(self, question, *, collection_ids, limit, context_question=None):
        self.asked.append((question, list(collection_ids), context_question))
        if self.error:
            raise self.error
        return Retrieval(
            passages=self.passages, confidence=self.confidence, timings_ms={"embed": 1.0}, question=self.searched
        )


@pytest.fixture
def settings(tmp_path):
    return Settings(home=tmp_path, refusal_threshold=0.5)


@pytest.fixture
def database(settings):
    """Two collections that everybody may read; the listed passages are chunks of the first."""
    database = Database.open(settings.database_path)
    add_people(database, ANNA, BEN)
    with database.session() as session:
        session.add_all(
            [Collection(id=number, name=name, created_by="anna") for number, name in ((1, "one"), (2, "two"))]
        )
        file = {"format": "pdf", "size_bytes": 1, "sha256": "0" * 64}
        session.add(Document(id=1, collection_id=1, title="handbook.pdf", uploaded_by="anna", state="ready", **file))
        session.flush()
        place = {"segments": [[7, 0]], "tokens": 9, "ordinal": 0}
        session.add(Chunk(id=1, document_id=1, collection_id=1, text=passage().text, **place))
    yield database
    database.close()


@pytest.fixture
def audit(settings):
    audit_database = open_audit(settings)
    trail = AuditTrail(audit_database, settings)
    yield trail
    trail.close()
    audit_database.close()


@pytest.fixture
def membership(database, audit):
    membership = Membership(database, audit)
    for collection_id in (1, 2):
        membership.set_members(CONSOLE, collection_id, [Member(Access.READER)])
    return membership


class NoModels:
    """Models of which no file is on the disk."""

    def file_sha256(self, _model_id):
        return ""


@pytest.fixture
def service(database, membership, audit, settings):
    def make(model=None, retriever=None):
        return AskService(
            database,
            retriever or ListedPassages(),
            model or FakeChatModel(TRUE),
            Catalogue.load(),
            settings,
            membership=membership,
            recorder=AskRecorder(audit, NoModels()),
        )

    return make


def read(answer):
    return "".join(answer.deltas)


def test_an_answer_is_streamed_cited_and_kept(service):
    ask = service()
    answer = ask.stream(QUESTION, actor=ANNA)
    assert answer.outcome is None
    assert [found.chunk_id for found in answer.passages] == [1]
    assert read(answer) == TRUE
    assert answer.outcome is Outcome.ANSWERED
    assert [(c.marker, c.page, c.supported) for c in answer.citations] == [(1, 7, True)]
    (turn,) = ask.history(answer.conversation_id, ANNA)
    assert (turn.question, turn.text, turn.outcome, turn.model_id) == (QUESTION, TRUE, "answered", MODEL)
    assert turn.citations == answer.citations
    assert turn.passages[0].page == 7


def test_every_step_is_timed(service):
    answer = service().stream(QUESTION, actor=ANNA)
    read(answer)
    steps = {"retrieve", "retrieve_embed", "evidence", "prompt", "first_token", "decode", "cite", "save", "total"}
    assert set(answer.timings_ms) == steps
    assert answer.timings_ms["total"] >= answer.timings_ms["decode"]


@pytest.mark.parametrize(
    ("question", "text"), [(QUESTION, "Not found in the documents"), ("食堂几点开门？", "未找到相关内容")]
)
def test_what_is_not_good_enough_is_refused_without_the_model(service, question, text):
    model = FakeChatModel(TRUE)
    answer = service(model, ListedPassages(confidence=0.1)).stream(question, actor=ANNA)
    assert (answer.outcome, answer.text, answer.citations) == (Outcome.REFUSED, text, [])
    assert read(answer) == text
    assert answer.passages
    assert model.requests == []


def test_no_passages_are_a_refusal(service):
    assert service(retriever=ListedPassages([], confidence=1.0)).stream(QUESTION, actor=ANNA).outcome is Outcome.REFUSED


def test_a_model_that_finds_nothing_is_a_refusal_too(service):
    answer = service(FakeChatModel("Not found in the documents.")).stream(QUESTION, actor=ANNA)
    read(answer)
    assert (answer.outcome, answer.text, answer.citations) == (Outcome.REFUSED, NOT_FOUND["en"], [])


def test_the_callers_language_goes_before_the_questions(service):
    answer = service(retriever=ListedPassages(confidence=0)).stream(QUESTION, actor=ANNA, language="zh")
    assert answer.text == NOT_FOUND["zh"]


@pytest.mark.parametrize("lie", ["Employees get 25 days of annual leave.", "Johnson books the annual leave."])
def test_a_lying_model_is_flagged(service, lie):
    answer = service(FakeChatModel(lie)).stream(QUESTION, actor=ANNA)
    read(answer)
    assert [c.supported for c in answer.citations] == [False]


def test_a_models_own_markers_leave_the_text(service):
    answer = service(FakeChatModel("Employees get 20 days of annual leave [1].")).stream(QUESTION, actor=ANNA)
    read(answer)
    assert answer.text == TRUE


def test_while_the_model_starts_the_passages_are_there(service):
    ask = service(FakeChatModel(unavailable=STARTING))
    answer = ask.stream(QUESTION, actor=ANNA)
    assert read(answer) == ""
    assert (answer.outcome, answer.error) == (Outcome.PASSAGES, STARTING)
    (turn,) = ask.history(answer.conversation_id, ANNA)
    assert turn.error.params == STARTING.params
    assert turn.passages[0].text.startswith("Every employee")


def test_an_engine_that_dies_leaves_what_it_said(service):
    ask = service(FakeChatModel(TRUE, fails=EngineDied("The engine died.")))
    answer = ask.stream(QUESTION, actor=ANNA)
    said = read(answer)
    assert said
    assert TRUE.startswith(said)
    (turn,) = ask.history(answer.conversation_id, ANNA)
    assert (turn.outcome, turn.text, str(turn.error)) == ("failed", said, "The engine died.")


def test_stop_keeps_what_was_said_and_closes_the_stream(service):
    model = FakeChatModel(TRUE)
    ask = service(model)
    answer = ask.stream(QUESTION, actor=ANNA)
    said = next(answer.deltas)
    answer.deltas.close()
    assert model.streams[0].closed
    (turn,) = ask.history(answer.conversation_id, ANNA)
    assert (turn.outcome, turn.text) == ("cancelled", said)


def test_a_question_whose_answer_was_never_read_is_in_the_history(service):
    ask = service()
    answer = ask.stream(QUESTION, actor=ANNA)
    (turn,) = ask.history(answer.conversation_id, ANNA)
    assert (turn.question, turn.outcome) == (QUESTION, "cancelled")


def test_a_failed_retrieval_is_an_answer_that_says_so(service):
    answer = service(retriever=ListedPassages(error=IndexMismatch("Other embedder."))).stream(QUESTION, actor=ANNA)
    assert (answer.outcome, str(answer.error)) == (Outcome.FAILED, "Other embedder.")


def test_a_second_question_is_retrieved_with_the_first_in_mind(service):
    retriever = ListedPassages()
    ask = service(retriever=retriever)
    first = ask.stream(QUESTION, actor=ANNA)
    read(first)
    read(ask.stream("And in Prague?", actor=ANNA, conversation_id=first.conversation_id))
    assert [context for _, _, context in retriever.asked] == [None, QUESTION]
    assert [turn.question for turn in ask.history(first.conversation_id, ANNA)] == [QUESTION, "And in Prague?"]


def test_a_follow_up_is_put_to_the_model_with_the_question_it_needs(service):
    model = FakeChatModel(TRUE)
    ask = service(model, ListedPassages(searched=f"{QUESTION}\nAnd in the first year?"))
    read(ask.stream("And in the first year?", actor=ANNA))
    assert model.requests[0].messages[-1]["content"].endswith(f"{QUESTION} And in the first year?")


def test_only_wanted_and_readable_collections_are_searched(service, membership):
    retriever = ListedPassages()
    ask = service(retriever=retriever)
    ask.stream(QUESTION, actor=ANNA)
    ask.stream(QUESTION, actor=ANNA, collection_ids=[2, 99])
    membership.set_members(CONSOLE, 2, [Member(Access.READER, person_id=BEN.id)])
    ask.stream(QUESTION, actor=ANNA, collection_ids=[2])
    ask.stream(QUESTION, actor=ANNA)
    assert [collections for _, collections, _ in retriever.asked] == [[1, 2], [2], [], [1]]


def test_a_passage_of_a_collection_that_was_closed_meanwhile_never_reaches_the_model(service, membership):
    model, retriever = FakeChatModel(TRUE), ListedPassages()
    found = retriever.retrieve

    def close_and_retrieve(*arguments, **options):
        membership.set_members(CONSOLE, 1, [])
        return found(*arguments, **options)

    retriever.retrieve = close_and_retrieve
    answer = service(model, retriever).stream(QUESTION, actor=ANNA)
    assert (read(answer), answer.outcome, answer.passages) == (NOT_FOUND["en"], Outcome.REFUSED, [])
    assert model.requests == []


def test_regenerate_replaces_the_last_answer(service):
    replies = iter([TRUE, "They get 20 days."])
    model = FakeChatModel(lambda _: next(replies))
    ask = service(model)
    first = ask.stream(QUESTION, actor=ANNA)
    read(first)
    read(ask.regenerate(first.conversation_id, ANNA))
    assert [turn.text for turn in ask.history(first.conversation_id, ANNA)] == ["They get 20 days."]
    assert model.requests[0].temperature < model.requests[1].temperature


def test_answers_of_one_conversation_in_two_tabs_stay_with_their_questions(service):
    ask = service(FakeChatModel(lambda request: request.messages[-1]["content"][-20:]))
    first = ask.stream("Question number one?", actor=ANNA)
    second = ask.stream("Question number two?", actor=ANNA, conversation_id=first.conversation_id)
    read(second)
    read(first)
    turns = ask.history(first.conversation_id, ANNA)
    assert [(turn.question, turn.text) for turn in turns] == [(turn.question, turn.question) for turn in turns]


def test_two_people_asking_at_once_get_their_own_answers(service):
    ask = service(FakeChatModel(lambda request: request.messages[-1]["content"][-12:]))

    def one(n):
        actor = (ANNA, BEN)[n % 2]
        answer = ask.stream(f"Question {n:02}?", actor=actor)
        return actor, answer, read(answer)

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(one, range(24)))
    for n, (actor, answer, text) in enumerate(results):
        assert text == f"Question {n:02}?"
        assert [turn.text for turn in ask.history(answer.conversation_id, actor)] == [text]


def test_another_persons_conversation_does_not_exist(service):
    ask = service()
    answer = ask.stream(QUESTION, actor=ANNA)
    read(answer)
    id_ = answer.conversation_id
    for attempt in (
        lambda: ask.history(id_, BEN),
        lambda: ask.stream("And?", actor=BEN, conversation_id=id_),
        lambda: ask.regenerate(id_, BEN),
        lambda: ask.rename(id_, "mine", BEN),
        lambda: ask.delete(id_, BEN),
        lambda: ask.export_markdown(id_, BEN, "en"),
    ):
        with pytest.raises(NotFound):
            attempt()
    assert ask.conversations(BEN) == []
    assert len(ask.history(id_, ANNA)) == 1


def test_who_may_not_ask_is_denied(service):
    with pytest.raises(Denied):
        service().stream(QUESTION, actor=AUDITOR)


@pytest.mark.parametrize("question", ["", "  \n", "x" * 3000])
def test_an_empty_or_endless_question_is_bad_input(service, question):
    with pytest.raises(BadInput):
        service().stream(question, actor=ANNA)


def test_conversations_are_listed_renamed_and_deleted(service):
    ask = service()
    first, second = (ask.stream(question, actor=ANNA) for question in ("One?", "Two?"))
    ask.rename(first.conversation_id, "  New   name ", ANNA)
    assert {c.title for c in ask.conversations(ANNA)} == {"New name", "Two?"}
    assert len(ask.conversations(ANNA, limit=1)) == 1
    ask.delete(second.conversation_id, ANNA)
    assert [c.id for c in ask.conversations(ANNA)] == [first.conversation_id]
    read(second)  # an answer that was coming while its conversation was deleted is dropped


def test_an_export_has_questions_marked_answers_and_sources(service):
    ask = service(FakeChatModel(f"{TRUE} It costs 99 euros."))
    answer = ask.stream(QUESTION, actor=ANNA)
    read(answer)
    text = ask.export_markdown(answer.conversation_id, ANNA, "en")
    assert f"## {QUESTION}" in text
    assert f"{TRUE} \\[1\\]" in text
    assert "- \\[1\\] handbook.pdf, page 7, 3 Leave: “Every employee gets 20 days of annual leave.”" in text
    assert "Not supported by the passages: It costs 99 euros." in text
    assert f"Model: {MODEL}" in text


def test_nothing_in_an_export_is_html_or_markdown_of_others(service):
    ask = service(FakeChatModel("Employees get 20 days <script>alert(1)</script> **now**."))
    answer = ask.stream("# <b>leave</b>?", actor=ANNA)
    read(answer)
    text = ask.export_markdown(answer.conversation_id, ANNA, "en")
    assert "<script>" not in text.replace("\\<", "")
    assert "\\*\\*now\\*\\*" in text


def test_with_the_real_retriever_the_right_passage_is_cited(tmp_path, audit):
    texts = {
        "leave": "Every employee gets 20 days of annual leave. It is booked early.",
        "travel": "Hotels are paid up to 120 euros a night. Taxi receipts are needed.",
        "safety": "The fire assembly point is the north car park.",
    }
    settings = Settings(home=tmp_path, refusal_threshold=0.0)
    passages = [PassageOfTest(pid, f"{pid}.docx", text) for pid, text in texts.items()]
    index = EvaluationIndex(settings, RememberingEmbedder(FakeEmbedder(), tmp_path), passages)
    database = Database.open(index.settings.database_path)
    membership = Membership(database, audit)
    for collection_id in index.collections.values():
        membership.set_members(CONSOLE, collection_id, [Member(Access.READER)])
    ask = AskService(
        database,
        index.retriever,
        FakeChatModel(TRUE),
        Catalogue.load(),
        settings,
        membership=membership,
        recorder=AskRecorder(audit, NoModels()),
    )
    answer = ask.stream(QUESTION, actor=ANNA)
    read(answer)
    assert [(c.document, c.place, c.quote) for c in answer.citations] == [
        ("leave.docx", "¶ 1", "Every employee gets 20 days of annual leave.")
    ]
    only_travel = ask.stream(QUESTION, actor=ANNA, collection_ids=[2])
    assert {found.title for found in only_travel.passages} == {"travel.docx"}
    index.close()
    database.close()


class ReplacedModel(FakeChatModel):
    """A model that is taken away after the first delta of its first answer, for another one."""

    def stream(self, request, lease, *, heartbeat_s=None):
        stream = super().stream(request, lease, heartbeat_s=heartbeat_s)
        if len(self.streams) == 1:
            stream._fails = retired()
            self.hold = self.gate.hold(("chat",), reason="switching", typical_s=40)
        return stream


def test_while_models_are_switched_a_question_waits_in_line_and_says_where(service):
    model = FakeChatModel(TRUE)
    hold = model.gate.hold(("chat",), reason="switching", typical_s=40)
    answers = [service(model).stream(QUESTION, actor=ANNA) for _ in range(2)]
    assert [answer.waiting.place for answer in answers] == [1, 2]
    assert next(answers[0].deltas) == ""
    assert answers[0].outcome is None
    assert model.requests == []
    model.gate.open(hold)
    assert [read(answer) for answer in answers] == [TRUE, TRUE]
    assert answers[0].waiting is None
    assert answers[0].timings_ms["queue"] > 0
    assert model.gate.running(1) == 0


def test_a_waiting_question_that_is_stopped_leaves_the_line(service):
    model = FakeChatModel(TRUE)
    model.gate.hold(("chat",), reason="switching", typical_s=40)
    answer = service(model).stream(QUESTION, actor=ANNA)
    next(answer.deltas)
    answer.deltas.close()
    assert answer.outcome is Outcome.CANCELLED
    assert model.gate.queued(("chat",)) == 0


def test_a_question_that_waited_for_nothing_keeps_its_passages(service):
    model = FakeChatModel(TRUE)
    hold = model.gate.hold(("chat",), reason="switching", typical_s=40)
    answer = service(model).stream(QUESTION, actor=ANNA)
    model.unavailable = EngineNotReady("The model is stopped.")
    model.gate.open(hold)
    assert read(answer) == ""
    assert answer.outcome is Outcome.PASSAGES
    assert answer.passages


def test_an_answer_whose_model_is_replaced_begins_anew_first_in_line(service):
    model = ReplacedModel(TRUE)
    answer = service(model).stream(QUESTION, actor=ANNA)
    while answer.waiting is None:
        next(answer.deltas)
    assert (answer.restarts, answer.text, answer.waiting.place) == (1, "", 1)
    model.gate.open(model.hold)
    read(answer)
    assert (answer.outcome, answer.text) == (Outcome.ANSWERED, TRUE)


@pytest.mark.parametrize(("route", "role"), [(True, "code"), (False, "chat")])
def test_the_code_model_words_answers_about_code_if_the_portal_is_set_so(service, settings, route, role):
    entered = []

    class Noting(FakeChatModel):
        def enter(self, role="chat", *, first=False):
            entered.append(role)
            return super().enter(role, first=first)

    made = service(Noting(TRUE))
    made._settings = settings.model_copy(update={"route_by_task": route})
    read(made.stream("Write a Python function for annual leave", actor=ANNA))
    read(made.stream(QUESTION, actor=ANNA))
    assert entered == [role, "chat"]


def test_without_a_code_model_the_chat_model_answers_about_code_too(service, settings):
    class ChatOnly(FakeChatModel):
        def _endpoint(self, role):
            if role == "code":
                raise nothing_ordered()
            return super()._endpoint(role)

    made = service(ChatOnly(TRUE))
    made._settings = settings.model_copy(update={"route_by_task": True})
    assert read(made.stream("Write a Python function for annual leave", actor=ANNA)) == TRUE
