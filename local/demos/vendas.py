"""The demonstration: sales move while the simulator writes. Rows are deleted in the source, the warehouse is damaged by hand
and reconciled, and at the end both servers are compared.

Everything else is as in production: the scheduler starts the runs, only every 20 seconds instead of every two minutes. Each
server computes its own figures for the last table.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from include.vendas.tables import VENDAS
from local.compare.database import TableDifference, compare
from local.demos.vendas_harm import Deleted, Found, damage, delete, found
from local.demos.vendas_view import View, difference_lines, differences_tables, runs_table
from local.deployment.api import FINISHED, AirflowApi, Run
from local.deployment.stack import Deployment, fill
from local.source import simulator

DAG_ID, RECONCILE_ID = "etl_vendas", "reconciliar_vendas"
# Cron with a sixth field, seconds.
SECONDS = 20
SCHEDULE = f"* * * * * */{SECONDS}"
INTERVALS = 4
HISTORY = 200_000
TRAFFIC = simulator.Traffic(rate=20.0, hold=(1.0, 25.0), late=0.05, read_first=0.05)
# Seconds to wait for a run; far more than a slow machine needs.
PATIENCE = 300.0


class DemoError(Exception):
    """The demonstration can't go on. The message has the reason."""


@dataclass(frozen=True)
class Moved:
    """The rows of one table that were moved according to the ledger, and the seconds that it took."""

    rows: int
    seconds: float


@dataclass(frozen=True)
class Outcome:
    """The results of the demonstration.

    `late` is the number of transactions that committed seconds after they had begun. `reread` is the number of rows that
    were read again because such a transaction was open when their window was read. `deleted` has the rows deleted in the
    source, `found` the damage that reconciliation found.
    """

    runs: list[Run]
    differences: list[TableDifference]
    moved: dict[str, Moved]
    late: int
    reread: int
    deleted: Deleted
    found: Found
    seconds: float

    @property
    def problems(self) -> list[str]:
        """The unexpected results, one line each; empty if there are none."""
        return [
            *(f"{one.table} differs between the two servers" for one in self.differences if not one.same),
            *([] if self.found.is_all else [f"{self.found}, which is not what was damaged"]),
            *(f"run {run.run_id} ended as {run.state}" for run in self.runs if run.state == "failed"),
            *(
                [f"only {len(longest)} scheduled runs in a row succeeded on adjoining intervals"]
                if len(longest := chain(self.runs)) < INTERVALS
                else []
            ),
        ]


def chain(runs: Sequence[Run]) -> list[Run]:
    """Return the longest series of successful scheduled runs, each interval beginning where the last ended."""
    longest: list[Run] = []
    current: list[Run] = []
    for run in sorted(
        (run for run in runs if run.run_type == "scheduled" and run.start is not None),
        key=lambda run: (run.start, run.end),
    ):
        if run.state != "success" or run.start == run.end:
            current = []
            continue
        current = [*current, run] if current and current[-1].end == run.start else [run]
        longest = max(longest, current, key=len)
    return longest


def moved(warehouse: Any, since: datetime) -> dict[str, Moved]:
    """Return what was moved since then, by table, according to the ledger; empty before the first run."""
    there = warehouse.query(
        "SELECT count() FROM system.tables WHERE database = 'vendas_raw' AND name = 'cargas'"
    ).result_rows
    if not there[0][0]:
        return {}
    # Tables that share a snapshot are moved one after the other: a table's time begins when the one before it ended.
    rows = warehouse.query(
        """
        SELECT tabela, sum(rows), sum(dateDiff('millisecond', began, finished_at)) / 1000
        FROM (
            SELECT tabela, rows, finished_at, lagInFrame(finished_at, 1, noted_at) OVER (
                PARTITION BY version ORDER BY finished_at ROWS BETWEEN 1 PRECEDING AND CURRENT ROW
            ) AS began
            FROM vendas_raw.cargas
            WHERE started_at >= {since:DateTime64(6, 'UTC')} AND noted_at > 0
        )
        GROUP BY tabela
        """,
        parameters={"since": since},
    ).result_rows
    return {table: Moved(int(count), float(seconds)) for table, count, seconds in rows}


def reread(warehouse: Any, since: datetime) -> int:
    """Return how many rows were re-read since then because a transaction had been open."""
    rows = warehouse.query(
        "SELECT sum(rows) FROM vendas_dw.cargas"
        " WHERE kind = 'reread' AND started_at >= {since:DateTime64(6, 'UTC')}",
        parameters={"since": since},
    ).result_rows
    return int(rows[0][0])


def run(folder: Path, console: Console, history: int = HISTORY) -> int:
    """Run the demonstration on the data in `folder`; return 0 if there is no problem, else 1.

    Raises DemoError, and the deployment's errors, if the demonstration can't go on.
    """
    with (
        View(console) as view,
        Deployment(
            folder, {"ETL_VENDAS_SCHEDULE": SCHEDULE, "ETL_VENDAS_RECONCILE_SCHEDULE": "never"}, view.step
        ) as deployment,
    ):
        outcome = _Demo(deployment, view).run(history)
    return conclude(outcome, console)


