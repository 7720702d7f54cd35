"""Measure the marts: `python -m local.bench.marts`.

A sales system is mirrored between two embedded servers. dbt builds the marts from nothing, and then again after small
windows. After each run, the marts' sums are compared with the source. At last, the sales of the page Warehouse are read from
the marts and from the mirror's views, and both must give the same. Quote the ratios: the times are this machine's.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

import click
import psycopg
from rich.console import Console
from rich.table import Table

from include.marts import dbt, results
from include.mirror.engine import Engine, Options
from include.mirror.run import check_run, move_batch, plan_run
from include.mirror.source.session import Source
from include.mirror.warehouse.client import Warehouse
from include.vendas import sales
from include.vendas.tables import VENDAS
from local.bench.page import write_figures
from local.bench.reads import servers
from local.servers.clickhouse import ClickHouse
from local.source import base
from local.source.bulk import bulk

ITEMS_PER_SALE = 4.5
WINDOW = 500
"""Each window has so many new sales, and as many old ones that change."""
DAYS = 365

CHANGE = """
    UPDATE venda SET entregue = 'S', updated_at = clock_timestamp() WHERE venda_id %% %(every)s = %(number)s;
    WITH sold AS (
        INSERT INTO venda (cliente_id, data, entregue, valor_total)
        SELECT cliente_id, current_date, 'N', 10 FROM cliente ORDER BY cliente_id LIMIT %(count)s RETURNING venda_id
    )
    INSERT INTO item_venda (venda_id, produto_id, valor_unitario, quantidade, valor_total)
    SELECT venda_id, (SELECT min(produto_id) FROM produto), 10, 1, 10 FROM sold;
"""
SOURCE = "SELECT count(*), sum(valor_total), count(*) FILTER (WHERE entregue = 'S') FROM venda"
BY_DAY = "SELECT sum(vendas), sum(valor_total), sum(entregues) FROM vendas_marts.vendas_por_dia"
BY_CITY = "SELECT sum(vendas), sum(valor_total), sum(entregues) FROM vendas_marts.vendas_por_cidade"
ITEMS = "SELECT sum(quantidade), sum(valor_total) FROM item_venda"
BY_PRODUCT = "SELECT sum(quantidade), sum(valor_total) FROM vendas_marts.produtos_por_dia"

Value = TypeVar("Value")


@dataclass(frozen=True)
class Figures:
    """Seconds. `full` and `incremental` are whole runs of dbt with its start; `models` and `again` those of each model.

    `answers` are the times of the page's reads, by what is read and from where. `counts` are the rows of the source.
    """

    counts: Mapping[str, int]
    full: float
    incremental: float
    models: Mapping[str, float]
    again: Mapping[str, float]
    answers: Mapping[str, float]

    @property
    def ratio(self) -> float:
        """The time of an incremental run, as a share of a full one's."""
        return self.incremental / self.full


def timed(work: Callable[[], Value]) -> tuple[float, Value]:
    """Return the seconds that a call takes, and what it returns."""
    began = time.perf_counter()
    value = work()
    return time.perf_counter() - began, value


