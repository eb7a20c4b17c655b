"""Memory of the host as a process in a container may have it, and what processes take of it."""

from __future__ import annotations

import mmap
import os
import subprocess
import sys
from pathlib import Path

from services.engines.hardware import HostMemory, read_host_memory, read_machine
from services.engines.usage import resident, resident_mib

GIB = 2**30
CHILD = "import sys, mmap; m = mmap.mmap(-1, 64 << 20, mmap.MAP_PRIVATE); m.write(b'x' * (64 << 20)); print(); input()"


def host(tmp_path: Path, own_cgroups: str) -> HostMemory:
    (tmp_path / "meminfo").write_text("MemTotal: 33554432 kB\nMemFree: 1000 kB\nMemAvailable: 16777216 kB\n")
    (tmp_path / "own").write_text(own_cgroups)
    return read_host_memory(tmp_path / "meminfo", tmp_path / "own", tmp_path / "cgroup")


def limit(folder: Path, names: tuple[str, str], limit: str, used: int, stat: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / names[0]).write_text(limit + "\n")
    (folder / names[1]).write_text(f"{used}\n")
    (folder / "memory.stat").write_text(stat)


V2, V1 = ("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes")


def test_without_limits_it_is_the_machines(tmp_path: Path) -> None:
    limit(tmp_path / "cgroup" / "portal", V2, "max", 5 * GIB, "")
    assert host(tmp_path, "0::/portal\n") == HostMemory(32 * 1024, 16 * 1024)


def test_a_limit_of_cgroups_2_holds_and_file_cache_counts_as_available(tmp_path: Path) -> None:
    limit(tmp_path / "cgroup" / "portal", V2, str(8 * GIB), 5 * GIB, f"anon 1\ninactive_file {2 * GIB}\n")
    assert host(tmp_path, "0::/portal\n") == HostMemory(8 * 1024, 5 * 1024)


def test_a_limit_of_the_group_above_holds_too(tmp_path: Path) -> None:
    limit(tmp_path / "cgroup" / "slice", V2, str(6 * GIB), 5 * GIB, "")
    limit(tmp_path / "cgroup" / "slice" / "portal", V2, str(4 * GIB), GIB, "")
    assert host(tmp_path, "0::/slice/portal\n") == HostMemory(4 * 1024, 1024)


def test_a_limit_of_cgroups_1_holds(tmp_path: Path) -> None:
    limit(tmp_path / "cgroup" / "memory" / "docker", V1, str(4 * GIB), GIB, f"total_inactive_file {GIB // 2}\n")
    assert host(tmp_path, "9:cpu:/x\n4:memory:/docker\n0::/\n") == HostMemory(4 * 1024, 3.5 * 1024)


def test_in_a_container_the_mount_is_its_own_group(tmp_path: Path) -> None:
    limit(tmp_path / "cgroup" / "memory", V1, str(2 * GIB), GIB, "")
    assert host(tmp_path, "4:memory:/docker/0a1b2c\n").total_mib == 2 * 1024


def test_the_unlimited_of_cgroups_1_is_no_limit(tmp_path: Path) -> None:
    limit(tmp_path / "cgroup" / "memory", V1, "9223372036854771712", GIB, "")
    assert host(tmp_path, "4:memory:/\n") == HostMemory(32 * 1024, 16 * 1024)


def test_this_machine_can_be_read() -> None:
    machine = read_machine()
    assert 0 < machine.host.available_mib <= machine.host.total_mib
    assert machine.hardware.cores >= 1


def test_resident_memory_grows_by_what_a_child_writes() -> None:
    with subprocess.Popen([sys.executable, "-c", CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout
        child.stdout.readline()
        alone = resident([child.pid])
        assert 64 < alone.anonymous < 90
        both = resident([child.pid, os.getpid()])
        assert both.file < alone.file + resident([os.getpid()]).file  # the interpreter's libraries, once
        child.communicate(b"\n")
    assert resident_mib([child.pid]) == 0


def test_shared_memory_counts_once(tmp_path: Path) -> None:
    with mmap.mmap(-1, 32 << 20) as shared:
        shared.write(b"x" * (32 << 20))
        child = os.fork()
        if child == 0:
            shared.seek(0)
            shared.read()
            os.kill(os.getpid(), 19)
            os._exit(0)
        os.waitpid(child, os.WUNTRACED)
        both = resident([os.getpid(), child]).shared_memory
        os.kill(child, 9)
        os.waitpid(child, 0)
    assert 31 < both < 40


def test_libraries_and_shared_memory_count_once_and_ended_processes_nothing(tmp_path: Path) -> None:
    for pid in ("10", "11"):
        (tmp_path / pid).mkdir()
        (tmp_path / pid / "status").write_text("Name: x\nRssAnon: 1024 kB\nRssFile: 2048 kB\nRssShmem: 4096 kB\n")
    found = resident([10, 11, 12], tmp_path)
    assert (found.anonymous, found.file, found.shared_memory, found.total) == (2, 2, 4, 8)
