"""What the benchmark prints of its figures."""

from __future__ import annotations

from io import StringIO

import pytest
from rich.console import Console

from local.bench import PATHS, Result, report


@pytest.mark.parametrize("width", [80, 120])
def test_every_figure_is_whole_on_a_terminal(width):
    results = [
        Result(path, 50_000_000, seconds, 1234.5, 1024.4) for path in PATHS for seconds in (50.0, 40.0, 25.0)
    ]
    console = Console(width=width, record=True, file=StringIO())
    assert report(results, console) == 1
    lines = [line.split() for line in console.export_text().splitlines()]
    figures = ["50,000,000", "1,250,000", "1,000,000", "2,000,000", "1234.5", "1024"]
    for path in PATHS:
        assert [*path.split(), *figures] in lines
    assert ["path", "rows", "median", "lowest", "highest", "CPU", "s", "peak", "MB"] in lines
