"""How fast the mirror is, beside what PostgreSQL and ClickHouse do by themselves: `python -m local.bench`.

Every path moves the same table, `item_venda`, between the same two embedded servers, in a process of its own,
in turn and several times over, so that a machine that speeds up or slows down does so for all. What arrived is
counted and summed each time. Quote the ratios: the rates are this machine's.
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
from typing import Any
from zoneinfo import ZoneInfo

import click
import psycopg
from psycopg.conninfo import conninfo_to_dict
from rich.console import Console
from rich.table import Table

from include.vendas.tables import TABLES
from local.clickhouse import ClickHouse
from local.postgres import Postgres
from local.server import free_port
from local.source import base
from local.source.bulk import bulk

TABLE = "item_venda"
ITEMS_PER_SALE = 4.5
TUPLE_SHARE = 10
"""Row tuples are so slow that only one row in ten goes that way."""

Money = tuple[int, str]
"""Rows and the sum of `valor_total` as text: what every path has to deliver."""


@dataclass(frozen=True)
class Result:
    """One run of one path: seconds of wall clock and of the worker's CPU, peak memory of the worker in MB."""

    path: str
    rows: int
    seconds: float
    cpu_seconds: float
    memory_mb: float

    @property
    def rate(self) -> float:
        """Rows per second."""
        return self.rows / self.seconds


# The paths. Each returns the number of rows and their sum of money, as found at its end.


def copy_to_nowhere() -> Money:
    """Read as fast as PostgreSQL sends, and throw it away: nothing can be faster."""
    with psycopg.connect(os.environ["SOURCE_DSN"]) as connection:
        with connection.cursor().copy(f"COPY (SELECT * FROM {TABLE}) TO STDOUT") as copy:  # noqa: S608 - a constant
            for _ in copy:
                pass
        return _source_sum(connection)


def clickhouse_pulls() -> Money:
    """Let ClickHouse pull the table by itself, without stage or verification."""
    parts = conninfo_to_dict(os.environ["SOURCE_DSN"])
    with _client() as client:
        _create_target(client)
        client.command(
            f"INSERT INTO bench.{TABLE} SELECT *, 1 AS version, 0 AS is_deleted FROM postgresql("  # noqa: S608
            "{address:String}, {database:String}, {table:String}, {user:String}, {password:String})",
            parameters={
                "address": f"{parts['host']}:{parts['port']}",
                "database": parts["dbname"],
                "table": TABLE,
                "user": parts["user"],
                "password": parts["password"],
            },
        )
        return _target_sum(client, f"bench.{TABLE}")


def mirror() -> Money:
    """Plan, split, stage, verify, publish and verify again, as a run of `etl_vendas` does."""
    from include.mirror.move import Mirror
    from include.mirror.source import Source
    from include.mirror.warehouse import Warehouse
    from include.vendas import etl, settings
    from include.vendas.tables import SQL

    chosen = settings.load()
    engine = Mirror(
        Source(os.environ["SOURCE_DSN"], ZoneInfo("UTC"), timedelta(hours=1)),
        Warehouse(lambda: _clickhouse().client(compress="lz4")),
        TABLES,
        SQL,
        grace=timedelta(milliseconds=1),
    )
    conf = {"inicio": "2000-01-01T00:00:00Z", "fim": datetime.now(UTC).isoformat(), "tabelas": [TABLE]}
    for batch in etl.plan_windows(engine, chosen, conf, (None, None)):
        etl.move_batch(engine, batch, "bench", 1)
    with _client() as client:
        return _target_sum(client, f"vendas_dw.{TABLE}")


def row_tuples() -> Money:
    """Fetch rows as Python tuples and insert them: what most home-made pipelines do. One row in ten."""
    spec = TABLES[TABLE]
    names = [column.name for column in spec.columns]
    with psycopg.connect(os.environ["SOURCE_DSN"]) as connection, _client() as client:
        _create_target(client)
        cursor = connection.cursor("rows")
        cursor.execute(f"SELECT * FROM {TABLE} WHERE {spec.key} % {TUPLE_SHARE} = 0")  # noqa: S608
        while rows := cursor.fetchmany(50_000):
            client.insert(
                TABLE, [(*row, 1) for row in rows], column_names=[*names, "version"], database="bench"
            )
        return _target_sum(client, f"bench.{TABLE}")


