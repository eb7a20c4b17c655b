"""How good the answers are: questions with known answers, asked through the whole way of a question.

Prompt and budget are chosen on one half of the questions ("choose"), what is reported comes from the other ("report").
"""

from __future__ import annotations

import json
import random
import re
import statistics
import string
import time
import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from db.database import Database
from services.ask import Answer, AskService, Outcome
from services.ask_audit import AskRecorder
from services.audit.trail import AuditTrail, open_audit
from services.documents.membership import Membership
from services.permissions import CONSOLE
from services.retrieval.evaluation import EvaluationIndex, RememberingEmbedder, in_fitted_half, read_passages

if TYPE_CHECKING:
    from services.chat_model import ChatModel
    from services.engines.catalogue import Catalogue
    from services.engines.models import ModelStore
    from services.retrieval.embedding import Embedder
    from services.settings import Settings

SEED = 20261122
BUDGETS = (200, 400, 700, 1000, 1500)  # evidence tokens: from too little to all that is found
Half = Literal["choose", "report"]
_ARTICLES = re.compile(r"\b(a|an|the)\b")


@dataclass(frozen=True)
class Setup:
    """What answers: the portal's own services. The index is made apart, in a folder of its own."""

    settings: Settings
    embedder: Embedder
    chat_model: ChatModel
    catalogue: Catalogue
    models: ModelStore


@dataclass(frozen=True)
class Plan:
    """What to ask. questions: asked `concurrency` at a time; waiting: further ones, asked alone, for the times."""

    half: Half = "report"
    questions: int = 60
    concurrency: int = 8
    waiting: int = 15
    budgets: tuple[int, ...] = ()  # evidence tokens, a run each


@dataclass(frozen=True)
class Sample:
    """A question of an evaluation set: its right answers (any will do) and the passage they are in."""

    question: str
    answers: list[str]
    passage_id: str


@dataclass(frozen=True)
class Asked:
    """What came of one sample. contained: the text has a right answer in it; cited: to the right passage.

    quoted: a supported quote holds a right answer; flagged: a sentence is marked as not supported.
    """

    question: str
    text: str
    outcome: str
    contained: bool
    cited: bool
    quoted: bool
    flagged: bool
    prompt_tokens: int
    completion_tokens: int
    timings_ms: dict[str, float]


@dataclass(frozen=True)
class AnswerReport:
    """Shares of all questions, but *_of_right: of answers that contain a right answer; flagged_of_wrong: of the others.

    Times are medians in milliseconds; step_shares: each step's part of the whole time. Times of a run with several
    questions at once say nothing about one person's wait: see `concurrency`.
    """

    questions: int
    concurrency: int
    contained: float
    cited_of_right: float
    quoted_of_right: float
    flagged_of_right: float
    flagged_of_wrong: float
    refused: float
    failed: float
    mean_characters: float
    mean_prompt_tokens: float
    first_token_ms: float
    total_ms: float
    step_shares: dict[str, float]
    seconds: float


def read_samples(path: Path, numbers: Mapping[str, int], half: Half, limit: int) -> list[Sample]:
    """Unique answerable questions of a JSON-lines file (question, answers, pid), in an order of our own.

    numbers: passage id → number, which decides on the half as in the evaluation of retrieval. limit: how many.
    """
    records: dict[str, dict] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        if record["answers"] and in_fitted_half(numbers[record["pid"]]) == (half == "choose"):
            records.setdefault(record["question"], record)
    shuffled = list(records.values())
    random.Random(SEED).shuffle(shuffled)
    return [Sample(record["question"], record["answers"], record["pid"]) for record in shuffled[:limit]]


def evaluate_answers(setup: Setup, passages_file: Path, questions_file: Path, plan: Plan) -> dict:
    """{"runs": [{"evidence_tokens", "answers": report, "waiting": report of one question at a time} …], "asked": […]}.

    Times to the first token are those of "waiting": on questions that were not asked before, so that the engine has
    none of their passages in its prefix cache. "asked" has every question with its answer, by run.
    """
    embedder = RememberingEmbedder(setup.embedder, setup.settings.home / "eval")
    index = EvaluationIndex(setup.settings, embedder, read_passages(passages_file))
    database = Database.open(index.settings.database_path)
    audit = AuditTrail(open_audit(index.settings), index.settings)
    membership, recorder = Membership(database, audit), AskRecorder(audit, setup.models)
    try:
        wanted = plan.questions + plan.waiting * len(plan.budgets)
        samples = read_samples(questions_file, index.chunk_ids, plan.half, wanted)
        embedder.forget_queries(sample.question for sample in samples)
        passage_ids = {chunk_id: pid for pid, chunk_id in index.chunk_ids.items()}
        runs, every = [], []
        for number, budget in enumerate(plan.budgets):
            settings = index.settings.model_copy(update={"evidence_tokens": budget})
            ask = AskService(
                database,
                index.retriever,
                setup.chat_model,
                setup.catalogue,
                settings,
                membership=membership,
                recorder=recorder,
            )
            fresh = samples[plan.questions :][number * plan.waiting :][: plan.waiting]
            waiting, _ = measure(ask, fresh, passage_ids)
            report, asked = measure(ask, samples[: plan.questions], passage_ids, concurrency=plan.concurrency)
            runs.append({"evidence_tokens": budget, "answers": to_record(report), "waiting": to_record(waiting)})
            every.append([asdict(one) for one in asked])
    finally:
        embedder.save()
        index.close()
        audit.close()
        database.close()
    return {"half": plan.half, "runs": runs, "asked": every}


