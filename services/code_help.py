"""Code help: from a requirement to code that was run.

The way of a question about code: check the actor → begin its audit event → store the question → enter the model's gate
(the role code, else chat) → prompt → stream, parsed into sections as it comes → run code and tests in the sandbox →
when something failed, once more with what went wrong → save → end the event.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

from db.database import Database
from db.tables import Message
from services.answering import ANOTHER_WORDING, Outcome, enter_first_of, write
from services.audit.events import Action
from services.audit.trail import Act
from services.background import in_background
from services.chat_model import ChatRequest
from services.code.answer import Attempt, CodeAnswer, CodeQuestion, CodeTurn, Stage, Task
from services.code.export import to_markdown
from services.code.input_warnings import warnings_for
from services.code.prompting import first_messages, given_code, repair_messages
from services.code.proof import Proof, better, needs_repair
from services.code.records import attempt_record, question_of, question_record, turn_of
from services.code.sections import parse
from services.conversations import AskedQuestion, Conversations, Turn
from services.errors import BadInput, PortalError
from services.kept_conversations import KeptConversations
from services.permissions import Actor, Permission, check
from services.sandbox.jobs import Availability
from services.sandbox.proving import TestRunner
from services.stopwatch import Clock, Stopwatch
from services.translation import N_, Language

if TYPE_CHECKING:
    from services.chat_model import ChatModel
    from services.code_audit import CodeRecorder
    from services.engines.catalogue import Catalogue
    from services.engines.gate import Lease
    from services.sandbox.box import Sandbox

log = logging.getLogger(__name__)

WORDS_MAX, CODE_MAX = 4_000, 40_000  # characters
ROLES = ("code", "chat")


@dataclass
class _Doing:
    """What belongs to one question while it is answered."""

    actor: Actor
    asked: AskedQuestion
    question: CodeQuestion
    earlier: str  # code of the turn before
    watch: Stopwatch
    act: Act
    temperature: float = 0.0
    run: bool = True
    messages: list[dict] = field(default_factory=list)  # of the first attempt


class CodeHelp(KeptConversations):
    """Questions about code, and the conversations they make. Holds nothing of any one person."""

    def __init__(
        self,
        database: Database,
        chat_model: ChatModel,
        catalogue: Catalogue,
        sandbox: Sandbox,
        *,
        recorder: CodeRecorder,
        clock: Clock = time.perf_counter,
    ) -> None:
        super().__init__(Conversations(database, "code"), recorder)
        self._chat_model = chat_model
        self._catalogue = catalogue
        self._sandbox = sandbox
        self._proof = Proof(TestRunner(sandbox))
        self._clock = clock

    def stream(
        self,
        question: CodeQuestion,
        *,
        actor: Actor,
        conversation_id: str | None = None,
        language: Language,
        run: bool = True,
    ) -> CodeAnswer:
        """Ask. language: of the explanations. Without a conversation a new one begins. run: prove the answer.

        Raises Denied, BadInput (nothing to work on, or too much), NotFound (conversation). Later failures are in the
        answer.
        """
        self._recorder.require(actor, Action.CODE)
        question, watch = _checked(question), Stopwatch(self._clock)
        with self._recorder.begun(actor, Action.CODE, conversation_id) as act:
            before = self._conversations.turns(conversation_id, actor_id=actor.id) if conversation_id else []
            earlier = _latest_code(before)
            asked = self._conversations.ask(
                question.words or _first_line(given_code(question)),
                actor_id=actor.id,
                conversation_id=conversation_id,
                content=question_record(question),
            )
            return self._begin(_Doing(actor, asked, question, earlier, watch, act, run=run), language)

    def regenerate(self, conversation_id: str, actor: Actor, language: Language) -> CodeAnswer:
        """Answer the last question again, in other words; the new answer takes the old one's place when it is there."""
        self._recorder.require(actor, Action.CODE)
        watch = Stopwatch(self._clock)
        with self._recorder.begun(actor, Action.CODE, conversation_id) as act:
            asked = self._conversations.last_question(conversation_id, actor_id=actor.id)
            turns = self._conversations.turns(conversation_id, actor_id=actor.id)
            question = question_of(turns[-1].asked, asked.text)
            earlier = _latest_code(turns[:-1])
            return self._begin(_Doing(actor, asked, question, earlier, watch, act, ANOTHER_WORDING), language)

    def turns(self, conversation_id: str, actor: Actor) -> list[CodeTurn]:
        """The turns, oldest first."""
        return [turn_of(turn) for turn in self.history(conversation_id, actor)]

    def availability(self, actor: Actor) -> Availability:
        """What can be run here. The first look takes a second or two."""
        check(actor, Permission.ASK)
        return self._sandbox.availability()

    def _begin(self, doing: _Doing, language: Language) -> CodeAnswer:
        asked, question = doing.asked, doing.question
        answer = CodeAnswer(asked.conversation_id, asked.id, question, language)
        answer.warnings = warnings_for(given_code(question), question.words)
        try:
            lease = enter_first_of(self._chat_model, *ROLES)
            answer.waiting = lease.place
        except PortalError as error:
            self._finish(answer, doing, Outcome.FAILED, error)
            return answer
        answer.deltas = self._work(answer, lease, doing)
        return answer

    def _work(self, answer: CodeAnswer, lease: Lease, doing: _Doing) -> Generator[str, None, None]:
        """Everything there is to do. Whatever ends it (the end, Stop, a failure), what there is is saved."""
        outcome, error = Outcome.FAILED, None
        try:
            yield from self._attempt(answer, lease, doing, partial(self._first_request, answer, doing))
            if needs_repair(answer.attempts[0]):
                yield from self._repair(answer, doing)
            outcome = Outcome.ANSWERED
        except GeneratorExit:
            outcome = Outcome.CANCELLED
            raise
        except PortalError as caught:
            outcome, error = Outcome.FAILED, caught
        finally:
            self._finish(answer, doing, outcome, error)

    def _repair(self, answer: CodeAnswer, doing: _Doing) -> Generator[str, None, None]:
        with doing.watch.step("repair"):
            answer.stage, answer.text = Stage.REPAIRING, ""
            try:
                lease = enter_first_of(self._chat_model, *ROLES)
                yield from self._attempt(answer, lease, doing, partial(self._repair_request, answer, doing))
            except PortalError as error:  # the first attempt stands, with what running it showed
                log.info("no repair: %s", error)
                answer.text = ""
            answer.shown = better(answer.attempts)

    def _attempt(
        self, answer: CodeAnswer, lease: Lease, doing: _Doing, make_request: Callable[[Lease], ChatRequest]
    ) -> Generator[str, None, None]:
        for delta in write(answer, self._chat_model, lease, make_request, doing.watch):
            if delta:
                answer.sections = parse(answer.text)
            yield delta
        answer.sections = replace(parse(answer.text), language=doing.question.language)
        if not doing.run:
            answer.attempts.append(Attempt(answer.text, answer.sections))
            return
        answer.stage = Stage.RUNNING
        with doing.watch.step("run"):
            proving = partial(self._proof.prove, doing.question, answer.text, answer.sections)
            answer.attempts.append((yield from in_background(proving)))
        answer.stage = Stage.DONE

    def _first_request(self, answer: CodeAnswer, doing: _Doing, lease: Lease) -> ChatRequest:
        template = self._catalogue.get(lease.endpoint.model_id).code.template
        answer.prompt_template = f"{template}.{answer.answer_language}"
        doing.messages = first_messages(template, doing.question, doing.earlier, answer.answer_language)
        return self._request(doing.messages, doing.temperature, lease)

    def _repair_request(self, answer: CodeAnswer, doing: _Doing, lease: Lease) -> ChatRequest:
        template = self._catalogue.get(lease.endpoint.model_id).code.template
        messages = repair_messages(template, doing.messages, answer.attempts[0], answer.answer_language)
        return self._request(messages, doing.temperature, lease)

    def _request(self, messages: list[dict], temperature: float, lease: Lease) -> ChatRequest:
        best = self._catalogue.get(lease.endpoint.model_id).code
        return ChatRequest(
            messages=messages,
            max_tokens=best.max_tokens,
            temperature=temperature or best.temperature,
            top_p=best.top_p,
            repetition_penalty=best.repetition_penalty,
        )

    def _finish(self, answer: CodeAnswer, doing: _Doing, outcome: Outcome, error: PortalError | None = None) -> None:
        """Set what came of the question, save, and end the audit event. What was cut off is an attempt, too."""
        answer.outcome, answer.error, answer.stage = outcome, error, Stage.DONE
        if answer.text and all(attempt.text != answer.text for attempt in answer.attempts):
            answer.attempts.append(Attempt(answer.text, parse(answer.text)))
        doing.watch.stop()
        answer.timings_ms = doing.watch.timings_ms
        try:
            self._conversations.save_answer(_row(answer))
        finally:
            self._recorder.end(doing.act, answer)

    def _as_markdown(self, title: str, turns: Sequence[Turn], language: Language) -> str:
        return to_markdown(title, [turn_of(turn) for turn in turns], language)


