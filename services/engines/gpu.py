"""NVIDIA GPUs by NVML, the library that comes with the driver: what there is, and who uses how much of it.

Called through ctypes: the package nvidia-ml-py is only there where vLLM's CUDA build is, and llama.cpp computes on GPUs
without it. Layouts were read in pynvml.py of vLLM 0.32 (vllm/third_party). It has never met a real GPU.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Set
from contextlib import contextmanager
from ctypes import Structure, byref, c_char, c_int, c_uint, c_ulonglong, c_void_p
from dataclasses import dataclass, field, replace
from typing import Any

from services.translation import N_

LIBRARY = "libnvidia-ml.so.1"
MIB = 2**20
SUCCESS, INSUFFICIENT_SIZE = 0, 7
NAME_BYTES, MOST_PROCESSES = 96, 4096
NOT_AVAILABLE = 2**64 - 1  # a process's memory, where the driver does not tell (Windows, some virtual GPUs)


@dataclass(frozen=True)
class Gpu:
    """index: as CUDA counts with CUDA_DEVICE_ORDER=PCI_BUS_ID. parent: of a MIG slice, the GPU it is of.

    by_pid_mib: as pids of the host; in a container they may be others than ours.
    """

    index: int
    name: str
    total_mib: float
    used_mib: float
    free_mib: float
    compute_capability: tuple[int, int] = (0, 0)
    by_pid_mib: dict[int, float] = field(default_factory=dict)
    uuid: str = ""
    parent: int | None = None

    def used_by(self, pids: Set[int]) -> float:
        return sum(mib for pid, mib in self.by_pid_mib.items() if pid in pids)

    @property
    def does_fp8(self) -> bool:
        """Weights in fp8 run on Ampere and later (there decompressed on the fly), as vLLM does it."""
        return self.compute_capability >= (8, 0)


@dataclass(frozen=True)
class GpuReading:
    """gpus: in a GPU with MIG its slices stand for it. problem: a msgid, why nothing can be seen; "" when it can."""

    gpus: tuple[Gpu, ...] = ()
    driver: str = ""
    problem: str = ""

    @property
    def used_mib(self) -> list[float]:
        """Of each GPU, by whomever."""
        return [gpu.used_mib for gpu in self.gpus]


def visible(reading: GpuReading, named: str | None) -> GpuReading:
    """Those that engines will see, in their order. named: CUDA_VISIBLE_DEVICES; None: all of them.

    Numbers, or (beginnings of) UUIDs; what follows one that does not exist is invisible too, as CUDA has it.
    """
    if named is None:
        return reading
    found: list[Gpu] = []
    for name in (part.strip() for part in named.split(",")):
        match = next((gpu for gpu in reading.gpus if _is_named(gpu, name)), None)
        if match is None:
            break
        found.append(match)
    return replace(reading, gpus=tuple(found))


def _is_named(gpu: Gpu, name: str) -> bool:
    if name.isdecimal():
        return gpu.parent is None and gpu.index == int(name)
    return name.startswith(("GPU-", "MIG-")) and gpu.uuid.startswith(name)


class _Memory(Structure):
    _fields_ = (("total", c_ulonglong), ("free", c_ulonglong), ("used", c_ulonglong))


class _ProcessInfo(Structure):
    """Of the functions …_v2 and …_v3 alike."""

    _fields_ = (("pid", c_uint), ("used", c_ulonglong), ("gpu_instance", c_uint), ("compute_instance", c_uint))


class NvmlError(Exception):
    """A call that the driver refused. Does not leave this module."""


def read_gpus(library: Any = None) -> GpuReading:
    """All GPUs that this process may see. library: loaded already (default: the driver's). About 10 ms."""
    try:
        library = library or ctypes.CDLL(LIBRARY)
    except OSError:
        return GpuReading(problem=N_("There is no NVIDIA driver here."))
    try:
        with _session(library) as nvml:
            return GpuReading(tuple(nvml.gpus()), nvml.driver())
    except (NvmlError, AttributeError):  # AttributeError: a function that a very old driver lacks
        return GpuReading(problem=N_("The NVIDIA driver does not answer: it may have been updated without a restart."))


@contextmanager
def _session(library: Any) -> Iterator[_Nvml]:
    nvml = _Nvml(library)
    nvml.call("nvmlInit_v2")
    try:
        yield nvml
    finally:
        library.nvmlShutdown()


class _Nvml:
    """NVML's C functions with what they fill in returned."""

    def __init__(self, library: Any) -> None:
        self._library = library

    def call(self, name: str, *arguments: object) -> None:
        code = getattr(self._library, name)(*arguments)
        if code != SUCCESS:
            raise NvmlError(f"{name}: {code}")

    def gpus(self) -> Iterator[Gpu]:
        """MIG slices are counted on behind the GPUs, in order; a GPU in MIG mode itself cannot be computed on."""
        count = c_uint()
        self.call("nvmlDeviceGetCount_v2", byref(count))
        handles = [self._device(index) for index in range(count.value)]
        found: list[Gpu] = []
        for index, handle in enumerate(handles):
            slices = self._slices(handle)
            if not slices:
                found.append(self._gpu(handle, len(found), self._capability(handle)))
            for part in slices:
                found.append(self._gpu(part, len(found), self._capability(handle), parent=index))
        yield from found

    def driver(self) -> str:
        return self._text("nvmlSystemGetDriverVersion")

    def _device(self, index: int) -> c_void_p:
        handle = c_void_p()
        self.call("nvmlDeviceGetHandleByIndex_v2", c_uint(index), byref(handle))
        return handle

    def _gpu(self, handle: c_void_p, index: int, capability: tuple[int, int], parent: int | None = None) -> Gpu:
        memory = _Memory()
        self.call("nvmlDeviceGetMemoryInfo", handle, byref(memory))
        return Gpu(
            index=index,
            name=self._text("nvmlDeviceGetName", handle),
            total_mib=memory.total / MIB,
            used_mib=memory.used / MIB,
            free_mib=memory.free / MIB,
            compute_capability=capability,
            by_pid_mib=self._by_pid(handle),
            uuid=self._text("nvmlDeviceGetUUID", handle),
            parent=parent,
        )

    def _text(self, name: str, *handle: c_void_p) -> str:
        text = (c_char * NAME_BYTES)()
        self.call(name, *handle, text, c_uint(NAME_BYTES))
        return text.value.decode(errors="replace")

    def _capability(self, handle: c_void_p) -> tuple[int, int]:
        major, minor = c_int(), c_int()
        self.call("nvmlDeviceGetCudaComputeCapability", handle, byref(major), byref(minor))
        return major.value, minor.value

    def _by_pid(self, handle: c_void_p) -> dict[int, float]:
        """{} where the driver does not say: then nothing is known of single processes."""
        try:
            return self._computing(handle)
        except (NvmlError, AttributeError):
            return {}

    def _computing(self, handle: c_void_p) -> dict[int, float]:
        version = "_v3" if hasattr(self._library, "nvmlDeviceGetComputeRunningProcesses_v3") else "_v2"
        count, processes = c_uint(MOST_PROCESSES), (_ProcessInfo * MOST_PROCESSES)()
        self.call(f"nvmlDeviceGetComputeRunningProcesses{version}", handle, byref(count), processes)
        told = [process for process in processes[: count.value] if process.used != NOT_AVAILABLE]
        return {process.pid: process.used / MIB for process in told}

    def _slices(self, handle: c_void_p) -> list[c_void_p]:
        """Handles of the MIG slices; [] for a GPU without MIG, or with MIG off."""
        now, later, most = c_uint(), c_uint(), c_uint()
        try:
            self.call("nvmlDeviceGetMigMode", handle, byref(now), byref(later))
            self.call("nvmlDeviceGetMaxMigDeviceCount", handle, byref(most))
        except (NvmlError, AttributeError):
            return []
        found = []
        for index in range(most.value if now.value else 0):
            part = c_void_p()
            if self._library.nvmlDeviceGetMigDeviceHandleByIndex(handle, c_uint(index), byref(part)) == SUCCESS:
                found.append(part)
        return found
