"""The two files of a report: the rows as CSV, and a page that needs no other file.

A file gets its name when it is complete and on disk, so nobody reads half a file. A retry of a run writes the same names
again. If two tries write at the same time, the last one wins, and its file is complete.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any
from urllib.parse import quote

from include.conventions import csv_text


def path(folder: Path, report: str, run_id: str, suffix: str) -> Path:
    """Return the path of a run's file. Characters that a file name can't have, such as `/`, are quoted."""
    name = quote(run_id, safe=" :+")
    # `quote` does not quote dots, and a leading dot would hide the file.
    return folder / report / f"{'%2E' + name[1:] if name.startswith('.') else name}{suffix}"


def as_csv(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Return rows as CSV: amounts with all digits, dates in ISO format, NULL as an empty field, a formula as text."""
    return csv_text.lines([columns, *rows])


def write(target: Path, text: str) -> None:
    """Write a file completely or not at all; replace an existing one."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with NamedTemporaryFile(
        "w", encoding="utf-8", newline="", dir=target.parent, prefix=".", delete=False
    ) as file:
        try:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
            # A temporary file is readable by its owner only, but other users read the reports.
            os.fchmod(file.fileno(), 0o644)
            Path(file.name).replace(target)
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            raise
