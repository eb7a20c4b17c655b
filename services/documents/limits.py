"""Limits that a child puts on itself before it touches a file made by a stranger."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import socket
from dataclasses import dataclass

CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
PR_SET_PDEATHSIG = 1
MIB = 1 << 20


@dataclass(frozen=True)
class Limits:
    """memory_mib: address space. cpu_s: processor seconds. file_mib: largest file it may write."""

    memory_mib: int
    cpu_s: int
    file_mib: int
    niceness: int = 5


def apply(limits: Limits) -> str:
    """Limit this process; single-threaded callers only.

    Returns how the network was taken away: "namespace" (of our own and empty) or, where the system does not
    allow namespaces, "blocked" (Python's sockets refuse; native code is only trusted not to try).
    """
    resource.setrlimit(resource.RLIMIT_AS, (limits.memory_mib * MIB,) * 2)
    resource.setrlimit(resource.RLIMIT_CPU, (limits.cpu_s, limits.cpu_s + 1))
    resource.setrlimit(resource.RLIMIT_FSIZE, (limits.file_mib * MIB,) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.nice(limits.niceness)
    network = "namespace" if _leave_network() else _block_sockets()
    _die_with_parent()  # last: the change of namespace would undo it
    return network


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _die_with_parent() -> None:
    if hasattr(_libc(), "prctl"):
        _libc().prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _leave_network() -> bool:
    """A user and network namespace of our own, with not even a loopback that is up."""
    return hasattr(_libc(), "unshare") and _libc().unshare(CLONE_NEWUSER | CLONE_NEWNET) == 0


def _block_sockets() -> str:
    def refuse(*_args: object, **_kwargs: object) -> None:
        raise PermissionError("no network here")

    socket.socket = refuse  # type: ignore[assignment,misc]
    socket.create_connection = refuse  # type: ignore[assignment]
    return "blocked"
