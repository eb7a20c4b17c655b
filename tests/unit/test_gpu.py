"""What is seen of GPUs through NVML."""

from __future__ import annotations

import pytest

from services.engines.gpu import read_gpus, visible
from services.engines.usage import MemoryOf
from tests.fake_nvml import Device, FakeNvml

DRIVER_MISMATCH = 18


@pytest.mark.parametrize("count", [1, 2, 8])
def test_every_gpu_is_seen_with_its_memory(count: int) -> None:
    nvml = FakeNvml(*(Device(used_mib=1000 * index) for index in range(count)))
    reading = read_gpus(nvml)
    assert [gpu.index for gpu in reading.gpus] == list(range(count))
    assert reading.used_mib == [1000.0 * index for index in range(count)]
    assert all(gpu.used_mib + gpu.free_mib == gpu.total_mib == 24_564 for gpu in reading.gpus)
    assert (reading.gpus[0].name, reading.driver, reading.problem) == ("NVIDIA GeForce RTX 4090", "610.12", "")
    assert reading.gpus[0].compute_capability == (8, 9)


def test_nvml_is_left_as_it_was() -> None:
    nvml = FakeNvml(Device())
    read_gpus(nvml)
    assert nvml.open == 0


def test_a_machine_without_nvml_says_so() -> None:
    reading = read_gpus()  # of the machine that runs the tests: with a driver it sees GPUs, without it says why not
    assert bool(reading.gpus) != bool(reading.problem)


def test_a_driver_without_gpus_is_no_problem() -> None:
    assert read_gpus(FakeNvml()).gpus == ()
    assert read_gpus(FakeNvml()).problem == ""


def test_a_driver_that_does_not_answer_is_said() -> None:
    assert "driver does not answer" in read_gpus(FakeNvml(Device(), starts=DRIVER_MISMATCH)).problem


def test_the_slices_of_a_gpu_with_mig_stand_for_it() -> None:
    slices = (Device("A100 MIG 3g.20gb", 19_968), Device("A100 MIG 1g.5gb", 4864))
    reading = read_gpus(FakeNvml(Device("A100", 40_960, slices=slices, capability=(8, 0)), Device()))
    assert [(gpu.index, gpu.total_mib, gpu.parent) for gpu in reading.gpus] == [
        (0, 19_968, 0),
        (1, 4864, 0),
        (2, 24_564, None),
    ]
    assert reading.gpus[0].compute_capability == (8, 0)


def test_memory_of_an_engine_is_that_of_its_processes_on_the_gpu_where_they_take_most() -> None:
    gpus = (Device(by_pid_mib={10: 9000, 11: 100, 99: 5000}), Device(by_pid_mib={11: 9500}))
    memory_of = MemoryOf(lambda: read_gpus(FakeNvml(*gpus)))
    assert memory_of([10, 11], "cuda") == 9500
    assert memory_of([10], "cuda") == 9000


def test_memory_that_the_driver_does_not_tell_is_not_known() -> None:
    memory_of = MemoryOf(lambda: read_gpus(FakeNvml(Device(by_pid_mib=None))))
    assert memory_of([10], "cuda") is None
    assert memory_of([], "cpu") is None


@pytest.mark.parametrize(
    ("named", "seen"),
    [(None, [0, 1, 2]), ("2,0", [2, 0]), ("GPU-2", [1]), ("", []), ("-1", []), ("1,7,0", [1])],
)
def test_engines_see_what_cuda_visible_devices_names(named: str | None, seen: list[int]) -> None:
    reading = read_gpus(FakeNvml(Device(), Device(), Device()))
    assert [gpu.index for gpu in visible(reading, named).gpus] == seen
