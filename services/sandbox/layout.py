"""Which files lie in the sandbox for a solution and its tests, and what is started there."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from services.sandbox import java_sources
from services.sandbox.jobs import Language

RUNNERS = Path(__file__).parent / "runners"
ORDER = ".order.json"
JVM_FLAGS = ["-Xmx192m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData"]
JVM = ["java", *JVM_FLAGS, "-Xss1m"]
JAVAC = ["javac", *(f"-J{flag}" for flag in JVM_FLAGS), "-encoding", "UTF-8", "-nowarn", "-proc:none"]
NODE = ["node", "--max-old-space-size=256"]


@dataclass(frozen=True)
class Layout:
    """solution_name: of the file that holds the solution, as messages call it."""

    files: dict[str, str]
    command: list[str]
    solution_name: str


def layout(language: Language, solution: str, tests: str, results: str) -> Layout:
    """results: name of the file that the runner writes."""
    return LAYOUTS[language](solution, tests, results)


def _python(solution: str, tests: str, results: str) -> Layout:
    files = {"solution.py": solution, "tests.py": tests, ORDER: json.dumps({"results": results})}
    files |= {name: (RUNNERS / name).read_text() for name in ("pytest.py", "test_tree.py")}
    files[".runner.py"] = (RUNNERS / "python_runner.py").read_text()
    return Layout(files, ["python3", "-B", "-s", ".runner.py", ORDER], "solution.py")


def _javascript(solution: str, tests: str, results: str) -> Layout:
    files = {"solution.js": solution, "tests.js": tests, ORDER: json.dumps({"results": results})}
    files[".runner.js"] = (RUNNERS / "javascript_runner.js").read_text()
    return Layout(files, [*NODE, ".runner.js", ORDER], "solution.js")


def _java(solution: str, tests: str, results: str) -> Layout:
    """Compiled and run in one go: the compiler's words are the output when it fails."""
    source = java_sources.solution(solution)
    proof, classes = java_sources.tests(tests, solution)
    files = {"Solution.java": source, "Tests.java": proof}
    files |= {name: (RUNNERS / name).read_text() for name in ("JUnit.java", "RunCases.java")}
    run = [*JVM, "-ea", "-cp", ".classes", "proving.RunCases", results, *classes]
    script = f"{' '.join(JAVAC)} -d .classes *.java && exec {' '.join(run)}"
    return Layout(files, ["sh", "-c", script], "Solution.java")


LAYOUTS = {Language.PYTHON: _python, Language.JAVASCRIPT: _javascript, Language.JAVA: _java}


def speed_layout(before: str, after: str, tests: str, results: str) -> Layout:
    """Python only: two solutions, the same tests."""
    placed = _python(before, tests, results)
    files = placed.files | {"after.py": after, "python_runner.py": placed.files[".runner.py"]}
    files[".speed.py"] = (RUNNERS / "python_speed.py").read_text()
    return Layout(files, ["python3", "-B", "-s", ".speed.py", ORDER], "solution.py")
