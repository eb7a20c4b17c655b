"""Questions to an engine about itself: does it answer, does it get anything done, how busy is it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import psutil

from services.engines.metrics import Reading
from services.engines.states import Endpoint
from services.errors import EngineDied, EngineError, EngineTimeout
from services.translation import N_

if TYPE_CHECKING:
    from httpx import BaseTransport, Response

QUICK_S = 5
BUSY_CORES = 0.3  # core-seconds per second of a process that computes, on a machine that has room for it
STARVED_CORES = 0.05  # and on one that has none; engines that hang have been seen to use 0.01
LONGEST_SILENCE_S = 300  # so long may an engine compute and make no token, nor show other progress
DETAIL_CHARS = 200


class EngineProbe:
    """Of an engine of any kind, here or elsewhere. Used by several threads.

    On loopback no proxy is asked; elsewhere the environment's proxies and the system's certificates hold.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        pids: Callable[[], list[int]] = list,
        device: str = "cpu",
        clock: Callable[[], float] = time.monotonic,
        look_s: float = 2.0,
        transport: BaseTransport | None = None,
    ) -> None:
        """pids: the engine's processes; none for one elsewhere. device: where it computes, cpu or cuda.

        look_s: how long its processes are watched when it is silent. transport: instead of the network.
        """
        import httpx

        local = endpoint.local
        self._model = endpoint.served_name or endpoint.model_id
        self._base_url = endpoint.base_url
        self._root = endpoint.base_url.removesuffix("/v1")
        self._client = httpx.Client(
            headers={"Authorization": f"Bearer {endpoint.api_key}"} if endpoint.api_key else {},
            trust_env=not local,
            verify=not local,
            timeout=QUICK_S,
            transport=transport,
        )
        self._failures = httpx.HTTPError
        self._timeouts = httpx.TimeoutException
        self._pids = pids
        self._device = device
        self._clock = clock
        self._look_s = look_s
        self._seen: Reading | None = None
        self._progress_at: float | None = None

    def healthy(self) -> bool:
        """Whether the API is up and believes in its engine: GET /health, or the list of models where there is none."""
        try:
            response = self._client.get(f"{self._root}/health")
            if response.status_code in (401, 403, 404, 405):
                response = self._client.get(f"{self._base_url}/models")
        except self._failures:
            return False
        return response.status_code == 200

    def one_token(self, timeout_s: float) -> bool:
        """Readiness: a one-token completion. Needs a free place among the engine's running requests.

        429 will do: a server elsewhere that has too much to do is there.
        """
        try:
            response = self._complete([{"role": "user", "content": "Hi"}], 1, timeout_s)
        except self._failures:
            return False
        return response.status_code in (200, 429)

    def lives(self, timeout_s: float) -> bool:
        """Whether it got anything done since the last call, makes a token now, or at least computes.

        Costs a look at its counters while others keep it busy, else a token. That an engine computes counts only
        after a first token or other progress, for LONGEST_SILENCE_S, while its API answers, and where computing is
        the processor's work: on a CPU, or in an engine that has no counters. It is watched after the time for the
        token is over: a worker whose scheduler hangs still ends the step that it is in.
        """
        before = self.reading()
        if self._moved(before):
            return True
        if self.one_token(timeout_s):
            self._note(self.reading())
            return True
        after = self.reading()
        return self._moved(after) or (self._may_be_silent(after) and self.healthy() and self._computes())

    def running_requests(self) -> int:
        """Requests being answered or waiting; 0 when the engine does not say."""
        reading = self.reading()
        return reading.running + reading.waiting if reading is not None else 0

    def reading(self) -> Reading | None:
        """None when the engine has no metrics, or does not answer."""
        try:
            response = self._client.get(f"{self._root}/metrics")
        except self._failures:
            return None
        return Reading.parse(response.text) if response.status_code == 200 else None

    def generate(self, messages: list[dict], max_tokens: int, timeout_s: float) -> str:
        """The model's most likely answer. Raises EngineTimeout, EngineDied, EngineError (it refused)."""
        try:
            response = self._complete(messages, max_tokens, timeout_s)
        except self._timeouts as error:
            raise EngineTimeout(
                N_("The model did not answer a test question within {limit:.0f} s."),
                hint=N_("See the engine's log: Model Manager, or cli.py engine logs"),
                limit=timeout_s,
            ) from error
        except self._failures as error:
            raise EngineDied(
                N_("The model's engine ended over a test question."),
                hint=N_("See the engine's log: Model Manager, or cli.py engine logs"),
            ) from error
        if response.status_code != 200:
            raise EngineError(
                N_("The model's engine refused the request: {detail}"),
                hint=N_("See the engine's log: Model Manager, or cli.py engine logs"),
                detail=f"{response.status_code} {response.text[:DETAIL_CHARS]}",
            )
        return response.json()["choices"][0]["message"].get("content") or ""

    def _complete(self, messages: list[dict], max_tokens: int, timeout_s: float) -> Response:
        body = {"model": self._model, "messages": messages, "max_tokens": max_tokens, "temperature": 0.0}
        return self._client.post(f"{self._base_url}/chat/completions", json=body, timeout=timeout_s)

    def _moved(self, reading: Reading | None) -> bool:
        """Whether there was progress since the last reading that was noted; then it is noted."""
        if reading is None or (self._seen is not None and reading.progress == self._seen.progress):
            return False
        first, self._seen = self._seen is None, reading
        if first:  # nothing to compare it with
            return False
        self._progress_at = self._clock()
        return True

    def _note(self, reading: Reading | None) -> None:
        self._seen = reading or self._seen
        self._progress_at = self._clock()

    def _may_be_silent(self, reading: Reading | None) -> bool:
        computes_here = self._device == "cpu" or reading is None
        recent = self._progress_at is not None and self._clock() - self._progress_at < LONGEST_SILENCE_S
        return computes_here and recent

    def _computes(self) -> bool:
        """Only processes without children of their own count: those above them wait for them, some by spinning."""
        pids = self._pids()
        parents = {_parent(pid) for pid in pids}
        before = {pid: _cpu_s(pid) for pid in pids if pid not in parents}
        time.sleep(self._look_s)
        least_s = _busy_cores() * self._look_s
        return any(_cpu_s(pid) - seconds >= least_s for pid, seconds in before.items())


def _busy_cores() -> float:
    """Less where more wants to run than there are cores: then also an engine at work gets only its share."""
    crowding = os.getloadavg()[0] / len(os.sched_getaffinity(0))
    return max(STARVED_CORES, BUSY_CORES / max(1.0, crowding))


def _parent(pid: int) -> int:
    try:
        return psutil.Process(pid).ppid()
    except psutil.Error:
        return 0


def _cpu_s(pid: int) -> float:
    try:
        times = psutil.Process(pid).cpu_times()
    except psutil.Error:
        return 0.0
    return times.user + times.system
