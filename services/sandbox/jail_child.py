"""Runs one program cut off from everything: started by box.py as a script, it needs nothing but the standard library.

Reads a request (JSON) from the descriptor named in argv[1]; standard input is the gate: the program begins when a line
comes through it. Shape of the processes, the same for both isolations: this one (outside) → the first process of a
process namespace → the program. When any of the first two dies, the kernel kills everything in the namespace.

As root it first becomes an ordinary user, because the kernel does not limit root's number of processes; folders that
only root can reach are mounted to a public place before that, in a mount namespace of its own.
"""

import ctypes
import fcntl
import json
import os
import resource
import signal
import socket
import struct
import sys

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_BIND, MS_REC, MS_PRIVATE = 1, 2, 4, 8, 4096, 16384, 1 << 18
CLONE_NEWNS, CLONE_NEWCGROUP, CLONE_NEWUTS, CLONE_NEWIPC = 0x00020000, 0x02000000, 0x04000000, 0x08000000
CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x10000000, 0x20000000, 0x40000000
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_SECCOMP, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 1, 4, 22, 24, 38
SECCOMP_MODE_FILTER, MNT_DETACH, AT_FDCWD, AT_RECURSIVE = 2, 2, -100, 0x8000
MOUNT_ATTR_READ_ONLY = 1 | 2 | 4  # and nosuid, nodev
SYS_MOUNT_SETATTR = 442  # the same number on every machine
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1
CAPABILITY_VERSION_3 = 0x20080522
STAGE = "/tmp"  # hidden under a new file system in the private mount namespace
INSIDE_ID = 1000
NICENESS = 10  # the portal and its engines go first
LIBC = ctypes.CDLL(None, use_errno=True)


def check(result: int, what: str) -> int:
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def prctl(option: int, value: int, extra=0) -> None:
    check(LIBC.prctl(option, ctypes.c_ulong(value), extra, 0, 0), f"prctl {option}")


def mount(source: str, target: str, kind: str | None, flags: int, options: str = "") -> None:
    arguments = [text.encode() if text is not None else None for text in (source, target, kind)]
    check(LIBC.mount(*arguments, ctypes.c_ulong(flags), options.encode()), f"mount {target}")


def make_read_only(target: str, flags: int = AT_RECURSIVE) -> None:
    attributes = struct.pack("=QQQQ", MOUNT_ATTR_READ_ONLY, 0, 0, 0)
    check(LIBC.syscall(SYS_MOUNT_SETATTR, AT_FDCWD, target.encode(), flags, attributes, 32), f"read-only {target}")


def main() -> None:
    with os.fdopen(int(sys.argv[1])) as stream:
        request = json.load(stream)
    for ignored_by_python in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(ignored_by_python, signal.SIG_DFL)
    with open("/proc/self/oom_score_adj", "w") as score:
        score.write("1000")
    os.nice(NICENESS)
    if request["become"]:
        become_ordinary(request)
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != request["parent"]:
        return  # the portal died meanwhile
    set_limits(request["rlimits"])
    if request["bubblewrap"]:
        run_bubblewrap(request)
    else:
        run_namespaces(request)


def become_ordinary(request: dict) -> None:
    check(LIBC.unshare(CLONE_NEWNS), "unshare mounts")
    mount("none", "/", None, MS_REC | MS_PRIVATE)
    sources = [os.open(folder, os.O_PATH) for folder in request["staged"]]
    mount("stage", STAGE, "tmpfs", MS_NOSUID | MS_NODEV, "size=1m,mode=755")
    for number, (source, folder) in enumerate(zip(sources, request["staged"], strict=True)):
        bind(source, f"{STAGE}/{number}", read_only=True)
        request["folders"].append([f"{STAGE}/{number}", folder])
    os.mkdir(f"{STAGE}/root")
    os.setgroups([])
    os.setresgid(*[request["become"]] * 3)
    os.setresuid(*[request["become"]] * 3)
    prctl(PR_SET_DUMPABLE, 1)  # or /proc/self/uid_map stays root's


def set_limits(limits: dict[str, int]) -> None:
    for name, wanted in limits.items():
        _, hard = resource.getrlimit(getattr(resource, name))
        value, last = wanted, wanted + (name == "RLIMIT_CPU")  # at the last second comes SIGKILL, which tells nothing
        if hard != resource.RLIM_INFINITY:
            value, last = min(value, hard), min(last, hard)
        resource.setrlimit(getattr(resource, name), (value, last))


