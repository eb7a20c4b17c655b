"""The child that reads one file: `python -m services.documents.reader_child`, request on stdin, JSON lines on stdout.

Everything that parses a stranger's bytes happens here, under limits.apply. What is not a PortalError ends the child
with a traceback on stderr; the parent makes a reason of it.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import BinaryIO

from services.documents import limits
from services.errors import PortalError

PROGRESS_INTERVAL_S = 0.1


class Reporter:
    """Writes messages for the parent to its own copy of standard output: what libraries print goes to stderr."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream, self._last_s = stream, 0.0

    def send(self, **message: object) -> None:
        self._stream.write(json.dumps(message, ensure_ascii=False).encode("utf-8", "replace") + b"\n")

    def progress(self, done: int, total: int) -> None:
        now_s = time.monotonic()
        if done == total or now_s - self._last_s > PROGRESS_INTERVAL_S:
            self._last_s = now_s
            self.send(progress=[done, total])
            self._stream.flush()


def main() -> None:
    request = json.loads(sys.stdin.readline())
    stream = sys.stdout.buffer
    sys.stdout = sys.stderr
    limits.apply(limits.Limits(**request["limits"]))
    report = Reporter(stream)
    try:
        {"read": _read, "unlock": _unlock, "page": _page}[request["work"]](request, report)
    except PortalError as error:
        report.send(error=error.to_record())
    stream.flush()


def _read(request: dict, report: Reporter) -> None:
    from services.documents.chunking import chunk_blocks, token_counter

    path = Path(request["path"])
    if request["format"] == "pdf":
        from services.documents.reading.pdf import read_pdf

        reading = read_pdf(path, report.progress)
    else:
        from services.documents.reading.word import read_word

        reading = read_word(path, report.progress, request["unpacked_max_mib"])
    count = token_counter(request["embedder"])
    for chunk in chunk_blocks(reading.blocks, count, request["chunk_tokens"], request["chunk_overlap_tokens"]):
        report.send(chunk=chunk.to_record())
    report.send(pages=reading.places, notes=[note.to_record() for note in reading.notes])


def _unlock(request: dict, report: Reporter) -> None:
    from services.documents.reading.locked import unlock

    unlock(Path(request["path"]), request["format"], request["password"], Path(request["target"]))
    report.send(unlocked=True)


def _page(request: dict, report: Reporter) -> None:
    from services.documents.reading.page_image import draw_page

    target = Path(request["target"])
    report.send(found=draw_page(Path(request["path"]), request["page"], request["quotes"], request["width_px"], target))


if __name__ == "__main__":
    main()
