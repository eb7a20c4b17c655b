"""What the hubs hold of a model, looked at without downloading it."""

from __future__ import annotations

import time
from dataclasses import dataclass

from services.engines.catalogue import Catalogue
from services.engines.entries import HubSource
from services.engines.sources import hubs as hub_sources
from services.engines.sources.files import silent
from services.engines.sources.http import read_range
from services.engines.sources.hubs import Address, Hub
from services.engines.sources.repository import RemoteFile, chosen, listing
from services.errors import FetchFailed, PortalError
from services.settings import Settings
from services.translation import N_

KEPT_S = 600.0
FAILURE_KEPT_S = 60.0


@dataclass(frozen=True)
class _Seen:
    """What a look at a hub brought. addresses: by file name."""

    at: float
    files: tuple[RemoteFile, ...] = ()
    addresses: dict[str, Address] | None = None
    failure: PortalError | None = None


class RemoteModels:
    """Lists are kept for ten minutes, failures for one. Thread-safe; two that ask at once both ask the hub."""

    def __init__(self, settings: Settings, catalogue: Catalogue) -> None:
        self._settings = settings
        self._catalogue = catalogue
        self._seen: dict[str, _Seen] = {}

    def files(self, model_id: str) -> list[RemoteFile]:
        """Those that the variant would download. Raises NotFound, FetchFailed, GatedModel, UnsafeModel."""
        return list(self._look(model_id).files)

    def read(self, model_id: str, name: str, start: int, length: int) -> bytes:
        """A part of one of them; fewer bytes when it ends before. Raises as files() does."""
        address = self._look(model_id).addresses.get(name)
        if address is None:
            raise FetchFailed(N_("The model has no file {file} on the hub."), file=name)
        return read_range(address, start, length)

    def _look(self, model_id: str) -> _Seen:
        seen, now = self._seen.get(model_id), time.monotonic()
        if seen is None or now - seen.at > (FAILURE_KEPT_S if seen.failure else KEPT_S):
            seen = self._seen[model_id] = self._ask(model_id, now)
        if seen.failure is not None:
            raise seen.failure
        return seen

    def _ask(self, model_id: str, now: float) -> _Seen:
        variant, name = self._catalogue.variant(model_id), self._catalogue.get(model_id).name
        failure: PortalError = FetchFailed(N_("No hub can be asked about {name}."), name=name)
        if self._settings.offline:
            return _Seen(now, failure=failure)
        for source in variant.sources:
            if not isinstance(source, HubSource):
                continue
            hub = Hub(source.kind, self._settings, self._catalogue.hubs)
            if not hub_sources.reachable([hub.probe(source)], self._settings.hub_probe_timeout_s)[0]:
                continue
            try:
                return self._ask_hub(hub, source, model_id, now)
            except PortalError as error:
                failure = error
        return _Seen(now, failure=failure)

    def _ask_hub(self, hub: Hub, source: HubSource, model_id: str, now: float) -> _Seen:
        variant = self._catalogue.variant(model_id)
        if variant.pinned:
            file = variant.pinned
            files, revision = [RemoteFile(file.name, file.size, file.sha256)], source.revision
            addresses = {file.name: hub.file(source.repo, revision, source.file)}
        else:
            found = listing(hub, source.repo, source.revision, silent)
            files = chosen(found, variant)
            addresses = {file.name: hub.file(source.repo, found.commit, file.name) for file in files}
        return _Seen(now, tuple(files), addresses)
