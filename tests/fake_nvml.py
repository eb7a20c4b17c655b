"""NVML's C functions as Python ones: what services/engines/gpu.py calls, over GPUs that a test makes up."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass, field

OK, INVALID_ARGUMENT, NOT_SUPPORTED, NO_PERMISSION = 0, 2, 3, 4
MIB = 2**20


@dataclass
class Device:
    """by_pid_mib None: the driver does not tell. slices: a GPU in MIG mode."""

    name: str = "NVIDIA GeForce RTX 4090"
    total_mib: int = 24_564
    used_mib: int = 0
    by_pid_mib: dict[int, int] | None = field(default_factory=dict)
    capability: tuple[int, int] = (8, 9)
    slices: tuple[Device, ...] = ()


class FakeNvml:
    """Handles are numbers: 1 + index of a GPU; 1000 · (1 + index) + slice of a slice."""

    def __init__(self, *devices: Device, driver: str = "610.12", starts: int = OK) -> None:
        self.devices, self._driver, self._starts = devices, driver, starts
        self.open = 0

    def nvmlInit_v2(self) -> int:
        self.open += self._starts == OK
        return self._starts

    def nvmlShutdown(self) -> int:
        self.open -= 1
        return OK

    def nvmlSystemGetDriverVersion(self, text, _size) -> int:
        text.value = self._driver.encode()
        return OK

    def nvmlDeviceGetCount_v2(self, count) -> int:
        count._obj.value = len(self.devices)
        return OK

    def nvmlDeviceGetHandleByIndex_v2(self, index, handle) -> int:
        handle._obj.value = 1 + index.value
        return OK

    def nvmlDeviceGetName(self, handle, text, _size) -> int:
        text.value = self._of(handle).name.encode()
        return OK

    def nvmlDeviceGetUUID(self, handle, text, _size) -> int:
        text.value = f"GPU-{handle.value}".encode()
        return OK

    def nvmlDeviceGetMemoryInfo(self, handle, memory) -> int:
        device = self._of(handle)
        memory._obj.total, memory._obj.used = device.total_mib * MIB, device.used_mib * MIB
        memory._obj.free = (device.total_mib - device.used_mib) * MIB
        return OK

    def nvmlDeviceGetCudaComputeCapability(self, handle, major, minor) -> int:
        major._obj.value, minor._obj.value = self._of(handle).capability
        return OK

    def nvmlDeviceGetComputeRunningProcesses_v3(self, handle, count, processes) -> int:
        by_pid = self._of(handle).by_pid_mib
        if by_pid is None:
            return NO_PERMISSION
        for place, (pid, mib) in zip(processes, by_pid.items(), strict=False):
            place.pid, place.used = pid, mib * MIB
        count._obj.value = len(by_pid)
        return OK

    def nvmlDeviceGetMigMode(self, handle, now, later) -> int:
        if not self._of(handle).slices:
            return NOT_SUPPORTED
        now._obj.value = later._obj.value = 1
        return OK

    def nvmlDeviceGetMaxMigDeviceCount(self, _handle, count) -> int:
        count._obj.value = 7
        return OK

    def nvmlDeviceGetMigDeviceHandleByIndex(self, handle, index, part) -> int:
        if index.value >= len(self._of(handle).slices):
            return INVALID_ARGUMENT
        part._obj.value = 1000 * handle.value + index.value
        return OK

    def _of(self, handle: ctypes.c_void_p) -> Device:
        whole, part = divmod(handle.value, 1000) if handle.value >= 1000 else (handle.value, None)
        device = self.devices[whole - 1]
        return device if part is None else device.slices[part]
