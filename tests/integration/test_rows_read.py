"""A window costs what its rows cost, however large its table is: both servers count the rows that they read for it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest
from urllib3 import PoolManager

from include.mirror.declaration import Table
from include.mirror.warehouse.client import Warehouse
from include.vendas.tables import VENDAS
from local.waiting import until
from tests.lab import Lab

GRANULE = 8192
"""How many rows ClickHouse reads at least of a part that it reads at all."""


class ReadingPool(PoolManager):
    """Adds up how many rows ClickHouse has read for what is sent through it."""

    def __init__(self) -> None:
        super().__init__()
        self.rows = 0

    def request(self, method: str, url: str, *args: Any, **more: Any) -> Any:
        response = super().request(method, url, *args, **more)
        self.rows += int(json.loads(response.headers.get("X-ClickHouse-Summary", "{}")).get("read_rows", 0))
        return response


@dataclass
class Read:
    """How many rows of a table PostgreSQL has read for a run, and how many of all tables ClickHouse has."""

    source: int
    warehouse: int


def sessions(lab: Lab) -> int:
    """Return how many other sessions there are: they add to the statistics when they end."""
    with lab.connect() as connection:
        row = connection.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
            " AND backend_type = 'client backend'"
        ).fetchone()
    assert row is not None
    return int(row[0])


def read_so_far(lab: Lab, table: str) -> int:
    until(lambda: sessions(lab) == 0, 60, "sessions do not end")
    with lab.connect() as connection:
        row = connection.execute(
            "SELECT coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0) FROM pg_stat_user_tables WHERE relname = %s",
            (table,),
        ).fetchone()
    assert row is not None
    return int(row[0])


def run(lab: Lab, table: str, rows: int) -> Read:
    """Make a run of the schedule in which so many rows of a table have changed, and return what it reads."""
    lab.execute(f"UPDATE {table} SET nota = nota || '!', updated_at = clock_timestamp() WHERE id <= {rows}")
    before, pool = read_so_far(lab, table), ReadingPool()
    engine = lab.engine(
        warehouse=Warehouse(lambda: lab.clickhouse.client(pool_mgr=pool), VENDAS.storage, VENDAS.views)
    )
    assert lab.run(engine=engine)[table] == rows
    return Read(read_so_far(lab, table) - before, pool.rows)


@pytest.fixture(
    params=[
        (20_000, 200_000),
        pytest.param((100_000, 10_000_000), marks=[pytest.mark.soak, pytest.mark.timeout(1800)]),
    ],
    ids="{0[0]} and {0[1]} rows".format,
)
def two_sizes(request: pytest.FixtureRequest, lab: Lab) -> Lab:
    """Two tables with windows, of which one has many times the rows of the other."""
    small, large = request.param
    for table, rows in (("pequena", small), ("grande", large)):
        lab.execute(
            f"CREATE TABLE {table} (id int PRIMARY KEY, nota text, updated_at timestamptz NOT NULL DEFAULT now())"
        )
        lab.execute(f"INSERT INTO {table} SELECT n, 'nota ' || n FROM generate_series(1, {rows}) AS n")
        lab.execute(f"CREATE INDEX ON {table} (updated_at)")
        lab.execute(f"ANALYZE {table}")
    lab.mirror_only(*(Table(name, change_column="updated_at") for name in ("pequena", "grande")))
    lab.run()
    return lab


def test_a_window_reads_as_many_rows_of_a_large_table_as_of_a_small_one(two_sizes: Lab) -> None:
    lab = two_sizes
    small, large = run(lab, "pequena", 20), run(lab, "grande", 20)
    more = run(lab, "grande", 200)
    print(f"20 rows of the small table: {small}; of the large one: {large}; 200 of those: {more}")
    # Each row once to be moved, and some again: the sampled ones, and those in which the window begins and ends.
    assert small.source <= 5 * 20
    assert large.source <= small.source + 20
    assert more.source <= 5 * 200
    # The ledger has some rows more by then, and no statement reads a part of the table that the run has not brought.
    assert large.warehouse <= small.warehouse + GRANULE // 8
    lab.assert_equal()
