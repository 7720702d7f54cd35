"""Rows as CSV that a spreadsheet shows as text.

Excel and LibreOffice evaluate a field that begins with `=`, `+`, `-`, `@`, a tab or a line break as a formula, also if it is
quoted. A text with such a beginning gets an apostrophe before it, as OWASP recommends. Numbers stay as they are.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from types import SimpleNamespace
from typing import Any

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""What begins a formula. The last four are the wide forms of the signs: some spreadsheets read them alike."""
_END = "\r\n"


def lines(rows: Iterable[Sequence[Any]], newline: str = "\n", *, exact: bool = False) -> str:
    """Return one line for each row, each ended by `newline`; None is an empty field.

    `exact` is for files that programs read: formulas stay as they are.
    """
    text = io.StringIO(newline="")

    def write(line: str) -> int:
        return text.write(line.removesuffix(_END) + newline)

    # The module quotes the characters of its own line ending: so a single carriage return is quoted, too.
    writer = csv.writer(SimpleNamespace(write=write), lineterminator=_END)
    writer.writerows(rows if exact else ([_harmless(value) for value in row] for row in rows))
    return text.getvalue()


def _harmless(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value
