"""Tables in answers, and the CSV that a spreadsheet opens."""

from __future__ import annotations

import csv
import io

import pytest

from services.images.tables import find_table, to_csv

ANSWER = """The sales by month:

| Month | Sales |
|:------|------:|
| **Jan** | 1,200 |
| Feb | `900` |

February was weak."""


def test_a_markdown_table_is_found_with_the_text_around_it():
    found = find_table(ANSWER)
    assert found.rows == [["Month", "Sales"], ["Jan", "1,200"], ["Feb", "900"]]
    assert "The sales" in found.before
    assert "weak" in found.after


def test_a_table_without_outer_bars_is_found():
    assert find_table("a | b\n--- | ---\n1 | 2").rows == [["a", "b"], ["1", "2"]]


def test_rows_are_as_wide_as_the_head():
    found = find_table("| a | b |\n|---|---|\n| 1 |\n| 1 | 2 | 3 |\n| 1 |  |")
    assert found.rows[1:] == [["1", ""], ["1", "2"], ["1", ""]]


def test_an_escaped_bar_belongs_to_its_cell():
    assert find_table("| a | b |\n|---|---|\n| x \\| y | 2 |").rows[1] == ["x | y", "2"]


def test_of_two_tables_the_larger_is_taken():
    small, large = "| a |\n|---|\n| 1 |", "| b |\n|---|\n| 1 |\n| 2 |"
    assert find_table(f"{small}\n\n{large}").rows[0] == ["b"]


@pytest.mark.parametrize(
    "text",
    ["", "no table", "| a | b |", "| a | b |\n|---|---|", "| a | b |\n| 1 | 2 |", "a | b\n---\n1 | 2", "x\n---\ny"],
)
def test_what_is_no_table_is_not_taken_for_one(text):
    assert find_table(text) is None


@pytest.mark.parametrize(
    "cell", ["=1+1", '=HYPERLINK("http://x")', "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", " =1", "＝1", "-", "+"]
)
def test_a_cell_that_a_spreadsheet_would_run_is_made_text(cell):
    [[written]] = csv.reader(io.StringIO(to_csv([[cell]])))
    assert written == "'" + cell


@pytest.mark.parametrize("cell", ["-5", "+3.5%", "-1,200.50", "12", "a=b", "", "2024-01"])
def test_numbers_and_plain_words_stay_as_they_are(cell):
    assert next(csv.reader(io.StringIO(to_csv([[cell, "x"]])))) == [cell, "x"]
