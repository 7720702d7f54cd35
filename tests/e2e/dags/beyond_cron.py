"""DAGs for the tests of what a crontab can't do."""

from __future__ import annotations

import os
import signal
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import (
    DAG,
    BaseHook,
    CronDataIntervalTimetable,
    CronTriggerTimetable,
    Param,
    dag,
    get_current_context,
    task,
)

from include.airflow_mirror import table_asset
from include.conventions.defaults import DEFAULT_ARGS
from include.conventions.pools import FONTE_VENDAS
from include.conventions.queues import Queue
from include.vendas.tables import VENDAS

QUICK = {**DEFAULT_ARGS, "retries": 2, "retry_delay": timedelta(seconds=1)}
LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)


def gated(name: str, pool: str, queue: Queue) -> None:
    """Define a DAG with one task, which runs until the test creates a file with the run's name."""

    arguments = {**QUICK, "queue": queue.value}

    @dag(dag_id=name, schedule=None, default_args=arguments, is_paused_upon_creation=False)
    def build() -> None:
        @task(pool=pool)
        def wait() -> None:
            gate = Path(os.environ["GATES"]) / get_current_context()["run_id"]
            while not gate.exists():
                time.sleep(0.1)

        wait()

    build()


gated("gated", "default_pool", Queue.DEFAULT)
gated("extraction", FONTE_VENDAS, Queue.LOW)


@dag(
    schedule=None,
    default_args=QUICK,
    is_paused_upon_creation=False,
    params={"parts": Param(0, type="integer")},
)
def branches() -> None:
    """Measure; load all parts in parallel, or rest; then join."""

    @task
    def measure() -> list[int]:
        return list(range(get_current_context()["params"]["parts"]))

    @task.branch
    def choose(parts: Any) -> str:
        return "load" if parts else "rest"

    @task
    def load(part: int) -> int:
        return part

    @task(trigger_rule="none_failed_min_one_success")
    def report() -> None:
        pass

    parts = measure()
    choose(parts) >> [load.expand(part=parts), EmptyOperator(task_id="rest")] >> report()


@dag(
    schedule=None,
    default_args=QUICK,
    is_paused_upon_creation=False,
    params={"failures": Param(0, type="integer")},
)
def stubborn() -> None:
    """Fail the number of tries in conf, with a secret in the message; then succeed, and run the next task."""

    @task
    def attempt() -> None:
        context = get_current_context()
        if context["ti"].try_number <= context["params"]["failures"]:
            password = BaseHook.get_connection("postgres_vendas").password
            raise RuntimeError(f"first line\nno way in with <{password}>")

    attempt() >> EmptyOperator(task_id="after")


@dag(schedule=None, default_args={**QUICK, "retries": 0}, is_paused_upon_creation=False)
def killed() -> None:
    """End with SIGKILL, as the kernel's out-of-memory killer does."""

    @task
    def grow() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    grow()


@dag(schedule=None, default_args={**QUICK, "retries": 0}, is_paused_upon_creation=False)
def endless() -> None:
    """Run until the time limit."""

    @task(execution_timeout=timedelta(seconds=1))
    def spin() -> None:
        while True:
            time.sleep(0.1)

    spin()


for zone in ("America/Sao_Paulo", "America/New_York"):
    with DAG(
        f"at_three_{zone.rpartition('/')[2]}",
        schedule=CronTriggerTimetable("0 3 * * *", timezone=zone),
        start_date=LONG_AGO,
        catchup=False,
        default_args=QUICK,
    ) as at_three:
        EmptyOperator(task_id="run")

with DAG(
    "yearly",
    schedule=CronDataIntervalTimetable("0 0 1 1 *", timezone="UTC"),
    start_date=LONG_AGO,
    catchup=False,
    default_args=QUICK,
) as yearly:
    EmptyOperator(task_id="run")

branches()
stubborn()
killed()
endless()


for table in ("venda", "pais"):
    # The scheduler itself ends an empty task: no worker runs it.
    with DAG(f"depois_de_{table}", schedule=table_asset(VENDAS, table), default_args=DEFAULT_ARGS):
        EmptyOperator(task_id="nothing")
