"""Where clean pictures are kept: under their hash, readable by the portal's user only."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Collection
from pathlib import Path

from services.documents.files import FileStore, storage_errors
from services.errors import NotFound
from services.images.pictures import CleanImage
from services.settings import Settings
from services.translation import N_

FORMATS = ("png", "jpeg")


class ImageStore:
    """Pictures under images/<sha256>.<format>, a copy for auditors under audit_images/ when that is set.

    Nothing is counted here: whoever deletes conversations says which pictures nobody uses any more.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._folder, self._audit_folder = settings.home / "images", settings.home / "audit_images"

    def put(self, image: CleanImage) -> None:
        """Keep the picture; nothing happens when it is there already. Raises StorageFull, leaving nothing behind."""
        self._write(self._folder, image)

    def get(self, sha256: str) -> CleanImage:
        """original_format and pages are not kept. Raises NotFound."""
        for format in FORMATS if _is_hash(sha256) else ():
            path = self._folder / f"{sha256}.{format}"
            if path.is_file():
                return _read(path, sha256, format)
        raise NotFound(N_("The picture is no longer kept."), hint=N_("Upload it again."))

    def discard(self, sha256s: Collection[str]) -> None:
        """Delete these pictures; those that are not there are passed over. Copies for auditors stay."""
        for sha256 in filter(_is_hash, sha256s):
            for format in FORMATS:
                (self._folder / f"{sha256}.{format}").unlink(missing_ok=True)

    def keep_for_audit(self, image: CleanImage) -> None:
        """A copy that outlives the conversation, when the settings ask for it. Raises StorageFull."""
        if self._settings.audit_images:
            self._write(self._audit_folder, image)

    def _write(self, folder: Path, image: CleanImage) -> None:
        target = folder / f"{image.sha256}.{image.format}"
        if target.is_file():
            return
        FileStore(self._settings).check_room(len(image.data))
        with storage_errors():
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            handle, draft = tempfile.mkstemp(dir=folder, suffix=".new")  # made with 0600
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(image.data)
                    file.flush()
                    os.fsync(file.fileno())
                os.replace(draft, target)
            finally:
                Path(draft).unlink(missing_ok=True)


def _is_hash(text: str) -> bool:
    return len(text) == 64 and all(digit in "0123456789abcdef" for digit in text)


def _read(path: Path, sha256: str, format: str) -> CleanImage:
    """The gate encoded it: its header can be read here without fear."""
    from PIL import Image as pillow

    with pillow.open(path, formats=[format.upper()]) as header:
        width, height = header.size
    return CleanImage(path.read_bytes(), format, width, height, sha256)
