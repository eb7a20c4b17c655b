"""Waiting in such a way that whoever waits can be stopped: what blocks goes on in a thread of its own."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")

BEAT_S = 0.5
AHEAD = 4  # items that are read before they are asked for


def patient(items: Iterable[T], beat: Callable[[], object]) -> Iterator[T]:
    """The items, made in another thread; beat is called every BEAT_S in which none comes, and may raise.

    The thread of an iteration that is given up ends with its next item (a connection: with its time-out).
    """
    arrived: queue.Queue = queue.Queue(maxsize=AHEAD)
    given_up = threading.Event()
    threading.Thread(target=_produce, args=(items, arrived, given_up), name="patient", daemon=True).start()
    try:
        while True:
            try:
                kind, value = arrived.get(timeout=BEAT_S)
            except queue.Empty:
                beat()
                continue
            if kind == "end":
                return
            if kind == "error":
                raise value
            yield value
    finally:
        given_up.set()


def patiently(call: Callable[[], T], beat: Callable[[], object]) -> T:
    """What the call returns or raises; beat is called meanwhile, and may raise."""
    with contextlib.closing(patient((one() for one in (call,)), beat)) as results:
        return next(results)


def pause(seconds: float, beat: Callable[[], object]) -> None:
    """Sleep, with beats."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        beat()
        time.sleep(min(left, BEAT_S))


def _produce(items: Iterable[T], arrived: queue.Queue, given_up: threading.Event) -> None:
    def hand_over(kind: str, value: object) -> bool:
        while not given_up.is_set():
            try:
                arrived.put((kind, value), timeout=BEAT_S)
                return True
            except queue.Full:
                continue
        return False

    try:
        for item in items:
            if not hand_over("item", item):
                return
    except BaseException as error:  # noqa: BLE001 - raised again in the thread that waits
        hand_over("error", error)
    else:
        hand_over("end", None)
