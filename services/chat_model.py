"""The only door to `openai`: answers streamed from the engine of a role, and token counts of its model.

`openai` takes a second to import: that happens with the first request, or before it in `warm_up`.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, NamedTuple

from services.chat_failures import (
    died,
    no_tokenizer,
    not_answering,
    refused,
    rejected,
    retired,
    too_slow,
    took_too_long,
)
from services.engines.states import Endpoint
from services.errors import ContextTooLong, EngineError, PortalError
from services.settings import Settings

if TYPE_CHECKING:
    from openai import OpenAI, OpenAIError, Stream
    from openai.types.chat import ChatCompletionChunk
    from tokenizers import Tokenizer

    from services.engines.deployments import Deployments
    from services.engines.gate import Lease

WARM_UP_TIMEOUT_S = 5
CLIENTS_KEPT = 4
ELSEWHERE = Path()  # model_path of a model that is served elsewhere


@dataclass(frozen=True)
class ChatRequest:
    """messages: [{"role": "system|user|assistant", "content": text}, …], the last one the user's."""

    messages: list[dict]
    max_tokens: int
    temperature: float = 0.0
    top_p: float = 1.0
    repetition_penalty: float | None = None
    stop: tuple[str, ...] = ()


class ChatModel:
    """Thread-safe. One client, with its pool of connections, per engine.

    A request needs a lease (the right to ask the model of a role): `enter` gives one, granted or waiting in line.
    """

    def __init__(self, deployments: Deployments, settings: Settings) -> None:
        self._deployments = deployments
        self._settings = settings
        self._guard = threading.Lock()
        self._clients: dict[int, tuple[Endpoint, OpenAI]] = {}

    def enter(self, role: str = "chat", *, first: bool = False) -> Lease:
        """See Deployments.enter."""
        return self._deployments.enter(role, first=first)

    def stream(self, request: ChatRequest, lease: Lease, *, heartbeat_s: float | None = None) -> ChatStream:
        """Ask the engine; returns when it has accepted the request, before the first delta.

        lease: a granted one; it is released when the stream has ended, or at once when there is none.
        heartbeat_s: while nothing comes, give an empty delta this often, so that whoever reads can also stop.
        Raises EngineNotReady when the engine does not answer, EngineRetired, ContextTooLong, EngineTimeout.
        """
        from openai import OpenAIError

        endpoint = lease.endpoint
        started = time.monotonic()
        try:
            chunks = self._client(endpoint).chat.completions.create(**_arguments(request, endpoint))
        except OpenAIError as error:
            failure = self._failure(_translated(error, begun=False), lease)
            lease.release()
            raise failure from error
        limits = _Limits(started, self._settings.first_token_timeout_s, self._settings.answer_timeout_s, heartbeat_s)
        return ChatStream(chunks, limits, lease, self._failure)

    def count_tokens(self, text: str, lease: Lease) -> int:
        """Tokens of the text for the lease's model, without special tokens; of a model elsewhere a careful guess.

        A GGUF file's tokenizer is known to its engine only, which is asked.
        Raises ModelFilesError when the model has no tokenizer.json.
        """
        endpoint = lease.endpoint
        if endpoint.model_path == ELSEWHERE:
            return _guessed_tokens(text)
        if endpoint.model_path.suffix == ".gguf":
            return self._tokens_by_engine(text, endpoint)
        return len(_tokenizer(endpoint.model_path).encode(text, add_special_tokens=False).ids)

    def warm_up(self, role: str = "chat") -> None:
        """Do early what the first request would wait for: the import and, with an engine, client and tokenizer."""
        import openai.types.chat

        with suppress(PortalError):
            endpoint = self._deployments.endpoint(role)
            if endpoint.model_path.is_dir() and endpoint.model_path != ELSEWHERE:
                _tokenizer(endpoint.model_path)
            with suppress(openai.OpenAIError):
                self._client(endpoint).with_options(timeout=WARM_UP_TIMEOUT_S).models.list()

    def _tokens_by_engine(self, text: str, endpoint: Endpoint) -> int:
        """llama-server's own route beside /v1; a guess when it does not answer."""
        from openai import OpenAIError

        address = endpoint.base_url.removesuffix("/v1") + "/tokenize"
        try:
            answer = self._client(endpoint).post(address, body={"content": text}, cast_to=dict)
        except OpenAIError:
            return _guessed_tokens(text)
        return len(answer["tokens"])

    def _failure(self, failure: EngineError, lease: Lease) -> EngineError:
        """What went wrong, after the supervisor was told, where that is for it to look at."""
        if lease.revoked:
            return retired()
        if not isinstance(failure, ContextTooLong):
            self._deployments.report_failure(lease.endpoint.deployment_id)
        return failure

    def _client(self, endpoint: Endpoint) -> OpenAI:
        """The client of the deployment; one of its former engine is dropped, and so are the oldest of others."""
        with self._guard:
            known, client = self._clients.pop(endpoint.deployment_id, (None, None))
            if client is None or known != endpoint:
                client = _new_client(endpoint, self._settings.answer_timeout_s)
            self._clients[endpoint.deployment_id] = (endpoint, client)
            while len(self._clients) > CLIENTS_KEPT:
                del self._clients[next(iter(self._clients))]
            return client


