"""One owner per PORTAL_HOME: the process that holds the lock serves everybody else through its operator door.

Chroma and the ingestion queue allow one process only. The portal takes the lock while it runs; a command of cli.py
takes it when no portal runs, and otherwise sends its operation to the portal, over loopback with a token that only
the portal's own user can read.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TextIO

from services.errors import PortalError
from services.translation import N_


@dataclass(frozen=True)
class OperatorDoor:
    """Where the running portal takes operations, and the token that opens it."""

    pid: int
    url: str
    token: str


class Ownership:
    """The lock on PORTAL_HOME. Freed by the kernel when the process ends, however it ends."""

    def __init__(self, home: Path) -> None:
        self._lock_path = home / "portal.lock"
        self._door_path = home / "operator.json"
        self._lock: TextIO | None = None

    def take(self) -> bool:
        """True when this process is now the owner; False when another one is."""
        self._lock_path.parent.mkdir(parents=True, exist_ok=True)
        lock = self._lock_path.open("a")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            return False
        self._lock = lock
        return True

    def require(self) -> None:
        """Take the lock or raise PortalError."""
        if not self.take():
            raise PortalError(
                N_("Another portal or command is already using {home}."),
                hint=N_("Stop it first, or set PORTAL_HOME to another folder."),
                home=str(self._lock_path.parent),
            )

    def open_door(self, url: str) -> OperatorDoor:
        """Publish where operations are taken, readable by this user only."""
        door = OperatorDoor(pid=os.getpid(), url=url, token=secrets.token_urlsafe(32))
        draft = self._door_path.with_suffix(".new")
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump(asdict(door), file)
        draft.replace(self._door_path)
        return door

    def door(self) -> OperatorDoor | None:
        """The running portal's door, if one has been published."""
        try:
            return OperatorDoor(**json.loads(self._door_path.read_text()))
        except FileNotFoundError:
            return None

    def release(self) -> None:
        if self._lock is not None:
            self._door_path.unlink(missing_ok=True)
            self._lock.close()
            self._lock = None
