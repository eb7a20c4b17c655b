"""How good the code is: HumanEval and HumanEval-X through the whole way of a question about code.

pass@1 is judged by the benchmark's own tests, which nobody sees before: the repair round knows only the tests that the
model wrote and the examples that the requirement gives.
"""

from __future__ import annotations

import gzip
import json
import math
import re
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from db.database import Database
from services.audit.trail import AuditTrail, open_audit
from services.code.answer import CodeAnswer, CodeQuestion, Task
from services.code_audit import CodeRecorder
from services.code_help import CodeHelp
from services.permissions import CONSOLE
from services.sandbox.box import Sandbox
from services.sandbox.jobs import Language
from services.sandbox.proving import TestRunner

if TYPE_CHECKING:
    from services.chat_model import ChatModel
    from services.engines.catalogue import Catalogue
    from services.engines.models import ModelStore
    from services.settings import Settings

Z = 1.96  # 95 %


@dataclass(frozen=True)
class CodeSetup:
    settings: Settings
    chat_model: ChatModel
    catalogue: Catalogue
    models: ModelStore


@dataclass(frozen=True)
class Plan:
    """skip, limit: which problems, in the file's order. at_once: answers that are written at the same time.

    record: a file for the answers, one JSON line each; None keeps none.
    """

    language: str
    skip: int = 0
    limit: int = 80
    at_once: int = 8
    record: Path | None = None


@dataclass(frozen=True)
class Problem:
    """words: the requirement as a person would paste it. stub: code that stands before an answer when it is judged."""

    id: str
    words: str
    stub: str
    tests: str


def read_problems(path: Path, language: str) -> list[Problem]:
    """Of HumanEval (prompt, test, entry_point) or HumanEval-X (prompt, test, declaration), gzipped or plain."""
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file if line.strip()]
    return [_problem(row, language) for row in rows]


def evaluate_code(setup: CodeSetup, problems: Path, plan: Plan) -> dict:
    """Counts and shares with 95 % intervals (Wilson). The engine must be ready."""
    chosen = read_problems(problems, plan.language)[plan.skip : plan.skip + plan.limit]
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        settings = setup.settings.model_copy(update={"home": Path(folder)})
        database, audit = Database.open(settings.database_path), AuditTrail(open_audit(settings), settings)
        sandbox = Sandbox(settings)
        recorder = CodeRecorder(audit, setup.models)
        code_help = CodeHelp(database, setup.chat_model, setup.catalogue, sandbox, recorder=recorder)
        try:
            judged = _in_turns(chosen, lambda problem: _judge(code_help, sandbox, problem, plan), plan.at_once)
        finally:
            audit.close()
            database.close()
    if plan.record:
        plan.record.write_text("".join(json.dumps(one, ensure_ascii=False) + "\n" for one in judged))
    return _summary(judged, plan, time.monotonic() - began)


def _in_turns(problems: Sequence[Problem], judge: Callable[[Problem], dict], at_once: int) -> list[dict]:
    with ThreadPoolExecutor(at_once, "code-evaluation") as pool:
        return list(pool.map(judge, problems))


def _judge(code_help: CodeHelp, sandbox: Sandbox, problem: Problem, plan: Plan) -> dict:
    question = CodeQuestion(Task.GENERATE, plan.language, problem.words)
    answer = code_help.stream(question, actor=CONSOLE, language="en")
    for _delta in answer.deltas:
        pass
    runner = TestRunner(sandbox)
    right = [_right(runner, problem, attempt.sections.code, plan.language) for attempt in answer.attempts]
    return {
        "id": problem.id,
        "plain": bool(right and right[0]),
        "repaired": bool(right and right[answer.shown]),
        "attempts": len(answer.attempts),
        "complete": bool(answer.attempts and answer.attempts[0].sections.complete),
        "own": [_own(answer, at) for at in range(len(answer.attempts))],
        "error": str(answer.error) if answer.error else "",
        "tokens": answer.completion_tokens,
        "model": answer.model_id,
        "template": answer.prompt_template,
        "texts": [attempt.text for attempt in answer.attempts],
    }


def _own(answer: CodeAnswer, at: int) -> dict:
    run = answer.attempts[at].run
    return {"passed": run.passed, "failed": run.failed, "error": run.error[:300]} if run else {}


def _right(runner: TestRunner, problem: Problem, code: str, language: str) -> bool:
    if not code.strip():
        return False
    return runner.run_tests(Language(language), problem.stub + code, problem.tests).ok


def _problem(row: dict, language: str) -> Problem:
    prompt = row["prompt"]
    if language == "python":
        name = row.get("entry_point") or re.findall(r"def (\w+)\(", prompt)[-1]
        stub = f"{prompt.rstrip()}\n    pass\n\n\n"
        tests = re.sub(r"^check\(\w+\)\s*$", "", row["test"], flags=re.MULTILINE)
        return Problem(row["task_id"], prompt.strip(), stub, f"{tests}\n\ndef test_all():\n    check({name})\n")
    stub = "import java.util.*;\nimport java.lang.*;\nimport java.util.stream.*;\n" if language == "java" else ""
    return Problem(row["task_id"], prompt.strip(), stub, row["test"])


def _summary(judged: list[dict], plan: Plan, seconds: float) -> dict:
    tokens = sum(one["tokens"] for one in judged)
    ran = [one["own"][0] for one in judged if one["own"] and one["own"][0]]
    return {
        "language": plan.language,
        "model": judged[0]["model"] if judged else "",
        "template": judged[0]["template"] if judged else "",
        "problems": len(judged),
        "plain": _share([one["plain"] for one in judged]),
        "with_repair": _share([one["repaired"] for one in judged]),
        "repaired_to_right": sum(one["repaired"] and not one["plain"] for one in judged),
        "repaired_to_wrong": sum(one["plain"] and not one["repaired"] for one in judged),
        "repairs": sum(one["attempts"] > 1 for one in judged),
        "sections_complete": _share([one["complete"] for one in judged]),
        "own_tests_passed": _share([not own["failed"] and not own["error"] and bool(own["passed"]) for own in ran]),
        "failed": [one["id"] + ": " + one["error"] for one in judged if one["error"]],
        "tokens_per_s": round(tokens / seconds, 1),
        "seconds": round(seconds),
    }


def _share(outcomes: Sequence[bool]) -> dict:
    """With Wilson's 95 % interval."""
    number, hits = len(outcomes), sum(outcomes)
    if not number:
        return {"share": None, "of": 0}
    share = hits / number
    middle = (share + Z * Z / (2 * number)) / (1 + Z * Z / number)
    width = Z * math.sqrt(share * (1 - share) / number + Z * Z / (4 * number * number)) / (1 + Z * Z / number)
    return {"share": round(share, 3), "of": number, "from": round(middle - width, 3), "to": round(middle + width, 3)}
