"""The figures of the benchmarks on a page of the documentation, each between two marks of its own."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path


def write_figures(page: Path, name: str, lines: Iterable[str]) -> None:
    """Replace what stands on the page between `<!-- name -->` and `<!-- end of the name -->`."""
    begin, end = f"<!-- {name} -->", f"<!-- end of the {name} -->"
    before, _, rest = page.read_text().partition(begin)
    page.write_text("\n".join([f"{before}{begin}", "", *lines, "", end]) + rest.partition(end)[2])