class _Limits(NamedTuple):
    """started: monotonic time; the others: seconds."""

    started: float
    first_token_s: float
    answer_s: float
    heartbeat_s: float | None


class _End(NamedTuple):
    """The stream is over; error: what broke it, if anything did."""

    error: OpenAIError | None


class ChatStream:
    """The deltas of one answer, in order. Close it, or read it to the end.

    While it comes and after: model_id, prompt_tokens and completion_tokens so far, first_token_ms (None before).
    After the end: finish_reason ("stop", "length").
    Reading raises EngineDied or EngineTimeout; the deltas given until then stand. EngineRetired: the engine was stopped
    for another model, and the answer is to begin anew.

    A thread of its own reads the connection: so the time limits hold to the second, and `close` takes effect also
    while the engine is silent.
    """

    def __init__(
        self,
        chunks: Stream[ChatCompletionChunk],
        limits: _Limits,
        lease: Lease,
        noted: Callable[[EngineError, Lease], EngineError],
    ) -> None:
        """noted: is told of a failure, and says what it is."""
        self.model_id = lease.endpoint.model_id
        self.prompt_tokens = 0
        self.completion_tokens = 0
        self.finish_reason: str | None = None
        self.first_token_ms: float | None = None
        self._chunks = chunks
        self._limits = limits
        self._lease = lease
        self._noted = noted
        self._arrived: SimpleQueue[ChatCompletionChunk | _End] = SimpleQueue()
        self._over = False
        threading.Thread(target=_pump, args=(chunks, self._arrived), name="chat-stream", daemon=True).start()

    def __iter__(self) -> ChatStream:
        return self

    def __next__(self) -> str:
        while not self._over:
            item = self._next_item()
            if item is None:
                return ""
            if isinstance(item, _End):
                self._end(item)
            elif delta := self._note(item):
                return delta
        raise StopIteration

    def close(self) -> None:
        """Stop reading; an engine that is still writing is told by the broken connection, and aborts the request.

        The socket is shut down rather than the response closed, because the reading thread is blocked in it. No
        other request can be on this connection: openai gives none back to the pool that was a stream.
        """
        if not self._over:
            self._over = True
            self._lease.release()
            connection = self._chunks.response.extensions["network_stream"].get_extra_info("socket")
            with suppress(OSError):  # closed by the other side meanwhile
                connection.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> ChatStream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _next_item(self) -> ChatCompletionChunk | _End | None:
        """What arrived next; None when it is time for a heartbeat. Raises EngineTimeout."""
        waiting = self.first_token_ms is None
        limit_s = min(self._limits.first_token_s, self._limits.answer_s) if waiting else self._limits.answer_s
        left_s = self._limits.started + limit_s - time.monotonic()
        heartbeat_s = self._limits.heartbeat_s
        try:
            return self._arrived.get(timeout=max(0.0, left_s if heartbeat_s is None else min(left_s, heartbeat_s)))
        except Empty as error:
            if heartbeat_s is not None and left_s > heartbeat_s:
                return None
            failure = too_slow(limit_s, waiting=waiting)
            self.close()
            raise (self._noted(failure, self._lease) if waiting else failure) from error

    def _note(self, chunk: ChatCompletionChunk) -> str:
        """Take the counts from a chunk, and give its text."""
        if chunk.usage is not None:
            self.prompt_tokens, self.completion_tokens = chunk.usage.prompt_tokens, chunk.usage.completion_tokens
        if not chunk.choices:
            return ""
        choice = chunk.choices[0]
        self.finish_reason = choice.finish_reason or self.finish_reason
        delta = choice.delta.content or ""
        if delta and self.first_token_ms is None:
            self.first_token_ms = (time.monotonic() - self._limits.started) * 1000
        return delta

    def _end(self, end: _End) -> None:
        """Raises EngineDied unless the answer is complete."""
        self._over = True
        self._lease.release()
        if end.error is None and self.finish_reason is not None:
            return
        begun = self.first_token_ms is not None
        raise self._noted(_translated(end.error, begun=begun) if end.error else died(), self._lease) from end.error


