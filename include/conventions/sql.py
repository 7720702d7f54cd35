"""Reads the SQL files `include/sql/<folder>/<name>.sql`."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1] / "sql"


@cache
def text(folder: str, name: str) -> str:
    """Return the text of `include/sql/<folder>/<name>.sql`. Each process reads a file once."""
    return (ROOT / folder / f"{name}.sql").read_text()


def statements(script: str) -> Iterator[str]:
    """Yield the statements of a script. In the script, each ends with a semicolon at the end of a line."""
    for statement in script.split(";\n"):
        if statement.strip():
            yield statement
