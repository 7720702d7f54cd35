"""A sales system and a warehouse of a test's own, and the mirror between them, driven run by run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import psycopg

from include.mirror.batch import Batch, dump, load
from include.mirror.move import Mirror
from include.mirror.source import Source
from include.mirror.table import TableSpec
from include.mirror.warehouse import Warehouse
from include.mirror.window import MICROSECOND
from include.vendas import etl
from include.vendas.settings import Settings
from include.vendas.tables import SQL, TABLES
from local.clickhouse import ClickHouse

UTC_ZONE = ZoneInfo("UTC")
SETTINGS = Settings(
    schedule="*/2 * * * *",
    grace=timedelta(milliseconds=1),
    max_rows=1_000_000,
    tasks=4,
    timeout=timedelta(minutes=10),
    late=timedelta(),
)


@dataclass
class Lab:
    """`dsn` is the source's superuser; `clickhouse` serves `vendas_raw` and `vendas_dw`, empty at the start."""

    dsn: str
    clickhouse: ClickHouse
    settings: Settings = SETTINGS
    zone: ZoneInfo = UTC_ZONE
    tables: Mapping[str, TableSpec] = field(default_factory=lambda: TABLES)
    runs: int = 0
    reached: datetime | None = None
    """Where the last run of the schedule ended: the next begins there."""

    def connect(self, **parameters: Any) -> psycopg.Connection[Any]:
        """Open a session of the application, in autocommit mode unless told otherwise."""
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

    def mirror(self, **changes: Any) -> Mirror:
        """Return a mirror between the two; `changes` replace its fields."""
        mirror = Mirror(
            Source(self.dsn, self.zone, self.settings.timeout),
            Warehouse(self.clickhouse.client),
            self.tables,
            SQL,
            grace=self.settings.grace,
        )
        return replace(mirror, **changes)

    def plan(
        self,
        interval: tuple[datetime | None, datetime | None] = (None, None),
        conf: Mapping[str, Any] | None = None,
        mirror: Mirror | None = None,
    ) -> list[Batch]:
        """Plan one run; the batches go through JSON, as they do between tasks."""
        planned = etl.plan_windows(mirror or self.mirror(), self.settings, conf or {}, interval)
        return [load(dump(batch)) for batch in planned]

    def move(self, planned: list[Batch], mirror: Mirror | None = None, try_number: int = 1) -> dict[str, int]:
        """Move what a run planned, batch after batch; return rows per table."""
        self.runs += 1
        moved: dict[str, int] = {}
        for batch in planned:
            for name, rows in etl.move_batch(
                mirror or self.mirror(), batch, f"test__{self.runs}", try_number
            ).items():
                moved[name] = moved.get(name, 0) + rows
        etl.check(self.mirror(), planned)
        return moved

    def run(
        self,
        inicio: datetime | None = None,
        fim: datetime | None = None,
        conf: Mapping[str, Any] | None = None,
        mirror: Mirror | None = None,
    ) -> dict[str, int]:
        """See one scheduled run of `[inicio, fim)` through; by default from where the last one ended up to now."""
        if conf is None:
            fim = fim or self.now()
            inicio = inicio or self.reached or fim - MICROSECOND
            self.reached = fim
        return self.move(self.plan((inicio, fim), conf, mirror), mirror)

    def query(self, statement: str, **parameters: Any) -> list[Sequence[Any]]:
        """Return the rows of a query on the warehouse."""
        client = self.clickhouse.client()
        try:
            return list(client.query(statement, parameters=parameters or None).result_rows)
        finally:
            client.close()

    def source_rows(self, table: str) -> list[tuple[Any, ...]]:
        """Return every row of a source table, in the order of its key."""
        spec = self.tables[table]
        columns = ", ".join(f'"{column.name}"' for column in spec.columns)
        with self.connect() as connection:
            return connection.execute(
                f"SELECT {columns} FROM {table} ORDER BY {spec.key}".encode()
            ).fetchall()

    def warehouse_rows(self, table: str) -> list[tuple[Any, ...]]:
        """Return every row of a view that people query, in the order of its key."""
        key = self.tables[table].key
        return [tuple(row) for row in self.query(f"SELECT * FROM vendas_dw.{table} ORDER BY {key}")]

    def assert_equal(self) -> None:
        """Compare every value of every table on both sides."""
        for table in self.tables:
            source, warehouse = self.source_rows(table), self.warehouse_rows(table)
            assert warehouse == source, table