def memory_file(content: bytes) -> int:
    descriptor = os.memfd_create("sandbox", 0)
    os.write(descriptor, content)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def run_bubblewrap(request: dict) -> None:
    box, words = request["box"], [request["bubblewrap"], "--unshare-all", "--unshare-user", "--disable-userns"]
    words += ["--die-with-parent", "--new-session", "--clearenv", "--hostname", "sandbox", "--cap-drop", "ALL"]
    words += ["--uid", str(INSIDE_ID), "--gid", str(INSIDE_ID), "--proc", "/proc"]
    for name, value in request["environment"].items():
        words += ["--setenv", name, value]
    for source, target in request["folders"]:
        words += ["--ro-bind", source, target]
    for device in request["devices"]:
        words += ["--dev-bind", device, device]
    for target, place in request["links"].items():
        words += ["--symlink", place, target]
    for path, text in request["etc"].items():
        words += ["--file", str(memory_file(text.encode())), path]
    if request["seccomp"]:
        words += ["--seccomp", str(memory_file(bytes.fromhex(request["seccomp"])))]
    # The folder itself comes through a tmpfs of ours: bubblewrap's --size cannot limit the number of files.
    words += ["--size", str(request["disk_bytes"]), "--tmpfs", box, "--dir", f"{box}/.tmp"]
    for name, text in request["files"].items():
        words += ["--file", str(memory_file(text.encode(errors="replace"))), f"{box}/{name}"]
    words += ["--remount-ro", "/", "--chdir", box, "--", *request["start"], *request["command"]]
    os.execv(words[0], words)


def run_namespaces(request: dict) -> None:
    user, group = os.getuid(), os.getgid()
    kinds = CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP
    check(LIBC.unshare(kinds), "unshare")
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{INSIDE_ID} {user} 1"),
        ("gid_map", f"{INSIDE_ID} {group} 1"),
    ):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)
    first = os.fork()
    if first:
        os.close(0)
        _, status = os.waitpid(first, 0)
        os._exit(_exit_status(status))
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    build_root(request)
    socket.sethostname("sandbox")
    loopback_up()
    give_up_power(request["seccomp"])
    supervise(request)


def _exit_status(status: int) -> int:
    return 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def build_root(request: dict) -> None:
    root = f"{STAGE}/root" if request["become"] else STAGE
    mount("none", "/", None, MS_REC | MS_PRIVATE)
    sources = [(os.open(source, os.O_PATH), target) for source, target in request["folders"]]
    sources += [(os.open(device, os.O_PATH), device) for device in request["devices"]]
    mount("root", root, "tmpfs", MS_NOSUID | MS_NODEV, "size=1m,mode=755")
    for descriptor, target in sources:
        bind(descriptor, root + target, read_only=target not in request["devices"])
    for target, place in request["links"].items():
        os.makedirs(os.path.dirname(root + target), exist_ok=True)
        os.symlink(place, root + target)
    for path, text in request["etc"].items():
        write(root + path, text)
    for place in ("/proc", request["box"]):
        os.makedirs(root + place, exist_ok=True)
    mount("proc", f"{root}/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    size = f"size={request['disk_bytes']},nr_inodes={request['disk_files']},mode=700"
    mount("box", root + request["box"], "tmpfs", MS_NOSUID | MS_NODEV, size)
    os.mkdir(f"{root}{request['box']}/.tmp")
    for name, text in request["files"].items():
        write(f"{root}{request['box']}/{name}", text)
    with open(f"{root}/proc/sys/user/max_user_namespaces", "w") as file:
        file.write("0")
    os.chdir(root)
    check(LIBC.pivot_root(b".", b"."), "pivot_root")
    check(LIBC.umount2(b".", MNT_DETACH), "umount")
    make_read_only("/", 0)
    os.chdir(request["box"])


def bind(descriptor: int, target: str, *, read_only: bool) -> None:
    if os.path.isdir(f"/proc/self/fd/{descriptor}"):
        os.makedirs(target, exist_ok=True)
    else:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        os.close(os.open(target, os.O_CREAT, 0o644))
    mount(f"/proc/self/fd/{descriptor}", target, None, MS_BIND | MS_REC)
    if read_only:
        make_read_only(target)
    os.close(descriptor)


def write(path: str, text: str) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8", errors="replace", newline="") as file:
        file.write(text)


def loopback_up() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        ask = struct.pack("16sh14x", b"lo", 0)
        flags = struct.unpack("16sh14x", fcntl.ioctl(control, SIOCGIFFLAGS, ask))[1]
        fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", flags | IFF_UP))


def give_up_power(filter_hex: str) -> None:
    with open("/proc/sys/kernel/cap_last_cap") as file:
        last = int(file.read())
    for capability in range(last + 1):
        prctl(PR_CAPBSET_DROP, capability)
    header, nothing = struct.pack("=Ii", CAPABILITY_VERSION_3, 0), bytes(24)
    check(LIBC.capset(header, nothing), "capset")
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    if filter_hex:
        filter_bytes = bytes.fromhex(filter_hex)
        steps = ctypes.create_string_buffer(filter_bytes, len(filter_bytes))
        prog = struct.pack("@HP", len(filter_bytes) // 8, ctypes.addressof(steps))
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.c_char_p(prog))


def supervise(request: dict) -> None:
    """The first process of the namespace: waits for the program, and buries what others leave."""
    prctl(PR_SET_DUMPABLE, 0)  # of this process; the program's is set anew when it begins
    program = os.fork()
    if not program:
        words = [*request["start"], *request["command"]]
        os.execvpe(words[0], words, request["environment"])
    os.closerange(0, 3)
    while True:
        ended, status = os.wait()
        if ended == program:
            os._exit(_exit_status(status))


if __name__ == "__main__":
    try:
        main()
    except OSError as error:
        sys.exit(f"cannot isolate: {error}")
