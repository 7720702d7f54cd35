"""The output of the demonstration: a view of its progress, and the tables at its end."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from types import TracebackType
from typing import Protocol, Self

from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from local.compare.database import TableDifference
from local.deployment.api import Run
from local.source.simulator import Stats

SHOWN_RUNS = 8
COLOURS = {"success": "green", "running": "yellow", "queued": "cyan", "failed": "bold red"}


class MovedFigures(Protocol):
    """Rows moved of one table, and the seconds that it took."""

    @property
    def rows(self) -> int: ...

    @property
    def seconds(self) -> float: ...


class View:
    """Shows the progress: a live view on a terminal, otherwise one line per event."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.began = time.monotonic()
        self.stats = Stats()
        self.runs: Sequence[Run] = ()
        self.rows = 0
        self._states: dict[str, str] = {}
        self._live = Live(get_renderable=self._render, console=console, refresh_per_second=2, transient=True)

    def __enter__(self) -> Self:
        if self.console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.console.is_terminal:
            self._live.stop()

    def step(self, text: str) -> None:
        """Print a line about an event."""
        self.console.print(
            Text(f"{time.monotonic() - self.began:5.0f} s  ", style="dim").append(text, style="default")
        )

    def sales(self, stats: Stats) -> None:
        """Store the simulator's latest figures."""
        self.stats = stats

    def progress(self, runs: Sequence[Run], rows: int) -> None:
        """Store the runs' states and the number of rows moved so far; without a terminal, print changed states."""
        self.runs, self.rows = runs, rows
        for run in runs:
            # On a terminal, the live view shows the states.
            if self._states.get(run.run_id) != run.state and not self.console.is_terminal:
                self.step(f"{run.run_type} run {_interval(run)}: {run.state}")
            self._states[run.run_id] = run.state

    def _render(self) -> RenderableType:
        stats = self.stats
        written = (
            f"{stats.sales:,} sales, {stats.items:,} items, {stats.deliveries:,} deliveries; "
            f"{stats.late_commits + stats.read_first_commits:,} committed late, {stats.rollbacks:,} rolled back"
        )
        figures = Table.grid(padding=(0, 2))
        figures.add_row("written", written)
        figures.add_row("moved", f"{self.rows:,} rows")
        figures.add_row("behind", _lag(self.runs))
        return Panel(
            Group(figures, runs_table(self.runs[-SHOWN_RUNS:])) if self.runs else figures,
            title="etl_vendas: PostgreSQL → ClickHouse",
            subtitle=f"{time.monotonic() - self.began:.0f} s",
        )


def _lag(runs: Sequence[Run]) -> str:
    ends = [run.end for run in runs if run.state == "success" and run.end is not None]
    return f"{(datetime.now(UTC) - max(ends)).total_seconds():.0f} s" if ends else "nothing has moved yet"


def _interval(run: Run) -> str:
    if run.start is not None and run.end is not None:
        return f"{run.start:%H:%M:%S} to {run.end:%H:%M:%S}"
    bounds = [datetime.fromisoformat(run.conf[name]) for name in ("inicio", "fim") if run.conf.get(name)]
    return " to ".join(f"{bound:%H:%M:%S}" for bound in bounds) + " again" if bounds else "without interval"


def runs_table(runs: Sequence[Run]) -> Table:
    """Return the runs with their intervals. Column `adjoins`: whether a scheduled one begins where the last one ended."""
    table = Table(box=None, pad_edge=False)
    for heading in ("run_type", "interval (UTC)", "adjoins", "state"):
        table.add_column(heading)
    table.add_column("seconds", justify="right")
    last_end = None
    for run in runs:
        adjoins = ""
        if run.run_type == "scheduled" and run.end is not None:
            adjoins = "" if last_end is None else "yes" if run.start == last_end else "no"
            last_end = run.end
        table.add_row(
            run.run_type,
            _interval(run),
            adjoins,
            Text(run.state, style=COLOURS.get(run.state, "default")),
            "" if run.seconds is None else f"{run.seconds:.1f}",
        )
    return table


def differences_tables(
    differences: Sequence[TableDifference], moved: Mapping[str, MovedFigures]
) -> RenderableType:
    """Return the figures of both servers per table: first the rows, then the money.

    There are two tables because one would not fit into 80 columns without cutting numbers.
    """
    rows = _figures_table("Rows, as each server counts them")
    if moved:
        rows.add_column("moved", justify="right", overflow="fold")
        rows.add_column("time", justify="right", overflow="fold")
    money = _figures_table("Money, as each server adds it up")
    for one in differences:
        figures = moved.get(one.table)
        # A name may contain Rich markup.
        table = escape(one.table)
        rows.add_row(
            table,
            _count(one.source.rows),
            _count(one.warehouse.rows),
            _verdict(rows_difference(one)),
            *([] if figures is None else [f"{figures.rows:,}", f"{figures.seconds:.1f} s"]),
        )
        if one.money is not None:
            money.add_row(
                table,
                f"{one.source.money:,}",
                f"{one.warehouse.money:,}",
                _verdict(money_difference(one)),
            )
    return Group(rows, money)


def _figures_table(title: str) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("table")
    for heading in ("PostgreSQL", "ClickHouse", "difference"):
        # On a narrow terminal, a number continues in the next line instead of losing digits.
        table.add_column(heading, justify="right", overflow="fold")
    return table


def _verdict(difference: str) -> Text:
    return Text(difference, style="green" if difference == "0" else "bold red")


def _count(rows: int | None) -> str:
    return "?" if rows is None else f"{rows:,}"


def rows_difference(one: TableDifference) -> str:
    """Return the surplus of rows in the warehouse, or a word for another difference; `0` if nothing differs."""
    if one.rows is None:
        return "not compared"
    if one.rows:
        return f"{one.rows:+,}"
    if one.same:
        return "0"
    return "values" if one.source != one.warehouse else "see below"


def money_difference(one: TableDifference) -> str:
    """Return the warehouse's sum minus the source's, with a sign; `0` if they are equal."""
    return f"{one.money:+,}" if one.money else "0"


def difference_lines(differences: Sequence[TableDifference]) -> list[Text]:
    """Return one line for each thing that could not be compared, and for each key of a row that differs."""
    lines = []
    for one in differences:
        found = [*one.problems, *map(str, one.keys), *(["and more"] if one.more else [])]
        lines += [Text(f"{one.table}: {line}", style="red") for line in found]
    return lines
