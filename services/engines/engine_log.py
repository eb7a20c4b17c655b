"""An engine's log: written by the engine itself, kept small by the portal, and read for what went wrong.

The engine appends straight to the file. Through a pipe and a thread of the portal, a killed portal would break the
pipe, and the engine would die of its next line instead of being adopted. The price is that the portal cannot make
the engine reopen its log: it rotates by copying the file to <name>.1 and truncating it (the engine's descriptor is in
append mode, so it goes on at the new end). Lines written between copy and truncation, some microseconds, are lost.
"""

from __future__ import annotations

import re
import shutil
from collections import deque
from collections.abc import Iterable
from pathlib import Path

TAIL_BYTES = 256 * 1024
MAX_LINE_CHARS = 400


class EngineLog:
    """The log file of the engine in one role."""

    def __init__(self, path: Path, limit_mib: int) -> None:
        self.path = path
        self._limit_bytes = limit_mib * 1024 * 1024

    @property
    def old_path(self) -> Path:
        return self.path.with_name(self.path.name + ".1")

    def rotate_if_large(self) -> None:
        if self.size() > self._limit_bytes:
            shutil.copyfile(self.path, self.old_path)
            self.old_path.chmod(0o600)
            with self.path.open("r+b") as file:
                file.truncate(0)

    def size(self) -> int:
        """Bytes; 0 when there is no log yet."""
        return self.path.stat().st_size if self.path.exists() else 0

    def tail(self, lines: int) -> list[str]:
        """The last lines, oldest first, of this file and the rotated one (at most 256 KiB of each)."""
        text = "".join(_end_of(path) for path in (self.old_path, self.path))
        return text.splitlines()[-lines:]

    def search(self, query: str, limit: int) -> list[str]:
        """The last lines, oldest first, that contain the query, whatever the case; all of both files is read."""
        wanted, found = query.casefold(), deque[str](maxlen=limit)
        for path in (self.old_path, self.path):
            if path.exists():
                with path.open(encoding="utf-8", errors="replace") as lines:
                    found += (line.rstrip("\n") for line in lines if wanted in line.casefold())
        return list(found)

    def since(self, offset: int) -> str:
        """What was written after the file had `offset` bytes (all of it after a rotation), at most 256 KiB."""
        start = offset if offset <= self.size() else 0
        return _end_of(self.path, start)


def _end_of(path: Path, start: int = 0) -> str:
    if not path.exists():
        return ""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(start, size - TAIL_BYTES))
        return file.read().decode("utf-8", errors="replace")


_PREFIX = re.compile(r"^(\(\S+ pid=\d+\)\s*)?((ERROR|CRITICAL|WARNING|INFO)\s+\d\d-\d\d [\d:]+\s+(\[[^\]]*\]\s*)*)?")
_ERROR_LINE = re.compile(r"^(?:[a-z_]\w*\.)*[A-Z]\w*(?:Error|Exception|Interrupt|Failed|Killed)\b(?::|$)")
_TELLTALE = re.compile(
    r"out of memory|\bKilled\b|cannot allocate|Address already in use|No space left|core dumped|SIGKILL|SIGSEGV"
    r"|error: unrecognized arguments|error: argument|error: invalid argument|No such option|Segmentation fault"
    r"|^Value error, ",
    re.IGNORECASE,
)
_SECONDHAND = re.compile(
    r"Engine core initialization failed|WorkerProc initialization failed|Worker failed with error"
    r"|EngineDeadError|EngineCore encountered"
    r"|failed to load model(?:$|[ ,]*')|failed to create.context|exiting due to|trying to fit params"
)
_LLAMA_CPP_ERROR = re.compile(r"^(?:\d+\.){3}\d+ E (?:(?:srv|cmn|slot|que) )?\s*(.+)$")


def decisive_lines(text: str, limit: int = 6) -> list[str]:
    """The lines that say why the engine ended, in their order and once each; [] when none does.

    vLLM's processes hand an error upwards ("Engine core initialization failed. See root cause above"): such lines
    count only when there is no other. llama.cpp's server marks its errors with an E, and does the same.
    """
    found = list(dict.fromkeys(_candidates(text.splitlines())))
    causes = [line for line in found if not _SECONDHAND.search(line)]
    return (causes or found)[-limit:]


def _candidates(lines: Iterable[str]) -> Iterable[str]:
    for line in lines:
        if error := _LLAMA_CPP_ERROR.match(line):
            yield error[1].strip()[:MAX_LINE_CHARS]
            continue
        bare = _PREFIX.sub("", line).strip()
        if _ERROR_LINE.match(bare) or _TELLTALE.search(bare):
            yield bare[:MAX_LINE_CHARS]
