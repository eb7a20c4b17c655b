"""What all sources share: progress, hashes, room on the disk."""

from __future__ import annotations

import errno
import hashlib
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from services.errors import StorageFull, VerificationFailed
from services.translation import N_

# (step, done, total): step is a msgid; done and total are bytes, or any unit of the step's own; total 0: not known.
Progress = Callable[[str, int, int], None]

MIB = 1024 * 1024


def another_file(name: str) -> VerificationFailed:
    return VerificationFailed(
        N_("What was downloaded is not {file}: its size or SHA-256 differs."),
        hint=N_("The source has another version, or something on the way changes files. Nothing of it was kept."),
        file=name,
    )


def silent(step: str, done: int, total: int) -> None:
    """The progress callback of those who do not look."""


def sha256_of(path: Path, progress: Progress = silent, step: str = "") -> str:
    """Hex digest of a file, about 0.5 s a GiB where the CPU has SHA instructions, 3 s where not."""
    digest = hashlib.sha256()
    total, done = path.stat().st_size, 0
    with path.open("rb") as source:
        while block := source.read(8 * MIB):
            digest.update(block)
            done += len(block)
            progress(step, done, total)
    return digest.hexdigest()


def git_sha1_of(path: Path) -> str:
    """The name that git gives a file's content: what a hub tells of small files instead of a SHA-256."""
    digest = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    with path.open("rb") as source:
        while block := source.read(8 * MIB):
            digest.update(block)
    return digest.hexdigest()


def bytes_below(folder: Path) -> int:
    """Of all files in a folder, 0 for one that is not there. Whoever writes there may move files while we look."""
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except FileNotFoundError:
            continue
    return total


def require_space(folder: Path, needed_bytes: int, reserve_mib: int = 0) -> None:
    """Raises StorageFull when the file system of folder would have less than reserve_mib left."""
    if shutil.disk_usage(folder).free < needed_bytes + reserve_mib * MIB:
        raise _storage_full(folder, needed_bytes + reserve_mib * MIB)


@contextmanager
def full_disk_explained(folder: Path, needed_bytes: int) -> Iterator[None]:
    """Turn the system's "no space left" into StorageFull. needed_bytes: for the message."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise _storage_full(folder, needed_bytes) from error


def _storage_full(folder: Path, needed_bytes: int) -> StorageFull:
    return StorageFull(
        N_("Not enough room on the disk: {needed_mib} MiB are needed, {free_mib} MiB are free in {folder}."),
        hint=N_("Free some space, or set PORTAL_HOME to a folder on a larger disk. What was downloaded is kept."),
        needed_mib=-(-needed_bytes // MIB),
        free_mib=shutil.disk_usage(folder).free // MIB,
        folder=str(folder),
    )
