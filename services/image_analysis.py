"""Image analysis: from pictures and a question to an answer.

The way of a picture: the gate → kept for its person until they ask. The way of a question: check the actor → begin its
audit event → store the pictures and the question → cut out the part that is meant → a vision model looks at it; where
none is served, the text in it is read and the chat model answers from that → stream → find a table → save → end the
event.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from db.database import Database
from db.tables import Message
from services.answering import ANOTHER_WORDING, Outcome, write
from services.audit.events import Action
from services.audit.trail import Act
from services.background import in_background
from services.chat_model import ChatRequest
from services.conversations import AskedQuestion, Conversations, Turn
from services.errors import BadInput, EngineError, ModelFilesError, PortalError, UnreadableFile
from services.images.asking import checked, parts_of
from services.images.export import KINDS, to_markdown
from services.images.keeping import KIND, Pictures
from services.images.pictures import CleanImage
from services.images.prompting import read_text, reading_messages, vision_messages
from services.images.question import ImageAnswer, ImageQuestion, ImageTurn
from services.images.records import answer_record, question_of, question_record, turn_of
from services.images.scaling import data_url, put_back
from services.images.tables import find_table
from services.kept_conversations import KeptConversations
from services.permissions import Actor, Permission, check
from services.stopwatch import Clock, Stopwatch
from services.translation import N_, Language, language_of, translate

if TYPE_CHECKING:
    from services.chat_model import ChatModel
    from services.engines.catalogue import Catalogue
    from services.engines.gate import Lease
    from services.image_audit import ImageRecorder
    from services.images.gate import Gate
    from services.images.reading import Reader
    from services.images.store import ImageStore

NO_TEXT: dict[Language, str] = {
    "zh": "图片中没有读到文字，目前也没有可用的视觉模型，因此无法回答。",
    "en": "No text was found in the picture, and no vision model is running, so there is no answer.",
}


@dataclass
class _Doing:
    """What belongs to one question while it is answered. parts: the pictures, or the part of one that is meant."""

    act: Act
    watch: Stopwatch
    parts: list[CleanImage]
    earlier: ImageTurn | None
    temperature: float = 0.0


class ImageAnalysis(KeptConversations):
    """Questions about pictures, and the conversations they make."""

    def __init__(
        self,
        database: Database,
        chat_model: ChatModel,
        catalogue: Catalogue,
        *,
        gate: Gate,
        store: ImageStore,
        reader: Reader,
        recorder: ImageRecorder,
        clock: Clock = time.perf_counter,
    ) -> None:
        super().__init__(Conversations(database, KIND), recorder)
        self._chat_model = chat_model
        self._catalogue = catalogue
        self._gate = gate
        self._reader = reader
        self._pictures = Pictures(database, store)
        self._clock = clock

    def admit(self, source: bytes | Path, name: str, actor: Actor, *, page: int = 1) -> CleanImage:
        """Make an upload a picture to ask about, under its sha256. page: 1-based, of a PDF or TIFF.

        Raises Denied, UnreadableFile (recorded), NotFound.
        """
        self._recorder.require(actor, Action.IMAGE)
        try:
            image = self._gate.admit(source, name=name, page=page)
        except UnreadableFile as error:
            self._recorder.refused(actor, name, error)
            raise
        self._pictures.admitted(actor.id, image)
        return image

    def picture(self, sha256: str, actor: Actor) -> CleanImage:
        """A picture that the actor uploaded and has not asked about yet, or that one of their conversations has.

        Raises NotFound for any other.
        """
        check(actor, Permission.ASK)
        return self._pictures.get(actor.id, sha256)

    def stream(
        self,
        question: ImageQuestion,
        *,
        actor: Actor,
        conversation_id: str | None = None,
        language: Language | None = None,
    ) -> ImageAnswer:
        """Ask. Without a conversation a new one begins. language: of the answer; None: that of the question.

        Raises Denied, BadInput (no or too many pictures, too many words, a bad region), NotFound (conversation,
        picture), StorageFull. Later failures are in the answer.
        """
        self._recorder.require(actor, Action.IMAGE)
        question, watch = checked(question), Stopwatch(self._clock)
        language = language or language_of(question.words)
        with self._recorder.begun(actor, Action.IMAGE, conversation_id) as act:
            earlier = self._latest(conversation_id, actor)
            if not question.images:
                question = replace(question, images=earlier.question.images if earlier else ())
            pictures = self._named(question, actor)
            doing = _Doing(act, watch, parts_of(question, pictures), earlier)
            with watch.step("save"), self._pictures.kept(actor.id, pictures):
                asked = self._conversations.ask(
                    question.words or translate(KINDS[question.template], language),
                    actor_id=actor.id,
                    conversation_id=conversation_id,
                    content=question_record(question),
                )
            return self._begin(asked, question, pictures, language, doing)

    def regenerate(self, conversation_id: str, actor: Actor, language: Language | None = None) -> ImageAnswer:
        """Answer the last question again, in other words; the new answer takes the old one's place when it is there."""
        self._recorder.require(actor, Action.IMAGE)
        watch = Stopwatch(self._clock)
        with self._recorder.begun(actor, Action.IMAGE, conversation_id) as act:
            asked = self._conversations.last_question(conversation_id, actor_id=actor.id)
            turns = self._conversations.turns(conversation_id, actor_id=actor.id)
            question = question_of(turns[-1].asked, asked.text)
            pictures = self._named(question, actor)
            earlier = turn_of(turns[-2]) if len(turns) > 1 else None
            doing = _Doing(act, watch, parts_of(question, pictures), earlier, ANOTHER_WORDING)
            return self._begin(asked, question, pictures, language or language_of(question.words), doing)

    def turns(self, conversation_id: str, actor: Actor) -> list[ImageTurn]:
        """The turns, oldest first."""
        return [turn_of(turn) for turn in self.history(conversation_id, actor)]

    def delete(self, conversation_id: str, actor: Actor) -> None:
        """Delete the conversation, and its pictures that no other conversation of anybody has."""
        with self._pictures.let_go(conversation_id):
            super().delete(conversation_id, actor)

    def close(self) -> None:
        self._reader.close()

    def _latest(self, conversation_id: str | None, actor: Actor) -> ImageTurn | None:
        if conversation_id is None:
            return None
        turns = self._conversations.turns(conversation_id, actor_id=actor.id)
        return turn_of(turns[-1]) if turns else None

    def _named(self, question: ImageQuestion, actor: Actor) -> list[CleanImage]:
        if not question.images:
            raise BadInput(N_("There is no picture to ask about."), hint=N_("Upload one first."))
        return [self._pictures.get(actor.id, sha256) for sha256 in question.images]

    def _begin(
        self,
        asked: AskedQuestion,
        question: ImageQuestion,
        pictures: list[CleanImage],
        language: Language,
        doing: _Doing,
    ) -> ImageAnswer:
        answer = ImageAnswer(asked.conversation_id, asked.id, question, language, pictures)
        answer.deltas = self._work(answer, doing)
        return answer

    def _work(self, answer: ImageAnswer, doing: _Doing) -> Generator[str, None, None]:
        """Everything there is to do. Whatever ends it (the end, Stop, a failure), what there is is saved."""
        outcome, error = Outcome.FAILED, None
        try:
            outcome = yield from self._answer(answer, doing)
        except GeneratorExit:
            outcome = Outcome.CANCELLED
            raise
        except PortalError as caught:
            error = caught
        finally:
            self._finish(answer, doing, outcome, error)

    def _answer(self, answer: ImageAnswer, doing: _Doing) -> Generator[str, None, Outcome]:
        if answer.question.with_text:
            yield from self._read(answer, doing)
        lease = self._enter_vision()
        answer.mode = "ocr" if lease is None else "vision"
        if lease is None:
            if not answer.question.with_text:
                yield from self._read(answer, doing)
            if not any(reading.layout.strip() for reading in answer.readings):
                answer.text = NO_TEXT[answer.language]
                yield answer.text
                return Outcome.REFUSED
            lease = self._chat_model.enter("chat")
        answer.waiting = lease.place
        make_request = partial(self._request, answer, doing)
        yield from write(answer, self._chat_model, lease, make_request, doing.watch)
        return Outcome.ANSWERED

    def _enter_vision(self) -> Lease | None:
        with suppress(EngineError, ModelFilesError):
            return self._chat_model.enter("vision")
        return None

    def _read(self, answer: ImageAnswer, doing: _Doing) -> Generator[str, None, None]:
        with doing.watch.step("read"):
            read = yield from in_background(
                lambda stopped: [self._reader.read(part) for part in doing.parts if not stopped()]
            )
        region = answer.question.region
        answer.readings = [put_back(read[0], answer.pictures[0], region)] if region else read

    def _request(self, answer: ImageAnswer, doing: _Doing, lease: Lease) -> ChatRequest:
        best = self._catalogue.get(lease.endpoint.model_id).image
        answer.prompt_template = f"{best.template}.{answer.language}"
        with doing.watch.step("prompt"):
            messages = self._messages(best.template, answer, doing, lease)
        return ChatRequest(
            messages=messages,
            max_tokens=best.max_tokens,
            temperature=doing.temperature or best.temperature,
            top_p=best.top_p,
            repetition_penalty=best.repetition_penalty,
        )

    def _messages(self, template: str, answer: ImageAnswer, doing: _Doing, lease: Lease) -> list[dict]:
        count_tokens = partial(self._chat_model.count_tokens, lease=lease)
        text, answer.cut = read_text(template, answer.readings, answer.language, count_tokens)
        given = {"text": text, "earlier": doing.earlier, "language": answer.language}
        if answer.mode == "vision":
            return vision_messages(template, answer.question, picture_url=data_url(doing.parts), **given)
        return reading_messages(template, answer.question, **given)

    def _finish(self, answer: ImageAnswer, doing: _Doing, outcome: Outcome, error: PortalError | None) -> None:
        """Set what came of the question, save, and end the audit event."""
        answer.outcome, answer.error, answer.waiting = outcome, error, None
        found = find_table(answer.text)
        answer.table = found.rows if found else None
        doing.watch.stop()
        answer.timings_ms = doing.watch.timings_ms
        try:
            self._conversations.save_answer(_row(answer))
        finally:
            self._recorder.end(doing.act, answer)

    def _as_markdown(self, title: str, turns: Sequence[Turn], language: Language) -> str:
        return to_markdown(title, [turn_of(turn) for turn in turns], language)


def _row(answer: ImageAnswer) -> Message:
    return Message(
        conversation_id=answer.conversation_id,
        kind="answer",
        question_id=answer.question_id,
        text=answer.text,
        outcome=str(answer.outcome),
        error=answer.error.to_record() if answer.error else None,
        model=answer.model_id,
        timings_ms=dict(answer.timings_ms),
        content=answer_record(answer),
    )
