"""A run that finds nothing new asks few questions, and as many of six tables as of sixty."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import pytest
from urllib3 import PoolManager

from include.mirror import state
from include.mirror.declaration import Table
from include.mirror.run import check_run, move_batch, plan_run
from include.mirror.warehouse.client import Warehouse
from include.vendas.tables import VENDAS
from local.servers.postgres import Postgres
from tests.lab import Lab

AT_MOST = 15
"""How many statements a quiet run may send to each server."""

HANDSHAKE = 3
"""What the driver asks ClickHouse by itself whenever a client is made: version, settings, protocol."""

TASKS = 3


@dataclass
class Counted:
    """What the tasks of one run have sent: `requests` to ClickHouse, of which each client's handshake, and `statements` to
    PostgreSQL."""

    tasks: int
    clients: int
    requests: list[str] = field(default_factory=list)
    statements: list[str] = field(default_factory=list)


class CountingPool(PoolManager):
    """Keeps what is sent through it."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[str] = []

    def request(self, method: str, url: str, *args: Any, **more: Any) -> Any:
        self.sent.append(str(more.get("body") or more.get("fields") or url)[:400])
        return super().request(method, url, *args, **more)


def logged(postgres: Postgres) -> list[str]:
    return [
        line
        for line in postgres.log.read_text().splitlines()
        if re.search(r"LOG:  (statement|execute [^:]*):", line)
    ]


@pytest.fixture
def count(lab: Lab, postgres: Postgres) -> Callable[[], Counted]:
    """Make a run of the schedule, task by task as its DAG has them, and count what they send."""
    (database,) = lab.dsn.rsplit("/", 1)[1:]

    def run() -> Counted:
        lab.execute(f"ALTER DATABASE {database} SET log_statement = 'all'")
        fim, before = lab.now(), len(logged(postgres))
        pool, clients = CountingPool(), list[Any]()

        def connect() -> Any:
            clients.append(lab.clickhouse.client(pool_mgr=pool))
            return clients[-1]

        engine = lab.engine(warehouse=Warehouse(connect, VENDAS.storage, VENDAS.views))
        planned = plan_run(engine, {}, (lab.reached, fim), "quiet", lambda _: False)
        for batch in planned:
            move_batch(engine, batch, "quiet", 1)
        with engine.with_shared_client() as alone:
            checked = check_run(alone, planned)
            state.refuse_lacking(state.note(alone, "quiet", checked.contents))
            assert state.read(alone)
        lab.reached = fim
        counted = Counted(2 + len(planned), len(clients), pool.sent, logged(postgres)[before:])
        lab.execute(f"ALTER DATABASE {database} RESET log_statement")
        return counted

    return run


def more_tables(lab: Lab, number: int) -> None:
    """Add tables to the source and to the declaration, until they are so many."""
    names = [f"quiet_{place}" for place in range(number - len(VENDAS.declared))]
    lab.execute(
        ";".join(
            f"CREATE TABLE {name} (id int PRIMARY KEY, note text, updated_at timestamptz NOT NULL DEFAULT now());"
            f"CREATE INDEX ON {name} (updated_at); INSERT INTO {name} SELECT n, 'x' || n FROM generate_series(1, 9) AS n"
            for name in names
        )
        or "SELECT 1"
    )
    added = [Table(name, change_column="updated_at") for name in names]
    lab.declaration = replace(lab.declaration, tables=[*VENDAS.declared, *added])


@pytest.mark.parametrize("tables", [6, 60])
def test_a_quiet_run_sends_few_statements_however_many_tables(
    lab: Lab, count: Callable[[], Counted], tables: int
) -> None:
    lab.options = replace(lab.options, compare_keys=1000, sweep=timedelta(hours=1))
    more_tables(lab, tables)
    with lab.connect() as connection:
        lab.sell(connection)
    lab.run()
    lab.run()
    counted = count()
    listing = "\n".join([*counted.requests, *counted.statements])
    requests = len(counted.requests) - HANDSHAKE * counted.clients
    print(
        f"{tables} tables: {counted.tasks} tasks, {requests} requests, {len(counted.statements)} statements"
    )
    assert counted.tasks <= TASKS
    assert counted.clients <= TASKS, listing
    assert requests <= AT_MOST, listing
    assert len(counted.statements) <= AT_MOST, listing
    # All checks are made: each table is counted, and so is what was found of its keys.
    noted = lab.query("SELECT count(), countIf(lacking = 0) FROM vendas_dw.estado")
    assert noted == [(tables, tables)]
    done = lab.query(
        "SELECT countIf(kind = 'window'), countIf(kind = 'keys') FROM vendas_dw.cargas WHERE run_id = 'quiet'"
    )
    assert done == [(tables, tables)]


def test_what_a_quiet_run_looks_for_is_found(lab: Lab, count: Callable[[], Counted]) -> None:
    """A row that is new, one that is changed, and one that is deleted, each in a table of its own."""
    lab.options = replace(lab.options, compare_keys=1000)
    more_tables(lab, 9)
    lab.run()
    lab.execute("INSERT INTO quiet_0 (id) VALUES (100)")
    lab.execute("UPDATE quiet_1 SET note = 'other', updated_at = clock_timestamp() WHERE id = 3")
    lab.execute("DELETE FROM quiet_2 WHERE id = 4")
    count()
    for name in ("quiet_0", "quiet_1", "quiet_2"):
        assert lab.warehouse_rows(name) == [
            (one, note, at.replace(tzinfo=None)) for one, note, at in lab.source_rows(name)
        ]
    # Nothing is left to be found.
    moved = lab.run()
    assert sum(moved.values()) == 0
