"""Home."""

from __future__ import annotations

from tests.ui.conftest import text_of
from tests.ui.fakes import document, turn


def test_an_empty_index_has_no_share(opened) -> None:
    assert [metric.value for metric in opened("Home.py").metric] == ["0", "0", "–"]


def test_the_figures_of_the_index(opened, services) -> None:
    services.library.documents = [document(1), document(2, chunks_done=0)]
    assert [metric.value for metric in opened("Home.py").metric] == ["2", "2,048", "50 %"]


def test_recent_questions_are_listed(opened, services) -> None:
    services.ask.turns = {"c1": [turn()]}
    shown = text_of(opened("Home.py"))
    assert "Recent questions" in shown
    assert "How many days can I carry over" in shown
