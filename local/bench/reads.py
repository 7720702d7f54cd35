"""Measure how quickly the mirror's views are read: `python -m local.bench.reads`.

A sales system is mirrored between two embedded servers, and each table is also copied into a plain MergeTree table with the
same order. Then the same queries ask the views and the plain tables, in turn: after the load; when windows have updated old
rows and nothing is merged yet; and when a later run has merged. Quote the ratios: the times are this machine's.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from secrets import token_urlsafe
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import click
import psycopg
from rich.console import Console
from rich.table import Table

from include.mirror.engine import Engine, Options
from include.mirror.run import check_run, move_batch, plan_run
from include.mirror.source.session import Source
from include.mirror.warehouse.client import Warehouse
from include.vendas.tables import VENDAS
from local.bench.page import write_figures
from local.servers.clickhouse import ClickHouse
from local.servers.postgres import Postgres
from local.servers.server import free_port
from local.source import base
from local.source.bulk import bulk
from local.waiting import until

PLAIN = "plain"
"""The database of the plain tables."""

PATIENCE = 900.0
"""Seconds to wait for the run that merges."""

WINDOWS = 3
SHARE = 1000
"""Each window updates one row in so many, all over the table."""

QUERIES = {
    "count": "SELECT count() FROM {database}.item_venda",
    "sum by group": "SELECT produto_id, sum(valor_total) FROM {database}.item_venda GROUP BY produto_id",
    "join of four": (
        "SELECT c.cidade_id, p.ativo, sum(i.valor_total) FROM {database}.item_venda AS i"
        " JOIN {database}.venda AS v USING (venda_id) JOIN {database}.cliente AS c ON c.cliente_id = v.cliente_id"
        " JOIN {database}.produto AS p ON p.produto_id = i.produto_id GROUP BY ALL"
    ),
    "point": "SELECT * FROM {database}.item_venda WHERE item_id = {key}",
    "range": "SELECT sum(valor_total) FROM {database}.item_venda WHERE item_id BETWEEN {key} AND {key} + 10000",
}


@contextmanager
def servers(folder: Path) -> Iterator[tuple[str, ClickHouse]]:
    """Start both servers; yield the source's DSN, and the warehouse."""
    postgres = Postgres(folder / "pg", free_port(), token_urlsafe(12), folder / "pg.log")
    clickhouse = ClickHouse(folder / "ch", free_port(), "bench", token_urlsafe(12), folder / "ch.log")
    with postgres, clickhouse:
        postgres.create_database("vendas")
        yield postgres.dsn("vendas"), clickhouse


class Asked(NamedTuple):
    """How many times as long a query takes through the views as on the plain tables, and its milliseconds there. Both are
    medians, the ratio of pairs."""

    ratio: float
    milliseconds: float

    def __str__(self) -> str:
        return f"{self.ratio:.1f} ({self.milliseconds:.0f} ms)"


def ask(client: Any, rounds: int, key: int) -> dict[str, Asked]:
    """Ask each query of the views and of the plain tables, in turn."""
    pairs: dict[str, list[tuple[float, float]]] = {name: [] for name in QUERIES}
    for _ in range(rounds):
        for name, query in QUERIES.items():
            times, answers = [], []
            for database in (VENDAS.views, PLAIN):
                began = time.perf_counter()
                rows = client.query(query.format(database=database, key=key)).result_rows
                times.append(time.perf_counter() - began)
                answers.append(sorted(map(repr, rows)))
            if answers[0] != answers[1]:
                raise click.ClickException(f"{name}: the view and the plain table differ")
            pairs[name].append((times[0], times[1]))
    return {
        name: Asked(
            statistics.median(view / plain for view, plain in found),
            statistics.median(view for view, _ in found) * 1000,
        )
        for name, found in pairs.items()
    }


def copy_plain(client: Any) -> None:
    """Copy the current rows of all views into plain tables."""
    client.command(f"DROP DATABASE IF EXISTS {PLAIN} SYNC")
    client.command(f"CREATE DATABASE {PLAIN}")
    for name in VENDAS.names:
        client.command(
            f"CREATE TABLE {PLAIN}.{name} ENGINE = MergeTree ORDER BY {key_of(client, name)}"  # noqa: S608 - constants
            f" AS SELECT * FROM {VENDAS.views}.{name}"
        )
        client.command(f"OPTIMIZE TABLE {PLAIN}.{name} FINAL")