def conclude(outcome: Outcome, console: Console) -> int:
    """Print the results, and return the exit code: 0 only if there is no problem."""
    console.print(runs_table(outcome.runs))
    console.print()
    console.print(differences_tables(outcome.differences, outcome.moved))
    console.print(
        f"{outcome.late:,} transactions committed long after they had begun; {outcome.reread:,} rows of what had "
        f"been open were read again. {outcome.seconds:.0f} seconds in all."
    )
    console.print(
        f"{outcome.deleted.items:,} items were truncated in the source, {outcome.deleted.sales} sales deleted and "
        f"{outcome.deleted.keys} given another key. In the warehouse, {outcome.found}."
    )
    for line in difference_lines(outcome.differences):
        console.print(line)
    for problem in outcome.problems:
        console.print(f"[bold red]{escape(problem)}")
    if outcome.problems:
        return 1
    console.print(
        "[bold green]Not one value differs.[/] To look at Airflow's own pages, run [bold]make local[/]: "
        "it prints the address, a user and a password."
    )
    return 0


class _Demo:
    """One demonstration on a running deployment."""

    def __init__(self, deployment: Deployment, view: View) -> None:
        self.deployment = deployment
        self.view = view
        self.began = datetime.now(UTC)
        self.clock = time.monotonic()
        self.enough = threading.Event()

    def run(self, history: int) -> Outcome:
        """Fill the source, then move while the simulator writes, then compare."""
        self.deployment.start_databases()
        self.view.step(fill(self.deployment.settings.source_dsn, history))
        with ThreadPoolExecutor(1) as pool:
            writing = pool.submit(
                simulator.run,
                self.deployment.settings.source_dsn,
                TRAFFIC,
                seed=int(self.began.timestamp()),
                stop=self.enough,
                progress=self.view.sales,
            )
            self.view.step(f"the simulator writes {TRAFFIC.rate:g} sales a second")
            try:
                self.deployment.start_airflow("api-server", "worker", "dag-processor", "scheduler")
                with (
                    AirflowApi(self.deployment.settings) as api,
                    closing(self.deployment.clickhouse.client()) as warehouse,
                ):
                    return self._move(writing, api, warehouse)
            finally:
                self.enough.set()

    def _move(self, writing: Future[simulator.Stats], api: AirflowApi, warehouse: Any) -> Outcome:
        def check() -> None:
            self.deployment.supervisor.check()
            if writing.done():
                writing.result()

        def wait_until(enough: Callable[[list[Run]], bool], what: str) -> list[Run]:
            deadline = time.monotonic() + PATIENCE
            while True:
                check()
                runs = api.runs(DAG_ID, self.began)
                self.view.progress(runs, sum(one.rows for one in moved(warehouse, self.began).values()))
                if enough(runs):
                    return runs
                if time.monotonic() > deadline:
                    raise DemoError(
                        f"waited {PATIENCE:g} s for {what}; the logs are in {self.deployment.settings.logs}"
                    )
                time.sleep(1)

        api.unpause(DAG_ID, PATIENCE, check)
        self.view.step(f"{DAG_ID} runs every {SECONDS} seconds")
        runs = wait_until(
            lambda runs: len(chain(runs)) >= INTERVALS, f"{INTERVALS} successful runs on adjoining intervals"
        )
        chosen = chain(runs)[1]
        self.view.step(f"{INTERVALS} intervals in a row have moved; the second of them runs again")
        again = api.trigger(DAG_ID, {"inicio": _text(chosen.start), "fim": _text(chosen.end)})
        wait_until(lambda runs: _has_ended(runs, again), f"run {again}")
        deleted = delete(self.deployment.settings.source_dsn)
        self.view.step(
            f"the source: {deleted.items:,} items truncated, {deleted.sales} sales deleted, {deleted.keys} with another key"
        )
        deleted_at = datetime.now(UTC)
        wait_until(lambda runs: _covers(runs, deleted_at), "the run that finds what was deleted")
        damage(warehouse)
        self.view.step(
            "the warehouse: sales altered, taken away and made up by hand; reconciliation looks for them"
        )
        api.unpause(RECONCILE_ID, PATIENCE, check)
        reconciliation = api.trigger(RECONCILE_ID, {"tabelas": ["venda"]})
        # The run ends as failed, because a person should find out who has written to the warehouse.
        api.wait(RECONCILE_ID, reconciliation, PATIENCE, check)
        reconciled = found(warehouse)
        self.view.step(str(reconciled))
        self.enough.set()
        written = writing.result()
        self.view.sales(written)
        stopped = datetime.now(UTC)
        self.view.step(f"the simulator stopped after {written.sales:,} sales; one more interval passes")
        runs = wait_until(lambda runs: _covers(runs, stopped), "the run that covers the last write")
        differences = compare(self.deployment.settings.source_dsn, warehouse, VENDAS)
        self.view.step("compared both servers")
        return Outcome(
            runs=runs,
            differences=differences,
            moved=moved(warehouse, self.began),
            late=written.late_commits + written.read_first_commits,
            reread=reread(warehouse, self.began),
            deleted=deleted,
            found=reconciled,
            seconds=time.monotonic() - self.clock,
        )


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()


def _has_ended(runs: Sequence[Run], run_id: str) -> bool:
    return any(run.run_id == run_id and run.state in FINISHED for run in runs)


def _covers(runs: Sequence[Run], moment: datetime) -> bool:
    return any(
        run.run_type == "scheduled" and run.state == "success" and run.end is not None and run.end > moment
        for run in runs
    )
