"""Runs one limited child per file: the only door to processes of the documents package, and of the image gate.

A child reads one JSON request from standard input and writes JSON lines: {"error": record} or whatever its work gives.
It lives in a process group of its own, which is gone when `run` ends, however it ends.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from services.errors import CorruptFile, PortalError, ReadingLimit
from services.settings import Settings
from services.translation import N_

PROJECT = Path(__file__).resolve().parent.parent.parent
MODULE = "services.documents.reader_child"
MIB = 1 << 20
STDERR_KEPT_BYTES = 4000
KILLED_BY_LIMIT = (signal.SIGXCPU, signal.SIGKILL, signal.SIGXFSZ)
OUT_OF_MEMORY = (signal.SIGTRAP, signal.SIGILL, signal.SIGABRT)  # how PDFium ends when memory is refused
STARVED = ("MemoryError", "failed to map segment", "annot allocate memory")  # libraries are mapped on the way, too

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Bounds:
    """What a child is, what it may use, and how its failures are worded.

    module: run as `python -m`. timeout_s: wall clock, and as much of the processor. file_mib: largest file written.
    too_slow(limit in seconds), too_big(limit in MiB), broke(): made when it ran out of time, of memory, or died.
    """

    module: str
    memory_mib: int
    timeout_s: float
    file_mib: int
    output_mib: int
    too_slow: Callable[[float], PortalError]
    too_big: Callable[[int], PortalError]
    broke: Callable[[], PortalError]


def run(request: dict, settings: Settings) -> Iterator[dict]:
    """Messages of a reading child that works on the request, as they come; closing the iterator ends the child.

    Raises what the child reports, ReadingLimit when it ran over its memory, time or output, CorruptFile when it broke.
    """
    bounds = Bounds(
        MODULE,
        memory_mib=settings.reading_memory_mib,
        timeout_s=settings.reading_timeout_s,
        file_mib=settings.unpacked_max_mib,
        output_mib=settings.reading_output_mib,
        too_slow=took_too_long,
        too_big=out_of_memory,
        broke=broke,
    )
    return run_within(bounds, request)


def run_within(bounds: Bounds, request: dict) -> Iterator[dict]:
    """Messages of a child within its bounds, as they come; closing the iterator ends the child.

    Raises what the child reports, ReadingLimit when it says too much, and what the bounds make of its other ends.
    """
    limits = {
        "memory_mib": bounds.memory_mib,
        "cpu_s": max(1, int(bounds.timeout_s)),
        "file_mib": bounds.file_mib,
    }
    process = subprocess.Popen(
        [sys.executable, "-m", bounds.module],
        cwd=PROJECT,
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    timed_out = threading.Event()
    timer = threading.Timer(bounds.timeout_s, _time_out, (process, timed_out))
    errors = _Tail(process.stderr)
    timer.start()
    try:
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(json.dumps({"limits": limits, **request}).encode() + b"\n")
            process.stdin.close()
        yield from _messages(process.stdout, bounds.output_mib)
        process.wait()
    finally:
        timer.cancel()
        kill_group(process)
        errors.close()
        process.stdout.close()
    if timed_out.is_set():
        raise bounds.too_slow(bounds.timeout_s)
    if process.returncode:
        raise _explain(process.returncode, errors.text(), bounds)


def _messages(stdout, output_mib: int) -> Iterator[dict]:
    """Raises the error that the child reports, ReadingLimit when it says too much."""
    left = output_mib * MIB
    while line := stdout.readline(left + 1):
        left -= len(line)
        if left <= 0:
            raise ReadingLimit(
                N_("The file holds more than {limit_mib} MiB of text."),
                hint=N_("Split it into smaller files."),
                limit_mib=output_mib,
            )
        if not line.endswith(b"\n"):
            return  # the child died in the middle of a line
        message = json.loads(line)
        if "error" in message:
            raise PortalError.from_record(message["error"])
        yield message


def kill_group(process: subprocess.Popen) -> None:
    """End every process of the child's group."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def took_too_long(limit_s: float) -> ReadingLimit:
    return ReadingLimit(
        N_("Reading the file took longer than {limit_s} seconds."),
        hint=N_("Split it into smaller files, or ask an administrator to raise the limit."),
        limit_s=round(limit_s),
    )


def out_of_memory(limit_mib: int) -> ReadingLimit:
    return ReadingLimit(
        N_("Reading the file needs more than {limit_mib} MiB of memory."),
        hint=N_("Split it into smaller files, or ask an administrator to raise the limit."),
        limit_mib=limit_mib,
    )


def broke() -> CorruptFile:
    return CorruptFile(
        N_("The file cannot be read: the reader broke on it."),
        hint=N_("It is probably damaged. Save or export it again."),
    )


def _time_out(process: subprocess.Popen, timed_out: threading.Event) -> None:
    timed_out.set()
    kill_group(process)


def _explain(returncode: int, stderr: str, bounds: Bounds) -> PortalError:
    log.warning("%s ended with %s: %s", bounds.module, returncode, stderr)
    if -returncode in KILLED_BY_LIMIT:
        return bounds.too_slow(bounds.timeout_s)
    if -returncode in OUT_OF_MEMORY or any(words in stderr for words in STARVED):
        return bounds.too_big(bounds.memory_mib)
    return bounds.broke()


def environment() -> dict[str, str]:
    """What a child needs of the environment: no secrets, one thread per library (threads reserve address space)."""
    kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH", "LANG", "TMPDIR") if name in os.environ}
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    return {**kept, **threads, "PYTHONIOENCODING": "utf-8", "PYTHONDONTWRITEBYTECODE": "1", "MALLOC_ARENA_MAX": "2"}


class _Tail:
    """Drains a child's standard error in a thread and keeps its end."""

    def __init__(self, stream) -> None:
        self._stream, self._kept = stream, b""
        self._thread = threading.Thread(target=self._drain, name="reader-stderr", daemon=True)
        self._thread.start()

    def _drain(self) -> None:
        while block := self._stream.read1(65536):
            self._kept = (self._kept + block)[-STDERR_KEPT_BYTES:]

    def close(self) -> None:
        self._thread.join()
        self._stream.close()

    def text(self) -> str:
        return self._kept.decode("utf-8", "replace")