class Bench:
    """The two servers, with the mirror between them."""

    def __init__(self, dsn: str, clickhouse: ClickHouse) -> None:
        self.dsn, self.clickhouse = dsn, clickhouse
        self.engine = Engine(
            VENDAS,
            Source(dsn, ZoneInfo("UTC")),
            Warehouse(clickhouse.client, VENDAS.storage, VENDAS.views),
            Options(grace=timedelta(milliseconds=1)),
        )
        # What dbt/profiles.yml reads.
        self.environment = {
            "MARTS_HOST": "127.0.0.1",
            "MARTS_PORT": str(clickhouse.port),
            "MARTS_USER": clickhouse.user,
            "DBT_ENV_SECRET_MARTS_PASSWORD": clickhouse.password,
        }

    def ask(self, statement: str) -> tuple[Any, ...]:
        """Return the one row that the source answers."""
        with psycopg.connect(self.dsn) as connection:
            row = connection.execute(statement.encode()).fetchone()
        return tuple(row or ())

    def move(self) -> None:
        """Run the mirror once."""
        began = datetime.now(UTC)
        planned = plan_run(self.engine, {}, (began - timedelta(seconds=1), began))
        for batch in planned:
            move_batch(self.engine, batch, "bench", 1)
        check_run(self.engine, planned)

    def change(self, number: int) -> None:
        """Let a small window happen: new sales, and old ones that are delivered."""
        count = min(WINDOW, self.ask("SELECT count(*) FROM cliente")[0])
        every = max(1, self.ask("SELECT count(*) FROM venda")[0] // WINDOW)
        with psycopg.connect(self.dsn) as connection, connection.cursor() as cursor:
            for statement in CHANGE.strip().split(";\n"):
                if statement.strip():
                    cursor.execute(
                        statement.encode(), {"every": every, "number": number % every, "count": count}
                    )

    def build(self) -> tuple[float, dict[str, float]]:
        """Run dbt; return its seconds, and those of each model. Raises ClickException if a sum differs from the source."""
        seconds, found = timed(lambda: dbt.build(self.environment))
        with self.clickhouse.client() as client:
            for query, marts in ((SOURCE, (BY_DAY, BY_CITY)), (ITEMS, (BY_PRODUCT,))):
                expected = self.ask(query)
                for mart in marts:
                    [row] = client.query(mart).result_rows
                    if tuple(row) != expected:
                        raise click.ClickException(f"{mart} is {row}, and the source has {expected}")
        return seconds, {one.name: one.seconds for one in found if one.kind == "model"}

    def answers(self, rounds: int) -> dict[str, float]:
        """Return the median seconds of the page's reads. The marts are dropped."""
        today: date = self.ask("SELECT max(data) FROM venda")[0]
        spans = {
            "30 days": sales.Range(today - sales.USUAL, today),
            "a year": sales.Range(today - timedelta(days=DAYS - 1), today),
        }
        times: dict[str, list[float]] = {}
        with self.clickhouse.client() as client:

            def read(source: str) -> dict[str, sales.Sales]:
                found = {}
                for _ in range(rounds):
                    for name, span in spans.items():
                        seconds, found[name] = timed(lambda: sales.read(client, VENDAS.views, span))  # noqa: B023 - called now
                        times.setdefault(f"sales of {name}, {source}", []).append(seconds)
                return found

            of_marts = read("from the marts")
            for _ in range(rounds):
                times.setdefault("results of the models", []).append(timed(lambda: results.read(client))[0])
            client.command(f"DROP DATABASE {results.DATABASE} SYNC")
            of_views = read("from the views")
        if of_views != {name: replace(one, built=None) for name, one in of_marts.items()}:
            raise click.ClickException("the marts and the views give the page other sales")
        return {name: statistics.median(found) for name, found in times.items()}


def measure(rows: int, rounds: int, console: Console) -> Figures:
    """Return the figures for about `rows` sales and items together."""
    with TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # PostgreSQL may run as another user
        with servers(folder) as (dsn, clickhouse):
            base.create(dsn, indexes=True)
            console.print(f"Filling the source with about {rows:,} sales and items")
            bulk(dsn, sales=max(1, round(rows / (1 + ITEMS_PER_SALE))), seed=1, days=DAYS)
            bench = Bench(dsn, clickhouse)
            console.print("Mirroring it")
            bench.move()
            console.print("Building the marts")
            full, models = bench.build()
            runs = []
            for number in range(rounds + 1):
                bench.change(number)
                bench.move()
                runs.append(bench.build())
            # The first run after a new table reads everything once more.
            del runs[0]
            counts = {
                table: bench.ask(f"SELECT count(*) FROM {table}")[0]  # noqa: S608 - constants
                for table in ("venda", "item_venda")
            }
            return Figures(
                counts,
                full,
                statistics.median(seconds for seconds, _ in runs),
                models,
                {model: statistics.median(found[model] for _, found in runs) for model in models},
                bench.answers(rounds),
            )


def lines(figures: Figures) -> list[str]:
    """Return the figures as tables of Markdown."""
    counts = ", ".join(f"{count:,} rows of `{table}`" for table, count in figures.counts.items())
    return [
        f"{counts}; an incremental run takes {figures.ratio:.2f} of a full one.",
        "",
        "| model | full, s | incremental, s |",
        "|---|---|---|",
        *(
            f"| `{name}` | {figures.models[name]:.1f} | {figures.again[name]:.1f} |"
            for name in figures.models
        ),
        f"| the whole run, with dbt's start and tests | {figures.full:.1f} | {figures.incremental:.1f} |",
        "",
        "| the page reads | ms |",
        "|---|---|",
        *(f"| {name} | {seconds * 1000:.0f} |" for name, seconds in figures.answers.items()),
    ]


@click.command(help=__doc__)
@click.option("--rows", type=click.IntRange(10_000), default=1_000_000, show_default=True)
@click.option("--rounds", type=click.IntRange(1), default=3, show_default=True)
@click.option("--page", type=click.Path(path_type=Path), help="a page to write the figures into")
@click.option(
    "--output", type=click.Path(path_type=Path), default=Path(".local/bench-marts.json"), show_default=True
)
def main(rows: int, rounds: int, page: Path | None, output: Path) -> None:
    """Measure, print the figures, and write them to `output`."""
    console = Console()
    figures = measure(rows, rounds, console)
    table = Table("model", "full, s", "incremental, s", box=None, pad_edge=False)
    for name, seconds in {**figures.models, "whole run": figures.full}.items():
        again = figures.again.get(name, figures.incremental)
        table.add_row(name, f"{seconds:.1f}", f"{again:.1f}")
    console.print(table)
    for name, seconds in figures.answers.items():
        console.print(f"{name}: {seconds * 1000:.0f} ms")
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(asdict(figures), indent=2))
    if page is not None:
        write_figures(page, "marts", lines(figures))


if __name__ == "__main__":
    main()
