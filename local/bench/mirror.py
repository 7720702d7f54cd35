"""Measure the mirror against PostgreSQL's and ClickHouse's own speed: `python -m local.bench.mirror`.

Every path moves the same table of the sales system, `item_venda` by default, between the same two embedded servers. Each
path runs in a process of its own. The paths take turns, several times, so that a machine that becomes slower or faster does
so for all of them. Each time, the rows that arrived are counted and summed. Quote the ratios: the rates are this machine's.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from secrets import token_urlsafe
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Self
from zoneinfo import ZoneInfo

import click
import psycopg
from psycopg.conninfo import conninfo_to_dict
from rich.console import Console
from rich.table import Table

from include.mirror.names import ch, pg
from include.vendas.tables import VENDAS
from local.servers.clickhouse import ClickHouse
from local.servers.postgres import Postgres
from local.servers.server import free_port
from local.source import base
from local.source.bulk import bulk

if TYPE_CHECKING:
    from include.mirror.engine import Engine

ROWS_PER_SALE = {"item_venda": 4.5, "venda": 1.0}
"""The tables that can be measured, with their average number of rows per sale."""
TUPLE_SHARE = 10
"""Row tuples are so slow that this path moves only one row in ten."""

DATABASE = "bench"
"""The database to which all paths but the mirror write."""

Money = tuple[int, str]
"""The number of rows, and the sum of the last decimal column as text. Every path must deliver the same."""


@dataclass(frozen=True)
class Subject:
    """The table that is moved: its name on both sides, its columns, its key, and its last decimal column (`money`).

    `create` is the statement that creates a table like the mirror's own in `DATABASE`. `version` is that table's column for
    the order of snapshots.
    """

    table: str
    columns: list[str]
    key: str
    money: str
    create: str
    version: str

    @classmethod
    def find(cls, table: str, dsn: str) -> Self:
        """Return a table of the sales system, as the mirror resolves it."""
        from include.mirror.warehouse.ddl import bookkeeping, storage_ddl

        engine = _engine(dsn)
        with engine.source.connect() as connection:
            spec = engine.specs(connection, [table], new=True).specs[table]
        return cls(
            table,
            [column.name for column in spec.columns],
            spec.key[0],
            [column.name for column in spec.columns if column.carrier.scale is not None][-1],
            storage_ddl(spec, DATABASE),
            bookkeeping(spec).version,
        )

    @classmethod
    def given(cls) -> Self:
        """Return the subject that was passed to this process in its environment."""
        return cls(**json.loads(os.environ["BENCH_SUBJECT"]))


@dataclass(frozen=True)
class Result:
    """One run of one path: wall-clock seconds, CPU seconds and peak memory (MB) of its process."""

    path: str
    rows: int
    seconds: float
    cpu_seconds: float
    memory_mb: float

    @property
    def rate(self) -> float:
        """Rows per second."""
        return self.rows / self.seconds


# The paths. Each returns the number of rows and the sum of their money, as read where they arrived.


def copy_to_nowhere(subject: Subject) -> Money:
    """Read as fast as PostgreSQL sends, and drop the data: no other path can be faster."""
    with psycopg.connect(os.environ["SOURCE_DSN"]) as connection:
        with connection.cursor().copy(f"COPY (SELECT * FROM {pg(subject.table)}) TO STDOUT".encode()) as copy:  # noqa: S608
            for _ in copy:
                pass
        return _source_sum(subject, connection)


def clickhouse_pulls(subject: Subject) -> Money:
    """Let ClickHouse read the table with `postgresql()`, without stage or verification."""
    parts = conninfo_to_dict(os.environ["SOURCE_DSN"])
    columns = ", ".join(map(ch, subject.columns))
    with _client() as client:
        _create_target(subject, client)
        client.command(
            f"INSERT INTO {ch(DATABASE, subject.table)} ({columns}, {ch(subject.version)}) "  # noqa: S608
            f"SELECT {columns}, 1 FROM postgresql("
            "{address:String}, {database:String}, {table:String}, {user:String}, {password:String})",
            parameters={
                "address": f"{parts['host']}:{parts['port']}",
                "database": parts["dbname"],
                "table": subject.table,
                "user": parts["user"],
                "password": parts["password"],
            },
        )
        return _target_sum(subject, client, DATABASE)


def mirror(subject: Subject) -> Money:
    """Plan, split, stage, verify, publish and verify again, as a run of `etl_vendas` does."""
    from include.mirror.run import move_batch, plan_run

    engine = _engine(os.environ["SOURCE_DSN"])
    conf = {
        "inicio": "2000-01-01T00:00:00Z",
        "fim": datetime.now(UTC).isoformat(),
        "tabelas": [subject.table],
    }
    for batch in plan_run(engine, conf, (None, None)):
        move_batch(engine, batch, "bench", 1)
    with _client() as client:
        return _target_sum(subject, client, VENDAS.views)


def row_tuples(subject: Subject) -> Money:
    """Fetch rows as Python tuples and insert them, as most home-made pipelines do. Moves one row in ten."""
    columns = ", ".join(map(pg, subject.columns))
    with psycopg.connect(os.environ["SOURCE_DSN"]) as connection, _client() as client:
        _create_target(subject, client)
        cursor = connection.cursor("rows")
        cursor.execute(f"SELECT {columns} FROM {pg(subject.table)} {_share(subject, TUPLE_SHARE)}".encode())  # noqa: S608
        while rows := cursor.fetchmany(50_000):
            client.insert(
                subject.table,
                [(*row, 1) for row in rows],
                column_names=[*subject.columns, subject.version],
                database=DATABASE,
            )
        return _target_sum(subject, client, DATABASE)


PATHS: dict[str, Callable[[Subject], Money]] = {
    "COPY to nowhere": copy_to_nowhere,
    "postgresql()": clickhouse_pulls,
    "mirror": mirror,
    "row tuples": row_tuples,
}


def _clickhouse() -> ClickHouse:
    port, password = int(os.environ["CLICKHOUSE_PORT"]), os.environ["CLICKHOUSE_PASSWORD"]
    return ClickHouse(Path(), port, "bench", password, Path())


def _client() -> Any:
    return _clickhouse().client(compress=False)


def _engine(dsn: str) -> Engine:
    # Imported here, because these imports take a second and `--help` does not need them.
    from include.mirror.engine import Engine, Options
    from include.mirror.source.session import Source
    from include.mirror.warehouse.client import Warehouse

    return Engine(
        VENDAS,
        Source(dsn, ZoneInfo("UTC")),
        Warehouse(lambda: _clickhouse().client(compress=False), VENDAS.storage, VENDAS.views),
        Options(grace=timedelta(milliseconds=1)),
    )


def _create_target(subject: Subject, client: Any) -> None:
    client.command(f"CREATE DATABASE IF NOT EXISTS {DATABASE}")
    client.command(f"DROP TABLE IF EXISTS {ch(DATABASE, subject.table)} SYNC")
    client.command(subject.create)


def _share(subject: Subject, share: int) -> str:
    return f"WHERE {pg(subject.key)} % {share} = 0"


def _source_sum(subject: Subject, connection: psycopg.Connection[Any], share: int = 1) -> Money:
    row = connection.execute(
        f"SELECT count(*), sum({pg(subject.money)})::text FROM {pg(subject.table)} {_share(subject, share)}".encode()  # noqa: S608
    ).fetchone()
    return (row[0], row[1]) if row else (0, "0")


def _target_sum(subject: Subject, client: Any, database: str) -> Money:
    rows, total = client.query(
        f"SELECT count(), sum({ch(subject.money)}) FROM {ch(database, subject.table)}"  # noqa: S608
    ).result_rows[0]
    return rows, str(total)


def work(path: str) -> None:
    """Run one path in this process; print time, memory and what arrived as JSON.

    Modules are imported before the clock starts: a task's start-up belongs to Airflow, and is the same for every path.
    """
    for module in (
        "adbc_driver_postgresql.dbapi",
        "clickhouse_connect",
        "include.mirror.run",
    ):
        importlib.import_module(module)
    subject = Subject.given()
    started, cpu_before = time.perf_counter(), time.process_time()
    rows, total = PATHS[path](subject)
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu_before
    print(json.dumps([rows, total, seconds, cpu, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024]))


def measure(path: str, environment: dict[str, str], expected: Money) -> Result:
    """Run one path in a process of its own. Raises click.ClickException if the rows that arrived differ from `expected`."""
    command = [sys.executable, "-m", "local.bench.mirror", "--worker", path]
    done = subprocess.run(command, env=environment, check=False, capture_output=True, text=True)
    if done.returncode:
        raise click.ClickException(f"{path} failed:\n{done.stderr}")
    rows, total, seconds, cpu, memory = json.loads(done.stdout.splitlines()[-1])
    if (rows, total) != expected:
        raise click.ClickException(
            f"{path} delivered {rows} rows worth {total}, not {expected[0]} worth {expected[1]}"
        )
    return Result(path, rows, seconds, cpu, memory)


def compare(table: str, rows: int, rounds: int, console: Console) -> list[Result]:
    """Fill a source with about `rows` rows of a table, and run every path `rounds` times, in turn."""
    with TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # PostgreSQL may run as another user
        postgres = Postgres(folder / "pg", free_port(), token_urlsafe(12), folder / "pg.log")
        clickhouse = ClickHouse(folder / "ch", free_port(), "bench", token_urlsafe(12), folder / "ch.log")
        with postgres, clickhouse:
            postgres.create_database("vendas")
            dsn = postgres.dsn("vendas")
            base.create(dsn, indexes=True)
            console.print(f"Filling the source with about {rows:,} rows of {table}")
            bulk(dsn, sales=round(rows / ROWS_PER_SALE[table]), seed=1)
            with psycopg.connect(dsn, autocommit=True) as connection:
                connection.execute("VACUUM ANALYZE")
                connection.execute("CHECKPOINT")
                subject = Subject.find(table, dsn)
                expected = {path: _source_sum(subject, connection) for path in PATHS}
                expected["row tuples"] = _source_sum(subject, connection, TUPLE_SHARE)
            environment = {
                **os.environ,
                "SOURCE_DSN": dsn,
                "BENCH_SUBJECT": json.dumps(asdict(subject)),
                "CLICKHOUSE_PORT": str(clickhouse.port),
                "CLICKHOUSE_PASSWORD": clickhouse.password,
            }
            results = []
            for number in range(rounds):
                for path in PATHS:
                    with clickhouse.client() as client:
                        for database in (VENDAS.storage, VENDAS.views):
                            client.command(f"DROP DATABASE IF EXISTS {database} SYNC")
                    result = measure(path, environment, expected[path])
                    console.print(f"round {number + 1}: {path:16} {result.rate:>10,.0f} rows/s")
                    results.append(result)
            return results


def report(results: list[Result], console: Console) -> float:
    """Print medians with their spread; return the median of the rounds' ratios of the mirror to `postgresql()`."""
    table = Table(box=None, pad_edge=False)
    table.add_column("path")
    # Headings of several lines, so that the table fits into 80 columns without cutting a number.
    for heading in (
        "rows",
        "rows/s\nmedian",
        "rows/s\nlowest",
        "rows/s\nhighest",
        "worker\nCPU s",
        "worker\npeak MB",
    ):
        table.add_column(heading, justify="right", overflow="fold")
    by_path = {path: [result for result in results if result.path == path] for path in PATHS}
    for path, runs in by_path.items():
        rates = [run.rate for run in runs]
        table.add_row(
            path,
            f"{runs[0].rows:,}",
            f"{statistics.median(rates):,.0f}",
            f"{min(rates):,.0f}",
            f"{max(rates):,.0f}",
            f"{statistics.median(run.cpu_seconds for run in runs):.1f}",
            f"{max(run.memory_mb for run in runs):.0f}",
        )
    console.print(table)
    return statistics.median(
        ours.rate / theirs.rate
        for ours, theirs in zip(by_path["mirror"], by_path["postgresql()"], strict=True)
    )


@click.command(help=__doc__)
@click.option("--table", type=click.Choice(list(ROWS_PER_SALE)), default="item_venda", show_default=True)
@click.option("--rows", type=click.IntRange(1_000), default=1_000_000, show_default=True)
@click.option("--rounds", type=click.IntRange(1), default=3, show_default=True)
@click.option(
    "--output", type=click.Path(path_type=Path), default=Path(".local/bench.json"), show_default=True
)
@click.option("--worker", type=click.Choice(list(PATHS)), hidden=True)
def main(table: str, rows: int, rounds: int, output: Path, worker: str | None) -> None:
    """Measure, print the figures, and write them to `output`."""
    if worker:
        work(worker)
        return
    console = Console()
    results = compare(table, rows, rounds, console)
    ratio = report(results, console)
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(
        json.dumps({"ratio": ratio, "results": [asdict(result) for result in results]}, indent=2)
    )
    print(f"mirror / postgresql() = {ratio:.2f}")


if __name__ == "__main__":
    main()
