"""What a portal must know to find an engine again after it was killed itself, and the lock of all engines."""

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
    """One running engine. started_at: seconds since the epoch; command: for people, without the key.

    shared_memory: files in /dev/shm that its processes mapped when it became ready; removed when it has ended.
    """

    deployment_id: int
    model_id: str
    launcher: str
    fingerprint: str
    pid: int
    start_ticks: int
    boot_id: str
    port: int
    api_key: str
    command: list[str]
    served_name: str
    started_at: float
    log_offset: int
    was_ready: bool = False
    shared_memory: tuple[str, ...] = ()

    @property
    def identity(self) -> Identity:
        return Identity(self.pid, self.start_ticks, self.boot_id)

    def became_ready(self, shared_memory: list[str]) -> RunRecord:
        return replace(self, was_ready=True, shared_memory=tuple(shared_memory))


class RunRecords:
    """The records in one folder, <deployment id>.json each, readable by their owner only (they hold the API key)."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, deployment_id: int) -> Path:
        return self._folder / f"{deployment_id}.json"

    def deployment_ids(self) -> list[int]:
        return sorted(int(path.stem) for path in self._folder.glob("*.json") if path.stem.isdecimal())

    def save(self, record: RunRecord) -> None:
        """Whole or not at all, whenever the portal is killed."""
        self._folder.mkdir(parents=True, exist_ok=True)
        draft = self._folder / f".{record.deployment_id}.new"
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(asdict(record), file)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self.path(record.deployment_id))

    def load(self, deployment_id: int) -> RunRecord | None:
        """None when there is none, or one that this version cannot read (then nothing can be adopted by it)."""
        try:
            return RunRecord(**json.loads(self.path(deployment_id).read_text()))
        except (FileNotFoundError, json.JSONDecodeError, TypeError):
            return None

    def remove(self, deployment_id: int) -> None:
        self.path(deployment_id).unlink(missing_ok=True)

    def of_former_versions(self) -> dict[Path, Identity]:
        """Records by role, as the portal kept them before it had deployments: the processes cannot be adopted."""
        found = {}
        for path in self._folder.glob("*.json"):
            if not path.stem.isdecimal():
                record = json.loads(path.read_text())
                found[path] = Identity(record["pid"], record["start_ticks"], record["boot_id"])
        return found


class EnginesLock:
    """Held by the one process that looks after the engines of a home; the kernel frees it when that process ends.

    The engines do not inherit it (Python's descriptors close on exec), so orphans can be adopted.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / "engines.lock"
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
