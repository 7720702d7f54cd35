"""Move a history of sales over two Celery workers, and lose one of them on the way: `python -m local.bench.history`.

A deployment of its own, with a scheduler and two workers, mirrors past sales by one run of etl_vendas with four tasks. On
the way, one worker is ended by SIGKILL. The run must succeed, move no window twice, and leave both servers equal in every
value. Then ClickHouse's `postgresql()` reads the same tables without a check, and the same history is moved by one worker
with two tasks. Quote the ratios: the rates are this machine's.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from threading import Thread
from typing import Any

import click
import psycopg
from rich.console import Console
from rich.table import Table

from include.mirror.names import ch, pg
from include.vendas.tables import VENDAS
from local.bench.page import write_figures
from local.compare.database import compare
from local.deployment.airflow import Worker
from local.deployment.api import AirflowApi, ApiError, Run
from local.deployment.settings import DEFAULT_FOLDER, REPOSITORY
from local.deployment.stack import Deployment, fill

DAG_ID = "etl_vendas"
PATIENCE = 300.0
WORKERS = ("servidor01", "servidor02")
TASKS = 4
"""Two for each worker."""

LOST = 0.3
"""Once this share of the rows has been moved, a worker is killed."""

NOTICED = 30
"""Seconds after which Airflow takes a task without a sign of life for lost; 300 by default."""

EVERY = 15.0
"""Seconds between two lines about the progress."""

PULLED = "pulled"
"""The database into which ClickHouse reads the tables by itself."""


@dataclass(frozen=True)
class Rate:
    """How many rows were moved in how many seconds."""

    what: str
    rows: int
    seconds: float

    @property
    def rate(self) -> float:
        """Rows per second."""
        return self.rows / self.seconds


@dataclass(frozen=True)
class Progress:
    """What a run has moved so far, by the ledger: windows, different ones among them, and rows."""

    windows: int = 0
    different: int = 0
    rows: int = 0


@dataclass(frozen=True)
class Loss:
    """The loss of a worker: its name, when it was killed, what was moved by then, and the numbers of its running tasks."""

    worker: str
    at: datetime
    before: Progress
    tasks: tuple[int, ...]


class History:
    """The measurement, on a deployment that has no process yet."""

    def __init__(self, deployment: Deployment, console: Console) -> None:
        self.deployment = deployment
        self.console = console
        self.began = time.monotonic()

    def say(self, text: str) -> None:
        """Print a line, with the seconds so far."""
        self.console.print(f"{time.monotonic() - self.began:6.0f} s  {text}", markup=False, highlight=False)

    def run(self, sales: int) -> list[Rate]:
        """Fill the source, move its history twice, and return the rates. Raises click.ClickException for a wrong result."""
        deployment = self.deployment
        deployment.start_databases()
        total = self.fill(sales)
        deployment.start_airflow("api-server", "dag-processor", "scheduler")
        workers = [self.worker(name) for name in WORKERS]
        deployment.start(*workers)
        with (
            AirflowApi(deployment.settings) as api,
            closing(deployment.clickhouse.client()) as warehouse,
        ):
            self.empty(warehouse)
            api.unpause(DAG_ID, PATIENCE, deployment.supervisor.check)
            run, loss = self.move(api, warehouse, total, workers)
            if loss is None or run.started_at is None:
                raise click.ClickException(
                    "the run was over before a worker could be killed: choose more sales"
                )
            self.check_resumed(api, warehouse, run, loss)
            self.compare(warehouse)
            pulled = self.pull(warehouse)
            self.empty(warehouse)
            alone, _ = self.move(api, warehouse, total, ())
            self.compare(warehouse)
        return [
            Rate(
                "two workers with four tasks, until one was killed",
                loss.before.rows,
                (loss.at - run.started_at).total_seconds(),
            ),
            Rate("the same, whole run", total, run.seconds or 0.0),
            Rate("one worker with two tasks", total, alone.seconds or 0.0),
            pulled,
        ]

    def worker(self, name: str) -> Worker:
        """Return a worker of this name, not started."""
        found = Worker(
            self.deployment.settings, self.deployment.environment, self.deployment.settings.log(name)
        )
        found.name = found.hostname = name
        return found

    def fill(self, sales: int) -> int:
        """Fill the source unless an earlier start did, and return how many rows all tables have."""
        dsn = self.deployment.settings.source_dsn
        self.say(f"fills the source with {sales:,} sales")
        self.say(fill(dsn, sales))
        with psycopg.connect(dsn, autocommit=True) as source:
            source.execute("VACUUM ANALYZE")
            rows = {name: count(source, name) for name in VENDAS.names}
        if rows["venda"] != sales:
            raise click.ClickException(
                f"the source in {self.deployment.folder} has {rows['venda']:,} sales and not {sales:,}: remove that folder, "
                "or choose another --folder"
            )
        self.say(f"the source has {sum(rows.values()):,} rows in {len(rows)} tables")
        return sum(rows.values())

    def empty(self, warehouse: Any) -> None:
        """Drop everything in the warehouse."""
        for database in (VENDAS.views, VENDAS.storage, PULLED):
            warehouse.command(f"DROP DATABASE IF EXISTS {database} SYNC")

    def move(
        self, api: AirflowApi, warehouse: Any, total: int, lose: Sequence[Worker]
    ) -> tuple[Run, Loss | None]:
        """Move the history by one run, and kill one of the workers in `lose` on the way; return the run, and the loss."""
        run_id = f"history-{datetime.now(UTC):%Y%m%dT%H%M%S}"
        self.say(f"run {run_id} begins; Airflow's page of it: {self.deployment.settings.url}/dags/{DAG_ID}")
        loss, said = None, time.monotonic()
        with self.triggered(run_id) as client:
            while client.poll() is None:
                self.deployment.supervisor.check()
                so_far = self.progress(warehouse, run_id)
                if time.monotonic() - said > EVERY:
                    said = time.monotonic()
                    self.say(f"{so_far.windows} windows with {so_far.rows:,} of {total:,} rows are moved")
                if lose and loss is None and so_far.rows >= LOST * total:
                    loss = self.lose(api, run_id, lose, so_far)
                time.sleep(0.5)
        if client.returncode:
            raise click.ClickException(
                f"run {run_id} failed; the logs are in {self.deployment.settings.logs}"
            )
        done, run = self.progress(warehouse, run_id), api.wait(DAG_ID, run_id, PATIENCE)
        self.say(f"{done.windows} windows with {done.rows:,} rows are moved in {run.seconds:.1f} s")
        if done.windows != done.different:
            raise click.ClickException(f"{done.windows - done.different} windows were moved twice")
        if done.rows != total:
            raise click.ClickException(f"the ledger has {done.rows:,} rows and not {total:,}")
        return run, loss

    def triggered(self, run_id: str) -> subprocess.Popen[str]:
        """Trigger the run by the command line client with --wait, and print its lines as they come; return the process."""
        settings = self.deployment.settings
        conf = {"inicio": "1990-01-01T00:00:00Z", "fim": datetime.now(UTC).isoformat()}
        client = subprocess.Popen(
            [
                *(sys.executable, "trigger_script.py", "--dag-id", DAG_ID, "--run-id", run_id),
                *("--conf", json.dumps(conf), "--wait", "--interval", "5", "-o", "plain"),
            ],
            cwd=REPOSITORY,
            env={
                **{name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")},
                "AIRFLOW_API_URL": settings.url,
                "AIRFLOW_USERNAME": settings.admin_user,
                "AIRFLOW_PASSWORD": settings.admin_password,
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
        )

        def show() -> None:
            for line in client.stdout or ():
                self.say(f"--wait | {line.rstrip()}")

        Thread(target=show, daemon=True).start()
        return client

    def progress(self, warehouse: Any, run_id: str) -> Progress:
        """Return what a run has moved so far."""
        there = "SELECT count() FROM system.tables WHERE database = {name:String} AND name = 'cargas'"
        if not warehouse.query(there, parameters={"name": VENDAS.storage}).result_rows[0][0]:
            return Progress()
        row = warehouse.query(
            "SELECT count(), uniqExact((tabela, inicio, fim, key_from, key_to)), sum(rows)"  # noqa: S608 - constants
            f" FROM {VENDAS.storage}.cargas WHERE run_id = {{run:String}} AND kind = 'window'",
            parameters={"run": run_id},
        ).result_rows[0]
        return Progress(*map(int, row))

    def lose(self, api: AirflowApi, run_id: str, workers: Sequence[Worker], so_far: Progress) -> Loss | None:
        """Kill the last of these workers, once each of them has a running task; return None until then."""
        busy = {one["map_index"]: one["hostname"] for one in tasks(api, run_id) if one["state"] == "running"}
        if not {worker.hostname for worker in workers} <= set(busy.values()):
            return None
        lost = workers[-1]
        self.deployment.supervisor.kill(lost)
        held = tuple(sorted(index for index, name in busy.items() if name == lost.hostname))
        self.say(
            f"{lost.hostname} is killed, with tasks {', '.join(map(str, held))}; {so_far.windows} windows with "
            f"{so_far.rows:,} rows are moved"
        )
        return Loss(lost.hostname, datetime.now(UTC), so_far, held)

    def check_resumed(self, api: AirflowApi, warehouse: Any, run: Run, loss: Loss) -> None:
        """Raise click.ClickException unless another worker has finished the tasks of the lost one."""
        found = {one["map_index"]: one for one in tasks(api, run.run_id)}
        for index in loss.tasks:
            one = found[index]
            if one["try_number"] < 2 or one["hostname"] == loss.worker:
                raise click.ClickException(f"task {index} of the lost worker was not tried again by another")
        again = min(datetime.fromisoformat(found[index]["start_date"]) for index in loss.tasks)
        rest = self.progress(warehouse, run.run_id).windows - loss.before.windows
        self.say(
            f"the lost worker's tasks went on {(again - loss.at).total_seconds():.0f} s later by another one; the run moved "
            f"the {rest} windows that were left, and none twice"
        )

    def compare(self, warehouse: Any) -> None:
        """Compare every value of both servers. Raises click.ClickException if one differs."""
        began = time.monotonic()
        differences = compare(self.deployment.settings.source_dsn, warehouse, VENDAS)
        if wrong := [one for one in differences if not one.same]:
            raise click.ClickException(f"{', '.join(one.table for one in wrong)} differ between both servers")
        self.say(f"both servers are equal in every value; that took {time.monotonic() - began:.0f} s")

    def pull(self, warehouse: Any) -> Rate:
        """Let ClickHouse read all tables by `postgresql()`, one after the other, and return the rate."""
        settings, rows, seconds = self.deployment.settings, 0, 0.0
        warehouse.command(f"CREATE DATABASE {PULLED}")
        for name in VENDAS.names:
            target = ch(PULLED, name)
            warehouse.command(f"CREATE TABLE {target} AS {ch(VENDAS.storage, name)}")
            columns = ", ".join(
                ch(column)
                for (column,) in warehouse.query(
                    "SELECT name FROM system.columns WHERE database = {database:String} AND table = {table:String}"
                    " ORDER BY position",
                    parameters={"database": VENDAS.views, "table": name},
                ).result_rows
            )
            began = time.monotonic()
            warehouse.command(
                f"INSERT INTO {target} ({columns}, version) SELECT {columns}, 1 FROM postgresql("  # noqa: S608
                "{address:String}, {database:String}, {table:String}, 'postgres', {password:String})",
                parameters={
                    "address": f"127.0.0.1:{settings.postgres_port}",
                    "database": settings.source_database,
                    "table": name,
                    "password": settings.postgres_password,
                },
            )
            seconds += time.monotonic() - began
            rows += int(warehouse.query(f"SELECT count() FROM {target}").result_rows[0][0])  # noqa: S608
        self.say(f"postgresql() has read {rows:,} rows in {seconds:.1f} s, without a check")
        return Rate("postgresql(), one table after the other", rows, seconds)


def count(source: psycopg.Connection[Any], table: str) -> int:
    """Return how many rows a table of the source has."""
    row = source.execute(f"SELECT count(*) FROM {pg(table)}".encode()).fetchone()  # noqa: S608
    return int(row[0]) if row else 0


def tasks(api: AirflowApi, run_id: str) -> Iterator[dict[str, Any]]:
    """Return the task instances of a run's task `mirror`."""
    found = api.call("GET", f"/api/v2/dags/{DAG_ID}/dagRuns/{run_id}/taskInstances", params={"limit": 100})
    return (one for one in found["task_instances"] if one["task_id"] == "mirror")


