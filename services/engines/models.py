"""The models on this machine: made ready once (fetch, verify, convert), then found by their catalogue id.

    models/<id>/            config.json, tokenizer.json, model.safetensors …, and manifest.json
    models/<id>.lock        held by whoever makes the model ready or removes it
    models/.<id>.converting a conversion that has not finished; never read, overwritten by the next one
    downloads/<id>/         what is not complete yet, kept for resuming

The downloaded GGUF is deleted once it is converted (it would only take room); its SHA-256 stays in the manifest.
"""

from __future__ import annotations

import fcntl
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from services.engines.catalogue import Catalogue, CatalogueEntry
from services.engines.convert import convert
from services.engines.fetch import fetch
from services.engines.sources.files import Progress, sha256_of, silent
from services.errors import NotFound, VerificationFailed
from services.settings import Settings
from services.translation import N_

MANIFEST = "manifest.json"


class ModelStore:
    """Folders of ready models under settings.models_dir."""

    def __init__(self, settings: Settings, catalogue: Catalogue, *, fetch=fetch, convert=convert) -> None:
        self._settings = settings
        self._catalogue = catalogue
        self._fetch = fetch
        self._convert = convert

    def entry(self, model_id: str) -> CatalogueEntry:
        """Raises NotFound for an id that the catalogue does not have."""
        return self._catalogue.get(model_id)

    def path(self, model_id: str) -> Path:
        """The model's absolute folder, whether it is there or not."""
        return (self._settings.models_dir / self.entry(model_id).id).resolve()

    def ready(self, model_id: str) -> bool:
        """Cheap: the manifest is of the catalogue's file, and every file it lists is there in its size."""
        folder = self.path(model_id)
        manifest = self._manifest(folder)
        if manifest is None or manifest["source_sha256"] != self.entry(model_id).file.sha256:
            return False
        return all(_has_size(folder / name, listed["size"]) for name, listed in manifest["files"].items())

    def file_sha256(self, model_id: str) -> str:
        """Of the file that the model on this machine was made from; "" when it is not here."""
        manifest = self._manifest(self.path(model_id))
        return manifest["source_sha256"] if manifest else ""

    def verify(self, model_id: str, progress: Progress = silent) -> None:
        """Read every file again (about a second a gigabyte).

        Raises NotFound when the model is not here, VerificationFailed naming the first file that was changed.
        """
        folder = self.path(model_id)
        manifest = self._manifest(folder)
        if manifest is None:
            raise NotFound(
                N_("The model {name} is not on this machine."),
                hint=N_("Fetch it first: cli.py models fetch {id}"),
                name=self.entry(model_id).name,
                id=model_id,
            )
        total = sum(listed["size"] for listed in manifest["files"].values())
        done = 0
        for name, listed in manifest["files"].items():
            if not _has_size(folder / name, listed["size"]) or sha256_of(folder / name) != listed["sha256"]:
                raise VerificationFailed(
                    N_("The file {file} of the model {name} is missing or was changed."),
                    hint=N_("Remove the model and fetch it again: cli.py models remove {id}; cli.py models fetch {id}"),
                    file=name,
                    name=self.entry(model_id).name,
                    id=model_id,
                )
            done += listed["size"]
            progress(N_("Verifying"), done, total)

    def ensure(self, model_id: str, progress: Progress = silent) -> Path:
        """The folder of the ready model, made ready now if need be. Minutes; continues where an earlier try stopped.

        Raises FetchFailed, VerificationFailed, ConversionFailed, StorageFull, NotFound.
        """
        if self.ready(model_id):
            return self.path(model_id)
        entry = self.entry(model_id)
        with self._lock(entry, progress):
            if not self.ready(model_id):
                gguf = self._fetch(entry, self._settings, progress, hubs=self._catalogue.hubs)
                self._convert(entry, gguf, self.path(model_id), progress)
                shutil.rmtree(gguf.parent)
        return self.path(model_id)

    def remove(self, model_id: str) -> None:
        """Delete the model and what was downloaded of it. Nothing happens when there is none."""
        entry = self.entry(model_id)
        with self._lock(entry, silent):
            (self.path(model_id) / MANIFEST).unlink(missing_ok=True)
            shutil.rmtree(self.path(model_id), ignore_errors=True)
            shutil.rmtree(self._settings.downloads_dir / entry.id, ignore_errors=True)

    def _manifest(self, folder: Path) -> dict | None:
        """What convert() wrote; None when the model is not here."""
        path = folder / MANIFEST
        return json.loads(path.read_text()) if path.exists() else None

    @contextmanager
    def _lock(self, entry: CatalogueEntry, progress: Progress) -> Iterator[None]:
        """One process at a time per model; the kernel frees the lock of a process that dies."""
        self._settings.models_dir.mkdir(parents=True, exist_ok=True)
        with (self._settings.models_dir / f"{entry.id}.lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                progress(N_("Waiting for another process that prepares this model"), 0, 0)
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _has_size(path: Path, size: int) -> bool:
    return path.is_file() and path.stat().st_size == size