def _checked(question: CodeQuestion) -> CodeQuestion:
    """With its words stripped. Raises BadInput."""
    question = replace(question, words=question.words.strip())
    given = given_code(question)
    if not question.words and not given:
        raise BadInput(N_("There is nothing to work on."), hint=N_("Say what the code should do, or give some code."))
    if question.task in (Task.TEST, Task.IMPROVE) and not question.language:
        raise BadInput(N_("The language of the code is missing."), hint=N_("Choose one."))
    if len(question.words) > WORDS_MAX:
        raise BadInput(N_("The text is longer than {limit} characters."), limit=WORDS_MAX)
    if len(given) > CODE_MAX:
        raise BadInput(
            N_("The code is longer than {limit} characters."),
            hint=N_("Give only the part that the question is about."),
            limit=CODE_MAX,
        )
    return question


def _first_line(code: str) -> str:
    return next((line.strip() for line in code.splitlines() if line.strip()), "")


def _latest_code(turns: Sequence[Turn]) -> str:
    return next((code for turn in reversed(turns) if (code := _code_of(turn_of(turn)))), "")


def _code_of(turn: CodeTurn) -> str:
    """The code that a turn ended with: the answer's, else what was given."""
    shown = turn.attempts[turn.shown].sections.code if turn.attempts and turn.question.task is not Task.TEST else ""
    return shown or given_code(turn.question)


def _row(answer: CodeAnswer) -> Message:
    return Message(
        conversation_id=answer.conversation_id,
        kind="answer",
        question_id=answer.question_id,
        text=answer.attempts[answer.shown].text if answer.attempts else "",
        outcome=str(answer.outcome),
        error=answer.error.to_record() if answer.error else None,
        model=answer.model_id,
        timings_ms=dict(answer.timings_ms),
        content={
            "attempts": [attempt_record(attempt) for attempt in answer.attempts],
            "shown": answer.shown,
            "warnings": answer.warnings,
        },
    )
