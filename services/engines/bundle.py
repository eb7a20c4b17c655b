"""A model as one file, for carrying it across an air gap: its entry in the catalogue, its manifest, its files.

The file is a plain tar: bundle.json first, then the files by name. It is read header by header, so that nothing but
these regular files can be in it: no links, no devices, no paths, no extended headers. The hashes in it find damage
and a change of single files; who made a bundle they cannot tell, so carry it by a way that you trust.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from services.engines.entries import CatalogueEntry, Variant
from services.engines.models import ModelStore
from services.engines.sources import safety
from services.engines.sources.files import MIB, Progress, full_disk_explained, require_space, silent
from services.errors import BadInput, NotFound, UnsafeModel, VerificationFailed
from services.translation import N_

HEAD = "bundle.json"
HEAD_MAX = 16 * MIB
BLOCK = tarfile.BLOCKSIZE
SUFFIX = ".zhiku.tar"


class BundledFile(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    size: int = Field(ge=0)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class Head(BaseModel):
    """What bundle.json says. record: of the manifest, without its files."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal["zhiku-model-bundle"] = "zhiku-model-bundle"
    version: Literal[1] = 1
    variant: str
    entry: CatalogueEntry
    record: dict[str, str | bool | int | float | None]
    files: dict[str, BundledFile] = Field(min_length=1)


def export_bundle(models: ModelStore, model_id: str, folder: Path, progress: Progress = silent) -> Path:
    """Write <model>.zhiku.tar into a folder of the server; all of it or nothing. Every file is checked on the way.

    Raises NotFound when the model is not here, BadInput, VerificationFailed, StorageFull; and what progress raises.
    """
    head = _head(models, model_id)
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise BadInput(N_("{path} is not a folder that the portal may write to."), path=str(folder))
    source, target = models.folder(model_id), folder / f"{models.folder(model_id).name}{SUFFIX}"
    draft = target.with_name(f".{target.name}.part")
    total = sum(file.size for file in head.files.values())
    require_space(folder, total + HEAD_MAX)
    try:
        with full_disk_explained(folder, total), draft.open("wb") as out:
            _write_member(out, HEAD, head.model_dump_json(indent=1).encode())
            done = 0
            for name, file in head.files.items():
                _write_file(out, source / name, file, _shifted(progress, N_("Exporting"), done, total))
                done += file.size
            out.write(bytes(2 * BLOCK))
            out.flush()
            os.fsync(out.fileno())
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)
    return target


def import_bundle(
    models: ModelStore,
    path: Path,
    progress: Progress = silent,
    *,
    allow: Callable[[str], None] = lambda _model_id: None,
) -> str:
    """Take a bundle into the store and the catalogue, and return the model's id. Needs no network; all or nothing.

    allow: may refuse the model, by its id, before anything is written.

    Raises BadInput when it is no bundle, UnsafeModel, VerificationFailed, StorageFull; and what progress raises.
    """
    if not path.is_file():
        raise BadInput(N_("There is no file {path}."), path=str(path))
    with path.open("rb") as bundle:
        head = _read_head(bundle, path)
        entry, variant = _place(models, head)
        model_id = entry.id if variant == entry.variants[0] else f"{entry.id}:{variant.id}"
        _require_safe(head, variant, path)
        if entry.id in [known.id for known in models.entries()]:
            allow(model_id)
        with _draft(models, model_id, sum(file.size for file in head.files.values())) as draft:
            _read_files(bundle, head, draft, path, progress)
            if variant.format == "safetensors":
                safety.check_descriptions(draft, path.name)
            if entry.id not in [known.id for known in models.entries()]:
                models.add_entry(entry)
            files = {name: file.model_dump() for name, file in head.files.items()}
            models.install(model_id, draft, {**head.record, "bundle": path.name}, files)
    return model_id


def _head(models: ModelStore, model_id: str) -> Head:
    entry, variant = models.entry(model_id), models.variant(model_id)
    if variant.format == "external":
        raise BadInput(N_("{name} is served elsewhere: there is nothing to export."), name=entry.name)
    known = models.manifest(model_id)
    if known is None or not models.ready(model_id):
        raise NotFound(
            N_("The model {name} is not on this machine."),
            hint=N_("Fetch it first: cli.py models fetch {id}"),
            name=entry.name,
            id=model_id,
        )
    record = {key: value for key, value in known.items() if key not in ("files", "id", "variant")}
    return Head(variant=variant.id, entry=entry, record=record, files=known["files"])


def _read_head(bundle: BinaryIO, path: Path) -> Head:
    name, size = _next_header(bundle, path)
    if name != HEAD or size > HEAD_MAX:
        raise _no_bundle(path)
    try:
        head = Head.model_validate_json(_exactly(bundle, size, path))
    except ValidationError as error:
        raise _no_bundle(path) from error
    _skip_padding(bundle, size, path)
    return head


def _place(models: ModelStore, head: Head) -> tuple[CatalogueEntry, Variant]:
    """The entry that the catalogue has under that id, or the bundle's. Raises BadInput where they are at odds."""
    known = next((entry for entry in models.entries() if entry.id == head.entry.id), None)
    entry = known or head.entry.model_copy(update={"custom": True})
    variant = next((variant for variant in entry.variants if variant.id == head.variant), None)
    if variant is None or variant.format == "external" or entry.external is not None:
        raise BadInput(
            N_("The catalogue has another model under the name {id} than the bundle."),
            hint=N_("Export and import with the same version of the portal, or forget the entry first."),
            id=f"{head.entry.id}:{head.variant}",
        )
    return entry, variant