PATHS: dict[str, Callable[[], Money]] = {
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


def _create_target(client: Any) -> None:
    client.command("CREATE DATABASE IF NOT EXISTS bench")
    client.command(f"DROP TABLE IF EXISTS bench.{TABLE} SYNC")
    storage = TABLES[TABLE].create_table.read_text()
    client.command(storage.replace("vendas_raw.", "bench."))


def _source_sum(connection: psycopg.Connection[Any], share: int = 1) -> Money:
    row = connection.execute(
        f"SELECT count(*), sum(valor_total)::text FROM {TABLE} WHERE {TABLES[TABLE].key} % {share} = 0".encode()  # noqa: S608
    ).fetchone()
    return (row[0], row[1]) if row else (0, "0")


def _target_sum(client: Any, table: str) -> Money:
    rows, total = client.query(f"SELECT count(), sum(valor_total) FROM {table}").result_rows[0]  # noqa: S608
    return rows, str(total)


def work(path: str) -> None:
    """Run one path in this process and print what it took and what arrived, as JSON.

    Modules are loaded before the clock starts: a task's start-up is Airflow's, and the same for every path.
    """
    for module in (
        "adbc_driver_postgresql.dbapi",
        "clickhouse_connect",
        "include.vendas.etl",
        "include.mirror.verify",
    ):
        importlib.import_module(module)
    started, cpu_before = time.perf_counter(), time.process_time()
    rows, total = PATHS[path]()
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu_before
    print(json.dumps([rows, total, seconds, cpu, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024]))


def measure(path: str, environment: dict[str, str], expected: Money) -> Result:
    """Run one path in a process of its own; raise click.ClickException when not exactly everything arrived."""
    command = [sys.executable, "-m", "local.bench", "--worker", path]
    done = subprocess.run(command, env=environment, check=False, capture_output=True, text=True)
    if done.returncode:
        raise click.ClickException(f"{path} failed:\n{done.stderr}")
    rows, total, seconds, cpu, memory = json.loads(done.stdout.splitlines()[-1])
    if (rows, total) != expected:
        raise click.ClickException(
            f"{path} delivered {rows} rows worth {total}, not {expected[0]} worth {expected[1]}"
        )
    return Result(path, rows, seconds, cpu, memory)


def compare(rows: int, rounds: int, console: Console) -> list[Result]:
    """Fill a source with about `rows` items and run every path `rounds` times, in turn."""
    with TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # PostgreSQL may run as another user
        postgres = Postgres(folder / "pg", free_port(), token_urlsafe(12), folder / "pg.log")
        clickhouse = ClickHouse(folder / "ch", free_port(), "bench", token_urlsafe(12), folder / "ch.log")
        with postgres, clickhouse:
            postgres.create_database("vendas")
            dsn = postgres.dsn("vendas")
            base.create(dsn, indexes=True)
            console.print(f"Filling the source with about {rows:,} rows of {TABLE}")
            bulk(dsn, sales=round(rows / ITEMS_PER_SALE), seed=1)
            with psycopg.connect(dsn, autocommit=True) as connection:
                connection.execute("VACUUM ANALYZE")
                connection.execute("CHECKPOINT")
                expected = {path: _source_sum(connection) for path in PATHS}
                expected["row tuples"] = _source_sum(connection, TUPLE_SHARE)
            environment = {
                **os.environ,
                "SOURCE_DSN": dsn,
                "CLICKHOUSE_PORT": str(clickhouse.port),
                "CLICKHOUSE_PASSWORD": clickhouse.password,
            }
            results = []
            for number in range(rounds):
                for path in PATHS:
                    with clickhouse.client() as client:
                        for database in ("vendas_raw", "vendas_dw"):
                            client.command(f"DROP DATABASE IF EXISTS {database} SYNC")
                    result = measure(path, environment, expected[path])
                    console.print(f"round {number + 1}: {path:16} {result.rate:>10,.0f} rows/s")
                    results.append(result)
            return results


def report(results: list[Result], console: Console) -> float:
    """Print medians with their spread; return the ratio of the mirror to `postgresql()`, pair by pair."""
    table = Table(box=None, pad_edge=False)
    table.add_column("path")
    # Each word in a line of its own: all columns fit into 80, with every number whole.
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
@click.option("--rows", type=click.IntRange(1_000), default=1_000_000, show_default=True)
@click.option("--rounds", type=click.IntRange(1), default=3, show_default=True)
@click.option(
    "--output", type=click.Path(path_type=Path), default=Path(".local/bench.json"), show_default=True
)
@click.option("--worker", type=click.Choice(list(PATHS)), hidden=True)
def main(rows: int, rounds: int, output: Path, worker: str | None) -> None:
    """Measure, print, and write the figures."""
    if worker:
        work(worker)
        return
    console = Console()
    results = compare(rows, rounds, console)
    ratio = report(results, console)
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(
        json.dumps({"ratio": ratio, "results": [asdict(result) for result in results]}, indent=2)
    )
    print(f"mirror / postgresql() = {ratio:.2f}")


if __name__ == "__main__":
    main()
