"""The image gate: whatever is sent as a picture becomes a clean one of ours, or is refused with its reason.

A stranger's bytes are decoded in a limited child only. What comes out was encoded by us: upright, on white, in sRGB,
of bounded size, without EXIF, GPS position, comments, thumbnails or anything behind the last pixel.
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from services.documents.child import Bounds, run_within
from services.documents.files import MIB, storage_errors
from services.images import kinds, refusals
from services.images.pictures import CleanImage
from services.settings import Settings

ADDRESS = re.compile(r"(?!file:)[a-zA-Z][a-zA-Z0-9+.-]+:/{1,2}[^/\\]|data:|www\.")  # a Path has lost one slash
BOUNDS = Bounds(
    "services.images.gate_child",
    memory_mib=300,
    timeout_s=5.0,
    file_mib=48,
    output_mib=1,
    too_slow=refusals.too_slow,
    too_big=refusals.too_much_memory,
    broke=refusals.broke,
)


class Gate:
    """Holds nothing but the settings; several pictures may pass at once, each in a child of its own."""

    def __init__(self, settings: Settings, *, timeout_s: float = BOUNDS.timeout_s) -> None:
        self._settings = settings
        self._bounds = replace(BOUNDS, timeout_s=timeout_s)

    def admit(self, source: bytes | Path, *, name: str = "", page: int = 1) -> CleanImage:
        """name: of the upload, for messages only. page: 1-based, of a PDF or TIFF; of other files the first frame.

        Raises NotFound (no such file), StorageFull, UnreadableFile: UnsupportedFormat, FileTooLarge, EmptyFile,
        CorruptFile, PasswordNeeded, ReadingLimit.
        """
        return self.admit_measured(source, name=name, page=page)[0]

    def admit_measured(self, source: bytes | Path, *, name: str = "", page: int = 1) -> tuple[CleanImage, float]:
        """As `admit`; and the most memory that the child had, MiB."""
        if not isinstance(source, bytes) and ADDRESS.match(str(source)):
            raise refusals.web_address()
        head = self._head(source, name)
        kind = kinds.picture_kind(head)
        if kind is None:
            other = kinds.other_kind(head)
            raise refusals.web_address() if other == kinds.ADDRESS else refusals.wrong_kind(other)
        with self._folder() as folder:
            path = source
            if isinstance(source, bytes):
                path = folder / "given"
                with storage_errors():
                    path.write_bytes(source)
            return self._decode(path.resolve(), kind, page, (folder / "clean").resolve())

    def _head(self, source: bytes | Path, name: str) -> bytes:
        if isinstance(source, Path) and not source.is_file():
            raise refusals.missing(name or source.name)
        size_bytes = len(source) if isinstance(source, bytes) else source.stat().st_size
        if not size_bytes:
            raise refusals.empty()
        if size_bytes > self._settings.image_max_mib * MIB:
            raise refusals.too_many_bytes(self._settings.image_max_mib)
        if isinstance(source, bytes):
            return source[: kinds.HEAD_BYTES]
        with source.open("rb") as file:
            return file.read(kinds.HEAD_BYTES)

    @contextmanager
    def _folder(self) -> Iterator[Path]:
        """A folder of its own in the spool, gone at the end with what a child left in it."""
        with storage_errors():
            self._settings.spool_dir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self._settings.spool_dir, prefix="image-") as folder:
            yield Path(folder)

    def _decode(self, path: Path, kind: str, page: int, target: Path) -> tuple[CleanImage, float]:
        request = {
            "path": os.fspath(path),
            "kind": kind,
            "page": page,
            "max_megapixels": self._settings.image_max_megapixels,
            "target": os.fspath(target),
        }
        replies = list(run_within(self._bounds, request))
        if not replies:
            raise refusals.broke()
        reply, data = replies[0], target.read_bytes()
        sha256 = hashlib.sha256(data).hexdigest()
        image = CleanImage(data, reply["format"], reply["width"], reply["height"], sha256, kind.lower(), reply["pages"])
        return image, reply["peak_mib"]
