"""What of this machine decides how an engine is launched. Read without torch."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
NVIDIA_DRIVER = Path("/proc/driver/nvidia/version")


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
