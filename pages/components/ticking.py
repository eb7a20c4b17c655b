"""Waiting for a slow iterator without being deaf: the page must notice Stop while the model reads its prompt."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Generator

_END = object()


def ticking(deltas: Generator[str], every_s: float) -> Iterator[str | None]:
    """The deltas as they come, and None whenever `every_s` passed without one.

    They are read in a thread of their own. Closing this iterator returns at once and closes `deltas` there, before
    the next delta is taken. What `deltas` raises is raised here.
    """
    arrived: queue.SimpleQueue = queue.SimpleQueue()
    stopped = threading.Event()

    def read() -> None:
        with closing(deltas):
            for delta in deltas:
                if stopped.is_set():
                    return
                arrived.put(delta)

    with_one_thread = ThreadPoolExecutor(1, thread_name_prefix="answer")
    reading = with_one_thread.submit(read)
    reading.add_done_callback(lambda _: arrived.put(_END))
    with_one_thread.shutdown(wait=False)
    try:
        yield from _until_end(arrived, every_s)
        reading.result()
    finally:
        stopped.set()


def _until_end(arrived: queue.SimpleQueue, every_s: float) -> Iterator[str | None]:
    while True:
        try:
            delta = arrived.get(timeout=every_s)
        except queue.Empty:
            yield None
            continue
        if delta is _END:
            return
        yield delta
