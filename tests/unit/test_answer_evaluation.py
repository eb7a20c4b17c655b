"""How answers are judged."""

from __future__ import annotations

import json

import pytest

from services.retrieval.answer_evaluation import contains, read_samples


@pytest.mark.parametrize(
    ("text", "answer", "expected"),
    [
        ("It was the Saint Mary.", "Saint Mary", True),
        ("It has 1,308 points", "308", False),
        ("The Normans' land.", "normans", True),
        ("A dog.", "the dog", True),
        ("Denver's team won", "Denver", True),
        ("共 136 次擒杀。", "136次", True),
        ("共１３６次。", "136 次", True),
        ("他是《虚无男孩》的作者", "虚无 男孩", True),
        ("没有", "有人", False),
        ("anything", "…", False),
    ],
)
def test_contains(text, answer, expected):
    assert contains(text, answer) is expected


def test_the_halves_share_no_passage_and_no_question_is_asked_twice(tmp_path):
    rows = [{"question": f"q{n % 30}", "answers": ["x"], "pid": f"p{n % 10}"} for n in range(60)]
    rows.append({"question": "unanswerable", "answers": [], "pid": "p0"})
    path = tmp_path / "questions.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    numbers = {f"p{n}": n for n in range(10)}
    halves = [read_samples(path, numbers, half, 100) for half in ("choose", "report")]
    assert not {s.passage_id for s in halves[0]} & {s.passage_id for s in halves[1]}
    questions = [s.question for half in halves for s in half]
    assert sorted(questions) == sorted({f"q{n}" for n in range(30)})
    assert read_samples(path, numbers, "choose", 5) == halves[0][:5]