def variables(sales: int) -> dict[str, str]:
    """Return the environment of the deployment's Airflow."""
    return {
        # No run of the schedule comes in between: the first interval ends after a year.
        "ETL_VENDAS_SCHEDULE": "0 0 1 1 *",
        "ETL_VENDAS_RECONCILE_SCHEDULE": "never",
        "ETL_VENDAS_TASKS": str(TASKS),
        "FONTE_VENDAS_BACKGROUND_SLOTS": str(TASKS),
        # As by default for a large history; a small one is split, too, so that there is something to resume.
        "ETL_VENDAS_MAX_ROWS": str(max(1_000, min(1_000_000, sales // 8))),
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": str(NOTICED),
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "2",
    }


COLUMNS = ("", "rows", "seconds", "rows/s", "of postgresql()", "of one worker")


def lines_of(rates: Sequence[Rate]) -> list[list[str]]:
    """Return the figures as texts."""
    *_, alone, pulled = rates
    return [
        [
            one.what,
            f"{one.rows:,}",
            f"{one.seconds:.0f}",
            f"{one.rate:,.0f}",
            f"{one.rate / pulled.rate:.2f}",
            f"{one.rate / alone.rate:.2f}",
        ]
        for one in rates
    ]


def write_page(page: Path, rates: Sequence[Rate]) -> None:
    """Replace the figures of the page."""
    rows = ["| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS)]
    rows += ["| " + " | ".join(line) + " |" for line in lines_of(rates)]
    write_figures(page, "history", rows)


@click.command(help=__doc__)
@click.option("--sales", type=click.IntRange(10_000), default=1_000_000, show_default=True)
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=DEFAULT_FOLDER / "history",
    help="Folder of the deployment; default .local/history.",
)
@click.option("--page", type=click.Path(path_type=Path), help="a page to write the figures into")
@click.option(
    "--output", type=click.Path(path_type=Path), default=Path(".local/bench-history.json"), show_default=True
)
def main(sales: int, folder: Path, page: Path | None, output: Path) -> None:
    """Move, print the figures, and write them to `output`."""
    console = Console(width=140)
    try:
        with Deployment(folder, variables(sales)) as deployment:
            history = History(deployment, console)
            deployment.report = deployment.supervisor.report = history.say
            rates = history.run(sales)
    except ApiError as error:
        raise click.ClickException(str(error)) from error
    shown = Table(*COLUMNS, box=None, pad_edge=False)
    for line in lines_of(rates):
        shown.add_row(*line)
    console.print(shown)
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps([asdict(one) | {"rate": one.rate} for one in rates], indent=2))
    if page is not None:
        write_page(page, rates)


if __name__ == "__main__":
    main()
