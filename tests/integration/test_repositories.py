"""Whole repositories of both hubs, over real HTTP: what is taken, what is refused, and what trouble ends in."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.engines.models import ModelStore
from services.engines.sources import http
from services.errors import FetchFailed, FetchInterrupted, GatedModel, StorageFull, UnsafeModel, VerificationFailed
from tests.hub_server import COMMIT, HubServer, sha256
from tests.model_files import (
    CONFIG,
    NO_HUB,
    WEIGHTS,
    catalogue,
    entry,
    gguf_of,
    repository,
    safetensors,
    settings,
    whole,
)

KINDS = pytest.mark.parametrize("kind", ["huggingface", "modelscope"])
TAKEN = {
    "config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "model-00001-of-00002.safetensors",
    "model-00002-of-00002.safetensors",
    "model.safetensors.index.json",
    "LICENSE",
}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    monkeypatch.setattr(http, "PAUSE_S", 0.01)
    server = HubServer(repository())
    yield server
    server.close()


def store(home: Path, hub: HubServer | str, *variants: dict, **more: object) -> ModelStore:
    url = hub if isinstance(hub, str) else hub.url
    return ModelStore(settings(home, url, **more), catalogue(entry(*variants)))


def first_weights(models: ModelStore) -> bytes:
    return (models.path("tiny") / "model-00001-of-00002.safetensors").read_bytes()


@KINDS
def test_a_repository_arrives_whole_with_a_manifest(tmp_path: Path, hub: HubServer, kind: str) -> None:
    models = store(tmp_path, hub, whole(kind))
    folder = models.ensure("tiny")
    assert {path.name for path in folder.iterdir()} == {*TAKEN, "manifest.json"}
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["source"] == f"{kind}:owner/model"
    assert manifest["commit"] == (COMMIT if kind == "huggingface" else "master")
    for name in TAKEN:
        assert manifest["files"][name]["sha256"] == sha256(hub.files[name])
    models.verify("tiny")
    assert models.file_sha256("tiny") == manifest["source_sha256"] != ""
    assert not (tmp_path / "downloads" / "tiny").exists()


def test_every_file_is_asked_for_at_the_commit_that_was_resolved(tmp_path: Path, hub: HubServer) -> None:
    store(tmp_path, hub, whole("huggingface")).ensure("tiny")
    assert {path.split("/")[4] for path, _, _ in hub.downloads} == {COMMIT}


@pytest.mark.parametrize("named", ["", "https://huggingface.co"], ids=["itself", "a mirror"])
def test_a_long_list_comes_in_pages(tmp_path: Path, hub: HubServer, named: str) -> None:
    hub.page_size, hub.next_at = 2, named
    assert (store(tmp_path, hub, whole("huggingface")).ensure("tiny") / "model.safetensors.index.json").exists()


def test_the_token_goes_to_the_hub_and_never_to_its_cdn(tmp_path: Path, hub: HubServer) -> None:
    hub.cdn, hub.token = True, "hf_secret"
    store(tmp_path, hub, whole("huggingface"), hf_token="hf_secret").ensure("tiny")
    tokens = {path.startswith("/cdn/"): token for path, _, token in hub.downloads}
    assert tokens == {True: None, False: "Bearer hf_secret"}


def test_pickles_and_code_beside_safetensors_are_left_where_they_are(tmp_path: Path, hub: HubServer) -> None:
    hub.files = repository(
        pytorch_model__bin=b"pickle", modeling_tiny__py=b"evil()", consolidated__safetensors=WEIGHTS
    ) | {"original/consolidated.00.pth": b"pickle", "onnx/model.onnx": b"x"}
    folder = store(tmp_path, hub, whole("huggingface")).ensure("tiny")
    assert {path.name for path in folder.iterdir()} == {*TAKEN, "manifest.json"}
    assert not [path for path, _, _ in hub.downloads if path.endswith((".bin", ".py", ".pth"))]


@KINDS
@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (
            {
                "model-00001-of-00002.safetensors": None,
                "model-00002-of-00002.safetensors": None,
                "pytorch_model.bin": b"pickle",
            },
            "pickles",
        ),
        ({"config.json": None}, "config.json"),
        ({"config.json": b"\xff\x00 garbage"}, "config.json"),
        ({"config.json": b"[" * 100_000}, "config.json"),
        ({"config.json": b'["a list"]'}, "config.json"),
        ({"config.json": json.dumps({"model_type": "qwen", "auto_map": {"AutoModel": "x.py"}}).encode()}, "auto_map"),
        (
            {
                "config.json": json.dumps({"model_type": "new"}).encode(),
                "tokenizer_config.json": json.dumps({"auto_map": {"AutoTokenizer": ["x.py"]}}).encode(),
            },
            "auto_map",
        ),
        ({"model-00001-of-00002.safetensors": b"\x80\x04 a pickle under another name"}, "not what its name says"),
        ({"../evil.json": b"{}"}, "lead elsewhere"),
        ({"/etc/passwd.json": b"{}"}, "lead elsewhere"),
        ({"a\\..\\b.json": b"{}"}, "lead elsewhere"),
        ({"a/../../b.json": b"{}"}, "lead elsewhere"),
        ({"new\nline.json": b"{}"}, "lead elsewhere"),
        ({"-rf.json": b"{}"}, "lead elsewhere"),
    ],
)
def test_what_is_unsafe_is_refused_and_leaves_no_model(
    tmp_path: Path, hub: HubServer, kind: str, changes: dict, told: str
) -> None:
    hub.files = repository(**changes)
    models = store(tmp_path, hub, whole(kind))
    with pytest.raises(UnsafeModel, match=told):
        models.ensure("tiny")
    assert not models.ready("tiny")
    assert not models.path("tiny").exists()


def test_a_known_architecture_may_bring_code_that_nobody_fetches(tmp_path: Path, hub: HubServer) -> None:
    """Phi-3 Mini does."""
    config = CONFIG | {"model_type": "phi3", "auto_map": {"AutoConfig": "configuration_phi3.Phi3Config"}}
    hub.files = repository(config__json=json.dumps(config).encode(), configuration_phi3__py=b"evil()")
    assert not (store(tmp_path, hub, whole("huggingface")).ensure("tiny") / "configuration_phi3.py").exists()


@KINDS
def test_one_gguf_of_many_is_taken(tmp_path: Path, hub: HubServer, kind: str) -> None:
    hub.files = {f"tiny-{quant}.gguf": b"GGUF" + quant.encode() for quant in ("q8_0", "q4_k_m", "f16")}
    models = store(tmp_path, hub, gguf_of(kind))
    assert models.ensure("tiny") == models.path("tiny")
    assert models.path("tiny").read_bytes() == b"GGUFq4_k_m"
    assert [path.name for path in models.path("tiny").parent.glob("*.gguf")] == ["tiny-q4_k_m.gguf"]


def test_a_gguf_in_parts_is_taken_whole_and_its_first_part_is_served(tmp_path: Path, hub: HubServer) -> None:
    hub.files = {f"tiny-Q4_K_M-0000{n}-of-00002.gguf": b"GGUF" + bytes([n]) for n in (1, 2)}
    models = store(tmp_path, hub, gguf_of("huggingface"))
    assert models.ensure("tiny").name == "tiny-Q4_K_M-00001-of-00002.gguf"
    assert len(list(models.path("tiny").parent.glob("*.gguf"))) == 2


def test_a_gguf_with_a_missing_part_is_refused(tmp_path: Path, hub: HubServer) -> None:
    hub.files = {"tiny-q4_k_m-00001-of-00002.gguf": b"GGUF"}
    with pytest.raises(UnsafeModel):
        store(tmp_path, hub, gguf_of("huggingface")).ensure("tiny")


@KINDS
def test_broken_connections_are_continued(tmp_path: Path, hub: HubServer, kind: str) -> None:
    hub.files = {name: hub.files[name] for name in TAKEN}
    hub.drop_after = [10_000_000] * 5 + [300_000, 200_000]
    models = store(tmp_path, hub, whole(kind))
    models.ensure("tiny")
    assert first_weights(models) == WEIGHTS
    assert [asked for _, asked, _ in hub.downloads if asked] == ["bytes=300000-", "bytes=500000-"]


def test_an_interrupted_download_keeps_its_commit_and_its_bytes(tmp_path: Path, hub: HubServer) -> None:
    models = store(tmp_path, hub, whole("huggingface"))
    hub.drop_after = [10_000_000] * 5 + [400_000, 0, 0, 0]
    with pytest.raises(FetchFailed):
        models.ensure("tiny")
    before = len(hub.downloads)
    hub.commit = "d" * 40  # the branch moves on
    models.ensure("tiny")
    later = hub.downloads[before:]
    assert {path.split("/")[4] for path, _, _ in later} == {COMMIT}
    assert later[0][1] == "bytes=400000-"
    assert len(later) == 2
    assert first_weights(models) == WEIGHTS


@KINDS
def test_another_hash_is_redone_once_then_refused(tmp_path: Path, hub: HubServer, kind: str) -> None:
    hub.served = {"model-00002-of-00002.safetensors": safetensors(b"tali")}
    models = store(tmp_path, hub, whole(kind))
    with pytest.raises(VerificationFailed) as failed:
        models.ensure("tiny")
    assert failed.value.params["file"] == "model-00002-of-00002.safetensors"
    assert len([path for path, _, _ in hub.downloads if "00002-of" in path]) == 2
    hub.served = {}
    models.ensure("tiny")
    assert len([path for path, _, _ in hub.downloads if "00001-of" in path]) == 1


def test_a_small_file_is_checked_by_gits_own_hash(tmp_path: Path, hub: HubServer) -> None:
    hub.served = {"config.json": hub.files["config.json"].replace(b"llama", b"evil!")}
    with pytest.raises(VerificationFailed):
        store(tmp_path, hub, whole("huggingface")).ensure("tiny")


@pytest.mark.parametrize(("token", "accepted", "status"), [("", True, 401), ("hf_mine", False, 403)])
def test_a_gated_model_says_what_to_do(tmp_path: Path, hub: HubServer, token: str, accepted: bool, status: int) -> None:
    hub.token, hub.accepted = "hf_mine", accepted
    with pytest.raises(GatedModel) as failed:
        store(tmp_path, hub, whole("huggingface"), hf_token=token).ensure("tiny")
    assert failed.value.params["status"] == status
    hint = failed.value.hint.format(**failed.value.params)
    assert f"{hub.url}/owner/model" in hint
    assert "PORTAL_HF_TOKEN" in hint
    assert "hf_mine" not in str(failed.value.to_record())


def test_a_token_that_is_not_accepted_is_told_as_that(tmp_path: Path, hub: HubServer) -> None:
    hub.token = "hf_mine"
    with pytest.raises(GatedModel, match="does not accept the token"):
        store(tmp_path, hub, whole("huggingface"), hf_token="hf_old").ensure("tiny")


def test_where_one_hub_is_gated_the_other_is_asked(tmp_path: Path, hub: HubServer) -> None:
    hub.token = "hf_mine"
    models = store(tmp_path, hub, whole("huggingface", "modelscope"))
    models.ensure("tiny")
    assert models.manifest("tiny")["source"] == "modelscope:owner/model"


@KINDS
def test_a_repository_that_does_not_exist_is_told(tmp_path: Path, hub: HubServer, kind: str) -> None:
    hub.repo = "owner/other"
    with pytest.raises(FetchFailed, match="owner/model"):
        store(tmp_path, hub, whole(kind)).ensure("tiny")


@KINDS
def test_an_unknown_revision_is_told(tmp_path: Path, hub: HubServer, kind: str) -> None:
    hub.revisions = {"v2"}
    with pytest.raises(FetchFailed, match="404"):
        store(tmp_path, hub, whole(kind)).ensure("tiny")


@KINDS
def test_a_busy_hub_is_waited_for_as_long_as_it_says(tmp_path: Path, hub: HubServer, kind: str) -> None:
    hub.failures = [(429, {"Retry-After": "1"}), (503, {})]
    began = time.monotonic()
    store(tmp_path, hub, whole(kind)).ensure("tiny")
    assert time.monotonic() - began > 1


def test_a_hub_that_wants_an_hour_is_not_waited_for(tmp_path: Path, hub: HubServer) -> None:
    hub.failures = [(429, {"Retry-After": "3600"})]
    with pytest.raises(FetchFailed, match="3600 s"):
        store(tmp_path, hub, whole("huggingface")).ensure("tiny")


@KINDS
@pytest.mark.parametrize("status", [429, 500, 502])
def test_a_hub_that_stays_broken_ends_in_a_refusal(tmp_path: Path, hub: HubServer, kind: str, status: int) -> None:
    hub.failures = [(status, {})] * 100
    with pytest.raises(FetchFailed, match=str(status)):
        store(tmp_path, hub, whole(kind)).ensure("tiny")


@KINDS
def test_something_else_that_answers_at_the_hubs_address_is_told(tmp_path: Path, hub: HubServer, kind: str) -> None:
    hub.about = {"sha": None}
    hub.extra_entries = [{"type": "file"}]
    hub.repo = "owner/model"
    models = store(tmp_path, hub, whole(kind))
    if kind == "modelscope":
        hub._modelscope = lambda handler, *_: hub._huggingface_about(handler, "")
    with pytest.raises(FetchFailed, match=r"not understood|does not show"):
        models.ensure("tiny")


def test_a_full_disk_is_told_before_any_weights_are_asked_for(tmp_path: Path, hub: HubServer) -> None:
    models = store(tmp_path, hub, whole("huggingface"), disk_reserve_mib=10**9)
    with pytest.raises(StorageFull):
        models.ensure("tiny")
    assert hub.downloads == []


def test_a_slow_download_stops_within_two_seconds_of_being_told(tmp_path: Path, hub: HubServer) -> None:
    hub.stall_s = 0.2
    models = store(tmp_path, hub, whole("huggingface"))
    told: list[float] = []

    def stop(step: str, _done: int, _total: int) -> None:
        if step == "Downloading":
            hub.stall_s = 20  # the hub falls silent
            told.append(time.monotonic())
            if told[-1] - told[0] > 0.3:
                raise FetchInterrupted("paused")

    with pytest.raises(FetchInterrupted):
        models.ensure("tiny", stop)
    assert time.monotonic() - told[-1] < 2


def test_weight_headers_are_read_without_a_download(tmp_path: Path, hub: HubServer) -> None:
    models = store(tmp_path, hub, whole("huggingface"))
    files = {file.name: file.size for file in models.remote_files("tiny")}
    assert files["model-00001-of-00002.safetensors"] == len(WEIGHTS)
    assert models.read_remote("tiny", "model-00001-of-00002.safetensors", 8, 5) == WEIGHTS[8:13]
    assert models.read_remote("tiny", "model-00002-of-00002.safetensors", 0, 10**6) == safetensors(b"tail")
    assert models.read_remote("tiny", "model-00002-of-00002.safetensors", 10**6, 10) == b""
    hub.ignore_range = True
    assert models.read_remote("tiny", "model-00001-of-00002.safetensors", 8, 5) == WEIGHTS[8:13]
    asked = len(hub.requests)
    models.remote_files("tiny")
    assert len(hub.requests) == asked


@pytest.mark.parametrize("more", [{"offline": True}, {}], ids=["offline", "no hub"])
def test_without_a_hub_remote_files_are_a_refusal_that_is_quick_the_second_time(tmp_path: Path, more: dict) -> None:
    models = store(tmp_path, NO_HUB, whole("huggingface", "modelscope"), **more)
    for _ in range(2):
        began = time.monotonic()
        with pytest.raises(FetchFailed):
            models.remote_files("tiny")
    assert time.monotonic() - began < 0.05


def test_the_tests_hub_is_understood_by_hugging_faces_own_library(tmp_path: Path, hub: HubServer) -> None:
    """So that what passes against it passes against the real one."""
    from huggingface_hub import HfApi, get_hf_file_metadata, hf_hub_url
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    hub.page_size, hub.cdn = 3, True
    api = HfApi(endpoint=hub.url, token="hf_mine")
    assert api.model_info("owner/model").sha == COMMIT
    listed = {file.path: file for file in api.list_repo_tree("owner/model", recursive=True, revision=COMMIT)}
    assert set(listed) == set(hub.files)
    assert listed["model-00001-of-00002.safetensors"].lfs.sha256 == sha256(WEIGHTS)
    url = hf_hub_url("owner/model", "model-00001-of-00002.safetensors", revision="main", endpoint=hub.url)
    seen = get_hf_file_metadata(url, endpoint=hub.url)
    assert (seen.commit_hash, seen.etag, seen.size) == (COMMIT, sha256(WEIGHTS), len(WEIGHTS))
    with pytest.raises(RevisionNotFoundError):
        api.model_info("owner/model", revision="v9")
    with pytest.raises(RepositoryNotFoundError):
        api.model_info("owner/nothing")
    hub.accepted = False
    with pytest.raises(GatedRepoError):
        get_hf_file_metadata(url, endpoint=hub.url)


def test_a_folder_of_the_machine_is_a_source_like_others(tmp_path: Path) -> None:
    given = tmp_path / "given"
    given.mkdir()
    for name, content in repository().items():
        (given / name).write_bytes(content)
    variant = whole() | {"sources": [{"kind": "folder", "path": str(given)}]}
    models = store(tmp_path / "home", NO_HUB, variant)
    models.ensure("tiny")
    assert first_weights(models) == WEIGHTS
    assert not os.path.samefile(models.path("tiny") / "config.json", given / "config.json")
