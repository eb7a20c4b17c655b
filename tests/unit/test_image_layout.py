"""Text of pictures, laid out: made-up lines, and lines recorded from the reader (tests/fixtures/picture_lines.json)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from services.images.layout import lay_out
from services.images.pictures import TextLine
from services.images.reading_child import turned_back, turns_to_upright

RECORDED = json.loads((Path(__file__).parent.parent / "fixtures" / "picture_lines.json").read_text(encoding="utf-8"))
LAID_OUT = {
    "bar_zh": "2025年各季度销售额\n单位：万元\n一季度: 120\n二季度: 158\n三季度: 143\n四季度: 210\n"
    "(axis: 0, 48, 97, 145, 193, 241)",
    "line_zh": "2024年平均气温（℃）\n1月: 3.2\n2月: 5.1\n3月: 11.4\n4月: 17.8\n5月: 23.5\n6月: 27.9",
    "years": "Employees\npersons\n2019: 48\n2020: 61\n2021: 75\n2022: 92\n(axis: 0, 21, 42, 63, 85, 106)",
    "hbar": "Tickets by team\nPlatform: 42\nSupport: 77\nFinance: 15\nLegal: 8",
    "table_en": "| City | 2023 | 2024 | Change |\n| --- | --- | --- | --- |\n| Paris | 1,204 | 1,350 | 12.1% |\n"
    "| Rome | 987 | 1,010 | 2.3% |\n| Oslo | 455 | 430 | -5.5% |",
    "tiny_en": "| City | 2023 | 2024 |\n| --- | --- | --- |\n| Paris | 1,204 | 1,350 |\n| Rome | 987 | 1,010 |",
    "wide_zh": "| 日期 | 航班 | 出发 | 到达 | 票价 |\n| --- | --- | --- | --- | --- |\n"
    "| 3月1日 | CA1501 | 08:00 | 10:15 | 1,280元 |\n| 3月2日 | MU5102 |  | 11:40 | 960元 |\n"
    "| 3月3日 | CZ3907 | 13:25 | 15:50 |  |",
    "form_en": "Server name: db-prod-02\nStatus: Degraded\nCPU load: 87%\nLast backup: 2025-06-30 02:00",
    "skew": "好又多超市\n苹果1.5kg: 18.00\n牛奶2盒: 25.60\n面包: 8.50\n合计: 52.10\n现金: 60.00\n找零: 7.90",
    "prose": "The left column tells about the history of the company, founded in 1998 in Hamburg.\n"
    "The right column is about its products: pumps, valves and heat exchangers.",
}


def line(text: str, left: float, top: float, width: float = 50, height: float = 20) -> TextLine:
    right, bottom = left + width, top + height
    return TextLine(text, ((left, top), (right, top), (right, bottom), (left, bottom)), 1.0)


@pytest.mark.parametrize("name", LAID_OUT)
def test_recorded_pictures_are_laid_out_as_they_stand(name: str) -> None:
    lines = [TextLine(text, tuple(map(tuple, box)), confidence) for text, box, confidence in RECORDED[name]]
    assert lay_out(lines) == LAID_OUT[name]


def test_texts_that_line_up_become_a_table_under_their_heading() -> None:
    found = [
        *(line("312", 200, 62), line("Q1", 0, 60), line("营收", 200, 30), line("季度", 0, 31)),
        line("年报", 80, 0, 90),
    ]
    assert lay_out(found) == "年报\n| 季度 | 营收 |\n| --- | --- |\n| Q1 | 312 |"


def grouped_bars(*left_out: str) -> list[TextLine]:
    bars = {"34": (0, 90), "41": (40, 70), "52": (140, 50), "47": (180, 60)}
    values = [line(text, left, top, 25, 15) for text, (left, top) in bars.items() if text not in left_out]
    labels = [line("Q1", 20, 150, 25), line("Q2", 160, 150, 25)]
    return [*values, *labels, line("North", 50, 0), line("South", 120, 0)]


def test_bars_side_by_side_are_told_apart_by_the_legend() -> None:
    assert lay_out(grouped_bars()) == "|  | North | South |\n| --- | --- | --- |\n| Q1 | 34 | 41 |\n| Q2 | 52 | 47 |"


def test_a_value_that_was_not_read_leaves_its_place_empty() -> None:
    assert "| Q2 |  | 47 |" in lay_out(grouped_bars("52"))


def test_a_table_of_words_and_figures_is_no_chart() -> None:
    rows = [
        ("Name", "Age", "City", "Pay", "Unit"),
        ("Ann", "31", "Oslo", "410", "IT"),
        ("Bob", "45", "Rome", "380", "HR"),
    ]
    found = [line(text, 101 * n, 40 * r) for r, row in enumerate(rows) for n, text in enumerate(row)]
    assert lay_out(found).splitlines()[2:] == ["| Ann | 31 | Oslo | 410 | IT |", "| Bob | 45 | Rome | 380 | HR |"]


def test_points_of_two_curves_are_listed_under_their_label() -> None:
    values = [line(text, left, top, 25, 15) for text, left, top in (("12", 20, 90), ("15", 21, 40), ("9", 160, 100))]
    found = [*values, line("22", 160, 30, 25, 15), line("May", 20, 150, 25), line("Jun", 160, 150, 25)]
    assert lay_out(found) in ("May: 12, 15\nJun: 9, 22", "May: 12, 15\nJun: 22, 9")


def test_a_key_and_its_value_are_joined() -> None:
    assert lay_out([line("Total:", 0, 0), line("42.00", 300, 2)]) == "Total: 42.00"


def test_words_cut_by_the_detector_are_put_together_again() -> None:
    assert lay_out([line("Corner", 0, 0, 60), line("shop", 66, 0)]) == "Corner shop"
    assert lay_out([line("预算", 0, 0, 40), line("（万元）", 44, 0)]) == "预算（万元）"


def test_a_bar_in_a_cell_does_not_break_the_table() -> None:
    rows = [line("a|b", 0, 0), line("x", 100, 0), line("y", 200, 0), *(line("1", n, 30) for n in (0, 100, 200))]
    assert "a\\|b" in lay_out(rows)


def test_lines_of_one_column_stay_lines_in_their_order() -> None:
    assert lay_out([line("two", 0, 30), line("one", 0, 0)]) == "one\ntwo"


def test_nothing_found_is_nothing_and_specks_are_nothing() -> None:
    assert lay_out([]) == ""
    assert lay_out([line("_", 0, 0)]) == ""


FLAT, TALL = [[0, 0], [60, 0], [60, 20], [0, 20]], [[0, 0], [20, 0], [20, 60], [0, 60]]


@pytest.mark.parametrize(
    ("boxes", "labels", "turns"),
    [
        ([FLAT] * 3, ["0"] * 3, 0),
        ([TALL] * 3, ["0"] * 3, 1),
        ([FLAT] * 3, ["180"] * 3, 2),
        ([TALL] * 3, ["180"] * 3, 3),
        ([FLAT, FLAT, TALL], ["0", "0", "180"], 0),
        ([TALL, TALL], ["0", "0"], 0),
    ],
)
def test_a_picture_is_turned_when_most_of_its_lines_say_so(boxes: list, labels: list, turns: int) -> None:
    assert turns_to_upright(boxes, labels) == turns


@pytest.mark.parametrize(("turns", "place"), [(0, [1, 2]), (1, [98, 1]), (2, [99, 48]), (3, [2, 49])])
def test_places_in_a_turned_picture_are_found_again(turns: int, place: list) -> None:
    assert turned_back(1, 2, turns, 100, 50) == place
