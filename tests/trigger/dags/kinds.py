"""DAGs of all kinds for the client's tests. An EmptyOperator needs no worker process."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.providers.standard.triggers.temporal import DateTimeTrigger
from airflow.sdk import (
    BaseOperator,
    Context,
    CronDataIntervalTimetable,
    Param,
    dag,
    get_current_context,
    task,
)

RUNS: dict[str, Any] = {"is_paused_upon_creation": False, "max_active_runs": 100, "tags": ["kinds"]}


@dag(
    schedule=None,
    **{**RUNS, "tags": ["kinds", "fast"]},
    description="Ends at once",
    default_args={"owner": "ana"},
)
def quick() -> None:
    """Take any conf, do nothing."""
    EmptyOperator(task_id="nothing")


@dag(schedule=None, **{**RUNS, "is_paused_upon_creation": True, "tags": ["kinds", "resting"]})
def paused() -> None:
    """Wait to be unpaused."""
    EmptyOperator(task_id="nothing")


@dag(schedule=None, **{**RUNS, "is_paused_upon_creation": True, "tags": ["kinds", "resting"]})
def paused_too() -> None:
    """Wait to be unpaused, for the test of the question."""
    EmptyOperator(task_id="nothing")


@dag(
    schedule=None,
    **RUNS,
    params={
        "dia": Param(type="string", format="date", description="The day to read"),
        "modo": Param("full", type="string", enum=["full", "delta"]),
        "limite": Param(5, type="integer", minimum=1, maximum=10),
        "tabelas": Param(
            None, type=["null", "array"], items={"type": "string", "enum": ["venda", "cliente"]}
        ),
    },
)
def described() -> None:
    """Declare Params, one of them without a default."""
    EmptyOperator(task_id="nothing")


@dag(
    schedule=None,
    **RUNS,
    params={
        "inicio": Param(None, type=["null", "string"], format="date-time"),
        "fim": Param(None, type=["null", "string"], format="date-time"),
    },
)
def ranged() -> None:
    """Declare the bounds of a range, which may contradict a data interval."""
    EmptyOperator(task_id="nothing")


@dag(schedule=None, **RUNS, params={"gate": Param(type="string"), "fail": Param(False, type="boolean")})
def at_gate() -> None:
    """Run until the file `gate` exists; then fail, if conf says so."""

    @task
    def wait_for_gate() -> None:
        conf = get_current_context()["params"]
        print("the gate is closed", flush=True)
        while not Path(conf["gate"]).exists():
            time.sleep(0.1)
        print("the gate is open", flush=True)
        if conf["fail"]:
            raise ValueError("behind the gate is a wall")

    wait_for_gate()


@dag(schedule=None, **RUNS)
def failing() -> None:
    """Map one task over three shelves, the last of which is empty."""

    @task
    def count(shelf: str) -> None:
        for number in range(1, 41):
            print(f"line {number} of shelf {shelf}")
        if shelf == "c":
            raise ValueError("shelf c holds nothing to count")

    count.expand(shelf=["a", "b", "c"])


@dag(schedule=None, **RUNS)
def retrying() -> None:
    """Fail once, then succeed."""

    @task(retries=1, retry_delay=timedelta(seconds=0))
    def stumble() -> None:
        if get_current_context()["ti"].try_number == 1:
            raise RuntimeError("not at the first try")

    stumble()


class Defer(BaseOperator):
    """Release the worker at once, and wait for a day, longer than any test."""

    def execute(self, context: Context) -> Any:
        self.defer(trigger=DateTimeTrigger(moment=datetime(2100, 1, 1, tzinfo=UTC)), method_name="resume")

    def resume(self, context: Context, event: Any) -> None:
        """Never called."""


@dag(schedule=None, **RUNS)
def deferred() -> None:
    """Stay deferred: no triggerer runs here."""
    Defer(task_id="defer")


for dag_id in ("daily", "nightly"):

    @dag(
        dag_id,
        schedule=CronDataIntervalTimetable("@daily", timezone="UTC"),
        start_date=datetime(2025, 1, 1, tzinfo=UTC),
        end_date=datetime(2025, 3, 31, tzinfo=UTC),
        catchup=False,
        **RUNS,
    )
    def past() -> None:
        """Have intervals only in the past; no run is scheduled any more."""
        EmptyOperator(task_id="nothing")

    past()

quick()
paused()
paused_too()
described()
ranged()
at_gate()
failing()
retrying()
deferred()
