"""Where uploaded bytes go: spooled at once, hashed on the way, kept under their hash with a name of ours."""

from __future__ import annotations

import errno
import hashlib
import mmap
import os
import shutil
import tempfile
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from services.errors import EmptyFile, FileTooLarge, PortalError, StorageFull, UnsupportedFormat
from services.settings import Settings
from services.translation import N_

BLOCK_BYTES = 1 << 20
MIB = 1 << 20
OLE_MAGIC = bytes.fromhex("d0cf11e0a1b11ae1")
ENCRYPTED_PACKAGE = "EncryptedPackage".encode("utf-16-le")  # the stream of an encrypted Office file
PDF_HEADER_WITHIN_BYTES = 1024


@dataclass(frozen=True)
class Spooled:
    """A complete upload in the spool folder. format: pdf or docx, by its first bytes only."""

    path: Path
    sha256: str
    size_bytes: int
    format: str


class FileStore:
    """Uploaded files under settings.documents_dir, by SHA-256. Holds no state but the folders."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    @contextmanager
    def spool(self, source: Path | BinaryIO) -> Iterator[Spooled]:
        """Copy the source into the spool folder; the copy is gone at the end unless `keep` moved it.

        Raises EmptyFile, FileTooLarge (while reading, so an endless stream ends), StorageFull, UnsupportedFormat.
        """
        with storage_errors():
            self._settings.spool_dir.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=self._settings.spool_dir)
        path = Path(name)
        try:
            with storage_errors(), os.fdopen(handle, "wb") as target:
                sha256, size_bytes = self._copy(source, target)
            if not size_bytes:
                raise EmptyFile(N_("The file is empty."), hint=N_("Check that it was saved, and upload it again."))
            yield Spooled(path, sha256, size_bytes, sniff(path))
        finally:
            path.unlink(missing_ok=True)

    def _copy(self, source: Path | BinaryIO, target: BinaryIO) -> tuple[str, int]:
        if isinstance(source, Path):
            self._check_size(source.stat().st_size)
            with source.open("rb") as stream:
                return self._copy(stream, target)
        digest, size_bytes = hashlib.sha256(), 0
        while block := source.read(BLOCK_BYTES):
            size_bytes += len(block)
            self._check_size(size_bytes)
            self.check_room(len(block))
            target.write(block)
            digest.update(block)
        target.flush()
        os.fsync(target.fileno())
        return digest.hexdigest(), size_bytes

    def _check_size(self, size_bytes: int) -> None:
        limit_mib = self._settings.upload_max_mib
        if size_bytes > limit_mib * MIB:
            raise FileTooLarge(
                N_("The file is larger than {limit_mib} MiB."),
                hint=N_("Split it, or ask an administrator to raise the limit."),
                limit_mib=limit_mib,
            )

    def check_room(self, size_bytes: int) -> None:
        """Raise StorageFull when writing size_bytes would eat into the reserve."""
        free = shutil.disk_usage(self._settings.home).free
        if free - size_bytes < self._settings.disk_reserve_mib * MIB:
            raise storage_full()

    def keep(self, spooled: Spooled) -> None:
        """Move a spooled file to its place; nothing happens when the same bytes are there already."""
        target = self.original(spooled.sha256, spooled.format)
        with storage_errors():
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(spooled.path, target)

    def original(self, sha256: str, format: str) -> Path:
        """The uploaded bytes."""
        return self._settings.documents_dir / sha256[:2] / f"{sha256}.{format}"

    def unlocked(self, sha256: str, format: str, document_id: int) -> Path:
        """The decrypted copy that belongs to one document: who has another upload of it still needs the password."""
        return self._settings.documents_dir / sha256[:2] / f"{sha256}.{document_id}.unlocked.{format}"


def sniff(path: Path) -> str:
    """pdf or docx, by magic bytes (an encrypted Word file counts as docx); the reading child looks closer.

    Raises UnsupportedFormat.
    """
    with path.open("rb") as stream:
        head = stream.read(PDF_HEADER_WITHIN_BYTES + 8)
        if b"%PDF-" in head:
            return "pdf"
        if head.startswith(b"PK\x03\x04"):
            return "docx"
        if head.startswith(OLE_MAGIC):
            with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
                if content.find(ENCRYPTED_PACKAGE) >= 0:
                    return "docx"
            raise UnsupportedFormat(
                N_("This is a file of an old Office version (such as .doc), which cannot be read."),
                hint=N_("Open it in Word or LibreOffice and save it as DOCX."),
            )
    raise UnsupportedFormat(
        N_("This is neither a PDF nor a Word (DOCX) file, whatever its name says."),
        hint=N_("Save it as PDF or DOCX and upload that."),
    )


def clean_title(name: str) -> str:
    """A file name as a title: folders, control and direction characters dropped, at most 200 characters."""
    last = name.replace("\\", "/").rstrip("/").rsplit("/", 1)[-1]
    kept = "".join(ch for ch in last if unicodedata.category(ch)[0] != "C")
    return " ".join(kept.split())[:200] or "?"


def storage_full() -> PortalError:
    return StorageFull(
        N_("The disk of the portal is full."),
        hint=N_("Delete documents that are no longer needed, or ask an administrator for more room; then try again."),
    )


@contextmanager
def storage_errors() -> Iterator[None]:
    """Translate "no space left" of the operating system into StorageFull."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise storage_full() from error
        raise
