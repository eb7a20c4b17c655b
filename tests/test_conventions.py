"""The house rules that a machine can check."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from services.settings import Settings

ROOT = Path(__file__).resolve().parent.parent
SOURCES = [
    path
    for path in (
        *ROOT.glob("*.py"),
        *ROOT.glob("commands/*.py"),
        *ROOT.glob("pages/**/*.py"),
        *ROOT.glob("services/**/*.py"),
        *ROOT.glob("db/**/*.py"),
    )
    if "migrations" not in path.parts
]
PAGES = sorted(path for path in ROOT.glob("pages/*.py") if path.name != "__init__.py")
LONGEST_FILE, LONGEST_FUNCTION = 400, 60  # lines

FORBIDDEN = {  # arrow: Home.py, server.py, cli.py → commands, pages → services → db
    "pages": {"sqlalchemy", "openai", "chromadb", "subprocess", "torch", "db"},
    "commands": {"streamlit", "pages", "server", "sqlalchemy", "openai", "chromadb", "subprocess", "torch"},
    "services": {"streamlit", "pages", "commands", "server", "cli"},
    "db": {"streamlit", "pages", "services", "openai", "chromadb"},
}
ONE_DOOR = {
    "openai": {"services/chat_model.py"},
    "chromadb": {"services/retrieval/vector_store.py"},
    "torch": {"services/engines/convert_child.py", "services/engines/launchers/torchvision_shim/sitecustomize.py"},
}


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def _imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.split(".")[0])
    return found


@pytest.mark.parametrize("path", SOURCES, ids=_name)
def test_imports_follow_the_arrow(path: Path) -> None:
    room = path.relative_to(ROOT).parts[0]
    assert not _imports(path) & FORBIDDEN.get(room, set())


@pytest.mark.parametrize(("package", "doors"), ONE_DOOR.items())
def test_each_outside_system_has_one_door(package: str, doors: set[str]) -> None:
    assert {_name(path) for path in SOURCES if package in _imports(path)} <= doors


@pytest.mark.parametrize("path", PAGES, ids=_name)
def test_a_page_begins_with_its_guard(path: Path) -> None:
    """The first statement that is not an import, a definition or a constant calls require()."""
    body = ast.parse(path.read_text()).body
    quiet = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef)
    acts = [n for n in body if not isinstance(n, quiet) and not _is_docstring(n) and not _is_constant(n)]
    assert "require(" in ast.unparse(acts[0])


def _is_docstring(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _is_constant(node: ast.stmt) -> bool:
    return isinstance(node, ast.Assign) and ast.unparse(node.targets[0]).isupper()


@pytest.mark.parametrize("path", SOURCES, ids=_name)
def test_files_and_functions_stay_short(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= LONGEST_FILE
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno - node.lineno < LONGEST_FUNCTION, node.name


def test_every_setting_is_in_the_readme() -> None:
    readme = (ROOT / "README.md").read_text()
    missing = [name for name in Settings.model_fields if f"`PORTAL_{name.upper()}`" not in readme]
    assert not missing


def test_every_setting_in_the_readme_exists() -> None:
    named = set(re.findall(r"^\| `PORTAL_([A-Z_]+)`", (ROOT / "README.md").read_text(), re.MULTILINE))
    assert named == {name.upper() for name in Settings.model_fields}


def test_every_setting_is_described() -> None:
    assert all(field.description for field in Settings.model_fields.values())


def test_importing_the_portal_loads_nothing_heavy() -> None:
    code = "import server, sys; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    heavy = {"torch", "transformers", "chromadb", "langchain_core", "openai", "jieba", "alembic", "pandas", "vllm"}
    assert not heavy & set(loaded.stdout.split())
