"""Measure the cost of a log of deleted keys for the source: `python -m local.bench.deletes`.

One embedded PostgreSQL has two equal tables; one of them has the triggers that `python -m include.mirror delete-log` prints.
The same rows are deleted from both: one row per transaction, as an application does, and a thousand, as a purge does. The
tables take turns, several times. Quote the ratios: the rates are this machine's.
"""

from __future__ import annotations

import statistics
import time
from pathlib import Path
from secrets import token_urlsafe
from tempfile import TemporaryDirectory
from typing import Any

import click
import psycopg
from click.testing import CliRunner
from rich.console import Console
from rich.table import Table

from include.mirror.__main__ import main as mirror_command
from local.servers.postgres import Postgres
from local.servers.server import free_port

Connection = psycopg.Connection[Any]
PLAIN, LOGGED = "plain", "logged"
AT_ONCE = (1, 1_000)
"""Rows per transaction."""
CREATE = """
    CREATE TABLE {table} (id bigint PRIMARY KEY, nome text, valor numeric(12, 2), updated_at timestamptz);
    INSERT INTO {table} SELECT n, 'row ' || n, n / 100.0, now() FROM generate_series(1, {rows}) n
"""


def make_log(dsn: str, connection: Connection, table: str) -> None:
    """Run the SQL that `delete-log` prints for a table."""
    printed = CliRunner().invoke(
        mirror_command, ["delete-log", "--source", dsn, "--table", f"public.{table}"]
    )
    if printed.exit_code:
        raise click.ClickException(printed.output)
    connection.execute(printed.stdout.encode())


def delete(connection: Connection, table: str, first: int, last: int, at_once: int) -> float:
    """Delete the rows with keys from `first` to `last`; return the rate in rows per second."""
    began = time.perf_counter()
    statement = f"DELETE FROM {table} WHERE id BETWEEN %s AND %s".encode()  # noqa: S608
    for start in range(first, last + 1, at_once):
        connection.execute(statement, [start, min(start + at_once - 1, last)], prepare=True)
    return (last - first + 1) / (time.perf_counter() - began)


def measure(folder: Path, rounds: int, single: int, many: int) -> dict[tuple[int, str], list[float]]:
    """Return the rates in rows per second, one per round, by (rows per transaction, table)."""
    counts = dict(zip(AT_ONCE, (single, many), strict=True))
    found: dict[tuple[int, str], list[float]] = {}
    postgres = Postgres(folder / "data", free_port(), token_urlsafe(12), folder / "log")
    with postgres, psycopg.connect(postgres.dsn(), autocommit=True) as connection:
        for table in (PLAIN, LOGGED):
            rows = rounds * sum(counts.values())
            connection.execute(CREATE.format(table=table, rows=rows).encode())
            connection.execute(f"VACUUM ANALYZE {table}".encode())
        make_log(postgres.dsn(), connection, LOGGED)
        first = 1
        for number in range(rounds):
            for at_once, count in counts.items():
                # The order alternates: the first table evicts the other's pages from the cache.
                for table in (PLAIN, LOGGED) if number % 2 else (LOGGED, PLAIN):
                    rate = delete(connection, table, first, first + count - 1, at_once)
                    found.setdefault((at_once, table), []).append(rate)
                first += count
        written = f'SELECT count(*) FROM mirror."public.{LOGGED}"'  # noqa: S608
        row = connection.execute(written.encode()).fetchone()
        if row is None or row[0] != first - 1:
            raise click.ClickException(f"{first - 1} rows were deleted, but the log has {row and row[0]}")
    return found


@click.command(help=__doc__)
@click.option("--rounds", type=click.IntRange(1), default=5, show_default=True)
@click.option(
    "--single",
    type=click.IntRange(1),
    default=5_000,
    show_default=True,
    help="Rows per round, one per transaction.",
)
@click.option(
    "--many",
    type=click.IntRange(1),
    default=200_000,
    show_default=True,
    help="Rows per round, 1,000 per transaction.",
)
def main(rounds: int, single: int, many: int) -> None:
    """Measure and print."""
    with TemporaryDirectory(prefix="bench-deletes-") as folder:
        found = measure(Path(folder), rounds, single, many)
    table = Table("rows per transaction", "rows/s without a log", "with a log", "ratio")
    for at_once in AT_ONCE:
        plain, logged = found[at_once, PLAIN], found[at_once, LOGGED]
        ratio = statistics.median(ours / theirs for ours, theirs in zip(logged, plain, strict=True))
        table.add_row(
            f"{at_once:,}",
            f"{statistics.median(plain):,.0f}",
            f"{statistics.median(logged):,.0f}",
            f"{ratio:.2f}",
        )
    Console().print(table)


if __name__ == "__main__":
    main()
