"""Catalogue entries that administrators add: a repository of a hub, a folder, a server elsewhere.

Each is a JSON file in PORTAL_HOME/catalogue; the key of a server elsewhere is in PORTAL_HOME/secrets/<entry id>, 0600.
"""

from __future__ import annotations

import logging
import os
import re
import socket
import tempfile
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import ValidationError

from services.engines.catalogue import Catalogue
from services.engines.custom_entry import from_files, of_external
from services.engines.entries import REPO, REVISION, CatalogueEntry, is_private
from services.engines.launchers.external import Remote
from services.engines.sources import safety
from services.engines.sources.files import silent
from services.engines.sources.http import read_range
from services.engines.sources.hubs import Hub
from services.engines.sources.repository import Listing, listing
from services.errors import BadInput, FetchFailed, NotFound
from services.settings import Settings
from services.translation import N_

log = logging.getLogger(__name__)

Roles = Sequence[str]
DEFAULT_REVISION = {"huggingface": "main", "modelscope": "master"}


class CustomEntries:
    """Keeps the files and the catalogue in step. Thread-safe."""

    def __init__(self, settings: Settings, catalogue: Catalogue) -> None:
        self._settings = settings
        self._catalogue = catalogue
        self._folder = settings.home / "catalogue"
        self._secrets = settings.home / "secrets"
        self._seen: int | None = None  # the folder's time of change when it was last read
        self._guard = threading.RLock()

    def refresh(self) -> None:
        """Read the files again if another process or thread has changed any. One look at the folder otherwise."""
        changed = self._folder.stat().st_mtime_ns if self._folder.is_dir() else None
        if changed == self._seen:
            return
        with self._guard:
            self._seen = changed
            read = (_read(path) for path in sorted(self._folder.glob("*.json")))
            self._catalogue.set_custom([entry for entry in read if entry is not None])

    def add(self, entry: CatalogueEntry, api_key: str = "") -> CatalogueEntry:
        """Write the entry. Raises BadInput when there is another of its id."""
        with self._guard:
            self._folder.mkdir(parents=True, exist_ok=True)
            self.refresh()
            if entry.id in [known.id for known in self._catalogue.entries]:
                raise BadInput(N_("There is a model {id} in the catalogue already."), id=entry.id)
            if api_key:
                _write_secret(self._secrets / entry.id, api_key)
            path = self._folder / f"{entry.id}.json"
            draft = path.with_suffix(".new")
            draft.write_text(entry.model_dump_json(indent=2, exclude_defaults=True) + "\n", encoding="utf-8")
            draft.replace(path)
            self._seen = None
            self.refresh()
            return self._catalogue.get(entry.id)

    def require(self, entry_id: str) -> CatalogueEntry:
        """Raises NotFound for an entry that came with the portal, or is not there."""
        self.refresh()
        entry = self._catalogue.get(entry_id)
        if not entry.custom or entry.id != entry_id:
            raise NotFound(
                N_("{name} came with the portal and stays in the catalogue."),
                hint=N_("Its files can be removed."),
                name=entry.name,
            )
        return entry

    def forget(self, entry_id: str) -> None:
        with self._guard:
            self.require(entry_id)
            (self._secrets / entry_id).unlink(missing_ok=True)
            (self._folder / f"{entry_id}.json").unlink(missing_ok=True)
            self._seen = None
            self.refresh()

    def remote(self, model_id: str) -> Remote:
        """Raises NotFound for a model that is not served elsewhere."""
        self.refresh()
        entry = self._catalogue.get(model_id)
        if entry.external is None:
            raise NotFound(N_("{name} is not served elsewhere."), name=entry.name)
        secret = self._secrets / entry.id
        key = secret.read_text(encoding="utf-8") if secret.exists() else ""
        return Remote(entry.external.url, entry.external.model, key)

    # Entries in the making

    def from_hub(self, kind: str, repo: str, revision: str, roles: Roles) -> CatalogueEntry:
        """Raises BadInput, FetchFailed, GatedModel, UnsafeModel."""
        revision = revision or DEFAULT_REVISION.get(kind, "")
        if kind not in DEFAULT_REVISION or not re.match(REPO, repo) or not re.match(REVISION, revision):
            raise BadInput(
                N_("{repo} is not the name of a repository on a model hub."),
                hint=N_("It looks like Qwen/Qwen2.5-7B-Instruct."),
                repo=f"{kind}:{repo}@{revision}",
            )
        if self._settings.offline:
            raise FetchFailed(N_("The portal is offline (PORTAL_OFFLINE): no hub is asked."))
        hub = Hub(kind, self._settings, self._catalogue.hubs)
        found = listing(hub, repo, revision, silent)
        config = _remote_config(hub, found)
        source = {"kind": kind, "repo": repo, "revision": revision}
        name = repo.partition("/")[2]
        told = {"sizes": found.sizes(), "config": config, "source": source, "about": found.about}
        return _checked(lambda: from_files(self._free_id(name), name, roles, **told))

    def from_folder(self, folder: Path, files: Sequence[Path], name: str, roles: Roles) -> CatalogueEntry:
        """files: those of the folder that would be taken, looked through already. Raises BadInput."""
        config_file = folder / "config.json"
        config = safety.read_json(config_file, str(folder)) if config_file in files else {}
        sizes = {path.name: path.stat().st_size for path in files}
        source = {"kind": "folder", "path": str(folder)}
        told = {"sizes": sizes, "config": config, "source": source, "about": {}}
        return _checked(lambda: from_files(self._free_id(name), name, roles, **told))

    def external(self, name: str, url: str, model: str, roles: Roles) -> CatalogueEntry:
        """Raises BadInput."""
        try:
            public = is_public(url)
        except ValueError as error:
            raise BadInput(N_("{url} is not the address of a server."), url=url) from error
        told = {"url": url.strip(), "model": model.strip(), "public": public}
        return _checked(lambda: of_external(self._free_id(name), name, roles, **told))

    def _free_id(self, name: str) -> str:
        """An id made of the name that no entry has."""
        self.refresh()
        base = re.sub(r"[^a-z0-9.]+", "-", name.lower()).strip("-.")[:80] or "model"
        taken = {entry.id for entry in self._catalogue.entries}
        numbered = (f"{base}-{number}" for number in range(2, len(taken) + 3))
        return next(candidate for candidate in (base, *numbered) if candidate not in taken)


