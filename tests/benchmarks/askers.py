"""Askers who ask again as soon as they have their answer, and what each of them lived through.

entered ──(waits in line)──► granted ──► token … token ──► ended
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import pairwise

from services.chat_model import ChatModel, ChatRequest
from services.engines.deployments import Deployments
from services.errors import EngineRetired, PortalError
from services.settings import Settings

ASKERS = 8
POLL_S = 0.05


@dataclass(frozen=True)
class Answered:
    """One request, in monotonic seconds. begun_anew: how often its engine was taken away; tokens_at: of all deltas.

    running: the times in which an engine worked on it. place_shown: it waited, and was told its place in the line.
    """

    model_id: str
    entered: float
    granted: float
    ended: float
    tokens_at: tuple[float, ...]
    running: tuple[tuple[float, float], ...]
    begun_anew: int
    place_shown: bool

    @property
    def waited_s(self) -> float:
        return self.granted - self.entered


@dataclass
class Askers:
    """From __enter__, which returns when everybody has had an answer, to __exit__. lost: errors, as askers saw them."""

    portal: Deployments
    settings: Settings
    max_tokens: int = 50
    answered: list[Answered] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._over = threading.Event()
        self._pool = ThreadPoolExecutor(ASKERS)
        self._work: list[Future] = []

    def __enter__(self) -> Askers:
        self._work = [self._pool.submit(self._ask, number) for number in range(ASKERS)]
        self.wait_for_answers(ASKERS, 600)
        return self

    def __exit__(self, *_exception: object) -> None:
        self._over.set()
        self._pool.shutdown()
        for work in self._work:
            work.result()

    def wait_for_answers(self, count: int, timeout_s: float, model_id: str = "") -> None:
        """Until so many answers came from the model (of any, when none is named)."""
        deadline = time.monotonic() + timeout_s
        while sum(model_id in ("", answer.model_id) for answer in self.answered) < count:
            assert time.monotonic() < deadline, f"{count} answers did not come: {self.lost[:3]}"
            time.sleep(POLL_S)

    def unserved_s(self) -> tuple[float, float, float]:
        """The longest interval in which no engine worked on any request: seconds, begin and end."""
        busy = sorted(interval for answer in self.answered for interval in answer.running)
        reach, longest = busy[0][1], (0.0, 0.0, 0.0)
        for begin, end in busy:
            longest = max(longest, (begin - reach, reach, begin))
            reach = max(reach, end)
        return longest

    def silent_s(self) -> float:
        """The longest interval in which no token reached anybody."""
        tokens = sorted(at for answer in self.answered for at in answer.tokens_at)
        return max(after - before for before, after in pairwise(tokens))

    def _ask(self, number: int) -> None:
        chat_model = ChatModel(self.portal, self.settings)
        turn = 0
        while not self._over.is_set():
            turn += 1
            question = f"Question {number}.{turn}: what is a printer for?"
            try:
                self.answered.append(self._once(chat_model, question))
            except PortalError as error:
                self.lost.append(repr(error))
                time.sleep(1)

    def _once(self, chat_model: ChatModel, question: str) -> Answered:
        entered, running, place_shown = time.monotonic(), [], False
        while True:
            lease = chat_model.enter("chat", first=bool(running))
            while not lease.wait(POLL_S):
                place_shown = place_shown or lease.place is not None
            granted, tokens_at = time.monotonic(), []
            request = ChatRequest([{"role": "user", "content": question}], self.max_tokens)
            try:
                with chat_model.stream(request, lease) as stream:
                    tokens_at.extend(time.monotonic() for _delta in stream)
            except EngineRetired:
                running.append((granted, time.monotonic()))
                continue
            if not tokens_at:
                raise RuntimeError("an answer without a token")
            running.append((granted, time.monotonic()))
            return Answered(
                model_id=lease.endpoint.model_id,
                entered=entered,
                granted=granted,
                ended=time.monotonic(),
                tokens_at=tuple(tokens_at),
                running=tuple(running),
                begun_anew=len(running) - 1,
                place_shown=place_shown,
            )
