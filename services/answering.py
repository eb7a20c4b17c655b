"""What asking a model is the same for: documents, code and pictures. Entering its gate, standing in line, reading.

A service makes an object that `Written` is the base of, enters the gate of a role, and gives `write` a function from
the granted lease to the request.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from services.errors import EngineError, EngineRetired, ModelFilesError, PortalError
from services.stopwatch import Stopwatch

if TYPE_CHECKING:
    from services.chat_model import ChatModel, ChatRequest, ChatStream
    from services.engines.gate import Lease, QueuePlace

HEARTBEAT_S = 0.5  # while the model reads, an empty delta this often: whoever reads the answer can stop it
ANOTHER_WORDING = 0.7  # temperature of a regenerated answer: at 0 it would be the same again

MakeRequest = Callable[["Lease"], "ChatRequest"]


class Outcome(StrEnum):
    """What came of a question."""

    ANSWERED = "answered"
    REFUSED = "refused"  # nothing good enough was found and no model was asked, or the model found nothing in it
    PASSAGES = "passages"  # the model is not there; the passages are
    CANCELLED = "cancelled"  # stopped by the person; text is what there was until then
    FAILED = "failed"  # `error` says why; text is what there was until then


@dataclass(kw_only=True)
class Written:
    """What a model writes, while it comes and after."""

    text: str = ""
    outcome: Outcome | None = None  # None: not finished
    error: PortalError | None = None
    model_id: str = ""
    waiting: QueuePlace | None = None  # while it stands in line for a model
    restarts: int = 0  # how often it began anew because its model was replaced; text is then empty again
    prompt_template: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    timings_ms: dict[str, float] = field(default_factory=dict)


def enter_first_of(chat_model: ChatModel, *roles: str) -> Lease:
    """The first of the roles that a model serves. Raises why there is none for the last."""
    for role in roles[:-1]:
        with suppress(EngineError, ModelFilesError):
            return chat_model.enter(role)
    return chat_model.enter(roles[-1])


def write(
    answer: Written, chat_model: ChatModel, lease: Lease, make_request: MakeRequest, watch: Stopwatch
) -> Generator[str, None, None]:
    """Deltas, gathered in the answer; empty ones while it waits. Raises PortalError as the model does.

    Once, as a rule; again, first in line, when the model was replaced in the middle of the answer.
    """
    while True:
        with lease:
            answer.waiting = None
            yield from _stand_in_line(answer, lease, watch)
            try:
                request = make_request(lease)
                asked_at = watch.now()
                with closing(chat_model.stream(request, lease, heartbeat_s=HEARTBEAT_S)) as stream:
                    yield from _read(answer, stream, watch, asked_at)
                return
            except EngineRetired:
                answer.text, answer.restarts = "", answer.restarts + 1
        lease = chat_model.enter(lease.role, first=True)


def _stand_in_line(answer: Written, lease: Lease, watch: Stopwatch) -> Generator[str, None, None]:
    """Empty deltas until the lease is granted. Raises why not, when there is no model after all."""
    if lease.granted:
        return
    since = watch.now()
    while not lease.wait(HEARTBEAT_S):
        answer.waiting = lease.place
        yield ""
    answer.waiting = None
    watch.add("queue", (watch.now() - since) * 1000)


def _read(answer: Written, stream: ChatStream, watch: Stopwatch, since: float) -> Generator[str, None, None]:
    """Deltas of the stream, gathered in the answer; the stream's own counts too, however it ends."""
    step, written = "first_token", (answer.prompt_tokens, answer.completion_tokens)
    try:
        for delta in stream:
            watch.add(step, (watch.now() - since) * 1000)
            answer.text += delta
            step = "decode" if answer.text else step
            yield delta
            since = watch.now()
    finally:
        answer.model_id = stream.model_id
        answer.prompt_tokens = written[0] + stream.prompt_tokens
        answer.completion_tokens = written[1] + stream.completion_tokens
