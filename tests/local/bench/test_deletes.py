"""The benchmark's printed figures."""

from __future__ import annotations

from io import StringIO

import pytest
from rich.console import Console

from local.bench import deletes
from local.bench.mirror import PATHS, Result, Subject, report
from tests.conftest import new_source


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


@pytest.mark.parametrize(
    ("table", "key", "columns"), [("item_venda", "item_id", 8), ("venda", "venda_id", 7)]
)
def test_a_table_of_the_sales_system_is_described_as_the_mirror_has_it(postgres, table, key, columns):
    subject = Subject.find(table, new_source(postgres))
    assert (subject.table, subject.key, subject.money, len(subject.columns)) == (
        table,
        key,
        "valor_total",
        columns,
    )
    assert subject.create.startswith(f"CREATE TABLE IF NOT EXISTS `bench`.`{table}`")
    assert f"`{subject.version}` UInt64" in subject.create


def test_deletes_are_measured_with_and_without_a_log(tmp_path):
    found = deletes.measure(tmp_path, rounds=1, single=3, many=1_500)
    assert set(found) == {(rows, table) for rows in (1, 1_000) for table in ("plain", "logged")}
    assert all(rate > 0 for [rate] in found.values())