def measure(
    ask: AskService,
    samples: Sequence[Sample],
    passage_ids: Mapping[int, str],
    *,
    concurrency: int = 1,
) -> tuple[AnswerReport, list[Asked]]:
    """Ask every sample, in conversations that are deleted afterwards.

    passage_ids: chunk id → id of its passage, as in the samples.
    """

    def one(sample: Sample) -> Asked:
        answer = ask.stream(sample.question, actor=CONSOLE)
        for _delta in answer.deltas:
            pass
        ask.delete(answer.conversation_id, CONSOLE)
        return _judged(sample, answer, passage_ids)

    began = time.monotonic()
    with ThreadPoolExecutor(concurrency) as pool:
        asked = list(pool.map(one, samples))
    return _report(asked, concurrency, time.monotonic() - began), asked


def contains(text: str, answer: str) -> bool:
    """Whether the text has the answer in it: case, punctuation, width and articles aside; Chinese without spaces."""
    wanted = _normalised(answer)
    if not wanted:
        return False
    if re.search(r"[\u4e00-\u9fff]", text + answer):
        return wanted.replace(" ", "") in _normalised(text).replace(" ", "")
    return f" {wanted} " in f" {_normalised(text)} "


def to_record(report: AnswerReport) -> dict:
    """The report as a JSON-able dict, rounded."""
    return {name: round(value, 3) if isinstance(value, float) else value for name, value in asdict(report).items()}


def _normalised(text: str) -> str:
    """Words without articles. Punctuation goes as in SQuAD, but apostrophes and dashes part words."""
    folded = unicodedata.normalize("NFKC", text).lower()
    words = "".join(" " if ch in "'’–—" else "" if _is_punctuation(ch) else ch for ch in folded)
    return " ".join(_ARTICLES.sub(" ", words).split())


def _is_punctuation(ch: str) -> bool:
    return ch in string.punctuation or unicodedata.category(ch).startswith("P")


def _judged(sample: Sample, answer: Answer, passage_ids: Mapping[int, str]) -> Asked:
    supported = [citation for citation in answer.citations if citation.supported]
    return Asked(
        question=sample.question,
        text=answer.text,
        outcome=str(answer.outcome),
        contained=any(contains(answer.text, right) for right in sample.answers),
        cited=any(passage_ids.get(citation.chunk_id) == sample.passage_id for citation in supported),
        quoted=any(contains(citation.quote, right) for citation in supported for right in sample.answers),
        flagged=any(not citation.supported for citation in answer.citations),
        prompt_tokens=answer.prompt_tokens,
        completion_tokens=answer.completion_tokens,
        timings_ms=answer.timings_ms,
    )


def _report(asked: Sequence[Asked], concurrency: int, seconds: float) -> AnswerReport:
    right = [one for one in asked if one.contained]
    wrong = [one for one in asked if one.outcome == Outcome.ANSWERED and not one.contained]
    waited = [one for one in asked if "first_token" in one.timings_ms]
    return AnswerReport(
        questions=len(asked),
        concurrency=concurrency,
        contained=_share(asked, lambda one: one.contained),
        cited_of_right=_share(right, lambda one: one.cited),
        quoted_of_right=_share(right, lambda one: one.quoted),
        flagged_of_right=_share(right, lambda one: one.flagged),
        flagged_of_wrong=_share(wrong, lambda one: one.flagged),
        refused=_share(asked, lambda one: one.outcome == Outcome.REFUSED),
        failed=_share(asked, lambda one: one.outcome in (Outcome.FAILED, Outcome.PASSAGES)),
        mean_characters=_mean([len(one.text) for one in waited]),
        mean_prompt_tokens=_mean([one.prompt_tokens for one in waited]),
        first_token_ms=statistics.median(one.timings_ms["first_token"] for one in waited) if waited else 0.0,
        total_ms=statistics.median(one.timings_ms["total"] for one in asked) if asked else 0.0,
        step_shares=_step_shares(waited),
        seconds=seconds,
    )


def _share(asked: Sequence[Asked], holds: Callable[[Asked], bool]) -> float:
    return sum(map(holds, asked)) / len(asked) if asked else 0.0


def _mean(values: Sequence[float]) -> float:
    return statistics.fmean(values) if values else 0.0


def _step_shares(asked: Sequence[Asked]) -> dict[str, float]:
    """Parts of a step (retrieve_…) are shares of the whole too; they overlap with their step."""
    spent = Counter()
    for one in asked:
        spent.update(one.timings_ms)
    total = spent.pop("total", 0.0)
    return {step: round(duration / total, 4) for step, duration in spent.items()} if total else {}
