"""What of this machine decides how an engine is launched, and whether a model fits. Read without torch."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from services.engines.gpu import GpuReading, read_gpus, visible

CPUINFO = Path("/proc/cpuinfo")
MEMINFO = Path("/proc/meminfo")
OWN_CGROUPS = Path("/proc/self/cgroup")
CGROUPS = Path("/sys/fs/cgroup")
NVIDIA_DRIVER = Path("/proc/driver/nvidia/version")
MIB = 2**20


@dataclass(frozen=True)
class Hardware:
    """cores: CPUs this process may run on, which a container or taskset may make fewer than the machine has."""

    cores: int
    avx2: bool
    avx512: bool
    avx512_bf16: bool
    amx_bf16: bool
    nvidia: bool

    @property
    def fast_bfloat16(self) -> bool:
        """Whether the CPU multiplies bfloat16 itself. Without it bfloat16 is emulated: prefill four times slower."""
        return self.avx512_bf16 or self.amx_bf16


def read_hardware(cpuinfo: Path = CPUINFO, nvidia_driver: Path = NVIDIA_DRIVER) -> Hardware:
    """Flags of the first CPU (they are all alike), and whether the NVIDIA kernel driver is loaded."""
    flags = _cpu_flags(cpuinfo.read_text())
    return Hardware(
        cores=len(os.sched_getaffinity(0)),
        avx2="avx2" in flags,
        avx512="avx512f" in flags,
        avx512_bf16="avx512_bf16" in flags,
        amx_bf16="amx_bf16" in flags,
        nvidia=nvidia_driver.exists(),
    )


def _cpu_flags(cpuinfo: str) -> frozenset[str]:
    for line in cpuinfo.splitlines():
        name, _, value = line.partition(":")
        if name.strip() in ("flags", "Features"):
            return frozenset(value.split())
    return frozenset()


@dataclass(frozen=True)
class HostMemory:
    """What this process and its children may have: of the machine, or of the container when that is less."""

    total_mib: float
    available_mib: float


@dataclass(frozen=True)
class Machine:
    """A snapshot."""

    hardware: Hardware
    host: HostMemory
    gpus: GpuReading = field(default_factory=GpuReading)


def read_machine() -> Machine:
    """Milliseconds; tens of them where there are GPUs."""
    gpus = visible(read_gpus(), os.environ.get("CUDA_VISIBLE_DEVICES"))
    return Machine(read_hardware(), read_host_memory(), gpus)


def read_host_memory(meminfo: Path = MEMINFO, own_cgroups: Path = OWN_CGROUPS, cgroups: Path = CGROUPS) -> HostMemory:
    """Available is what the kernel can give without swapping; file cache counts as available, in a cgroup too."""
    kib = {
        name: int(value.split()[0]) for name, _, value in (x.partition(":") for x in meminfo.read_text().splitlines())
    }
    total_mib, available_mib = [kib["MemTotal"] / 1024], [kib["MemAvailable"] / 1024]
    for folder in _memory_cgroups(own_cgroups, cgroups):
        limit = _number(folder / "memory.max") or _number(folder / "memory.limit_in_bytes")
        if limit is not None:
            used = _number(folder / "memory.current") or _number(folder / "memory.usage_in_bytes") or 0
            total_mib.append(limit / MIB)
            available_mib.append(max(0, limit - used + _reclaimable(folder / "memory.stat")) / MIB)
    return HostMemory(min(total_mib), min(available_mib))


def _memory_cgroups(own_cgroups: Path, cgroups: Path) -> list[Path]:
    """Folders whose limits hold for this process: its own, and all above. Version 2 ("0::/path"), or 1 ("9:memory:/…").

    In a container the path may be the host's, which is not to be seen there; the mount itself is then the container's.
    """
    found = []
    lines = own_cgroups.read_text().splitlines() if own_cgroups.exists() else []
    for number, controllers, path in (line.split(":", 2) for line in lines if line.count(":") >= 2):
        if number == "0" and not controllers:
            root = cgroups
        elif "memory" in controllers.split(","):
            root = cgroups / "memory"
        else:
            continue
        own = root / path.lstrip("/")
        found += [folder for folder in (own, *own.parents) if folder == root or root in folder.parents]
    return [folder for folder in found if folder.is_dir()]


def _number(path: Path) -> int | None:
    """None when there is no such file, or it says "max"."""
    try:
        text = path.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdecimal() else None


def _reclaimable(stat: Path) -> int:
    """Bytes of file cache that the cgroup is charged for and would give back."""
    try:
        fields = dict(line.split(" ", 1) for line in stat.read_text().splitlines())
    except OSError:
        return 0
    return int(fields.get("total_inactive_file") or fields.get("inactive_file") or 0)
