"""What jail_child.py is asked for: one request, whichever isolation it is for."""

from __future__ import annotations

import json
import math
import os
import platform
import resource
import shutil
from dataclasses import dataclass

from services.sandbox import seccomp, toolchains
from services.sandbox.jobs import Language, Limits, Program

BUBBLEWRAP, NAMESPACES = "bubblewrap", "namespaces"
ISOLATIONS = (BUBBLEWRAP, NAMESPACES)
BOX = "/box"  # the working folder, the home, and the only place to write
MIB = 1 << 20
FILES_PER_MIB = 64
OPEN_FILES = 128
RESERVED_MIB = 64  # of address space, beyond what is really used
FIRST_USER = 60_800  # of those that no distribution gives to anybody (systemd: "Users, Groups, UIDs and GIDs")
DEVICES = ("/dev/null", "/dev/random", "/dev/urandom", "/dev/full")  # /dev/zero, shared, is memory that nobody counts
SCRATCH = f"{BOX}/.tmp"
GATE = 'read -r _ || exit; exec prlimit --nproc={processes} --as={address} -- "$@" </dev/null'
ETC = {
    "/etc/passwd": f"sandbox:x:1000:1000::{BOX}:/bin/sh\n",
    "/etc/group": "sandbox:x:1000:\n",
    "/etc/hosts": "127.0.0.1 localhost\n",
}
RUNTIME_RESERVES = (Language.JAVA, Language.JAVASCRIPT)  # far more address space than they use: watched, not limited


@dataclass(frozen=True)
class Request:
    """text: JSON for jail_child.py. files_max: how many may be created; where the file system cannot limit it,
    running.py ends the program.
    """

    text: str
    box: str
    files_max: int


def prepare(program: Program, isolation: str, slot: int) -> Request:
    """slot: programs that run at the same time have different ones, and as root different users."""
    limits, sight = program.limits, toolchains.view(program)
    become = FIRST_USER + slot if os.getuid() == 0 and _may_become(FIRST_USER + slot) else 0
    environment = {"PATH": sight.path, "HOME": BOX, "LANG": "C.UTF-8", "TMPDIR": SCRATCH}
    inside = [[place, place] for place in sight.system]
    request = {
        "bubblewrap": shutil.which("bwrap") or "bwrap" if isolation == BUBBLEWRAP else "",
        "parent": os.getpid(),
        "become": become,
        "staged": sight.folders if become else [],
        "folders": inside if become else [*inside, *([place, place] for place in sight.folders)],
        "devices": DEVICES,
        "links": {**sight.links, **_links()},
        "etc": ETC,
        "box": BOX,
        "files": program.files,
        "environment": environment,
        "start": ["/bin/sh", "-c", _gate(program), "sh"],
        "command": program.command,
        "disk_bytes": limits.disk_mib * MIB,
        "disk_files": limits.disk_mib * FILES_PER_MIB,
        "rlimits": _rlimits(limits),
        "seccomp": seccomp.program(platform.machine()).hex(),
    }
    return Request(json.dumps(request), BOX, limits.disk_mib * FILES_PER_MIB)


def _links() -> dict[str, str]:
    descriptors = {"/dev/fd": "", "/dev/stdin": "/0", "/dev/stdout": "/1", "/dev/stderr": "/2"}
    return {"/tmp": SCRATCH, "/dev/shm": SCRATCH} | {
        place: f"/proc/self/fd{number}" for place, number in descriptors.items()
    }


def _gate(program: Program) -> str:
    """Set inside, where only the sandbox's own processes count."""
    endless = program.language in RUNTIME_RESERVES
    address = "unlimited" if endless else (program.limits.memory_mib + RESERVED_MIB) * MIB
    return GATE.format(processes=program.limits.processes, address=address)


def _rlimits(limits: Limits) -> dict[str, int]:
    return {
        "RLIMIT_CPU": math.ceil(limits.cpu_s) + 1,  # of each process; running.py adds them up
        "RLIMIT_FSIZE": limits.file_mib * MIB,
        "RLIMIT_NOFILE": OPEN_FILES,
        "RLIMIT_CORE": 0,
        "RLIMIT_MEMLOCK": 0,
        "RLIMIT_MSGQUEUE": 0,
        "RLIMIT_STACK": min(8 * MIB, resource.getrlimit(resource.RLIMIT_STACK)[0] % (1 << 63)),
    }


def _may_become(user: int) -> bool:
    """Inside a container of a user without rights, only some numbers exist."""
    with open("/proc/self/uid_map") as ranges:
        return any(int(first) <= user < int(first) + int(count) for first, _, count in map(str.split, ranges))
