"""What a portal must know to find an engine again after it was killed itself, and the lock of a role."""

from __future__ import annotations

import fcntl
import json
import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TextIO

from services.engines.process import Identity


@dataclass(frozen=True)
class RunRecord:
    """One running engine. started_at: seconds since the epoch; command: for people, without the key."""

    role: str
    model_id: str
    launcher: str
    fingerprint: str
    pid: int
    start_ticks: int
    boot_id: str
    port: int
    api_key: str
    command: list[str]
    started_at: float
    log_offset: int
    was_ready: bool = False

    @property
    def identity(self) -> Identity:
        return Identity(self.pid, self.start_ticks, self.boot_id)

    def became_ready(self) -> RunRecord:
        return replace(self, was_ready=True)


class RunRecords:
    """The records in one folder, <role>.json each, readable by their owner only (they hold the API key)."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, role: str) -> Path:
        return self._folder / f"{role}.json"

    def roles(self) -> list[str]:
        return sorted(path.stem for path in self._folder.glob("*.json"))

    def save(self, record: RunRecord) -> None:
        """Whole or not at all, whenever the portal is killed."""
        self._folder.mkdir(parents=True, exist_ok=True)
        draft = self._folder / f".{record.role}.new"
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(asdict(record), file)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self.path(record.role))

    def load(self, role: str) -> RunRecord | None:
        """None when there is none, or one that this version cannot read (then nothing can be adopted by it)."""
        try:
            return RunRecord(**json.loads(self.path(role).read_text()))
        except (FileNotFoundError, json.JSONDecodeError, TypeError):
            return None

    def remove(self, role: str) -> None:
        self.path(role).unlink(missing_ok=True)


class RoleLock:
    """Held by the one process that looks after the engine of a role; the kernel frees it when that process ends.

    The engine does not inherit it (Python's descriptors close on exec), so an orphan can be adopted.
    """

    def __init__(self, folder: Path, role: str) -> None:
        self._path = folder / f"{role}.lock"
        self._file: TextIO | None = None

    @property
    def held(self) -> bool:
        return self._file is not None

    def take(self) -> bool:
        """True when held (now or already), False when another process holds it."""
        if self._file is not None:
            return True
        self._path.parent.mkdir(parents=True, exist_ok=True)
        file = self._path.open("a")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            return False
        self._file = file
        return True

    def release(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