def is_public(url: str, resolve: Callable = socket.getaddrinfo) -> bool:
    """Whether an address leads out of the building: what is asked there may leave it. Unknown counts as yes."""
    host = urlsplit(url).hostname or ""
    private = is_private(host)
    if private is not None:
        return not private
    try:
        addresses = {entry[4][0] for entry in resolve(host, None)}
    except (OSError, UnicodeError):
        return True
    return not all(is_private(address) for address in addresses)


def _remote_config(hub: Hub, found: Listing) -> dict:
    """The repository's config.json; {} when it has none. Raises UnsafeModel for code of its own and for garbage."""
    sizes = found.sizes()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for name in safety.WITH_AUTO_MAP:
            if 0 < sizes.get(name, 0) <= safety.CONFIG_MAX:
                address = hub.file(found.repo, found.commit, name)
                (folder / name).write_bytes(read_range(address, 0, sizes[name]))
        if not (folder / "config.json").exists():
            return {}
        safety.check_descriptions(folder, found.repo)
        return safety.read_json(folder / "config.json", found.repo)


def _checked(make: Callable[[], CatalogueEntry]) -> CatalogueEntry:
    try:
        return make()
    except ValidationError as error:
        first = error.errors()[0]
        raise BadInput(
            N_("The model cannot be added: {field}: {detail}"),
            field=".".join(str(part) for part in first["loc"]),
            detail=first["msg"],
        ) from error


def _read(path: Path) -> CatalogueEntry | None:
    """A damaged file must not keep the portal from starting: it is left out, and the log says so."""
    try:
        entry = CatalogueEntry.model_validate_json(path.read_bytes())
    except (OSError, ValueError) as error:
        log.warning("%s is not read: %s", path, error)
        return None
    return entry.model_copy(update={"custom": True}) if entry.id == path.stem else None


def _write_secret(path: Path, secret: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(secret)
