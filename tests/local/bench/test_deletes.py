"""The benchmark's printed figures."""

from __future__ import annotations

import pytest

from local.bench import deletes, history, reads
from local.bench.mirror import MIRROR, PATHS, Result, Subject, ratio, write_page
from tests.conftest import new_source


def test_figures_are_medians_with_their_spread_and_written_into_the_page(tmp_path):
    results = [
        Result("item_venda", path, 50_000_000, seconds, 1234.5, 2.0, 3.0, 1024.4, 300.0)
        for path in PATHS
        for seconds in (50.0, 40.0, 25.0)
    ]
    assert ratio(results, "item_venda", MIRROR) == 1
    figures = "50,000,000 | 1,250,000 | 1,000,000 to 2,000,000 | 1.00 | 1234.5 | 2.0 | 3.0 | 1024 | 300"
    page = tmp_path / "page.md"
    page.write_text(
        "before\n\n<!-- figures -->old<!-- end of the figures -->\n\n<!-- reads -->\n<!-- end of the reads -->\n"
    )
    for _ in range(2):
        write_page(page, results)
        reads.write_page(page, 9000, {"merged": dict.fromkeys(reads.QUERIES, reads.Asked(1.26, 7.6))})
    written = page.read_text()
    assert written.startswith("before\n\n<!-- figures -->\n\n| table | path |")
    assert "old" not in written
    for path in PATHS:
        assert f"| item_venda | {path} | {figures} |" in written
    assert "| about 9,000 rows | count | sum by group |" in written
    assert "| merged | 1.3 (8 ms) | 1.3 (8 ms) | 1.3 (8 ms) | 1.3 (8 ms) | 1.3 (8 ms) |" in written
    assert (tmp_path / "images" / "benchmark.svg").read_text().count("mirror, window") == 1


def test_the_figures_of_a_history_are_rates_and_their_ratios(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("before\n\n<!-- history -->old<!-- end of the history -->\n")
    names = ("until a worker was killed", "whole run", "one worker", "postgresql()")
    rates = [
        history.Rate(name, 1_000_000, seconds) for name, seconds in zip(names, (4, 8, 5, 2), strict=True)
    ]
    for _ in range(2):
        history.write_page(page, rates)
    written = page.read_text()
    assert "old" not in written
    assert "| until a worker was killed | 1,000,000 | 4 | 250,000 | 0.50 | 1.25 |" in written
    assert "| whole run | 1,000,000 | 8 | 125,000 | 0.25 | 0.62 |" in written
    assert written.endswith("<!-- end of the history -->\n")


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