def measure(rows: int, rounds: int, console: Console) -> dict[str, dict[str, Asked]]:
    """Return the figures by state and query."""
    with TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # PostgreSQL may run as another user
        with servers(folder) as (dsn, clickhouse), clickhouse.client() as client:
            base.create(dsn, indexes=True)
            console.print(f"Filling the source with about {rows:,} rows of item_venda")
            bulk(dsn, sales=round(rows / 4.5), seed=1)
            engine = Engine(
                VENDAS,
                Source(dsn, ZoneInfo("UTC")),
                Warehouse(clickhouse.client, VENDAS.storage, VENDAS.views),
                Options(grace=timedelta(milliseconds=1)),
            )

            def run(*, checked: bool) -> None:
                began = datetime.now(UTC)
                planned = plan_run(engine, {}, (began - timedelta(seconds=1), began))
                for batch in planned:
                    move_batch(engine, batch, "bench", 1)
                if checked:
                    check_run(engine, planned)

            found = {}
            run(checked=True)
            copy_plain(client)
            found["after the load"] = ask(client, rounds, rows // 2)
            client.command(f"SYSTEM STOP MERGES {VENDAS.storage}.item_venda")
            for number in range(WINDOWS):
                with psycopg.connect(dsn, autocommit=True) as connection:
                    connection.execute(
                        "UPDATE item_venda SET quantidade = quantidade + 1 WHERE item_id %% %s = %s",
                        (SHARE, number),
                    )
                run(checked=False)
            copy_plain(client)
            found["windows came"] = ask(client, rounds, rows // 2)
            client.command(f"SYSTEM START MERGES {VENDAS.storage}.item_venda")

            def merged() -> bool:
                run(checked=True)
                return most_parts(client) == 1

            # A large partition is merged by the first run that comes long enough after the last merge.
            until(merged, PATIENCE, "no run merges item_venda", pause=5.0)
            found["the next run merged"] = ask(client, rounds, rows // 2)
            return found


def most_parts(client: Any) -> int:
    """Return how many parts the partition of item_venda with the most parts has."""
    return int(
        client.query(
            "SELECT max(parts) FROM (SELECT count() AS parts FROM system.parts WHERE active"
            " AND database = {database:String} AND table = 'item_venda' GROUP BY partition_id)",
            parameters={"database": VENDAS.storage},
        ).result_rows[0][0]
    )


def key_of(client: Any, name: str) -> str:
    """Return what a table of the mirror is sorted by."""
    return str(
        client.query(
            "SELECT sorting_key FROM system.tables WHERE database = {database:String} AND name = {name:String}",
            parameters={"database": VENDAS.storage, "name": name},
        ).result_rows[0][0]
    )


def write_page(page: Path, rows: int, found: Mapping[str, Mapping[str, Asked]]) -> None:
    """Replace the figures of the page."""
    lines = [f"| about {rows:,} rows | " + " | ".join(QUERIES) + " |", "|---|" + "---|" * len(QUERIES)]
    lines += [
        f"| {state} | " + " | ".join(str(asked[name]) for name in QUERIES) + " |"
        for state, asked in found.items()
    ]
    write_figures(page, "reads", lines)


@click.command(help=__doc__)
@click.option("--rows", type=click.IntRange(1_000), default=1_000_000, show_default=True)
@click.option("--rounds", type=click.IntRange(1), default=7, show_default=True)
@click.option("--page", type=click.Path(path_type=Path), help="a page to write the ratios into")
@click.option(
    "--output", type=click.Path(path_type=Path), default=Path(".local/bench-reads.json"), show_default=True
)
def main(rows: int, rounds: int, page: Path | None, output: Path) -> None:
    """Measure, print the figures, and write them to `output`."""
    console = Console()
    found = measure(rows, rounds, console)
    table = Table("view / plain table", *QUERIES, box=None, pad_edge=False)
    for state, asked in found.items():
        table.add_row(state, *(str(asked[name]) for name in QUERIES))
    console.print(table)
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(
        json.dumps(
            {
                "rows": rows,
                "found": {
                    state: {name: one._asdict() for name, one in asked.items()}
                    for state, asked in found.items()
                },
            },
            indent=2,
        )
    )
    if page is not None:
        write_page(page, rows, found)


if __name__ == "__main__":
    main()
