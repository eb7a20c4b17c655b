"""Compile llama.cpp's server, an optional engine: make engine-llamacpp.

    .venv/bin/python requirements/llamacpp.py

The sources are in the source package of llama-cpp-python, whose hash llamacpp.txt pins; of it only llama.cpp's
llama-server is built, in C++ and for this machine's CPU. Needs cmake, a C++ compiler and about 10 minutes on 2 cores.
The result is .venv-llamacpp/bin/llama-server; nothing in .venv changes. Standard library only.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

REQUIREMENTS = Path(__file__).resolve().parent
LOCK = REQUIREMENTS / "llamacpp.txt"
TARGET = REQUIREMENTS.parent / ".venv-llamacpp"
PROGRAM = TARGET / "bin" / "llama-server"
STAMP = TARGET / "stamp"
OPTIONS = {
    "CMAKE_BUILD_TYPE": "Release",
    "BUILD_SHARED_LIBS": "OFF",
    "GGML_NATIVE": "ON",
    "LLAMA_BUILD_TOOLS": "ON",
    "LLAMA_BUILD_SERVER": "ON",
    "LLAMA_BUILD_TESTS": "OFF",
    "LLAMA_BUILD_EXAMPLES": "OFF",
    "LLAMA_BUILD_APP": "OFF",
    "LLAMA_BUILD_UI": "OFF",
    "LLAMA_USE_PREBUILT_UI": "OFF",
    "LLAMA_OPENSSL": "OFF",
}


def main() -> int:
    lock = LOCK.read_text()
    key = hashlib.sha256((lock + repr(OPTIONS)).encode()).hexdigest()
    if PROGRAM.exists() and STAMP.exists() and STAMP.read_text() == key:
        return 0
    missing = [tool for tool in ("cmake", "c++", "make") if shutil.which(tool) is None]
    if missing:
        print(f"Missing: {', '.join(missing)}. Debian: apt install cmake g++ make", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as folder:
        try:
            build(unpack(lock, Path(folder)), Path(folder) / "build", version=version_of(lock))
        except subprocess.CalledProcessError as error:
            print(f"\nFailed (exit {error.returncode}): {' '.join(map(str, error.cmd[:6]))} …", file=sys.stderr)
            return 1
        STAMP.write_text(key)
    print(f"{PROGRAM} is ready: the engine llama.cpp serves the GGUF variants of the catalogue.")
    return 0


def version_of(lock: str) -> str:
    return re.search(r"^llama-cpp-python==(\S+)", lock, flags=re.MULTILINE).group(1)


def unpack(lock: str, folder: Path) -> Path:
    """llama.cpp's sources below folder. pip fetches the package from wherever it is configured to, and checks it.

    pip also asks the package for its metadata, for which it fetches its build tool.
    """
    requirement = folder / "llamacpp.txt"
    requirement.write_text(lock)
    pip = [sys.executable, "-m", "pip", "download", "-q", "--disable-pip-version-check", "--no-deps"]
    options = ["--no-binary", "llama-cpp-python", "--require-hashes", "-r", str(requirement), "-d", str(folder)]
    subprocess.run([*pip, *options], check=True)
    with tarfile.open(next(folder.glob("*.tar.gz"))) as archive:
        archive.extractall(folder)  # its hash was checked
    return next(folder.glob("llama_cpp_python-*/vendor/llama.cpp"))


def build(source: Path, folder: Path, *, version: str) -> None:
    options = {**OPTIONS, "LLAMA_BUILD_COMMIT": f"llama-cpp-python-{version}"}
    generator = ["-G", "Ninja"] if shutil.which("ninja") else []
    defines = [f"-D{key}={value}" for key, value in options.items()]
    configure = ["cmake", "-S", source, "-B", folder, *generator, *defines]
    subprocess.run(configure, stdout=subprocess.DEVNULL, check=True)
    nice = [tool] if (tool := shutil.which("nice")) else []
    subprocess.run([*nice, "cmake", "--build", folder, "--target", "llama-server", "--parallel"], check=True)
    PROGRAM.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(folder / "bin" / "llama-server", PROGRAM)


if __name__ == "__main__":
    sys.exit(main())
