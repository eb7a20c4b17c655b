"""A system-call filter for what no program in the sandbox needs: a second fence behind the namespaces.

Refused with EPERM: tracing, mounting, namespaces, keys, kernel modules, BPF, io_uring, and memory that belongs to no
process and so would not be counted (memfd, System V shared memory, shared anonymous mappings).
"""

from __future__ import annotations

import errno
import struct

AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
REFUSED = {  # name → number on x86-64 and on arm64
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "bpf": (321, 280),
    "userfaultfd": (323, 282),
    "perf_event_open": (298, 241),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "unshare": (272, 97),
    "setns": (308, 268),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "pidfd_getfd": (438, 438),
    "mount_setattr": (442, 442),
    "memfd_secret": (447, 447),
    "memfd_create": (319, 279),
    "shmget": (29, 194),
    "semget": (64, 190),
    "msgget": (68, 186),
    "mq_open": (240, 180),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    "init_module": (175, 105),
    "delete_module": (176, 106),
    "finit_module": (313, 273),
    "reboot": (169, 142),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "acct": (163, 89),
    "syslog": (103, 116),
    "quotactl": (179, 60),
    "lookup_dcookie": (212, 18),
    "kcmp": (312, 272),
    "clock_settime": (227, 112),
    "clock_adjtime": (305, 266),
    "settimeofday": (164, 170),
    "adjtimex": (159, 171),
    "fanotify_init": (300, 262),
}
CLONE, CLONE3, MMAP = (56, 220), (435, 435), (9, 222)
NEW_NAMESPACES = 0x7E020000  # CLONE_NEWNS, CGROUP, UTS, IPC, USER, PID, NET
SHARED_ANONYMOUS = 0x21  # MAP_SHARED | MAP_ANONYMOUS
X32 = 0x40000000  # the other numbering of the same calls on x86-64
NUMBER, ARCH, ARGUMENT_0, ARGUMENT_3 = 0, 4, 16, 40  # offsets of struct seccomp_data, little-endian low words
LOAD, AND, RETURN = 0x20, 0x54, 0x06
EQUAL, AT_LEAST, ANY_BIT = 0x15, 0x35, 0x45
ALLOW, REFUSE = 0x7FFF0000, 0x00050000


def program(machine: str) -> bytes:
    """struct sock_filter[] for what platform.machine() names; b"" where its numbers are not known here."""
    if machine not in AUDIT_ARCH:
        return b""
    which = list(AUDIT_ARCH).index(machine)
    steps = [_step(LOAD, ARCH), _step(EQUAL, AUDIT_ARCH[machine], 1, 0), _refuse(errno.EPERM), _step(LOAD, NUMBER)]
    steps += [_step(AT_LEAST, X32, 0, 1), _refuse(errno.EPERM)]
    for numbers in REFUSED.values():
        steps += [_step(EQUAL, numbers[which], 0, 1), _refuse(errno.EPERM)]
    steps += [_step(EQUAL, CLONE3[which], 0, 1), _refuse(errno.ENOSYS)]  # its flags lie in memory: have clone used
    steps += [_step(EQUAL, CLONE[which], 0, 4), _step(LOAD, ARGUMENT_0), _step(ANY_BIT, NEW_NAMESPACES, 0, 1)]
    steps += [_refuse(errno.EPERM), _step(RETURN, ALLOW)]
    steps += [_step(EQUAL, MMAP[which], 0, 4), _step(LOAD, ARGUMENT_3), _step(AND, SHARED_ANONYMOUS)]
    steps += [_step(EQUAL, SHARED_ANONYMOUS, 0, 1), _refuse(errno.EPERM), _step(RETURN, ALLOW)]
    return b"".join(steps)


def _step(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)


def _refuse(error: int) -> bytes:
    return _step(RETURN, REFUSE | error)
