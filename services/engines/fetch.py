"""Get a model's file: from the first of its sources that is reachable and delivers the right bytes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from services.engines.catalogue import CatalogueEntry, Hubs, Source, WheelsSource
from services.engines.sources import hubs as hub_sources
from services.engines.sources import wheels
from services.engines.sources.files import Progress, another_file, full_disk_explained, require_space, sha256_of
from services.errors import FetchFailed, ModelFilesError, VerificationFailed
from services.settings import Settings
from services.translation import N_

TRIES = 2


def fetch(entry: CatalogueEntry, settings: Settings, progress: Progress, *, hubs: Hubs) -> Path:
    """The model's file, its SHA-256 checked, under settings.downloads_dir. Continues an interrupted download.

    Raises FetchFailed when no source delivers, VerificationFailed when one delivers something else (twice) and
    no other delivers, StorageFull.
    """
    return _Fetch(entry, settings, progress, hubs).run()


@dataclass(frozen=True)
class _Fetch:
    """What one fetch needs at every step."""

    entry: CatalogueEntry
    settings: Settings
    progress: Progress
    hubs: Hubs

    def run(self) -> Path:
        target = self.settings.downloads_dir / self.entry.id / self.entry.file.name
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists() and self._is_right(target):
            return target
        usable, failures = self._usable()
        mistaken: ModelFilesError | None = None
        for source in usable:
            try:
                return self._fetch_from(source, target)
            except (FetchFailed, VerificationFailed) as failed:
                failures.append(f"{source.kind}: {failed}")
                mistaken = failed if isinstance(failed, VerificationFailed) else mistaken
        raise mistaken or FetchFailed(
            N_("The model {name} could not be downloaded. {failures}"),
            hint=N_("Check the network and pip's mirror (pip config list), then try again: it goes on from here."),
            name=self.entry.name,
            failures=" | ".join(failures),
        )

    def _usable(self) -> tuple[list[Source], list[str]]:
        """The sources in order without the hubs that do not answer, and why each of those is left out."""
        hub_list = [source for source in self.entry.sources if not isinstance(source, WheelsSource)]
        timeout_s = self.settings.hub_probe_timeout_s
        if self.settings.offline:
            reason, answers = "offline", [False] * len(hub_list)
        else:
            self.progress(N_("Looking for a model hub"), 0, 0)
            addresses = [hub_sources.address(source, self.settings, self.hubs) for source in hub_list]
            reason, answers = f"no answer within {timeout_s:g} s", hub_sources.reachable(addresses, timeout_s)
        left_out = [source for source, answered in zip(hub_list, answers, strict=True) if not answered]
        usable = [source for source in self.entry.sources if source not in left_out]
        return usable, [f"{source.kind}: {reason}" for source in left_out]

    def _fetch_from(self, source: Source, target: Path) -> Path:
        """Download and compare; once more from the start if it is not the file."""
        kind = "wheels" if isinstance(source, WheelsSource) else "hub"
        part = target.with_name(f"{target.name}.{kind}.part")
        for attempt in range(1, TRIES + 1):
            needed = self.entry.file.size - (part.stat().st_size if part.exists() else 0)
            require_space(target.parent, needed)
            try:
                with full_disk_explained(target.parent, needed):
                    self._download(source, part)
                if not self._is_right(part):
                    raise another_file(self.entry.file)
                break
            except VerificationFailed:
                wheels.discard(part)
                if attempt == TRIES:
                    raise
        part.replace(target)
        wheels.discard(part)
        return target

    def _download(self, source: Source, part: Path) -> None:
        if isinstance(source, WheelsSource):
            wheels.download(source, self.entry.file, part, self.progress)
        else:
            address = hub_sources.address(source, self.settings, self.hubs)
            hub_sources.download(address, self.entry.file, part, self.progress)

    def _is_right(self, path: Path) -> bool:
        return sha256_of(path, self.progress, N_("Verifying")) == self.entry.file.sha256
