"""What estimates learn from earlier starts, and the estimates of the catalogue's models with it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from db.database import Database
from db.engine_tables import EngineStart
from services.engines.corrections import Corrections
from services.engines.entries import Shape
from services.engines.estimator import Estimator
from services.engines.gpu import GpuReading, read_gpus
from services.engines.hardware import Hardware, HostMemory, Machine
from services.engines.options import DeploymentSettings
from services.engines.shapes import CONFIG, shape_from_counts
from services.errors import FetchFailed, ModelFilesError
from tests.fake_nvml import Device, FakeNvml
from tests.model_shapes import LLAMA_3_8B, QWEN_05B, header, shape_of, tensors_of

NOW = datetime(2026, 11, 20, 4, 0, tzinfo=UTC)
COUNTS = {"layers": 24, "attention_heads": 14, "kv_heads": 2, "head_dim": 64, "hidden_size": 896}
QWEN = Shape(**COUNTS, intermediate_size=4864, vocab_size=151_936)
HOST = Machine(Hardware(2, True, False, False, False, False), HostMemory(24_576, 20_000), GpuReading())


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database.open(tmp_path / "portal.sqlite3")
    yield database
    database.close()


def start(database: Database, model: str, predicted: float | None, measured: float | None, **changes: object) -> None:
    row = {"launcher": "vllm", "device": "cpu", "ready": True, "duration_s": 80, "started_at": NOW}
    row |= {"model_id": model, "predicted_mib": predicted, "measured_mib": measured}
    with database.session(writing=True) as session:
        session.add(EngineStart(**row | {"context_tokens": 4096, "max_num_seqs": 8} | changes))


def factor(database: Database, model: str, engine: str = "vllm", device: str = "cpu") -> float:
    return Corrections(database).factor(model, engine, device)


def test_without_a_start_nothing_is_corrected(database: Database) -> None:
    assert factor(database, "qwen") == 1.0
    assert Corrections(database).accuracy() == []


def test_a_models_own_start_counts_more_than_those_of_others(database: Database) -> None:
    start(database, "qwen", 1000, 1100)
    start(database, "smollm", 1000, 1400)
    assert factor(database, "qwen") == 1.1
    assert factor(database, "smollm") == 1.4


def test_another_model_is_corrected_by_the_median_of_the_models_seen(database: Database) -> None:
    for _ in range(10):
        start(database, "often", 1000, 1400)
    start(database, "once", 1000, 1100)
    start(database, "twice", 1000, 900)
    assert factor(database, "new") == 1.1


def test_one_odd_start_changes_little(database: Database) -> None:
    for measured in (1040, 9000, 1050, 1060, 1045):
        start(database, "qwen", 1000, measured)
    assert factor(database, "qwen") == 1.05


@pytest.mark.parametrize(("measured", "bounded"), [(10_000, 2.0), (10, 0.5)])
def test_a_correction_stays_within_reason(database: Database, measured: float, bounded: float) -> None:
    start(database, "qwen", 1000, measured)
    assert factor(database, "qwen") == bounded


def test_other_engines_and_devices_and_failed_starts_teach_nothing(database: Database) -> None:
    start(database, "qwen", 1000, 1500, launcher="transformers")
    start(database, "qwen", 1000, 1500, device="cuda")
    start(database, "qwen", 1000, 1500, ready=False)
    start(database, "qwen", None, 1500)
    start(database, "qwen", 1000, None)
    assert factor(database, "qwen") == 1.0


def test_accuracy_tells_what_each_start_would_have_been_corrected_to_by_those_before(database: Database) -> None:
    for hours, measured in enumerate((1200, 1250, 1180)):
        start(database, "qwen", 1000, measured, started_at=NOW + timedelta(hours=hours))
    newest, second, first = Corrections(database).accuracy()
    assert (first.corrected_mib, second.corrected_mib) == (1000, 1200)
    assert newest.corrected_mib == pytest.approx(1225)
    assert newest.error == pytest.approx(1000 / 1180 - 1)
    assert newest.corrected_error == pytest.approx(1225 / 1180 - 1)
    assert (newest.model_id, newest.engine, newest.context_tokens) == ("qwen", "vllm", 4096)
    assert len(Corrections(database).accuracy(limit=2)) == 2


@dataclass
class FakeVariant:
    bits: float = 16
    format: str = "safetensors"
    quantization: str = "none"
    converts: bool = False
    size_bytes: int = 0
    engines: tuple = ("vllm", "transformers")


@dataclass
class FakeEntry:
    parameters: int = 494_032_768
    shape: Shape | None = QWEN


@dataclass
class OneFile:
    name: str
    size: int


@dataclass
class Store:
    """One model: its files in `folder` when it is there, `remote` on a hub."""

    folder: Path
    the_entry: FakeEntry = field(default_factory=FakeEntry)
    the_variant: FakeVariant = field(default_factory=FakeVariant)
    remote: dict[str, bytes] | None = None
    sizes: dict[str, int] = field(default_factory=dict)
    asked_hub: int = 0

    def entry(self, _model_id: str) -> FakeEntry:
        return self.the_entry

    def variant(self, _model_id: str) -> FakeVariant:
        return self.the_variant

    def ready(self, _model_id: str) -> bool:
        return self.folder.exists()

    def path(self, _model_id: str) -> Path:
        return self.folder

    def remote_files(self, _model_id: str) -> list[OneFile]:
        self.asked_hub += 1
        if self.remote is None:
            raise FetchFailed("the hub is not there")
        return [OneFile(name, self.sizes.get(name, len(content))) for name, content in self.remote.items()]

    def read_remote(self, _model_id: str, name: str, start: int, length: int) -> bytes:
        assert self.remote is not None
        return self.remote[name][start : start + length]


def repository() -> tuple[dict[str, bytes], dict[str, int]]:
    beginning, whole = header(tensors_of(QWEN_05B))
    names = {CONFIG: json.dumps(QWEN_05B).encode(), "model.safetensors": beginning, "README.md": b"#"}
    return names, {"model.safetensors": whole}


def estimator(store: Store, database: Database, machine: Machine = HOST) -> Estimator:
    return Estimator(store, Corrections(database), machine=lambda: machine)


def test_a_model_that_is_not_here_is_estimated_by_the_catalogues_numbers(tmp_path: Path, database: Database) -> None:
    store = Store(tmp_path / "absent")
    estimate = estimator(store, database).estimate("qwen", DeploymentSettings())
    exact = shape_of(QWEN_05B)
    assert estimate is not None
    assert estimate.parts_mib["weights"] == pytest.approx(
        (exact.parameters + 2 * exact.embedding_parameters) * 4 / 2**20, rel=0.04
    )
    assert store.asked_hub == 0


def test_the_catalogues_numbers_tell_whether_the_output_layer_is_a_weight_of_its_own() -> None:
    llama = {"layers": 32, "attention_heads": 32, "kv_heads": 8, "head_dim": 128, "hidden_size": 4096}
    counts = Shape(**llama, intermediate_size=14_336, vocab_size=128_256)
    shape = shape_from_counts(counts, 8_030_261_248, 4.25, quantized=True, size_bytes=5_730_000_000)
    assert shape.embedding_parameters == shape_of(LLAMA_3_8B).embedding_parameters
    assert shape.weight_bytes == 5_730_000_000
    tied = shape_from_counts(QWEN, 494_032_768, 16, quantized=False, size_bytes=491_400_064)
    assert tied.embedding_parameters == shape_of(QWEN_05B).embedding_parameters
    assert tied.weight_bytes == 494_032_768 * 2


def test_a_model_that_is_here_is_estimated_by_its_own_headers(tmp_path: Path, database: Database) -> None:
    folder = tmp_path / "here"
    folder.mkdir()
    files, _sizes = repository()
    del files["model.safetensors"]
    small = {**QWEN_05B, "vocab_size": 64, "intermediate_size": 32, "hidden_size": 28}
    beginning, whole = header(tensors_of(small))
    (folder / CONFIG).write_bytes(json.dumps(small).encode())
    (folder / "model.safetensors").write_bytes(beginning + bytes(whole - len(beginning)))
    by_catalogue = estimator(Store(tmp_path / "absent"), database).estimate("qwen", DeploymentSettings())
    by_headers = estimator(Store(folder), database).estimate("qwen", DeploymentSettings())
    assert by_headers.parts_mib["weights"] < by_catalogue.parts_mib["weights"] / 100


def test_damaged_files_are_said(tmp_path: Path, database: Database) -> None:
    (tmp_path / "here").mkdir()
    with pytest.raises(ModelFilesError):
        estimator(Store(tmp_path / "here"), database).estimate("qwen", DeploymentSettings())


def test_the_hubs_headers_count_once_they_were_read(tmp_path: Path, database: Database) -> None:
    files, sizes = repository()
    store = Store(tmp_path / "absent", FakeEntry(shape=None), remote=files, sizes=sizes)
    estimates = estimator(store, database)
    assert estimates.consult_hub("qwen") == shape_of(QWEN_05B)
    assert estimates.estimate("qwen", DeploymentSettings()) is not None
    assert store.asked_hub == 1


def test_a_hub_that_is_away_leaves_the_estimate_open_and_is_asked_once(tmp_path: Path, database: Database) -> None:
    store = Store(tmp_path / "absent", FakeEntry(shape=None))
    estimates = estimator(store, database)
    assert [estimates.estimate("qwen", DeploymentSettings()) for _ in range(3)] == [None] * 3
    with pytest.raises(FetchFailed):
        estimates.consult_hub("qwen")
    assert store.asked_hub <= 2


def test_a_gguf_that_will_be_converted_is_served_in_16_bits(tmp_path: Path, database: Database) -> None:
    from tests.tiny_gguf import write_tiny_gguf

    write_tiny_gguf(tmp_path / "tiny.gguf", same_output=True)
    remote = {"tiny.gguf": (tmp_path / "tiny.gguf").read_bytes()}
    store = Store(tmp_path / "absent", the_variant=FakeVariant(converts=True), remote=remote)
    shape = estimator(store, database).consult_hub("tiny")
    assert not shape.quantized
    assert shape.weight_bytes == shape.parameters * 2


def test_a_model_elsewhere_takes_no_memory_here(tmp_path: Path, database: Database) -> None:
    store = Store(tmp_path / "absent", the_variant=FakeVariant(format="external"))
    assert estimator(store, database).estimate("far", DeploymentSettings(engine="external")) is None


def test_starts_correct_the_next_estimate(tmp_path: Path, database: Database) -> None:
    before = estimator(Store(tmp_path / "absent"), database).estimate("qwen", DeploymentSettings())
    start(database, "qwen", 1000, 1250)
    after = estimator(Store(tmp_path / "absent"), database).estimate("qwen", DeploymentSettings())
    assert before is not None
    assert after is not None
    assert after.predicted_mib == before.predicted_mib
    assert after.needed_mib == pytest.approx(before.needed_mib * 1.25)


def test_gpus_are_used_where_there_are_any(tmp_path: Path, database: Database) -> None:
    gpus = read_gpus(FakeNvml(Device(used_mib=500), Device(used_mib=700)))
    estimates = estimator(Store(tmp_path / "absent"), database, Machine(HOST.hardware, HOST.host, gpus))
    estimate = estimates.estimate("qwen", DeploymentSettings())
    assert estimate is not None
    assert (estimate.device, estimate.available_mib) == ("cuda", 24_564 - 500)


def test_a_page_of_fifty_models_reads_the_machine_once(tmp_path: Path, database: Database) -> None:
    read: list[int] = []

    def machine() -> Machine:
        read.append(1)
        return HOST

    estimates = Estimator(Store(tmp_path / "absent"), Corrections(database), machine=machine)
    for _ in range(50):
        estimates.estimate("qwen", DeploymentSettings())
    assert len(read) == 1
