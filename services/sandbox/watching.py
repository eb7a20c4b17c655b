"""What the processes of one sandbox use, seen from outside through /proc."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

KIB, MIB = 1 << 10, 1 << 20
PAGE = os.sysconf("SC_PAGESIZE")
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
GONE = (FileNotFoundError, ProcessLookupError, PermissionError)


@dataclass(frozen=True)
class Use:
    """tasks: processes and threads. memory_mib: of all processes together, without what they share with others."""

    pids: list[int]
    tasks: int
    memory_mib: float
    cpu_s: float


def children(pid: int) -> list[int]:
    found = []
    with suppress(*GONE):
        for task in os.listdir(f"/proc/{pid}/task"):
            with suppress(*GONE):
                found += [int(child) for child in Path(f"/proc/{pid}/task/{task}/children").read_text().split()]
    return found


def use(first: int) -> Use:
    """Of the process and all that descend from it."""
    pids, tasks, pages, ticks = [], 0, 0, 0
    waiting = [first]
    while waiting:
        pid = waiting.pop()
        with suppress(*GONE):
            resident, shared = Path(f"/proc/{pid}/statm").read_text().split()[1:3]
            times = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:15]
            tasks += len(os.listdir(f"/proc/{pid}/task"))
            pages += int(resident) - int(shared)
            ticks += sum(map(int, times))
            pids.append(pid)
            waiting += children(pid)
    return Use(pids, tasks, pages * PAGE / MIB, ticks / TICKS_PER_S)


def exact_memory_mib(pids: list[int]) -> float:
    """Slower than `use`, but a page that several processes share after a fork is counted once."""
    kib = 0
    for pid in pids:
        with suppress(*GONE):
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss_Anon:"):
                    kib += int(line.split()[1])
    return kib * KIB / MIB
