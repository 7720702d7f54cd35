"""More than one of each: workers share a backfill and outlive one another, a worker that is told to stop ends its
tasks first, and schedulers stand in for each other."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import psycopg
import pytest

from include.conventions.pools import FONTE_VENDAS
from local.airflow import Scheduler, Worker
from local.api import AirflowApi
from local.compare import compare
from local.stack import Deployment
from tests.e2e.conftest import DAG_ID, PATIENCE

Answer = TypeVar("Answer")

GATED = "gated"
"""Of tests/e2e/dags: its one task runs until a file with the run's name is made."""


def until(question: Callable[[], Answer], deployment: Deployment) -> Answer:
    """Return the first answer that is true."""
    deadline = time.monotonic() + PATIENCE
    while not (answer := question()):
        deployment.supervisor.check()
        assert time.monotonic() < deadline, "nothing happened"
        time.sleep(0.1)
    return answer


def tasks(api: AirflowApi, dag_id: str, run_id: str) -> list[dict[str, Any]]:
    """Return the task instances of a run, as the API tells them."""
    return list(api.call("GET", f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances")["task_instances"])


def running(api: AirflowApi, dag_id: str, run_id: str) -> dict[int, str]:
    """Return the workers' names by map index of the tasks that run."""
    return {
        task["map_index"]: task["hostname"]
        for task in tasks(api, dag_id, run_id)
        if task["state"] == "running" and task["hostname"]
    }


def schedulers(deployment: Deployment) -> list[Scheduler]:
    return [server for server in deployment.supervisor.servers if isinstance(server, Scheduler)]


def open_gates(deployment: Deployment, *run_ids: str) -> None:
    for run_id in run_ids:
        (Path(deployment.environment["GATES"]) / run_id).touch()


@pytest.fixture(scope="module")
def extra(deployment: Deployment, api: AirflowApi) -> Iterator[list[Worker]]:
    """Two workers and a scheduler more. A test may take any of them out, or the scheduler that was there before."""
    extra = []
    for name in ("servidor02", "servidor03"):
        worker = Worker(deployment.settings, deployment.environment, deployment.settings.log(name))
        worker.name = worker.hostname = name
        extra.append(worker)
    second = Scheduler(deployment.settings, deployment.environment, deployment.settings.log("scheduler-2"))
    deployment.start(*extra, second)
    yield extra
    left = [worker for worker in extra if worker in deployment.supervisor.servers]
    deployment.supervisor.stop(*left, *schedulers(deployment)[1:])


@pytest.fixture
def slots(api: AirflowApi) -> Iterator[None]:
    """Room for as many extractions as a backfill has tasks."""
    path = f"/api/v2/pools/{FONTE_VENDAS}"
    before = api.call("GET", path)

    def resize(slots: int) -> None:
        api.call("PATCH", path, json={"pool": FONTE_VENDAS, "slots": slots, "include_deferred": False})

    resize(4)
    yield
    resize(before["slots"])


def test_a_backfill_over_workers_is_exact_though_one_is_killed(
    deployment: Deployment, api: AirflowApi, extra: list[Worker], slots: None
) -> None:
    with closing(deployment.clickhouse.client()) as warehouse:
        until(
            lambda: any(run.state == "success" for run in api.runs(DAG_ID, datetime(2000, 1, 1, tzinfo=UTC))),
            deployment,
        )
        # The ledger says that all is there, so that nothing but the backfill can bring it back.
        for table in ("venda", "item_venda"):
            warehouse.command(f"TRUNCATE TABLE vendas_raw.{table}")
        run_id = api.trigger(DAG_ID, {"inicio": "1990-01-01T00:00:00Z", "fim": datetime.now(UTC).isoformat()})

        def moved() -> tuple[int, int]:
            return warehouse.query(
                "SELECT count(), uniqExact((tabela, inicio, fim, key_from, key_to)) FROM vendas_raw.cargas"
                " WHERE run_id = {run:String} AND kind = 'window'",
                parameters={"run": run_id},
            ).result_rows[0]

        until(lambda: moved()[0], deployment)
        with psycopg.connect(deployment.settings.source_dsn) as holder:
            # No task gets past its next piece while this is held, so whoever is killed now is killed on the way.
            holder.execute("LOCK TABLE venda, item_venda IN ACCESS EXCLUSIVE MODE")

            def sharing() -> dict[int, str]:
                busy = running(api, DAG_ID, run_id)
                return busy if len(set(busy.values())) > 1 else {}

            busy = until(sharing, deployment)
            before, _ = moved()
            lost = next(worker for worker in extra if worker.hostname in busy.values())
            deployment.supervisor.kill(lost)
        run = api.wait(DAG_ID, run_id, PATIENCE, deployment.supervisor.check)
        assert run.state == "success"

        entries, windows = moved()
        assert entries > before > 0
        assert entries == windows, "a retry moves what was left, and no more"
        ended = {
            task["map_index"]: task for task in tasks(api, DAG_ID, run_id) if task["task_id"] == "mirror"
        }
        assert len(ended) == 4
        for index, name in busy.items():
            if name == lost.hostname:
                assert ended[index]["try_number"] > 1
                assert ended[index]["hostname"] != lost.hostname
        differences = compare(deployment.settings.source_dsn, warehouse)
    assert [one for one in differences if not one.same] == []


def test_a_worker_that_is_told_to_stop_lets_its_tasks_end(
    deployment: Deployment, api: AirflowApi, extra: list[Worker]
) -> None:
    api.unpause(GATED, PATIENCE, deployment.supervisor.check)
    leaving, *_ = [worker for worker in extra if worker in deployment.supervisor.servers]
    # More than the other worker has room for.
    run_ids = [api.trigger(GATED, {}) for _ in range(3)]

    def on_the_leaving_one() -> list[str]:
        return [run for run in run_ids if leaving.hostname in running(api, GATED, run).values()]

    held = until(on_the_leaving_one, deployment)
    with ThreadPoolExecutor(1) as pool:
        stopping = pool.submit(deployment.supervisor.stop, leaving)
        until(lambda: "Warm shutdown" in leaving.log.read_text(), deployment)
        assert not stopping.done()
        open_gates(deployment, *run_ids)
        stopping.result()
    assert leaving.process is not None
    assert leaving.process.returncode == 0
    for run_id in run_ids:
        assert api.wait(GATED, run_id, PATIENCE, deployment.supervisor.check).state == "success"
        [task] = tasks(api, GATED, run_id)
        assert task["try_number"] == 1
        assert run_id not in held or task["hostname"] == leaving.hostname


def test_with_two_schedulers_one_is_killed_and_nothing_stops(
    deployment: Deployment, api: AirflowApi, extra: list[Worker]
) -> None:
    api.unpause(GATED, PATIENCE, deployment.supervisor.check)
    assert len(schedulers(deployment)) == 2
    run_id = api.trigger(GATED, {})
    until(lambda: running(api, GATED, run_id), deployment)
    with psycopg.connect(deployment.settings.dsn(deployment.settings.metadata_database)) as metadata:
        row = metadata.execute(
            "SELECT queued_by_job_id FROM task_instance WHERE run_id = %s", (run_id,)
        ).fetchone()
    assert row is not None
    # The one that sent the task to the worker, and that would have heard of its end.
    lost = max((one for one in schedulers(deployment) if one.last_job < row[0]), key=lambda one: one.last_job)
    deployment.supervisor.kill(lost)
    killed = datetime.now(UTC)
    open_gates(deployment, run_id)
    assert api.wait(GATED, run_id, PATIENCE, deployment.supervisor.check).state == "success"
    [task] = tasks(api, GATED, run_id)
    assert task["try_number"] == 1
    until(
        lambda: [
            run for run in api.runs(DAG_ID, killed) if run.run_type == "scheduled" and run.state == "success"
        ],
        deployment,
    )
    assert len(schedulers(deployment)) == 1
