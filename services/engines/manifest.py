"""manifest.json of a model folder: where its files come from, and size and SHA-256 of each."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

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
