"""Bundles: a model carried across an air gap in one file, and every way in which such a file can lie."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from services.engines.bundle import export_bundle, import_bundle
from services.engines.models import ModelStore
from services.errors import (
    BadInput,
    FetchInterrupted,
    NotFound,
    PortalError,
    StorageFull,
    UnsafeModel,
    VerificationFailed,
)
from tests.hub_server import sha256
from tests.model_files import NO_HUB, catalogue, entry, pinned, repository, settings


@pytest.fixture
def origin(tmp_path: Path) -> ModelStore:
    """A store with a model of its own, "mine"."""
    given = tmp_path / "given"
    given.mkdir()
    for name, content in repository().items():
        (given / name).write_bytes(content)
    models = other_store(tmp_path / "there")
    models.add_from_folder(given, "Mine", ("chat", "code"))
    return models


@pytest.fixture
def bundle(origin: ModelStore, tmp_path: Path) -> Path:
    out = tmp_path / "out"
    out.mkdir()
    return export_bundle(origin, "mine", out)


@pytest.fixture
def here(tmp_path: Path) -> ModelStore:
    return other_store(tmp_path / "here")


def other_store(home: Path, **more: object) -> ModelStore:
    return ModelStore(settings(home, NO_HUB, offline=True, **more), catalogue(entry(pinned("wheels"))))


Member = tuple[tarfile.TarInfo, bytes]


def rewritten(bundle: Path, change: Callable[[list[Member]], object]) -> Path:
    """The bundle with its members changed, as a tar that is itself in order."""
    with tarfile.open(bundle) as old:
        members = [(member, old.extractfile(member).read()) for member in old]
    change(members)
    with tarfile.open(bundle, "w", format=tarfile.GNU_FORMAT) as new:
        for member, content in members:
            member.size = len(content) if member.isreg() else 0
            new.addfile(member, io.BytesIO(content))
    return bundle


def head_of(members: list[Member]) -> dict:
    return json.loads(members[0][1])


def set_head(members: list[Member], head: dict) -> None:
    members[0] = (members[0][0], json.dumps(head).encode())


def nothing_is_left(models: ModelStore) -> bool:
    home = models.models_dir.parent
    left = [path for path in home.rglob("*") if path.is_file() and path.suffix != ".lock"]
    return models.ids() == ["tiny"] and not left


def test_a_model_crosses_the_gap_whole_with_its_entry(bundle: Path, origin: ModelStore, here: ModelStore) -> None:
    seen: list[tuple[str, int, int]] = []
    assert import_bundle(here, bundle, lambda *step: seen.append(step)) == "mine"
    assert here.ready("mine")
    here.verify("mine")
    assert here.entry("mine") == origin.entry("mine")
    assert here.file_sha256("mine") == origin.file_sha256("mine")
    assert seen[-1][1] == seen[-1][2] == here.size_bytes("mine")
    assert import_bundle(here, bundle) == "mine"
    assert bundle.name == "mine.zhiku.tar"
    assert [path.name for path in bundle.parent.iterdir()] == [bundle.name]


def test_any_tar_program_can_read_it(bundle: Path) -> None:
    with tarfile.open(bundle) as tar:
        names = tar.getnames()
    assert names[0] == "bundle.json"
    assert "config.json" in names


def test_a_size_over_eight_gibibytes_needs_no_extended_header() -> None:
    from services.engines.bundle import BLOCK, _header

    header = _header("model.safetensors", 20 * 1024**3)
    assert len(header) == BLOCK
    assert tarfile.TarInfo.frombuf(header, "utf-8", "strict").size == 20 * 1024**3


def test_a_model_that_is_not_here_or_was_tampered_with_is_not_exported(origin: ModelStore, tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        export_bundle(origin, "tiny", tmp_path)
    with pytest.raises(BadInput):
        export_bundle(origin, "mine", tmp_path / "nowhere")
    config = origin.path("mine") / "config.json"
    config.write_bytes(config.read_bytes().replace(b"llama", b"evil!"))
    with pytest.raises(VerificationFailed):
        export_bundle(origin, "mine", tmp_path)
    assert not list(tmp_path.glob("*.tar")) + list(tmp_path.glob(".*"))


def test_an_export_that_is_stopped_leaves_nothing(origin: ModelStore, tmp_path: Path) -> None:
    def stop(_step: str, done: int, _total: int) -> None:
        if done > 1000:
            raise FetchInterrupted("stop")

    with pytest.raises(FetchInterrupted):
        export_bundle(origin, "mine", tmp_path, stop)
    assert not list(tmp_path.glob("*.tar*")) + list(tmp_path.glob(".*"))


def test_every_cut_is_found_and_leaves_nothing(bundle: Path, here: ModelStore) -> None:
    whole = bundle.read_bytes()
    for end in (0, 100, 512, 700, 5_000, len(whole) // 2, len(whole) - 10_000):
        bundle.write_bytes(whole[:end])
        with pytest.raises((VerificationFailed, BadInput)):
            import_bundle(here, bundle)
        assert nothing_is_left(here)


def test_every_flipped_byte_is_found(bundle: Path, here: ModelStore) -> None:
    whole = bundle.read_bytes()
    for at in range(600, len(whole) - 1024, len(whole) // 40):
        damaged = bytearray(whole)
        damaged[at] ^= 0xFF
        if damaged[at] == whole[at] or not any(whole[at - 8 : at + 8]):
            continue  # padding
        bundle.write_bytes(damaged)
        with pytest.raises(PortalError):
            import_bundle(here, bundle)
        assert nothing_is_left(here)


def _link(kind: bytes, target: str) -> Callable[[list[Member]], object]:
    def change(members: list[Member]) -> None:
        member = tarfile.TarInfo(members[1][0].name)
        member.type, member.linkname = kind, target
        members[1] = (member, b"")

    return change


def _extra(name: str) -> Callable[[list[Member]], object]:
    return lambda members: members.append((tarfile.TarInfo(name), b"evil"))


def _renamed(name: str) -> Callable[[list[Member]], object]:
    def change(members: list[Member]) -> None:
        head = head_of(members)
        head["files"] = {name if key == "config.json" else key: file for key, file in head["files"].items()}
        set_head(members, head)
        for member, _content in members:
            member.name = name if member.name == "config.json" else member.name

    return change


def _missing(members: list[Member]) -> None:
    del members[2]


def _swapped(members: list[Member]) -> None:
    members[1], members[2] = members[2], members[1]


def _twice(members: list[Member]) -> None:
    members.append(members[1])


def _code(members: list[Member]) -> None:
    """An honest hash of a config that wants code."""
    content = json.dumps({"model_type": "x", "auto_map": {"AutoModel": "m.M"}}).encode()
    head = head_of(members)
    head["files"]["config.json"] = {"size": len(content), "sha256": sha256(content)}
    set_head(members, head)
    at = next(n for n, (member, _) in enumerate(members) if member.name == "config.json")
    members[at] = (members[at][0], content)


@pytest.mark.parametrize(
    "change",
    [
        _link(tarfile.SYMTYPE, "/etc/passwd"),
        _link(tarfile.LNKTYPE, "/etc/passwd"),
        _link(tarfile.CHRTYPE, ""),
        _link(tarfile.FIFOTYPE, ""),
        _link(tarfile.DIRTYPE, ""),
        _extra("modeling.py"),
        _extra("../../evil.json"),
        _extra("x" * 200),
        _renamed("../config.json"),
        _renamed("/etc/config.json"),
        _renamed("modeling.py"),
        _renamed("pytorch_model.bin"),
        _renamed("manifest.json"),
        _missing,
        _swapped,
        _twice,
        _code,
    ],
    ids=lambda change: getattr(change, "__qualname__", "").split(".")[0],
)
def test_a_bundle_that_lies_is_refused_and_leaves_nothing(
    bundle: Path, here: ModelStore, change: Callable[[list[Member]], object]
) -> None:
    with pytest.raises((UnsafeModel, VerificationFailed, BadInput)):
        import_bundle(here, rewritten(bundle, change))
    assert nothing_is_left(here)


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"format": "zip"},
        {"files": {}},
        {"variant": "other"},
        {"entry": {}},
        {"surprise": 1},
    ],
    ids=str,
)
def test_a_head_that_is_none_is_refused(bundle: Path, here: ModelStore, change: dict) -> None:
    path = rewritten(bundle, lambda members: set_head(members, head_of(members) | change))
    with pytest.raises(BadInput):
        import_bundle(here, path)
    assert nothing_is_left(here)


def test_a_bundle_cannot_pass_off_other_weights_as_a_pinned_model(bundle: Path, here: ModelStore) -> None:
    def pose(members: list[Member]) -> None:
        head = head_of(members)
        head["entry"]["id"], head["variant"] = "tiny", "from-gguf"
        set_head(members, head)

    with pytest.raises(VerificationFailed):
        import_bundle(here, rewritten(bundle, pose))
    assert nothing_is_left(here)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 a zip", bytes(10_000)])
def test_another_file_is_no_bundle(tmp_path: Path, here: ModelStore, content: bytes) -> None:
    path = tmp_path / "other.tar"
    path.write_bytes(content)
    with pytest.raises((BadInput, VerificationFailed)):
        import_bundle(here, path)
    with pytest.raises(BadInput):
        import_bundle(here, tmp_path / "nowhere.tar")


def test_a_full_disk_is_told_before_anything_is_written(bundle: Path, tmp_path: Path) -> None:
    models = other_store(tmp_path / "full", disk_reserve_mib=10**9)
    with pytest.raises(StorageFull):
        import_bundle(models, bundle)
    assert nothing_is_left(models)


def test_an_import_that_is_stopped_leaves_nothing(bundle: Path, here: ModelStore) -> None:
    def stop(_step: str, done: int, _total: int) -> None:
        if done > 1000:
            raise FetchInterrupted("stop")

    with pytest.raises(FetchInterrupted):
        import_bundle(here, bundle, stop)
    assert nothing_is_left(here)


def test_a_server_elsewhere_has_nothing_to_export(origin: ModelStore, tmp_path: Path) -> None:
    added = origin.add_external("X", "http://127.0.0.1/v1", "m", "", ("chat",))
    with pytest.raises(BadInput):
        export_bundle(origin, added.id, tmp_path)