def _require_safe(head: Head, variant: Variant, path: Path) -> None:
    """The files must be exactly those that would be taken from anywhere else, and pinned ones the pinned ones."""
    sizes = {name: file.size for name, file in head.files.items()}
    if safety.wanted(sizes, variant.format, "", path.name) != sorted(sizes):
        raise UnsafeModel(N_("{what} holds files that do not belong to a model."), what=path.name)
    pinned = variant.pinned
    if pinned is None:
        return
    listed = head.files.get(pinned.name)
    sha256 = head.record.get("source_sha256") if variant.converts else listed.sha256 if listed else ""
    if sha256 != pinned.sha256:
        raise _damaged(pinned.name, path)


@contextmanager
def _draft(models: ModelStore, model_id: str, needed_bytes: int) -> Iterator[Path]:
    """A folder beside the model's, gone afterwards unless it took the model's place."""
    folder = models.models_dir / f".{model_id.replace(':', '__')}.importing"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        require_space(folder, needed_bytes, models.reserve_mib)
        with full_disk_explained(folder, needed_bytes):
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _read_files(bundle: BinaryIO, head: Head, draft: Path, path: Path, progress: Progress) -> None:
    """Every listed file once, in its size, with its hash, and nothing else."""
    total, done = sum(file.size for file in head.files.values()), 0
    for name, file in head.files.items():
        found, size = _next_header(bundle, path)
        if (found, size) != (name, file.size):
            raise UnsafeModel(N_("{what} holds files that do not belong to a model."), what=path.name)
        with (draft / name).open("wb") as target:
            tell = _shifted(progress, N_("Importing"), done, total)
            if _copy(bundle, target, size, tell, path) != file.sha256:
                raise _damaged(name, path)
        _skip_padding(bundle, size, path)
        safety.check_weights(draft / name, path.name)
        done += size
    if bundle.read(2 * BLOCK).strip(b"\0") or bundle.read(BLOCK).strip(b"\0"):
        raise UnsafeModel(N_("{what} holds files that do not belong to a model."), what=path.name)


def _next_header(bundle: BinaryIO, path: Path) -> tuple[str, int]:
    """(name, size) of the next member. Raises UnsafeModel for one that is not a regular file."""
    try:
        header = tarfile.TarInfo.frombuf(_exactly(bundle, BLOCK, path), "utf-8", "strict")
    except (tarfile.HeaderError, UnicodeError, ValueError) as error:
        raise _no_bundle(path) from error
    if header.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or header.size < 0:
        raise UnsafeModel(N_("{what} holds files that do not belong to a model."), what=path.name)
    return header.name, header.size


def _copy(bundle: BinaryIO, target: BinaryIO, size: int, progress: Progress, path: Path) -> str:
    """Copy the next size bytes and return their SHA-256."""
    digest, left = hashlib.sha256(), size
    while left:
        block = bundle.read(min(8 * MIB, left))
        if not block:
            raise _truncated(path)
        target.write(block)
        digest.update(block)
        left -= len(block)
        progress("", size - left, size)
    return digest.hexdigest()


def _write_file(out: BinaryIO, source: Path, file: BundledFile, progress: Progress) -> None:
    out.write(_header(source.name, file.size))
    try:
        with source.open("rb") as reading:
            right = _copy(reading, out, file.size, progress, source) == file.sha256
    except FileNotFoundError:
        right = False
    if not right:
        raise _damaged(source.name, source)
    out.write(bytes(-file.size % BLOCK))


def _write_member(out: BinaryIO, name: str, content: bytes) -> None:
    out.write(_header(name, len(content)) + content + bytes(-len(content) % BLOCK))


def _header(name: str, size: int) -> bytes:
    """GNU format: it writes sizes over 8 GiB without an extended header."""
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, 0o644
    return info.tobuf(tarfile.GNU_FORMAT)


def _exactly(bundle: BinaryIO, size: int, path: Path) -> bytes:
    content = bundle.read(size)
    if len(content) != size:
        raise _truncated(path)
    return content


def _skip_padding(bundle: BinaryIO, size: int, path: Path) -> None:
    _exactly(bundle, -size % BLOCK, path)


def _shifted(progress: Progress, step: str, before: int, total: int) -> Progress:
    return lambda _step, done, _total: progress(step, before + done, total)


def _no_bundle(path: Path) -> BadInput:
    return BadInput(
        N_("{file} is not a model exported by this portal."),
        hint=N_("Export one with: cli.py models export ID --out FOLDER"),
        file=path.name,
    )


def _truncated(path: Path) -> VerificationFailed:
    return VerificationFailed(
        N_("{file} ends too early."), hint=N_("It was not copied whole: copy it again."), file=path.name
    )


def _damaged(name: str, path: Path) -> VerificationFailed:
    return VerificationFailed(
        N_("The file {file} in {bundle} is not what its hash says."),
        hint=N_("It was damaged or changed: export or copy it again."),
        file=name,
        bundle=path.name,
    )
