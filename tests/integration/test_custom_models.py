"""Models that administrators add: from a hub, a folder, or served elsewhere."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.engines.custom import is_public
from services.engines.custom_entry import shape_of
from services.engines.models import ModelStore
from services.engines.sources import http
from services.errors import BadInput, FetchFailed, GatedModel, NotFound, PortalError, UnsafeModel
from tests.hub_server import HubServer
from tests.model_files import CONFIG, NO_HUB, WEIGHTS, catalogue, entry, pinned, repository, settings

PRIVATE_URL = "http://10.0.0.5:8000/v1"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    monkeypatch.setattr(http, "PAUSE_S", 0.01)
    server = HubServer(repository())
    yield server
    server.close()


def store(home: Path, url: str = NO_HUB, **more: object) -> ModelStore:
    return ModelStore(settings(home, url, **more), catalogue(entry(pinned("wheels"))))


def folder_of(path: Path, files: dict[str, bytes]) -> Path:
    path.mkdir(parents=True)
    for name, content in files.items():
        (path / name).write_bytes(content)
    return path


# From a hub


@pytest.mark.parametrize("kind", ["huggingface", "modelscope"])
def test_a_repository_becomes_an_entry_and_can_be_fetched(tmp_path: Path, hub: HubServer, kind: str) -> None:
    hub.about = {"cardData": {"license": "mit", "language": ["en"]}, "safetensors": {"total": 12_345}}
    models = store(tmp_path, hub.url)
    added = models.add_from_hub(kind, "owner/model", "", ("chat", "code"))
    assert (added.id, added.roles, added.custom) == ("model", ("chat", "code"), True)
    assert (added.context_tokens, added.architecture) == (2048, "LlamaForCausalLM")
    assert added.shape.head_dim == 16
    if kind == "huggingface":
        assert (added.licence.spdx, added.licence.commercial, added.languages) == ("mit", "yes", ("en",))
        assert added.parameters == 12_345
    else:
        assert added.licence.commercial == "conditions"
    assert models.variant("model").size_bytes > len(WEIGHTS)
    assert not models.ready("model")
    models.ensure("model")
    models.verify("model")


def test_an_added_entry_is_there_for_other_processes_and_after_a_restart(tmp_path: Path, hub: HubServer) -> None:
    running = store(tmp_path, hub.url)
    assert running.ids() == ["tiny"]
    store(tmp_path, hub.url).add_from_hub("huggingface", "owner/model", "main", ("chat",))
    assert running.ids() == ["tiny", "model"]
    assert store(tmp_path).entry("model").custom


def test_the_same_name_twice_gets_a_number(tmp_path: Path, hub: HubServer) -> None:
    models = store(tmp_path, hub.url)
    ids = [models.add_from_hub("huggingface", "owner/model", "main", ("chat",)).id for _ in range(3)]
    assert ids == ["model", "model-2", "model-3"]


def test_gguf_files_become_variants_the_usual_one_first(tmp_path: Path, hub: HubServer) -> None:
    hub.files = {f"m-{quant}.gguf": b"GGUF" + bytes(100) for quant in ("Q8_0", "f16", "Q4_K_M", "Q2_K")}
    models = store(tmp_path, hub.url)
    added = models.add_from_hub("huggingface", "owner/model", "main", ("chat",))
    assert [variant.id for variant in added.variants] == ["gguf-q4-k-m", "gguf-q8-0", "gguf-f16", "gguf-q2-k"]
    assert models.ids()[1:3] == ["model", "model:gguf-q8-0"]
    assert models.ensure("model:gguf-q8-0").name == "m-Q8_0.gguf"


@pytest.mark.parametrize(
    "config",
    [
        b"{}",
        b'{"hidden_size": "many", "num_attention_heads": -3, "architectures": {"a": 1}}',
        b'{"num_hidden_layers": 1e400, "max_position_embeddings": true, "quantization_config": [1]}',
        b'{"text_config": 7, "architectures": [], "vocab_size": 99999999999999999999999}',
        json.dumps({"architectures": ["x" * 10_000], "model_type": ["list"]}).encode(),
        json.dumps({"quantization_config": {"quant_method": {"a": 1}, "bits": "four"}}).encode(),
    ],
)
def test_garbage_in_a_strangers_config_is_survived(tmp_path: Path, hub: HubServer, config: bytes) -> None:
    hub.files = repository(config__json=config)
    hub.about = {"cardData": ["x"], "safetensors": 5}
    added = store(tmp_path, hub.url).add_from_hub("huggingface", "owner/model", "main", ("chat",))
    assert added.shape is None
    assert added.context_tokens == 8192


def test_a_shape_needs_all_its_counts() -> None:
    assert shape_of(CONFIG).kv_heads == 2
    assert shape_of({"text_config": CONFIG}).layers == 2
    assert shape_of({**CONFIG, "hidden_size": 0}) is None


@pytest.mark.parametrize(
    ("kind", "repo", "revision", "roles"),
    [
        ("huggingface", "../../etc", "main", ("chat",)),
        ("huggingface", "owner/model?x=1", "main", ("chat",)),
        ("huggingface", "https://huggingface.co/owner/model", "main", ("chat",)),
        ("huggingface", "owner/model", "--upload-pack=x", ("chat",)),
        ("github", "owner/model", "main", ("chat",)),
        ("huggingface", "owner/model", "main", ()),
        ("huggingface", "owner/model", "main", ("root",)),
    ],
)
def test_a_nonsensical_order_is_refused(
    tmp_path: Path, hub: HubServer, kind: str, repo: str, revision: str, roles: tuple[str, ...]
) -> None:
    models = store(tmp_path, hub.url)
    with pytest.raises(BadInput):
        models.add_from_hub(kind, repo, revision, roles)
    assert models.ids() == ["tiny"]


def test_what_cannot_be_served_is_refused_before_it_is_in_the_catalogue(tmp_path: Path, hub: HubServer) -> None:
    models = store(tmp_path, hub.url)
    hub.files = repository(config__json=json.dumps({"model_type": "qwen", "auto_map": {}}).encode())
    with pytest.raises(UnsafeModel):
        models.add_from_hub("huggingface", "owner/model", "main", ("chat",))
    hub.files = {"pytorch_model.bin": b"x", "config.json": b"{}"}
    with pytest.raises(UnsafeModel):
        models.add_from_hub("huggingface", "owner/model", "main", ("chat",))
    hub.files, hub.token = repository(), "hf_x"
    with pytest.raises(GatedModel):
        models.add_from_hub("huggingface", "owner/model", "main", ("chat",))
    with pytest.raises(FetchFailed):
        store(tmp_path, offline=True).add_from_hub("huggingface", "owner/model", "main", ("chat",))
    assert models.ids() == ["tiny"]


# From a folder


def test_a_folder_is_copied_and_independent_of_the_original(tmp_path: Path) -> None:
    given = folder_of(tmp_path / "given", repository(modeling__py=b"evil()", pytorch_model__bin=b"pickle"))
    models = store(tmp_path / "home")
    added = models.add_from_folder(given, "My model 我的", ("chat",))
    assert (added.id, added.name) == ("my-model", "My model 我的")
    assert models.ready("my-model")
    assert not {"modeling.py", "pytorch_model.bin"} & {path.name for path in models.path("my-model").iterdir()}
    (given / "config.json").write_text("{}")
    models.verify("my-model")
    models.forget("my-model")
    assert given.exists()
    assert models.ids() == ["tiny"]
    assert [path.name for path in (tmp_path / "home" / "models").iterdir()] == []


def test_a_folder_with_one_gguf_is_served_as_that_file(tmp_path: Path) -> None:
    given = folder_of(tmp_path / "given", {"some-q5_k_m.gguf": b"GGUF" + bytes(50)})
    models = store(tmp_path / "home")
    added = models.add_from_folder(given, "Some", ("chat",))
    assert added.variants[0].engines == ("llama_cpp",)
    assert models.path("some").name == "some-q5_k_m.gguf"
    assert models.path("some").exists()


@pytest.mark.parametrize("damage", ["no folder", "empty", "pickles", "link", "code", "garbage weights", "a file"])
def test_a_folder_that_is_unsafe_leaves_nothing_behind(tmp_path: Path, damage: str) -> None:
    given = folder_of(tmp_path / "given", repository())
    secret = tmp_path / "secret.json"
    secret.write_text("{}")
    if damage == "link":
        (given / "generation_config.json").symlink_to(secret)
    elif damage == "code":
        (given / "config.json").write_text(json.dumps({"model_type": "x", "auto_map": {"AutoModel": "m.M"}}))
    elif damage == "garbage weights":
        (given / "model-00001-of-00002.safetensors").write_bytes(b"\x80\x04pickle")
    elif damage in ("empty", "pickles"):
        given = folder_of(tmp_path / damage, {"model.pt": b"x"} if damage == "pickles" else {})
    path = {"no folder": tmp_path / "nowhere", "a file": secret}.get(damage, given)
    models = store(tmp_path / "home")
    with pytest.raises((UnsafeModel, BadInput)):
        models.add_from_folder(path, "Mine", ("chat",))
    assert models.ids() == ["tiny"]
    home = tmp_path / "home"
    assert not [path for path in home.rglob("*") if path.is_file() and path.suffix != ".lock"]


def test_a_device_in_a_folder_is_not_read(tmp_path: Path) -> None:
    given = folder_of(tmp_path / "given", repository())
    os.mkfifo(given / "vocab.json")
    models = store(tmp_path / "home")
    models.add_from_folder(given, "Mine", ("chat",))
    assert not (models.path("mine") / "vocab.json").exists()


# Served elsewhere


def test_a_server_elsewhere_is_ready_at_once_and_its_key_is_kept_apart(tmp_path: Path) -> None:
    models = store(tmp_path)
    added = models.add_external("Ray cluster", PRIVATE_URL, "big-model", "sk-secret", ("chat", "vision"))
    assert (added.external.url, added.external.model, added.external.public) == (PRIVATE_URL, "big-model", False)
    assert models.variant(added.id).engines == ("external",)
    assert models.ready(added.id)
    models.verify(added.id)
    models.ensure(added.id)
    assert (models.size_bytes(added.id), models.file_sha256(added.id)) == (0, "")
    secret = tmp_path / "secrets" / added.id
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    assert stat.S_IMODE(secret.parent.stat().st_mode) == 0o700
    assert "sk-secret" not in (tmp_path / "catalogue" / f"{added.id}.json").read_text()
    remote = models.remote(added.id)
    assert (remote.url, remote.model, remote.api_key) == (PRIVATE_URL, "big-model", "sk-secret")
    assert "sk-secret" not in repr(remote)
    models.forget(added.id)
    assert not secret.exists()


@pytest.mark.parametrize(
    "url",
    ["ftp://host/v1", "host:8000", "http://", "http://user:pass@host/v1", "file:///etc/passwd", "http://h/?k=1", ""],
)
def test_an_address_that_is_none_is_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(BadInput):
        store(tmp_path).add_external("X", url, "m", "", ("chat",))


@pytest.mark.parametrize(
    ("url", "public"),
    [
        ("http://127.0.0.1:8000", False),
        ("http://[::1]:8000", False),
        ("http://192.168.1.9/v1", False),
        ("http://gpu-server:8000", False),
        ("https://models.lan", False),
        ("https://8.8.8.8/v1", True),
        ("https://api.example.com/v1", True),
        ("https://inside.example.com/v1", False),
        ("https://both.example.com/v1", True),
        ("https://unknown.example.com/v1", True),
    ],
)
def test_an_address_outside_the_building_is_marked(url: str, public: bool) -> None:
    names = {
        "api.example.com": ["93.184.216.34"],
        "inside.example.com": ["10.1.2.3"],
        "both.example.com": ["10.1.2.3", "1.1.1.1"],
    }

    def resolve(host: str, _port: None) -> list:
        if host not in names:
            raise OSError("no such name")
        return [(None, None, None, "", (address, 0)) for address in names[host]]

    assert is_public(url, resolve) is public


# Whatever it is


def test_an_entry_that_came_with_the_portal_cannot_be_forgotten(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        store(tmp_path).forget("tiny")


def test_a_damaged_entry_is_left_out_and_the_others_are_there(tmp_path: Path) -> None:
    models = store(tmp_path)
    models.add_external("One", PRIVATE_URL, "m", "", ("chat",))
    (tmp_path / "catalogue" / "two.json").write_text("{ broken")
    (tmp_path / "catalogue" / "three.json").write_text('{"id": "other"}')
    assert store(tmp_path).ids() == ["tiny", "one"]


def test_an_added_entry_never_covers_one_that_came_with_the_portal(tmp_path: Path) -> None:
    models = store(tmp_path)
    added = models.add_external("Tiny", PRIVATE_URL, "m", "", ("chat",))
    assert added.id == "tiny-2"
    file = tmp_path / "catalogue" / "tiny-2.json"
    (tmp_path / "catalogue" / "tiny.json").write_text(file.read_text().replace('"tiny-2"', '"tiny"'))
    assert store(tmp_path).entry("tiny").external is None


def test_every_refusal_can_be_stored(tmp_path: Path) -> None:
    with pytest.raises(PortalError) as failed:
        store(tmp_path).add_external("X", "nonsense", "m", "", ("chat",))
    assert PortalError.from_record(failed.value.to_record()).message == failed.value.message
