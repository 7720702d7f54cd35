"""The command line of the sales system: `python -m local.source create | bulk | simulate | selling`.

The environment variable SOURCE_DSN names the database. It is a libpq URI with a password, which other users could read on
the command line.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import click
import psycopg
from psycopg.conninfo import conninfo_to_dict

from local.source import base, simulator
from local.source.base import SourceError
from local.source.bulk import bulk as write_history
from local.source.simulator import OTHERS, SALES, Stats, Traffic

DEFAULTS = Traffic()


class Commands(click.Group):
    """Prints expected errors on one line, and exits with code 1."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except (SourceError, ValueError) as error:
            raise click.ClickException(str(error)) from None
        except psycopg.Error as error:
            raise click.ClickException(f"database: {' '.join(str(error).split())}") from None


def source_dsn() -> str:
    """Return SOURCE_DSN. An error about it does not show it, because it contains a password."""
    dsn = os.environ.get("SOURCE_DSN")
    if not dsn:
        raise click.ClickException(
            "SOURCE_DSN is not set: it must be postgresql://user:password@host:port/database"
        )
    try:
        conninfo_to_dict(dsn)
    except psycopg.ProgrammingError:
        raise click.ClickException(
            "SOURCE_DSN can't be parsed (not shown, because it contains a password):"
            " it must be postgresql://user:password@host:port/database"
        ) from None
    return dsn


@click.group(cls=Commands, help=__doc__)
def main() -> None:
    """The group of all commands."""


seed_option = click.option("--seed", default=1, show_default=True, help="The same seed gives the same data.")


@main.command(help="Create the schema and the base data; existing data stays unchanged.")
@click.option(
    "--clients", type=click.IntRange(1), default=2_000, show_default=True, help="Number of clients."
)
@click.option(
    "--products", type=click.IntRange(20), default=200, show_default=True, help="Number of products."
)
@click.option(
    "--indexes/--no-indexes", default=False, show_default=True, help="Create indexes on updated_at too."
)
@seed_option
def create(clients: int, products: int, indexes: bool, seed: int) -> None:
    """Print the number of rows written per table, as JSON."""
    print(json.dumps(asdict(base.create(source_dsn(), seed, clients, products, indexes))))


@main.command(help="Write SALES sales with their items, spread over past days.")
@click.argument("sales", type=click.IntRange(1))
@click.option(
    "--days",
    type=click.FloatRange(0, min_open=True),
    default=30.0,
    show_default=True,
    help="How many days back.",
)
@seed_option
def bulk(sales: int, days: float, seed: int) -> None:
    """Print the number of rows written, and the seconds, as JSON."""
    result = write_history(
        source_dsn(),
        sales,
        seed,
        days,
        progress=lambda done: print(f"{done:,} of {sales:,} sales", file=sys.stderr),
    )
    print(json.dumps(asdict(result)))


def share_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add one option for each share of the traffic."""
    for name in reversed((*SALES, *OTHERS)):
        kind = "Share of the sales" if name in SALES else "Transactions per sale"
        command = click.option(
            f"--{name.replace('_', '-')}",
            type=click.FloatRange(0, 1),
            default=getattr(DEFAULTS, name),
            show_default=True,
            help=f"{kind}: {name.replace('_', ' ')}.",
        )(command)
    return command


@main.command(help="Write like an application until SIGTERM or Ctrl-C; then long transactions end at once.")
@click.option(
    "--rate",
    type=click.FloatRange(0, min_open=True),
    default=DEFAULTS.rate,
    show_default=True,
    help="Sales per second.",
)
@click.option(
    "--hold",
    type=click.FloatRange(0),
    nargs=2,
    default=DEFAULTS.hold,
    show_default=True,
    help="Shortest and longest duration of a long transaction, in seconds.",
)
@click.option("--writers", type=click.IntRange(1), help="Connections. [default: what the traffic needs]")
@click.option("--seconds", type=click.FloatRange(0, min_open=True), help="Stop after this time.")
@click.option(
    "--every",
    type=click.FloatRange(0),
    default=10.0,
    show_default=True,
    help="Seconds between progress lines; 0 for none.",
)
@seed_option
@share_options
def simulate(
    rate: float,
    hold: tuple[float, float],
    writers: int | None,
    seconds: float | None,
    every: float,
    seed: int,
    **shares: float,
) -> None:
    """Print the committed totals as a JSON line at intervals, and at the end."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    printed = 0.0

    def report(stats: Stats) -> None:
        nonlocal printed
        if every and stats.seconds >= printed + every:
            printed = stats.seconds
            print_stats(stats)

    traffic = Traffic(rate=rate, hold=hold, **shares)
    print_stats(simulator.run(source_dsn(), traffic, seed, writers, stop, seconds, report))


@main.command(help="Fail unless a sale was written within the last minutes; the health check of `simulate`.")
@click.option(
    "--minutes",
    type=click.FloatRange(0, min_open=True),
    default=2.0,
    show_default=True,
    help="Number of minutes.",
)
def selling(minutes: float) -> None:
    """Print the time of the newest sale, by the database's clock."""
    with psycopg.connect(source_dsn()) as connection:
        found = connection.execute(
            "SELECT max(updated_at), max(updated_at) > LOCALTIMESTAMP - %s * interval '1 minute' FROM venda",
            [minutes],
        ).fetchone()
    newest, recent = found or (None, False)
    if not recent:
        raise SourceError(
            f"no sale was written within {minutes:g} minutes; {f'the newest is of {newest}' if newest else 'there is none'}"
        )
    print(newest)


def print_stats(stats: Stats) -> None:
    """Print the figures on one line, without buffering: the reader is mostly a pipe."""
    print(json.dumps(stats.as_json()), flush=True)


if __name__ == "__main__":
    main(prog_name="python -m local.source")
