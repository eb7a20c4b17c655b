"""A folder that an administrator named: looked through, and taken into the store file by file."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path

from services.engines.sources import safety
from services.engines.sources.files import MIB, Progress, require_space, sha256_of
from services.errors import BadInput, UnsafeModel
from services.translation import N_


def look_through(folder: Path, form: str = "", pick: str = "") -> list[Path]:
    """The files that would be taken of it. form: safetensors or gguf; "": whichever there is.

    Raises BadInput when it is no folder, UnsafeModel for links, pickles only, code of its own, garbage;
    VerificationFailed when parts of the weights are missing.
    """
    if not folder.is_dir():
        raise BadInput(N_("There is no folder {path} on the server."), path=str(folder))
    sizes = {}
    for path in sorted(folder.iterdir()):
        status = path.lstat()
        if stat.S_ISLNK(status.st_mode):
            raise UnsafeModel(
                N_("{path} is a link; a model's folder must hold its files themselves."),
                hint=N_("Copy the model with cp -rL to a folder of its own, and name that one."),
                path=str(path),
            )
        if stat.S_ISREG(status.st_mode):
            sizes[path.name] = status.st_size
    what = str(folder)
    form = form or ("safetensors" if any(name.endswith(".safetensors") for name in sizes) else "gguf")
    names = safety.wanted(sizes, form, pick, what)
    if form == "safetensors":
        safety.check_descriptions(folder, what)
    for name in names:
        safety.check_weights(folder / name, what)
    return [folder / name for name in names]


def take(files: list[Path], target: Path, progress: Progress, *, reserve_mib: int) -> dict[str, dict]:
    """Copy the files into target and return name → {size, sha256} of the copies.

    Hard links would cost no room, but whoever may write the originals could then change the model.
    """
    total = sum(path.stat().st_size for path in files)
    target.mkdir(parents=True, exist_ok=True)
    require_space(target, total, reserve_mib)
    done, taken = 0, {}
    for path in files:
        copy = target / path.name
        _copy(path, copy, lambda more, done=done: progress(N_("Copying"), done + more, total))
        taken[path.name] = {"size": copy.stat().st_size, "sha256": sha256_of(copy, progress, N_("Verifying"))}
        done += taken[path.name]["size"]
    return taken


def _copy(source: Path, target: Path, copied) -> None:
    """copied: is told how many bytes of this file are over."""
    descriptor = os.open(source, os.O_RDONLY | os.O_NOFOLLOW)
    with contextlib.closing(os.fdopen(descriptor, "rb")) as reading, target.open("wb") as writing:
        while block := reading.read(8 * MIB):
            writing.write(block)
            copied(writing.tell())
