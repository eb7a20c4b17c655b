"""Ask: from a question to a cited answer.

The way of a question: check the actor → begin its audit event → store the question → retrieve from the actor's
collections → refuse when nothing is good enough → enter the model's gate (and wait in line while models are switched)
→ choose the evidence → prompt → stream → cite → save → end the event.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Sequence
from contextlib import closing, suppress
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING

from db.database import Database
from db.tables import Conversation, Message
from services.ask_audit import AskRecorder
from services.audit.events import Action
from services.audit.trail import Act
from services.chat_model import ChatRequest
from services.conversation_export import to_markdown
from services.conversations import AskedQuestion, Conversations, StoredPassage, Turn
from services.errors import (
    BadInput,
    EngineError,
    EngineNotReady,
    EngineRetired,
    EngineStartFailed,
    ModelFilesError,
    PortalError,
)
from services.evidence import choose_evidence
from services.permissions import Actor, Permission, check
from services.prompts import answer_messages
from services.questions import is_about_code
from services.retrieval.citations import Citation, align, without_markers
from services.settings import Settings
from services.stopwatch import Clock, Stopwatch
from services.translation import N_, Language, language_of

if TYPE_CHECKING:
    from services.chat_model import ChatModel, ChatStream
    from services.documents.membership import Membership
    from services.engines.catalogue import Catalogue
    from services.engines.gate import Lease, QueuePlace
    from services.retrieval.retriever import Passage, Retriever

NOT_FOUND: dict[Language, str] = {"zh": "未找到相关内容", "en": "Not found in the documents"}
PASSAGES = 6  # retrieved per question: the evidence is chosen from them, and they are what is shown as nearest
QUESTION_MAX_LENGTH = 2000  # characters
HEARTBEAT_S = 0.5  # while the model reads, an empty delta this often: whoever reads the answer can stop it
ANOTHER_WORDING = 0.7  # temperature of a regenerated answer: at 0 it would be the same again


class Outcome(StrEnum):
    """What came of a question."""

    ANSWERED = "answered"
    REFUSED = "refused"  # nothing good enough was found and no model was asked, or the model found nothing in it
    PASSAGES = "passages"  # the model is not there; the passages are
    CANCELLED = "cancelled"  # stopped by the person; text is what there was until then
    FAILED = "failed"  # `error` says why; text is what there was until then


def _no_deltas() -> Generator[str, None, None]:
    yield from ()


@dataclass
class Answer:
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
    text: str = ""
    citations: list[Citation] = field(default_factory=list)
    outcome: Outcome | None = None  # None: not finished
    error: PortalError | None = None
    confidence: float = 0.0  # of the retrieval, in [0, 1]
    model_id: str = ""
    prompt_template: str = ""
    waiting: QueuePlace | None = None  # while it stands in line for a model
    restarts: int = 0  # how often it began anew because its model was replaced; text is then empty again
    prompt_tokens: int = 0
    completion_tokens: int = 0
    timings_ms: dict[str, float] = field(default_factory=dict)


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


class AskService:
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
        self._database = database
        self._conversations = Conversations(database)
        self._retriever = retriever
        self._chat_model = chat_model
        self._catalogue = catalogue
        self._membership = membership
        self._recorder = recorder
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

    def history(self, conversation_id: str, actor: Actor) -> list[Turn]:
        """The turns, oldest first. Raises NotFound, also for another actor's conversation."""
        check(actor, Permission.ASK)
        return self._conversations.turns(conversation_id, actor_id=actor.id)

    def conversations(self, actor: Actor, limit: int = 20) -> list[Conversation]:
        """The actor's own conversations, last used first."""
        check(actor, Permission.ASK)
        return self._conversations.recent(actor_id=actor.id, limit=limit)

    def rename(self, conversation_id: str, title: str, actor: Actor) -> None:
        self._recorder.require(actor, Action.CONVERSATION_RENAME)
        with self._recorder.act(actor, Action.CONVERSATION_RENAME, conversation_id):
            self._conversations.rename(conversation_id, title, actor_id=actor.id)

    def delete(self, conversation_id: str, actor: Actor) -> None:
        """Delete the conversation with all its messages."""
        self._recorder.require(actor, Action.CONVERSATION_DELETE)
        with self._recorder.act(actor, Action.CONVERSATION_DELETE, conversation_id):
            self._conversations.delete(conversation_id, actor_id=actor.id)

    def export_markdown(self, conversation_id: str, actor: Actor, language: Language) -> str:
        """The conversation as a Markdown document; `language` is that of its headings."""
        self._recorder.require(actor, Action.EXPORT)
        with self._recorder.act(actor, Action.EXPORT, conversation_id):
            conversation = self._conversations.get(conversation_id, actor_id=actor.id)
            return to_markdown(conversation.title, self.history(conversation_id, actor), language)

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
        if self._settings.route_by_task and is_about_code(question):
            with suppress(EngineError, ModelFilesError):
                return self._chat_model.enter("code")
        return self._chat_model.enter("chat")

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
            yield from self._ask_until_answered(answer, lease, asking)
            outcome = Outcome.ANSWERED
        except GeneratorExit:
            outcome = Outcome.CANCELLED
            raise
        except PortalError as caught:
            outcome, error = _outcome_of(caught), caught
        finally:
            self._finish(answer, asking, outcome, error)

    def _ask_until_answered(self, answer: Answer, lease: Lease, asking: _Asking) -> Generator[str, None, None]:
        """Once, as a rule; again, first in line, when the model was replaced in the middle of the answer."""
        while True:
            with lease:
                yield from _stand_in_line(answer, lease, asking.watch)
                try:
                    yield from self._ask_model(answer, lease, asking)
                    return
                except EngineRetired:
                    answer.text, answer.restarts = "", answer.restarts + 1
            lease = self._chat_model.enter(lease.role, first=True)

    def _ask_model(self, answer: Answer, lease: Lease, asking: _Asking) -> Generator[str, None, None]:
        request = self._request(answer, asking, lease)
        asked_at = asking.watch.now()
        with closing(self._chat_model.stream(request, lease, heartbeat_s=HEARTBEAT_S)) as stream:
            yield from _read(answer, stream, asking.watch, asked_at)

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


def _stand_in_line(answer: Answer, lease: Lease, watch: Stopwatch) -> Generator[str, None, None]:
    """Empty deltas until the lease is granted. Raises why not, when there is no model after all."""
    if lease.granted:
        return
    since = watch.now()
    while not lease.wait(HEARTBEAT_S):
        answer.waiting = lease.place
        yield ""
    answer.waiting = None
    watch.add("queue", (watch.now() - since) * 1000)


def _read(answer: Answer, stream: ChatStream, watch: Stopwatch, since: float) -> Generator[str, None, None]:
    """Deltas of the stream, gathered in the answer; the stream's own counts too, however it ends."""
    step = "first_token"
    try:
        for delta in stream:
            watch.add(step, (watch.now() - since) * 1000)
            answer.text += delta
            step = "decode" if answer.text else step
            yield delta
            since = watch.now()
    finally:
        answer.model_id = stream.model_id
        answer.prompt_tokens, answer.completion_tokens = stream.prompt_tokens, stream.completion_tokens


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
