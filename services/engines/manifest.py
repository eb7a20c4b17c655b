"""manifest.json of a model folder: where its files come from, and size and SHA-256 of each."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

from services.engines.sources.files import Progress, sha256_of
from services.translation import N_

MANIFEST = "manifest.json"


def read(folder: Path) -> dict | None:
    """None when the model is not here, or its manifest is not one."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        names = [str(name) for name, listed in manifest["files"].items() if {"size", "sha256"} <= set(listed)]
        return manifest if len(names) == len(manifest["files"]) and isinstance(manifest["source_sha256"], str) else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def write(folder: Path, record: dict, files: dict[str, dict]) -> None:
    """record: id, source, source_sha256, and what else there is to say; files: name → {size, sha256}."""
    (folder / MANIFEST).write_text(json.dumps({**record, "files": files}, indent=2) + "\n", encoding="utf-8")


def first_changed(folder: Path, known: dict, progress: Progress) -> str:
    """Read every file of a folder: the first that is missing, changed, or does not belong there; "" for none."""
    total, done = sum(listed["size"] for listed in known["files"].values()), 0
    for name, listed in known["files"].items():
        if not has_size(folder / name, listed["size"]):
            return name
        within = _shifted(progress, done, total)
        if sha256_of(folder / name, within, N_("Verifying")) != listed["sha256"]:
            return name
        done += listed["size"]
    progress(N_("Verifying"), done, total)
    strangers = {path.name for path in folder.iterdir()} - {MANIFEST, *known["files"]}
    return min(strangers, default="")


def has_size(path: Path, size: int) -> bool:
    return path.is_file() and not path.is_symlink() and path.stat().st_size == size


def digest(files: dict[str, dict]) -> str:
    """One SHA-256 for a set of files: of their names and hashes."""
    lines = "".join(f"{files[name]['sha256']}  {name}\n" for name in sorted(files))
    return hashlib.sha256(lines.encode()).hexdigest()


def install(draft: Path, folder: Path) -> None:
    """Put a finished folder in the place of what is there. Both are on one file system."""
    for path in draft.iterdir():
        path.chmod(0o644)  # an engine may run as somebody else
    (folder / MANIFEST).unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
    draft.rename(folder)


def _shifted(progress: Progress, before: int, total: int) -> Progress:
    """The progress of one file as that of all."""
    return lambda step, done, _total: progress(step, before + done, total)
