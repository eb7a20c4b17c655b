"""The models on this machine: made ready once (fetch, verify, convert), then found by their id.

    models/<folder>/            config.json, tokenizer.json, model.safetensors …, or a .gguf; and manifest.json
    models/<folder>.lock        held by whoever makes the model ready or removes it
    models/<folder>.verified    when all of it was last read and found unchanged
    models/.<folder>.…          something that has not finished; never read, overwritten by the next try
    downloads/<folder>/         what is not complete yet, kept for resuming
    catalogue/<id>.json         entries that administrators added; their keys: secrets/<id>, 0600

<folder> is the entry's id, for another variant than its default <entry id>__<variant id>. A GGUF that was converted is
deleted (it would only take room); its SHA-256 stays in the manifest.
"""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from services.engines import manifest
from services.engines.catalogue import Catalogue, CatalogueEntry, folder_name
from services.engines.convert import convert, room_bytes
from services.engines.custom import CustomEntries, Roles
from services.engines.entries import Variant
from services.engines.fetch import fetch
from services.engines.launchers.external import Remote
from services.engines.manifest import MANIFEST
from services.engines.remote import RemoteModels
from services.engines.sources import folder as folders
from services.engines.sources.files import Progress, bytes_below, require_space, silent
from services.engines.sources.patience import BEAT_S, pause
from services.engines.sources.repository import RemoteFile
from services.errors import NotFound, VerificationFailed
from services.settings import Settings
from services.translation import N_


