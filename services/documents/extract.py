"""The parent's side of reading: what a file holds, from a limited child."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from services.documents import child
from services.documents.chunking import ReadChunk
from services.documents.files import storage_errors
from services.settings import Settings


@dataclass
class Extraction:
    """chunks: in reading order. pages: document pages, or body blocks of a Word file. notes: PortalError records."""

    pages: int = 0
    chunks: list[ReadChunk] = field(default_factory=list)
    notes: list[dict] = field(default_factory=list)


def extract(path: Path, format: str, settings: Settings, progress: Callable[[int, int], bool]) -> Extraction | None:
    """Read and chunk a file. progress(done, total) after each page; when it says False, reading ends with None.

    Raises UnreadableFile of every kind.
    """
    request = {
        "work": "read",
        "path": str(path.resolve()),
        "format": format,
        "unpacked_max_mib": settings.unpacked_max_mib,
        "embedder": settings.embedder,
        "chunk_tokens": settings.chunk_tokens,
        "chunk_overlap_tokens": settings.chunk_overlap_tokens,
    }
    extraction = Extraction()
    with closing(child.run(request, settings)) as messages:
        for message in messages:
            if "chunk" in message:
                extraction.chunks.append(ReadChunk(**message["chunk"]))
            elif "progress" in message:
                if not progress(*message["progress"]):
                    return None
            else:
                extraction.pages, extraction.notes = message["pages"], message["notes"]
    return extraction


def unlock(path: Path, format: str, password: str, target: Path, settings: Settings) -> None:
    """Write a decrypted copy of an encrypted file to `target`; nothing when the file is not encrypted.

    Raises PasswordNeeded when the password is wrong. The password goes through a pipe.
    """
    draft = target.with_suffix(".new")
    request = {
        "work": "unlock",
        "path": str(path.resolve()),
        "format": format,
        "password": password,
        "target": str(draft.resolve()),
    }
    try:
        for _message in child.run(request, settings):
            pass
        if draft.exists():
            with storage_errors():
                os.replace(draft, target)
    finally:
        draft.unlink(missing_ok=True)
