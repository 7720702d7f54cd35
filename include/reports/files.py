"""The two files of a report: rows as CSV, and a page that needs nothing else.

A file gets its name once it is complete and on the disk, so that nobody reads half of one. A retry of the same run
writes the same names again, and so does a second try at the same time as a first that was given up on: the last one
wins, and both are whole.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Sequence
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any
from urllib.parse import quote


def path(folder: Path, report: str, run_id: str, suffix: str) -> Path:
    """Return where a run's file goes. A run id may hold what a file's name can't, such as `/`."""
    name = quote(run_id, safe=" :+")
    # `quote` leaves dots alone; with one in front the file would be hidden.
    return folder / report / f"{'%2E' + name[1:] if name.startswith('.') else name}{suffix}"


def as_csv(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Return rows as CSV: amounts with all their digits, dates as ISO has them, nothing for NULL."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return text.getvalue()


def write(target: Path, text: str) -> None:
    """Write the file whole, in the place of any that is there, or not at all."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with NamedTemporaryFile(
        "w", encoding="utf-8", newline="", dir=target.parent, prefix=".", delete=False
    ) as file:
        try:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
            # Those who read reports are other users, as a rule; a temporary file is its owner's alone.
            os.fchmod(file.fileno(), 0o644)
            Path(file.name).replace(target)
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            raise
