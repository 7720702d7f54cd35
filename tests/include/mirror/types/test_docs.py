"""docs/types.md is equal to the page from the registry, and has every type."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from include.mirror.types import docs, registry

ROOT = Path(__file__).resolve().parents[4]


def test_the_page_is_up_to_date() -> None:
    printed = subprocess.run(
        [sys.executable, "-m", "include.mirror.types"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert (ROOT / "docs" / "types.md").read_text() == printed, "run `make types`"


def test_every_entry_is_in_it() -> None:
    text = docs.page()
    for name in (*registry.ENTRIES, *registry.TEXTS, *registry.EXTENSIONS):
        assert f"`{docs.PRINTED.get(name, name)}" in text


def test_every_row_of_the_table_has_as_many_columns() -> None:
    rows = [line for line in docs.page().splitlines() if line.startswith("|")]
    assert len({line.count(" | ") for line in rows if not line.startswith("|-")}) == 1
