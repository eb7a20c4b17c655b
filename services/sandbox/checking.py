"""What static checks say of a source: hints, not a verdict."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

from services.sandbox import java_sources
from services.sandbox.box import Sandbox
from services.sandbox.jobs import CheckHint, Language, Program
from services.sandbox.layout import JAVAC

RULES = "F,E9,B,PLE,S102,S301,S307,S602,S605,S608"  # mistakes, and calls that run what they are given
RUFF = ["check", "--isolated", "--no-cache", "--output-format", "json", "--select", RULES, "--ignore", "F401", "-"]
TIMEOUT_S = 10
HINTS_MAX = 50
JAVA_LINE = re.compile(r"^Solution\.java:(\d+): (?:error|warning): (?:\[([\w-]+)\] )?(.+)$", re.MULTILINE)
NODE_LINE = re.compile(r"solution\.m?js:(\d+)")
NODE_ERROR = re.compile(r"^(\w*Error): (.+)$", re.MULTILINE)


def check(sandbox: Sandbox, language: Language, source: str) -> list[CheckHint]:
    """Best effort: nothing where the checker is not installed. Raises SandboxUnavailable for Java and JavaScript."""
    if language is Language.PYTHON:
        return _ruff(source)[:HINTS_MAX]
    if language is Language.JAVA:
        files = {"Solution.java": java_sources.solution(source)}
        command = [*(word for word in JAVAC if word != "-nowarn"), "-Xlint:all", "-d", ".classes", "Solution.java"]
        output = sandbox.run(Program(language, files, command, sandbox.limits())).output
        return [CheckHint(int(line), code, message) for line, code, message in JAVA_LINE.findall(output)][:HINTS_MAX]
    module = re.search(r"^(import|export)\s", source, re.MULTILINE)
    name = "solution.mjs" if module else "solution.js"
    output = sandbox.run(Program(language, {name: source}, ["node", "--check", name], sandbox.limits())).output
    line, error = NODE_LINE.search(output), NODE_ERROR.search(output)
    return [CheckHint(int(line[1]), error[1], error[2])] if line and error else []


def _ruff(source: str) -> list[CheckHint]:
    """Reads the source and runs none of it: a child without environment is enough."""
    program = Path(sys.prefix, "bin", "ruff")
    if not program.exists():
        return []
    try:
        said = subprocess.run(
            [str(program), *RUFF],
            input=source,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            env={},
            cwd="/",
            check=False,
        )
    except subprocess.TimeoutExpired:
        return []
    found = json.loads(said.stdout or "[]")
    return [CheckHint(one["location"]["row"], one["code"] or "", one["message"]) for one in found]
