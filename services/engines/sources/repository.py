"""Whole repositories of a hub: what is in them at one commit, and their files, each checked against the hub's list."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import quote, urlsplit

from services.engines.entries import HubSource, Variant
from services.engines.sources import http, hubs, safety
from services.engines.sources.files import Progress, another_file, git_sha1_of, require_space, sha256_of
from services.engines.sources.hubs import Hub
from services.errors import FetchFailed, VerificationFailed
from services.translation import N_

PAGES_MAX = 50
TRIES = 2
WEIGHTS = (".safetensors", ".gguf")


@dataclass(frozen=True)
class RemoteFile:
    """sha256: "" where the hub tells the SHA-1 that git gives the file instead."""

    name: str
    size: int
    sha256: str
    git_sha1: str = ""


@dataclass(frozen=True)
class Listing:
    """A repository at one commit. commit: as the hub tells it; ModelScope does not, so the revision asked for.

    about: what the hub says of the model (licence, parameters), as it says it.
    """

    kind: str
    repo: str
    commit: str
    files: tuple[RemoteFile, ...]
    about: dict

    def sizes(self) -> dict[str, int]:
        return {file.name: file.size for file in self.files}


def listing(hub: Hub, repo: str, revision: str, progress: Progress) -> Listing:
    """Raises FetchFailed, GatedModel."""

    def beat() -> None:
        progress(N_("Asking the hub"), 0, 0)

    beat()
    read = _modelscope if hub.kind == "modelscope" else _huggingface
    try:
        return read(hub, repo, revision, beat)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise FetchFailed(
            N_("The hub's answer about {what} is not understood."),
            hint=N_("Check the hub's address: something else seems to answer there."),
            what=repo,
        ) from error


def chosen(found: Listing, variant: Variant) -> list[RemoteFile]:
    """The files that the variant takes. Raises UnsafeModel, VerificationFailed when the hub tells no hash of one."""
    names = set(safety.wanted(found.sizes(), variant.format, variant.pick, found.repo))
    files = [file for file in found.files if file.name in names]
    if not all(file.sha256 or file.git_sha1 for file in files):
        raise VerificationFailed(N_("The hub tells no hashes of {what}: nothing could be checked."), what=found.repo)
    return files


def fetch_repository(
    hub: Hub, source: HubSource, variant: Variant, folder: Path, progress: Progress, *, reserve_mib: int
) -> dict:
    """Complete folder/files from where it stops, at the commit of folder/plan.json if there is one.

    Returns what the manifest says of it. Raises FetchFailed, GatedModel, UnsafeModel, VerificationFailed, StorageFull.
    """
    plan = _plan(hub, source, variant, folder, progress)
    files_dir = folder / "files"
    files_dir.mkdir(parents=True, exist_ok=True)
    _drop_strangers(files_dir, plan.files)
    total = sum(file.size for file in plan.files)
    present = sum(path.stat().st_size for path in files_dir.iterdir())
    require_space(folder, total - present, reserve_mib)
    done, files = 0, {}
    for file in sorted(plan.files, key=lambda file: (file.name.endswith(WEIGHTS), file.name)):
        address = hub.file(plan.repo, plan.commit, file.name)
        files[file.name] = _fetch_file(address, file, files_dir, _within(progress, done, total))
        done += file.size
        if file.name == "config.json":
            safety.check_descriptions(files_dir, plan.repo)
    if variant.format == "safetensors":
        safety.check_descriptions(files_dir, plan.repo)
    origin = {"source": f"{plan.kind}:{plan.repo}", "revision": source.revision, "commit": plan.commit}
    return {**origin, "files": files}


def _fetch_file(address: http.Address, file: RemoteFile, folder: Path, progress: Progress) -> dict:
    """One file, again from the start if it is not what the hub lists."""
    target, part = folder / file.name, folder / f"{file.name}.part"
    for attempt in range(1, TRIES + 1):
        if not target.exists():
            hubs.download(address, file.name, file.size, part, progress)
            part.touch()
            part.replace(target)
        sha256 = sha256_of(target, lambda step, *_: progress(step, file.size, file.size), N_("Verifying"))
        right = sha256 == file.sha256 if file.sha256 else git_sha1_of(target) == file.git_sha1
        if right and target.stat().st_size == file.size:
            safety.check_weights(target, address.what)
            return {"size": file.size, "sha256": sha256}
        target.unlink()
        if attempt == TRIES:
            raise another_file(file.name)
    raise AssertionError("unreachable")


def _within(progress: Progress, before: int, total: int) -> Progress:
    """The progress of one file as that of all."""
    return lambda step, done, _total: progress(step, before + done, total)


def _plan(hub: Hub, source: HubSource, variant: Variant, folder: Path, progress: Progress) -> Listing:
    """What was begun goes on with the same commit, even if the branch has moved since."""
    path = folder / "plan.json"
    begun = _read_plan(path)
    if begun and (begun.kind, begun.repo) == (source.kind, source.repo):
        return begun
    found = listing(hub, source.repo, source.revision, progress)
    plan = Listing(found.kind, found.repo, found.commit, tuple(chosen(found, variant)), {})
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(asdict(plan)), encoding="utf-8")
    return plan


def _read_plan(path: Path) -> Listing | None:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        return Listing(**{**data, "files": tuple(RemoteFile(**file) for file in data["files"])})
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _drop_strangers(folder: Path, files: tuple[RemoteFile, ...]) -> None:
    """What another source or commit had left and this one does not list."""
    names = {name for file in files for name in (file.name, f"{file.name}.part")}
    for path in folder.iterdir():
        if path.name not in names:
            path.unlink()


def _huggingface(hub: Hub, repo: str, revision: str, beat) -> Listing:
    about, _, _ = http.get_json(hub.address(f"/api/models/{repo}/revision/{quote(revision, safe='')}", repo), beat)
    commit = about["sha"]
    address = hub.address(f"/api/models/{repo}/tree/{commit}?recursive=true&expand=false", repo)
    files: list[RemoteFile] = []
    for _page in range(PAGES_MAX):
        entries, _, links = http.get_json(address, beat)
        files += [_from_huggingface(entry) for entry in entries if entry["type"] == "file"]
        following = urlsplit(links.get("next", {}).get("url", ""))
        if not following.path:
            return Listing(hub.kind, repo, str(commit), tuple(files), about)
        address = hub.address(f"{following.path}?{following.query}", repo)  # a mirror may name the original
    raise ValueError("the list does not end")


def _from_huggingface(entry: dict) -> RemoteFile:
    sha256 = str(entry["lfs"]["oid"]) if entry.get("lfs") else ""
    return RemoteFile(str(entry["path"]), int(entry["size"]), sha256, str(entry["oid"]))


def _modelscope(hub: Hub, repo: str, revision: str, beat) -> Listing:
    path = f"/api/v1/models/{repo}/repo/files?Revision={quote(revision, safe='')}&Recursive=true"
    address = hub.address(path, repo)
    answer, _, _ = http.get_json(address, beat)
    if answer.get("Code") != 200:
        raise http.missing(address, int(answer.get("Code") or 0))
    entries = [entry for entry in answer["Data"]["Files"] if entry["Type"] != "tree"]
    files = [RemoteFile(str(entry["Path"]), int(entry["Size"]), str(entry.get("Sha256") or "")) for entry in entries]
    return Listing(hub.kind, repo, revision, tuple(files), {})