class ModelStore:
    """Folders of ready models under settings.models_dir. Thread-safe; one process at a time makes a model ready."""

    def __init__(self, settings: Settings, catalogue: Catalogue, *, fetch=fetch, convert=convert) -> None:
        self._settings = settings
        self._catalogue = catalogue
        self._fetch = fetch
        self._convert = convert
        self._custom = CustomEntries(settings, catalogue)
        self._remote = RemoteModels(settings, catalogue)

    # What there is

    def ids(self) -> list[str]:
        """All model ids, every variant of every entry, in the catalogue's order."""
        self._custom.refresh()
        return self._catalogue.ids()

    def entries(self) -> tuple[CatalogueEntry, ...]:
        self._custom.refresh()
        return self._catalogue.entries

    @property
    def models_dir(self) -> Path:
        return self._settings.models_dir

    @property
    def downloads_dir(self) -> Path:
        return self._settings.downloads_dir

    @property
    def reserve_mib(self) -> int:
        """Free disk space that downloads and copies leave alone."""
        return self._settings.disk_reserve_mib

    def entry(self, model_id: str) -> CatalogueEntry:
        """Raises NotFound for an id that the catalogue does not have."""
        self._custom.refresh()
        return self._catalogue.get(model_id)

    def variant(self, model_id: str) -> Variant:
        """Raises NotFound."""
        self._custom.refresh()
        return self._catalogue.variant(model_id)

    def variants_of(self, model_id: str) -> list[str]:
        """The ids of all variants of the same entry, the default one first. Raises NotFound."""
        return self._catalogue.ids_of(self.entry(model_id))

    def folder(self, model_id: str) -> Path:
        """The absolute folder of its files, whether it is there or not."""
        self._custom.refresh()
        return (self.models_dir / folder_name(self._catalogue, model_id)).resolve()

    def path(self, model_id: str) -> Path:
        """What an engine is given: the folder; of a GGUF the file (its first part), whether it is there or not."""
        folder, variant = self.folder(model_id), self.variant(model_id)
        if variant.format != "gguf":
            return folder
        listed = manifest.read(folder) or {"files": {}}
        names = sorted(name for name in listed["files"] if name.endswith(".gguf"))
        return folder / (names[0] if names else variant.files[0].name if variant.files else "model.gguf")

    def manifest(self, model_id: str) -> dict | None:
        """What is known of the model on this machine; None when it is not here."""
        return manifest.read(self.folder(model_id))

    def ready(self, model_id: str) -> bool:
        """Cheap: the manifest is of the catalogue's file, and every file it lists is there in its size."""
        variant = self.variant(model_id)
        if variant.format == "external":
            return True
        folder = self.folder(model_id)
        known = manifest.read(folder)
        if known is None or known.get("variant", variant.id) != variant.id:
            return False
        if variant.pinned and known["source_sha256"] != variant.pinned.sha256:
            return False
        return all(manifest.has_size(folder / name, listed["size"]) for name, listed in known["files"].items())

    def size_bytes(self, model_id: str) -> int:
        """On this machine's disk; 0 when the model is not here."""
        known = self.manifest(model_id) or {"files": {}}
        return sum(listed["size"] for listed in known["files"].values())

    def file_sha256(self, model_id: str) -> str:
        """Of the file that the model on this machine was made from, or of all its hashes; "" when it is not here."""
        known = self.manifest(model_id)
        return known["source_sha256"] if known else ""

    def verified_at(self, model_id: str) -> datetime | None:
        """When all of it was last read and found unchanged."""
        try:
            return datetime.fromisoformat(self._note(model_id).read_text().strip())
        except (OSError, ValueError):
            return None

    # Reading and making

    def verify(self, model_id: str, progress: Progress = silent) -> None:
        """Read every file again (about a second a gigabyte).

        Raises NotFound when the model is not here, VerificationFailed naming the first file that was changed, is
        missing or does not belong there; and what progress raises.
        """
        if self.variant(model_id).format == "external":
            return
        folder, known = self.folder(model_id), self.manifest(model_id)
        if known is None:
            raise self._not_here(model_id)
        changed = manifest.first_changed(folder, known, progress)
        if changed:
            raise self._changed(model_id, changed)
        self._note_verified(model_id)

    def ensure(self, model_id: str, progress: Progress = silent, *, on_source: Callable[[str], object] = str) -> Path:
        """What an engine is given, made ready now if need be. Minutes; continues where an earlier try stopped.

        on_source: is told the kind of the source that is being read.

        Raises FetchFailed, VerificationFailed, UnsafeModel, ConversionFailed, StorageFull, NotFound; and what progress
        raises, which stops it within a second or so.
        """
        if not self.ready(model_id):
            with self._lock(model_id, progress):
                if not self.ready(model_id):
                    self._make(model_id, progress, on_source)
        return self.path(model_id)

    def install(self, model_id: str, draft: Path, record: dict, files: dict[str, dict]) -> None:
        """Put a folder whose files were all checked in the model's place. files: name → {size, sha256}."""
        with self._lock(model_id, silent):
            self._install(model_id, draft, record, files)

    def remove(self, model_id: str) -> None:
        """Delete the model and what was downloaded of it. Nothing happens when there is none."""
        folder = self.folder(model_id)
        with self._lock(model_id, silent):
            self._note(model_id).unlink(missing_ok=True)
            (folder / MANIFEST).unlink(missing_ok=True)
            shutil.rmtree(folder, ignore_errors=True)
            self._forget_download(model_id)

    def drop_download(self, model_id: str) -> None:
        """Delete what was downloaded so far; the model itself, where it is ready, stays."""
        with self._lock(model_id, silent):
            self._forget_download(model_id)

    # At the hubs

    def remote_files(self, model_id: str) -> list[RemoteFile]:
        """What would be downloaded (name, size), read off the hub. Raises FetchFailed, GatedModel, UnsafeModel."""
        self._custom.refresh()
        return self._remote.files(model_id)

    def read_remote(self, model_id: str, name: str, start: int, length: int) -> bytes:
        """Bytes of one of these files. Raises as remote_files() does."""
        return self._remote.read(model_id, name, start, length)

    # What administrators add

    def add_from_hub(self, kind: str, repo: str, revision: str, roles: Roles) -> CatalogueEntry:
        """An entry for a repository; nothing is downloaded yet. revision "": the newest.

        Raises BadInput, FetchFailed, GatedModel, UnsafeModel.
        """
        return self._custom.add(self._custom.from_hub(kind, repo, revision, roles))

    def add_from_folder(self, path: Path, name: str, roles: Roles, progress: Progress = silent) -> CatalogueEntry:
        """Copy a folder with safetensors or GGUF files into the store. Raises BadInput, UnsafeModel, StorageFull."""
        source = Path(path).resolve()
        found = folders.look_through(source)
        entry = self._custom.from_folder(source, found, name, roles)
        draft = self.models_dir / f".{entry.id}.copying"
        shutil.rmtree(draft, ignore_errors=True)
        try:
            files = folders.take(found, draft, progress, reserve_mib=self.reserve_mib)
            self._custom.add(entry)
            self.install(entry.id, draft, {"source": f"folder:{source}"}, files)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
        return entry

    def add_external(self, name: str, url: str, model: str, api_key: str, roles: Roles) -> CatalogueEntry:
        """A server elsewhere that speaks the OpenAI API. Nobody is asked whether it is there. Raises BadInput."""
        return self._custom.add(self._custom.external(name, url, model, roles), api_key)

    def add_entry(self, entry: CatalogueEntry) -> CatalogueEntry:
        """One that a bundle brought."""
        return self._custom.add(entry)

    def remote(self, model_id: str) -> Remote:
        """Where an external model is served. Raises NotFound for one that is not external."""
        return self._custom.remote(model_id)

    def forget(self, entry_id: str) -> None:
        """Take an entry that was added out of the catalogue, with all its files. Raises NotFound."""
        entry = self._custom.require(entry_id)
        for model_id in self._catalogue.ids_of(entry):
            self.remove(model_id)
            (self.models_dir / f"{self.folder(model_id).name}.lock").unlink(missing_ok=True)
        self._custom.forget(entry_id)

    def _make(self, model_id: str, progress: Progress, on_source: Callable[[str], object]) -> None:
        entry, variant = self.entry(model_id), self.variant(model_id)
        downloads = self.downloads_dir / self.folder(model_id).name
        if variant.converts:
            needed = variant.size_bytes + room_bytes(entry) - bytes_below(downloads)
            require_space(self.models_dir, needed, self.reserve_mib)
            self._take_at_hand(entry, variant, downloads)
        more = {"hubs": self._catalogue.hubs, "folder": downloads, "on_source": on_source}
        fetched = self._fetch(entry, variant, self._settings, progress, **more)
        if variant.converts:
            gguf, reserve_mib = fetched.folder / variant.files[0].name, self.reserve_mib
            self._convert(entry, variant, gguf, self.folder(model_id), progress, reserve_mib=reserve_mib)
            self._note_verified(model_id)
        else:
            self._install(model_id, fetched.folder, fetched.record, fetched.files)
        shutil.rmtree(downloads, ignore_errors=True)

    def _take_at_hand(self, entry: CatalogueEntry, variant: Variant, downloads: Path) -> None:
        """Where another variant keeps the pinned file, it need not be downloaded again; it will be checked."""
        for model_id, other in zip(self._catalogue.ids_of(entry), entry.variants, strict=True):
            if other.files == variant.files and not other.converts and self.ready(model_id):
                downloads.mkdir(parents=True, exist_ok=True)
                target = downloads / variant.files[0].name
                target.unlink(missing_ok=True)
                target.hardlink_to(self.path(model_id))

    def _install(self, model_id: str, draft: Path, record: dict, files: dict[str, dict]) -> None:
        for path in draft.iterdir():
            if path.name not in files:
                path.unlink()
        sha256 = record.get("source_sha256", manifest.digest(files))
        identity = {"id": self.entry(model_id).id, "variant": self.variant(model_id).id}
        manifest.write(draft, {**record, **identity, "source_sha256": sha256}, files)
        manifest.install(draft, self.folder(model_id))
        self._note_verified(model_id)

    def _forget_download(self, model_id: str) -> None:
        shutil.rmtree(self.downloads_dir / self.folder(model_id).name, ignore_errors=True)

    def _note(self, model_id: str) -> Path:
        return self.models_dir / f"{self.folder(model_id).name}.verified"

    def _note_verified(self, model_id: str) -> None:
        self._note(model_id).write_text(datetime.now(UTC).isoformat())

    def _not_here(self, model_id: str) -> NotFound:
        return NotFound(
            N_("The model {name} is not on this machine."),
            hint=N_("Fetch it first: cli.py models fetch {id}"),
            name=self.entry(model_id).name,
            id=model_id,
        )

    def _changed(self, model_id: str, file: str) -> VerificationFailed:
        self._note(model_id).unlink(missing_ok=True)
        return VerificationFailed(
            N_("The file {file} of the model {name} is missing or was changed."),
            hint=N_("Remove the model and fetch it again: cli.py models remove {id}; cli.py models fetch {id}"),
            file=file,
            name=self.entry(model_id).name,
            id=model_id,
        )

    @contextmanager
    def _lock(self, model_id: str, progress: Progress) -> Iterator[None]:
        """One thread of one process at a time per model; the kernel frees the lock of a process that dies."""
        self.models_dir.mkdir(parents=True, exist_ok=True)
        with (self.models_dir / f"{self.folder(model_id).name}.lock").open("w") as lock:
            while not _locked(lock):
                pause(BEAT_S, lambda: progress(N_("Waiting for another process that prepares this model"), 0, 0))
            yield


def _locked(lock: IO) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
