"""How much memory processes take: resident memory of the host, and memory of GPUs by process."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from services.engines.gpu import GpuReading

PROC = Path("/proc")
KIB_PER_MIB = 1024


@dataclass(frozen=True)
class Resident:
    """MiB in host memory. file: pages of libraries and of mapped weights; shared_memory: segments in /dev/shm."""

    anonymous: float = 0.0
    file: float = 0.0
    shared_memory: float = 0.0

    @property
    def total(self) -> float:
        return self.anonymous + self.file + self.shared_memory


def resident(pids: Iterable[int], proc: Path = PROC) -> Resident:
    """Of all these processes together, what they share counted once; those that have ended count nothing.

    Files and shared memory count as much as the process that maps most of them has in memory: the others of an engine
    map the same libraries and segments. What only one process has is counted exactly, by the counters that the kernel
    keeps: shares (PSS) would take a walk over all pages, a third of a second for 5 GB on a busy machine, under the lock
    that the engine's own allocations need, and would fall with every other engine that is started. Engines spawn their
    processes; of forked ones what is still shared would count twice.
    """
    anonymous = file = shared = 0.0
    for pid in pids:
        status = _fields(proc / str(pid) / "status")
        anonymous += status.get("RssAnon", 0.0)
        file = max(file, status.get("RssFile", 0.0))
        shared = max(shared, status.get("RssShmem", 0.0))
    return Resident(anonymous, file, shared)


def resident_mib(pids: Iterable[int]) -> float:
    return resident(pids).total


class MemoryOf:
    """MiB that processes take on a device: (pids, "cpu" or "cuda") → MiB; None when it cannot be told.

    On GPUs: of the GPU of which they take most, which is what estimates are about.
    """

    def __init__(self, read_gpus: Callable[[], GpuReading]) -> None:
        self._read_gpus = read_gpus

    def __call__(self, pids: list[int], device: str) -> float | None:
        if not pids:
            return None
        if device == "cpu":
            return resident_mib(pids) or None
        wanted = set(pids)
        return max((gpu.used_by(wanted) for gpu in self._read_gpus().gpus), default=0.0) or None


def _fields(path: Path) -> dict[str, float]:
    """Lines `Name:  123 kB` as MiB; {} when the process has ended or is not ours to look at."""
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return {}
    pairs = (line.partition(":") for line in lines if line.endswith(" kB"))
    return {name: int(value.split()[0]) / KIB_PER_MIB for name, _, value in pairs}
