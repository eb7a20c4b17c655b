"""One engine's process group: spawned or found again, watched, and stopped until nothing of it lives.

The child leads a session of its own, so that a signal meant for the portal does not reach it, and so that everything
it starts can be found by session id, also what init has adopted after its parent died. Identity is pid, kernel start
time and boot: a pid alone is reused. The kernel does not give a pid to a new process while a session bears it, so a
live process with our pid and another start time proves that nothing of the session is left.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import psutil

from services.engines.launchers.base import LaunchPlan

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
SHARED_MEMORY = "/dev/shm/"
POLL_S = 0.05

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Identity:
    """start_ticks: clock ticks from boot to the process's start; boot_id: of the kernel that counted them."""

    pid: int
    start_ticks: int
    boot_id: str

    @classmethod
    def of(cls, pid: int) -> Identity | None:
        """Of a live process; None when there is none (a zombie does not live)."""
        stat = _read_stat(pid)
        if stat is None or stat.state in "ZX":
            return None
        return cls(pid, stat.start_ticks, BOOT_ID.read_text().strip())


class Process(Protocol):
    """What an engine's life is watched and ended by."""

    identity: Identity

    @property
    def pid(self) -> int: ...
    @property
    def exit_code(self) -> int | None: ...
    def alive(self) -> bool: ...
    def members(self) -> list[int]: ...
    def shared_memory(self) -> list[str]: ...
    def stop(self, timeout_s: float) -> bool: ...


class Elsewhere:
    """A server that this portal neither starts nor stops: it lives as far as anybody here can tell."""

    identity = Identity(0, 0, "")
    pid = 0
    exit_code = None

    def alive(self) -> bool:
        return True

    def members(self) -> list[int]:
        return []

    def shared_memory(self) -> list[str]:
        return []

    def stop(self, timeout_s: float) -> bool:
        return True


class EngineProcess:
    """A process group that somebody started: this portal, or one that has ended since."""

    def __init__(self, identity: Identity, popen: subprocess.Popen | None = None) -> None:
        self.identity = identity
        self._popen = popen

    @classmethod
    def spawn(cls, plan: LaunchPlan, *, log_path: Path, work_dir: Path) -> EngineProcess:
        """Start the plan's command in a new session; its output is appended to `log_path`.

        Raises OSError when the command cannot be run.
        """
        work_dir.mkdir(parents=True, exist_ok=True)
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("PORTAL_")}
        output = os.open(log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            popen = subprocess.Popen(
                plan.command,
                env=inherited | plan.environment,
                cwd=work_dir,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        finally:
            os.close(output)
        stat = _read_stat(popen.pid)
        ticks = stat.start_ticks if stat else 0
        return cls(Identity(popen.pid, ticks, BOOT_ID.read_text().strip()), popen)

    @property
    def pid(self) -> int:
        return self.identity.pid

    def alive(self) -> bool:
        """Whether the leader runs. Reaps it when it was our child."""
        if self._popen is not None:
            return self._popen.poll() is None
        return Identity.of(self.pid) == self.identity

    @property
    def exit_code(self) -> int | None:
        """Of our own child that has ended: its status, or minus the signal that ended it."""
        return self._popen.poll() if self._popen is not None else None

    def members(self) -> list[int]:
        """Live processes of the session, the leader among them."""
        if not self._session_is_ours():
            return []
        return [pid for pid in psutil.pids() if _lives_in_session(pid, self.pid)]

    def shared_memory(self) -> list[str]:
        """Files in /dev/shm of its members: killed processes leave them, and with them memory, behind."""
        return sorted({path for pid in self.members() for path in _shared_memory_of(pid) | _left_by_name(pid)})

    def terminate(self) -> None:
        """Ask the whole session to end; returns at once."""
        self._signal(signal.SIGTERM)

    def stop(self, timeout_s: float, *, patience_s: float = 10) -> bool:
        """SIGTERM, wait up to `timeout_s`, SIGKILL. True when no process of the session lives any more.

        patience_s: how long the kernel may take to end killed processes (one stuck in a device does not end).
        """
        self.terminate()
        if self._wait_gone(timeout_s):
            return True
        self._signal(signal.SIGKILL)
        return self._wait_gone(patience_s)

    def kill(self) -> bool:
        """SIGKILL to whatever is left; True when nothing is."""
        self._signal(signal.SIGKILL)
        return self._wait_gone(10)

    def _wait_gone(self, timeout_s: float) -> bool:
        deadline = time.monotonic() + timeout_s
        while self.alive() or self.members():
            if time.monotonic() >= deadline:
                return False
            time.sleep(POLL_S)
        return True

    def _signal(self, number: signal.Signals) -> None:
        """To every member one by one: a member may have moved to another process group of the session."""
        for pid in self.members():
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue
            log.info("sent %s to process %d of engine %d", number.name, pid, self.pid)

    def _session_is_ours(self) -> bool:
        if self.identity.boot_id != BOOT_ID.read_text().strip():
            return False
        stat = _read_stat(self.pid)
        return stat is None or stat.start_ticks == self.identity.start_ticks


def remove_shared_memory(paths: Iterable[str]) -> None:
    for path in paths:
        Path(path).unlink(missing_ok=True)


def _shared_memory_of(pid: int) -> set[str]:
    """By the names in /proc/<pid>/maps; a file that was unlinked already is marked "(deleted)"."""
    try:
        lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
    except OSError:  # it ended, or is not ours to look at
        return set()
    names = {line.partition(SHARED_MEMORY)[2] for line in lines if SHARED_MEMORY in line}
    return {SHARED_MEMORY + name for name in names if not name.endswith(" (deleted)")}


def _left_by_name(pid: int) -> set[str]:
    """What nobody maps: Intel's OpenMP notes every process there, and loky its semaphores."""
    patterns = (f"__KMP_REGISTERED_LIB_{pid}_*", f"sem.loky-{pid}-*")
    return {str(path) for pattern in patterns for path in Path(SHARED_MEMORY).glob(pattern)}


@dataclass(frozen=True)
class _Stat:
    state: str
    session: int
    start_ticks: int


def _read_stat(pid: int) -> _Stat | None:
    """Fields 3, 6 and 22 of /proc/<pid>/stat (proc(5)); the name in parentheses may contain anything."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return _Stat(state=fields[0], session=int(fields[3]), start_ticks=int(fields[19]))


def _lives_in_session(pid: int, session: int) -> bool:
    stat = _read_stat(pid)
    return stat is not None and stat.session == session and stat.state not in "ZX"
