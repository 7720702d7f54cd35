"""A sales system and a warehouse for one test, and the mirror between them, which the test runs step by step."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary
from zoneinfo import ZoneInfo

import psycopg
import pytest
from click.testing import CliRunner
from psycopg.conninfo import conninfo_to_dict

from include.mirror.__main__ import main as mirror_command
from include.mirror.batch import Batch, dump, load
from include.mirror.claims import IsLive
from include.mirror.declaration import Mirror, Schema, Table
from include.mirror.engine import Engine, Options
from include.mirror.ledger import Ledger
from include.mirror.run import check_run, move_batch, plan_run
from include.mirror.source.session import Source
from include.mirror.spec import TableSpec
from include.mirror.warehouse.client import Warehouse
from include.mirror.window import MICROSECOND
from include.vendas.tables import VENDAS
from local.compare.database import compare
from local.servers.clickhouse import ClickHouse
from local.waiting import until

UTC_ZONE = ZoneInfo("UTC")
OPTIONS = Options(grace=timedelta(milliseconds=1), timeout=timedelta(minutes=10), sweep=None, compare_keys=0)


_idle: WeakKeyDictionary[ClickHouse, list[tuple[Any, dict[str, Any]]]] = WeakKeyDictionary()
"""Unused clients with their original settings. They are reused, because creating a client takes three requests."""


def borrow(clickhouse: ClickHouse) -> Any:
    """Return a client. When it is closed, it is kept for the next caller, with its original settings."""
    idle = _idle.setdefault(clickhouse, [])
    try:
        client, settings = idle.pop()
    except IndexError:
        client = clickhouse.client()
        settings = dict(client.params)

    def give_back() -> None:
        # A second close does nothing.
        client.close = lambda: None
        client.params = dict(settings)
        idle.append((client, settings))

    client.close = give_back
    return client


@dataclass
class Lab:
    """`dsn` is the source's, as superuser. `clickhouse` has `vendas_raw` and `vendas_dw`, which are empty at the start."""

    dsn: str
    clickhouse: ClickHouse
    options: Options = OPTIONS
    zone: ZoneInfo = UTC_ZONE
    declaration: Mirror = VENDAS
    runs: int = 0
    reached: datetime | None = None
    """The end of the last scheduled run's interval, where the next one begins."""

    def connect(self, **parameters: Any) -> psycopg.Connection[Any]:
        """Open a session of the application, by default in autocommit mode."""
        return psycopg.connect(self.dsn, **{"autocommit": True, **parameters})

    def execute(self, statement: str, parameters: Sequence[Any] | None = None) -> None:
        """Run one statement of the application in a transaction of its own."""
        with self.connect() as connection:
            connection.execute(statement.encode(), parameters)

    def now(self) -> datetime:
        """Return the source's clock."""
        with self.connect() as connection:
            row = connection.execute("SELECT clock_timestamp()").fetchone()
        assert row is not None
        return row[0].astimezone(UTC)

    def sell(self, connection: psycopg.Connection[Any], amount: str = "10.50", client: int = 1) -> int:
        """Write a sale with one item; return its venda_id."""
        row = connection.execute(
            "INSERT INTO venda (cliente_id, data, entregue, valor_total) VALUES (%s, '2026-01-05', 'N', %s)"
            " RETURNING venda_id",
            (client, Decimal(amount)),
        ).fetchone()
        assert row is not None
        connection.execute(
            "INSERT INTO item_venda (venda_id, produto_id, valor_unitario, quantidade, valor_total)"
            " VALUES (%s, 1, %s, 1, %s)",
            (row[0], Decimal(amount), Decimal(amount)),
        )
        return int(row[0])

    @property
    def tables(self) -> tuple[str, ...]:
        """The mirrored tables' names in the warehouse."""
        if self.declaration.schema is None:
            return self.declaration.names
        with self.connect(cursor_factory=psycopg.RawCursor) as connection:
            return tuple(self.engine().specs(connection).specs)

    def mirror_only(self, *tables: str | Table | Schema) -> None:
        """Mirror only these tables of the source, or a schema."""
        (first, *_) = tables
        chosen = (
            first
            if isinstance(first, Schema)
            else [
                Table(one) if isinstance(one, str) else one for one in tables if not isinstance(one, Schema)
            ]
        )
        self.declaration = replace(self.declaration, tables=chosen)

    def engine(self, **changes: Any) -> Engine:
        """Return the engine of the mirror; `changes` replace its fields."""
        engine = Engine(
            self.declaration,
            Source(self.dsn, self.zone, self.options.timeout, self.declaration.source),
            Warehouse(partial(borrow, self.clickhouse), self.declaration.storage, self.declaration.views),
            self.options,
        )
        return replace(engine, **changes)

    @property
    def ledger(self) -> Ledger:
        """The ledger, with its own client."""
        return Ledger(self.engine().warehouse, borrow(self.clickhouse))

    def spec(self, table: str) -> TableSpec:
        """Return the resolved declaration of one table, by its name in the warehouse."""
        with self.connect(cursor_factory=psycopg.RawCursor) as connection:
            return self.engine().specs(connection).specs[table]

    def plan(
        self,
        interval: tuple[datetime | None, datetime | None] = (None, None),
        conf: Mapping[str, Any] | None = None,
        engine: Engine | None = None,
        *,
        run_id: str = "",
        is_live: IsLive | None = None,
    ) -> list[Batch]:
        """Plan one run. The batches are converted to JSON and back, as between tasks."""
        planned = plan_run(engine or self.engine(), conf or {}, interval, run_id, is_live)
        return [load(dump(batch)) for batch in planned]

    def move(self, planned: list[Batch], engine: Engine | None = None, try_number: int = 1) -> dict[str, int]:
        """Move the batches of a planned run one after the other; return rows per table."""
        self.runs += 1
        moved: dict[str, int] = {}
        for batch in planned:
            for name, rows in move_batch(
                engine or self.engine(), batch, f"test__{self.runs}", try_number
            ).items():
                moved[name] = moved.get(name, 0) + rows
        check_run(self.engine(), planned)
        return moved

    def run(
        self,
        inicio: datetime | None = None,
        fim: datetime | None = None,
        conf: Mapping[str, Any] | None = None,
        engine: Engine | None = None,
        accept: bool = False,
    ) -> dict[str, int]:
        """Do one scheduled run of `[inicio, fim)`, by default from the end of the last one to now.

        With `accept`, the run accepts another source than before.
        """
        if conf is None:
            fim = fim or self.now()
            inicio = inicio or self.reached or fim - MICROSECOND
            self.reached = fim
            conf = {"aceitar_fonte": True} if accept else None
        return self.move(self.plan((inicio, fim), conf, engine), engine)

    def delete_log(self, *tables: str, options: Sequence[str] = ()) -> str:
        """Return the statements that `delete-log` prints for these tables, which create the logs of deleted keys."""
        named = (part for table in tables for part in ("--table", table))
        printed = CliRunner().invoke(mirror_command, ["delete-log", "--source", self.dsn, *options, *named])
        assert printed.exit_code == 0, printed.output
        return printed.stdout

    def query(self, statement: str, **parameters: Any) -> list[Sequence[Any]]:
        """Return the rows of a query on the warehouse."""
        client = borrow(self.clickhouse)
        try:
            return list(client.query(statement, parameters=parameters or None).result_rows)
        finally:
            client.close()

    def source_rows(self, table: str) -> list[tuple[Any, ...]]:
        """Return all rows of a table of the sales system, in the order of its key."""
        with self.connect() as connection:
            return connection.execute(f"SELECT * FROM {table} ORDER BY 1".encode()).fetchall()

    def warehouse_rows(self, table: str) -> list[tuple[Any, ...]]:
        """Return all rows of a view in the warehouse, in the order of its key."""
        return [tuple(row) for row in self.query(f"SELECT * FROM vendas_dw.{table} ORDER BY 1")]

    def assert_equal(self) -> None:
        """Compare every value of every table on both sides, by values that each server computes itself."""
        client = borrow(self.clickhouse)
        try:
            differences = compare(self.dsn, client, self.declaration)
        finally:
            client.close()
        different = [
            f"{one.table}: {'; '.join(map(str, (*one.problems, *one.keys)))}"
            for one in differences
            if not one.same
        ]
        assert not different, "\n".join(different)
        assert len(differences) == len(self.tables)


def wait_for_lock(connection: psycopg.Connection, lock: int) -> None:
    """Wait until a session of the connection's server waits for this advisory lock."""
    waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = %s AND NOT granted"
    until(lambda: connection.execute(waiting, (lock,)).fetchone() != (0,), 60, "nobody waits for the lock")


def connect(monkeypatch: pytest.MonkeyPatch, lab: Lab, **changes: Any) -> None:
    """Point Airflow's connections to the lab; `changes` are of ClickHouse's."""
    source = conninfo_to_dict(lab.dsn)
    connections = {
        "POSTGRES_VENDAS": {
            "conn_type": "postgres",
            "host": source["host"],
            "port": int(str(source["port"])),
            "login": source["user"],
            "password": source["password"],
            "schema": source["dbname"],
        },
        "CLICKHOUSE_DW": {
            "conn_type": "clickhouse",
            "host": "127.0.0.1",
            "port": lab.clickhouse.port,
            "login": lab.clickhouse.user,
            "password": lab.clickhouse.password,
            **changes,
        },
    }
    for name, connection in connections.items():
        monkeypatch.setenv(f"AIRFLOW_CONN_{name}", json.dumps(connection))
