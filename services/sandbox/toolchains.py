"""Which compilers and interpreters are installed here, and what of the system a program in the sandbox may see."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from services.sandbox.jobs import Language, Program, Toolchain

SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
JAVA_SETTINGS = tuple(f"/etc/java-{version}-openjdk" for version in range(8, 40))
SETTINGS = ("/etc/alternatives", "/etc/ld.so.cache", "/etc/localtime", *JAVA_SETTINGS)
NEEDED = {
    Language.PYTHON: ("python3", ["python3"]),
    Language.JAVASCRIPT: ("nodejs", ["node"]),
    Language.JAVA: ("default-jdk-headless", ["java", "javac"]),
}
VERSION = re.compile(r"\d+(?:\.\d+)+|\d+")
VERSION_TIMEOUT_S = 20


@dataclass(frozen=True)
class View:
    """What a program sees of the system. folders: read-only, from outside /usr; links: path → where it leads."""

    path: str
    system: list[str]
    links: dict[str, str]
    folders: list[str]


def find(language: Language) -> Toolchain:
    """Starts each of its programs once, to ask for the version."""
    package, names = NEEDED[language]
    programs = [_program(language, name) for name in names]
    if not all(programs):
        return Toolchain(language, "", package)
    versions = [_version(program) for program in programs]
    return Toolchain(language, versions[0] if all(versions) else "", "" if all(versions) else package)


def view(program: Program) -> View:
    """Of the language's toolchain only."""
    own = [_program(program.language, name) for name in NEEDED[program.language][1]]
    folders = {str(Path(path).resolve().parent.parent) for path in own if path}
    outside = sorted(folder for folder in folders if not Path(folder).is_relative_to("/usr"))
    links = {place: os.readlink(place) for place in SYSTEM if Path(place).is_symlink()}
    system = [place for place in SYSTEM if place not in links and Path(place).is_dir()]
    system += [place for place in SETTINGS if Path(place).exists()]
    first = dict.fromkeys(str(Path(path).resolve().parent) for path in own if path)
    return View(":".join([*first, "/usr/local/bin", "/usr/bin", "/bin"]), system, links, outside)


def showing(path: Path) -> str | None:
    """A folder that programs in the sandbox see and that the path lies in; None, as it should be."""
    views = [view(Program(language, {}, [])) for language in Language]
    seen = {folder for one in views for folder in (*one.system, *one.folders)}
    return next((folder for folder in sorted(seen) if path.resolve().is_relative_to(Path(folder).resolve())), None)


def _program(language: Language, name: str) -> str | None:
    if language is not Language.PYTHON:
        return shutil.which(name)
    base = Path(sys.base_prefix, "bin", name)  # the portal's own environment is not to be seen inside
    return str(base) if base.exists() else shutil.which(name, path="/usr/bin:/usr/local/bin")


def _version(program: str) -> str:
    """ "" when it does not start."""
    try:
        said = subprocess.run(
            [program, "-version" if Path(program).name.startswith("java") else "--version"],
            capture_output=True,
            text=True,
            timeout=VERSION_TIMEOUT_S,
            env={"PATH": os.defpath},
            stdin=subprocess.DEVNULL,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    found = VERSION.search(said.stdout + said.stderr)
    return found[0] if found and not said.returncode else ""