def _pump(chunks: Iterable[ChatCompletionChunk], into: SimpleQueue[ChatCompletionChunk | _End]) -> None:
    """Read the connection until it ends, however it ends."""
    from openai import OpenAIError

    failure: OpenAIError | None = None
    try:
        for chunk in chunks:
            into.put(chunk)
    except OpenAIError as error:
        failure = error
    finally:
        into.put(_End(failure))


def _arguments(request: ChatRequest, endpoint: Endpoint) -> dict:
    """Of chat.completions.create. What is vLLM's own goes to vLLM only: usage with every chunk, so that a stopped
    answer is counted too, and the repetition penalty.
    """
    own = endpoint.engine == "vllm"
    penalised = own and request.repetition_penalty is not None
    return {
        "model": endpoint.served_name or endpoint.model_id,
        "messages": request.messages,
        "max_tokens": request.max_tokens,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "stop": list(request.stop) or None,
        "stream": True,
        "stream_options": {"include_usage": True} | ({"continuous_usage_stats": True} if own else {}),
        "extra_body": {"repetition_penalty": request.repetition_penalty} if penalised else {},
    }


def _new_client(endpoint: Endpoint, timeout_s: float) -> OpenAI:
    """Loopback: no proxy of the environment; elsewhere its proxies and certificates hold, as for the probe.

    No retries: a request that was sent may have been worked on.
    """
    from openai import DefaultHttpx2Client, OpenAI, Timeout

    return OpenAI(
        base_url=endpoint.base_url,
        api_key=endpoint.api_key,
        max_retries=0,
        timeout=Timeout(timeout_s, connect=5.0),
        http_client=DefaultHttpx2Client(trust_env=not endpoint.local),
    )


def _guessed_tokens(text: str) -> int:
    """Rather too many: tokenizers of today take about 0.7 for a Chinese character and 0.25 for a Latin one."""
    latin = sum(character.isascii() for character in text)
    return latin // 3 + (len(text) - latin) + 1


@lru_cache(maxsize=4)
def _tokenizer(model_path: Path) -> Tokenizer:
    from tokenizers import Tokenizer

    path = model_path / "tokenizer.json"
    if not path.is_file():
        raise no_tokenizer(model_path.name)
    return Tokenizer.from_file(str(path))


def _translated(error: OpenAIError, *, begun: bool) -> EngineError:
    """What an error of the client means to the person who asked. begun: the answer had begun."""
    from openai import APIConnectionError, APITimeoutError, BadRequestError, InternalServerError

    if isinstance(error, BadRequestError):
        # vLLM's body is {"error": {"message": …}}; openai keeps the inner part
        return rejected(str(error.body.get("message")) if isinstance(error.body, dict) else str(error))
    if isinstance(error, APITimeoutError):
        return took_too_long()
    if begun:
        return died()
    if isinstance(error, APIConnectionError | InternalServerError):
        return not_answering()
    return refused(str(error))
