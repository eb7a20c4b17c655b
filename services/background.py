"""Slow work beside a generator of deltas, so that whoever reads them can also stop."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from services.answering import HEARTBEAT_S

T = TypeVar("T")


def in_background(work: Callable[[Callable[[], bool]], T]) -> Generator[str, None, T]:
    """Empty deltas until the work is done; its result.

    work: is given a function that says whether to stop. Closing the generator says so, and waits for nothing.
    """
    stop = threading.Event()
    pool = ThreadPoolExecutor(1, "beside-an-answer")
    try:
        future = pool.submit(work, stop.is_set)
        while True:
            try:
                return future.result(HEARTBEAT_S)
            except TimeoutError:
                if future.done():  # meanwhile, or with a TimeoutError of its own
                    return future.result()
            yield ""
    finally:
        stop.set()
        pool.shutdown(wait=False)
