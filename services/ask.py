"""Ask: from a question to a cited answer.

The way of a question: check the actor → begin its audit event → store the question → retrieve from the actor's
collections → refuse when nothing is good enough → enter the model's gate (and wait in line while models are switched)
→ choose the evidence → prompt → stream → cite → save → end the event.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from db.database import Database
from db.tables import Message
from services.answering import ANOTHER_WORDING, Outcome, Written, enter_first_of, write
from services.ask_audit import AskRecorder
from services.audit.events import Action
from services.audit.trail import Act
from services.chat_model import ChatRequest
from services.conversations import AskedQuestion, Conversations, StoredPassage
from services.errors import BadInput, EngineNotReady, EngineStartFailed, PortalError
from services.evidence import choose_evidence
from services.kept_conversations import KeptConversations
from services.permissions import Actor
from services.prompts import answer_messages
from services.questions import is_about_code
from services.retrieval.citations import Citation, align, without_markers
from services.settings import Settings
from services.stopwatch import Clock, Stopwatch
from services.translation import N_, Language, language_of

if TYPE_CHECKING:
    from services.chat_model import ChatModel
    from services.documents.membership import Membership
    from services.engines.catalogue import Catalogue
    from services.engines.gate import Lease
    from services.retrieval.retriever import Passage, Retriever

NOT_FOUND: dict[Language, str] = {"zh": "未找到相关内容", "en": "Not found in the documents"}
PASSAGES = 6  # retrieved per question: the evidence is chosen from them, and they are what is shown as nearest
QUESTION_MAX_LENGTH = 2000  # characters


def _no_deltas() -> Generator[str, None, None]:
    yield from ()


@dataclass
class Answer(Written):
    """The answer to one question, while it comes and after.

    Known at once: conversation_id, question, language, passages (best first), timings of retrieval; and for what needs
    no model also the outcome. `deltas` gives the text piece by piece (the refusal too; nothing for `passages`), with
    empty pieces while the model is silent or not there yet, and never raises a PortalError. When it is used up, or
    closed, the rest is set and the answer is saved.
    """

    conversation_id: str
    question_id: int
    question: str
    language: Language
    meaning: str = ""  # the question to stand alone: with the one before it when only both together found something
    passages: list[Passage] = field(default_factory=list)
    deltas: Generator[str, None, None] = field(default_factory=_no_deltas)
    citations: list[Citation] = field(default_factory=list)
    confidence: float = 0.0  # of the retrieval, in [0, 1]


@dataclass(frozen=True)
class _Asking:
    """What belongs to one question while it is answered."""

    actor: Actor
    question: AskedQuestion
    collection_ids: list[int]
    language: Language | None
    watch: Stopwatch
    act: Act
    temperature: float = 0.0


class AskService(KeptConversations):
    """Questions over documents, and the conversations they make. Holds nothing of any one person."""

    def __init__(
        self,
        database: Database,
        retriever: Retriever,
        chat_model: ChatModel,
        catalogue: Catalogue,
        settings: Settings,
        *,
        membership: Membership,
        recorder: AskRecorder,
        clock: Clock = time.perf_counter,
    ) -> None:
        super().__init__(Conversations(database), recorder)
        self._retriever = retriever
        self._chat_model = chat_model
        self._catalogue = catalogue
        self._membership = membership
        self._settings = settings
        self._clock = clock

    def stream(
        self,
        question: str,
        *,
        actor: Actor,
        conversation_id: str | None = None,
        collection_ids: Sequence[int] | None = None,
        language: Language | None = None,
    ) -> Answer:
        """Ask. Without a conversation a new one begins; without collections all that the actor may read are searched.

        language: of the answer; None: that of the question.
        Raises Denied, BadInput (empty or too long), NotFound (conversation). Later failures are in the answer.
        """
        self._recorder.require(actor, Action.ASK)
        question, watch = _checked(question), Stopwatch(self._clock)
        collections = self._membership.readable(actor, collection_ids)
        with self._recorder.begun(actor, Action.ASK, conversation_id) as act:
            with watch.step("save"):
                asked = self._conversations.ask(question, actor_id=actor.id, conversation_id=conversation_id)
            return self._answer(_Asking(actor, asked, collections, language, watch, act))

    def regenerate(self, conversation_id: str, actor: Actor, collection_ids: Sequence[int] | None = None) -> Answer:
        """Answer the last question again, in other words; the new answer takes the old one's place when it is there."""
        self._recorder.require(actor, Action.REGENERATE)
        watch = Stopwatch(self._clock)
        collections = self._membership.readable(actor, collection_ids)
        with self._recorder.begun(actor, Action.REGENERATE, conversation_id) as act:
            asked = self._conversations.last_question(conversation_id, actor_id=actor.id)
            return self._answer(_Asking(actor, asked, collections, None, watch, act, ANOTHER_WORDING))

    def _answer(self, asking: _Asking) -> Answer:
        asked = asking.question
        answer = Answer(asked.conversation_id, asked.id, asked.text, asking.language or language_of(asked.text))
        try:
            self._retrieve(answer, asking)
            if answer.confidence < self._settings.refusal_threshold or not answer.passages:
                answer.text = NOT_FOUND[answer.language]
                answer.deltas = (text for text in (answer.text,))
                self._finish(answer, asking, Outcome.REFUSED)
                return answer
            lease = self._enter(answer.question)
            answer.waiting = lease.place
        except PortalError as error:
            self._finish(answer, asking, _outcome_of(error), error)
            return answer
        answer.deltas = self._write(answer, lease, asking)
        return answer

    def _enter(self, question: str) -> Lease:
        """The model that words the answer: for a question about code the code model, if the portal is set so."""
        about_code = self._settings.route_by_task and is_about_code(question)
        return enter_first_of(self._chat_model, *(["code"] if about_code else []), "chat")

    def _retrieve(self, answer: Answer, asking: _Asking) -> None:
        """Passages of the actor's collections; looked at once more, in case one was closed to them meanwhile."""
        watch, previous = asking.watch, asking.question.previous or None
        with watch.step("retrieve"):
            retrieval = self._retriever.retrieve(
                answer.question, collection_ids=asking.collection_ids, limit=PASSAGES, context_question=previous
            )
            allowed = self._membership.may_read_chunks(asking.actor, [p.chunk_id for p in retrieval.passages])
        for part, duration_ms in retrieval.timings_ms.items():
            if part != "total":
                watch.add(f"retrieve_{part}", duration_ms)
        answer.passages = [passage for passage in retrieval.passages if passage.chunk_id in allowed]
        answer.meaning = " ".join((retrieval.question or answer.question).split())
        answer.confidence = retrieval.confidence

    def _request(self, answer: Answer, asking: _Asking, lease: Lease) -> ChatRequest:
        """The evidence in the prompt of the lease's model."""
        watch = asking.watch
        with watch.step("evidence"):
            evidence = choose_evidence(
                answer.meaning,
                answer.passages,
                budget_tokens=self._settings.evidence_tokens,
                count_tokens=partial(self._chat_model.count_tokens, lease=lease),
            )
        best = self._catalogue.get(lease.endpoint.model_id).ask
        answer.prompt_template = f"{best.template}.{answer.language}"
        with watch.step("prompt"):
            messages = answer_messages(best.template, answer.language, evidence, answer.meaning)
        return ChatRequest(
            messages=messages,
            max_tokens=best.max_tokens,
            temperature=asking.temperature or best.temperature,
            top_p=best.top_p,
            repetition_penalty=best.repetition_penalty,
        )

    def _write(self, answer: Answer, lease: Lease, asking: _Asking) -> Generator[str, None, None]:
        """The model's deltas. Whatever ends it (the end, Stop, a failure), the answer is cited, saved and recorded."""
        outcome, error = Outcome.FAILED, None
        try:
            make_request = partial(self._request, answer, asking)
            yield from write(answer, self._chat_model, lease, make_request, asking.watch)
            outcome = Outcome.ANSWERED
        except GeneratorExit:
            outcome = Outcome.CANCELLED
            raise
        except PortalError as caught:
            outcome, error = _outcome_of(caught), caught
        finally:
            self._finish(answer, asking, outcome, error)

    def _finish(self, answer: Answer, asking: _Asking, outcome: Outcome, error: PortalError | None = None) -> None:
        """Set what came of the question, cite the text there is, save, and end the audit event."""
        watch = asking.watch
        if outcome is Outcome.ANSWERED and answer.text.strip(" .。\n") in {"", *NOT_FOUND.values()}:
            outcome, answer.text = Outcome.REFUSED, NOT_FOUND[answer.language]
        answer.outcome, answer.error = outcome, error
        if outcome is not Outcome.REFUSED:
            with watch.step("cite"):
                answer.citations = align(answer.text, answer.passages, question=answer.meaning)
                answer.text = without_markers(answer.text, len(answer.passages))
        watch.stop()
        answer.timings_ms = watch.timings_ms
        with watch.step("save"):
            self._conversations.save_answer(_row(answer))
        watch.stop()
        self._recorder.end(asking.act, answer, asking.collection_ids)


def _checked(question: str) -> str:
    """The question without surrounding space. Raises BadInput when it is empty or too long."""
    question = question.strip()
    if not question:
        raise BadInput(N_("The question is empty."))
    if len(question) > QUESTION_MAX_LENGTH:
        raise BadInput(
            N_("The question is longer than {limit} characters."),
            hint=N_("Ask in fewer words; long texts belong into a document."),
            limit=QUESTION_MAX_LENGTH,
        )
    return question


def _outcome_of(error: PortalError) -> Outcome:
    """An engine that is not there leaves the passages; anything else is a failure."""
    return Outcome.PASSAGES if isinstance(error, EngineNotReady | EngineStartFailed) else Outcome.FAILED


def _row(answer: Answer) -> Message:
    return Message(
        conversation_id=answer.conversation_id,
        kind="answer",
        question_id=answer.question_id,
        text=answer.text,
        outcome=str(answer.outcome),
        citations=[asdict(citation) for citation in answer.citations],
        passages=[asdict(StoredPassage.of(passage)) for passage in answer.passages],
        error=answer.error.to_record() if answer.error else None,
        model=answer.model_id,
        timings_ms=dict(answer.timings_ms),
    )
