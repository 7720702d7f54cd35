"""Tables with many columns, and many tables in one pass: statements become longer than ClickHouse takes by default."""

from __future__ import annotations

from dataclasses import replace

import pytest

from include.mirror.declaration import Table
from tests.lab import Lab


def create(lab: Lab, name: str, columns: int, rows: int) -> Table:
    listed = ", ".join(f"a_rather_long_column_name_{number} text" for number in range(columns))
    lab.execute(
        f"CREATE TABLE {name} (id int PRIMARY KEY, {listed}, updated_at timestamptz NOT NULL DEFAULT now());"
        f"CREATE INDEX ON {name} (updated_at); INSERT INTO {name} (id) SELECT generate_series(1, {rows}); ANALYZE {name}"
    )
    return Table(name, change_column="updated_at")


def test_a_table_with_hundreds_of_columns_arrives(lab: Lab) -> None:
    lab.mirror_only(create(lab, "wide", 700, 3))
    lab.run()
    lab.assert_equal()


@pytest.mark.campaign
def test_many_tables_of_one_pass_arrive(lab: Lab) -> None:
    lab.mirror_only(*(create(lab, f"many_{number}", 80, 1) for number in range(40)))
    lab.options = replace(lab.options, compare_keys=1000)
    lab.run()
    lab.assert_equal()
