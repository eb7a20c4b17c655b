"""Questions to an engine about itself: does it answer, can it make a token, how busy is it."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable

_SAMPLE = re.compile(r"^(vllm:\w+)(?:\{[^}]*\})?\s+(\S+)$", re.MULTILINE)
PROGRESS = ("vllm:prompt_tokens_total", "vllm:generation_tokens_total")


class EngineProbe:
    """Loopback only: proxies of the environment are ignored. Methods answer False where the engine does not answer."""

    def __init__(self, port: int, api_key: str, model_id: str) -> None:
        import httpx

        self._model_id = model_id
        self._client = httpx.Client(
            base_url=f"http://127.0.0.1:{port}",
            headers={"Authorization": f"Bearer {api_key}"},
            trust_env=False,
            verify=False,
            timeout=5,
        )
        self._failures = httpx.HTTPError

    def healthy(self) -> bool:
        """Whether the API is up and believes in its engine (GET /health)."""
        try:
            return self._client.get("/health").status_code == 200
        except self._failures:
            return False

    def one_token(self, timeout_s: float) -> bool:
        """Readiness: a one-token completion. Needs a free place among the engine's running requests."""
        body = {"model": self._model_id, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1}
        try:
            response = self._client.post("/v1/chat/completions", json=body, timeout=timeout_s)
        except self._failures:
            return False
        return response.status_code == 200

    def lives(self, timeout_s: float) -> bool:
        """one_token, or, when that waited in a full engine's queue, progress on other requests meanwhile."""
        before = self._progress()
        return self.one_token(timeout_s) or self._progress() > before

    def running_requests(self) -> int:
        """Requests being answered or waiting; 0 when the engine does not say."""
        samples = self._metrics()
        return int(samples.get("vllm:num_requests_running", 0) + samples.get("vllm:num_requests_waiting", 0))

    def _progress(self) -> float:
        samples = self._metrics()
        return sum(samples.get(name, 0.0) for name in PROGRESS)

    def _metrics(self) -> dict[str, float]:
        """Sums over labels, by name."""
        try:
            text = self._client.get("/metrics").text
        except self._failures:
            return {}
        sums: dict[str, float] = {}
        for name, value in _SAMPLE.findall(text):
            sums[name] = sums.get(name, 0.0) + float(value)
        return sums


class BackgroundCall:
    """A call that may hang, on a daemon thread, so that whoever waits for it can also be stopped."""

    def __init__(self, call: Callable[[], bool], on_done: Callable[[], None]) -> None:
        self.result: bool | None = None
        self._call = call
        self._on_done = on_done
        threading.Thread(target=self._run, name="engine-probe", daemon=True).start()

    @property
    def done(self) -> bool:
        return self.result is not None

    def _run(self) -> None:
        result = False
        try:
            result = self._call()
        finally:
            self.result = result
            self._on_done()
