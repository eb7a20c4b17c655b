"""Reads the text in a picture, in one child process that holds the models for as long as they are used."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
import time
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from services.documents.child import PROJECT, environment, kill_group
from services.documents.files import storage_errors
from services.errors import CorruptFile, PortalError, ReadingLimit
from services.images.layout import lay_out
from services.images.pictures import CleanImage, ImageText, TextLine
from services.settings import Settings
from services.translation import N_

MODULE = "services.images.reading_child"
TIMEOUT_S = 60.0
IDLE_S = 600.0
KEPT = 32  # texts of the pictures read last


class Reader:
    """Thread-safe: pictures are read one after the other. The child starts with the first and ends when idle.

    All is done in one thread that lives as long as the reader: the child dies with the thread that started it.
    """

    def __init__(self, settings: Settings, *, timeout_s: float = TIMEOUT_S, idle_s: float = IDLE_S) -> None:
        self._settings, self._timeout_s, self._idle_s = settings, timeout_s, idle_s
        self._queue = ThreadPoolExecutor(1, "image-reader")
        self._turn = threading.Lock()  # between the queue and the end of an idle child
        self._child: subprocess.Popen | None = None
        self._idle: threading.Timer | None = None
        self._known: OrderedDict[str, ImageText] = OrderedDict()

    def read(self, image: CleanImage) -> ImageText:
        """Raises ReadingLimit when it takes too long, CorruptFile when the child broke; the next read starts anew."""
        return self._known.get(image.sha256) or self._queue.submit(self._read_once, image).result()

    def close(self) -> None:
        """Pictures that wait are not read any more."""
        self._queue.shutdown(wait=True, cancel_futures=True)
        with self._turn:
            self._end()

    def _read_once(self, image: CleanImage) -> ImageText:
        with self._turn:
            if image.sha256 not in self._known:
                self._known[image.sha256] = self._read(image)
            self._known.move_to_end(image.sha256)
            while len(self._known) > KEPT:
                self._known.popitem(last=False)
            return self._known[image.sha256]

    def _read(self, image: CleanImage) -> ImageText:
        began = time.monotonic()
        self._settings.spool_dir.mkdir(parents=True, exist_ok=True)
        with storage_errors(), tempfile.NamedTemporaryFile(dir=self._settings.spool_dir.resolve()) as copy:
            copy.write(image.data)
            copy.flush()
            found = self._ask({"path": copy.name})
        lines = [_text_line(text, box, confidence) for text, box, _, confidence in found]
        upright = [_text_line(text, box, confidence) for text, _, box, confidence in found]
        return ImageText(lines, lay_out(upright), time.monotonic() - began)

    def _ask(self, request: dict) -> list:
        child = self._started()
        late = threading.Event()
        timer = threading.Timer(self._timeout_s, lambda: (late.set(), kill_group(child)))
        timer.start()
        try:
            with suppress(BrokenPipeError):
                child.stdin.write(json.dumps(request) + "\n")
                child.stdin.flush()
            reply = child.stdout.readline()
        finally:
            timer.cancel()
        if not reply.endswith("\n") or late.is_set():
            self._end()
            raise self._late() if late.is_set() else broke()
        self._rest()
        return _lines(json.loads(reply))

    def _started(self) -> subprocess.Popen:
        if self._idle:
            self._idle.cancel()
        if self._child is None or self._child.poll() is not None:
            self._child = subprocess.Popen(
                [sys.executable, "-m", MODULE],
                cwd=PROJECT,
                env=environment(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                start_new_session=True,
            )
        return self._child

    def _rest(self) -> None:
        self._idle = threading.Timer(self._idle_s, self._end_when_idle)
        self._idle.daemon = True
        self._idle.start()

    def _end_when_idle(self) -> None:
        if self._turn.acquire(blocking=False):  # else it is in use, and will rest again
            try:
                self._end()
            finally:
                self._turn.release()

    def _end(self) -> None:
        if self._idle:
            self._idle.cancel()
        if self._child:
            kill_group(self._child)
            self._child.stdin.close()
            self._child.stdout.close()
            self._child = None

    def _late(self) -> ReadingLimit:
        return ReadingLimit(
            N_("Reading the text of the picture took longer than {limit_s} seconds."),
            hint=N_("Choose the part of the picture that matters, or try again when the computer is less busy."),
            limit_s=round(self._timeout_s),
        )


def _text_line(text: str, box: list, confidence: float) -> TextLine:
    return TextLine(text, tuple((x, y) for x, y in box), confidence)


def broke() -> PortalError:
    return CorruptFile(
        N_("The text of the picture cannot be read: the program that reads it broke."), hint=N_("Try again.")
    )


def _lines(reply: dict) -> list:
    if "error" in reply:
        raise broke() from RuntimeError(reply["error"])
    return reply["lines"]
