"""More than one of each: workers share a backfill and outlive one another, a worker that is told to stop ends its
tasks first, and schedulers stand in for each other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime

import psycopg
import pytest
import yaml

from include.conventions.pools import FONTE_VENDAS_BACKGROUND
from include.vendas.tables import VENDAS
from local.compare.database import compare
from local.deployment.airflow import Scheduler, Worker
from local.deployment.api import AirflowApi
from local.deployment.stack import Deployment
from tests.conftest import ROOT
from tests.e2e.conftest import DAG_ID, PATIENCE
from tests.e2e.runs import ended, instances, open_gate, until

GATED = "gated"
"""Of tests/e2e/dags: its one task runs until a file with the run's name is made."""
EPOCH = datetime(2000, 1, 1, tzinfo=UTC)


def running(api: AirflowApi, dag_id: str, run_id: str) -> dict[int, str]:
    """Return the workers' names by map index of the tasks that run."""
    return {
        one.index: one.hostname
        for one in instances(api, dag_id, run_id)
        if one.state == "running" and one.hostname
    }


def schedulers(deployment: Deployment) -> list[Scheduler]:
    return [server for server in deployment.supervisor.servers if isinstance(server, Scheduler)]


def wanted_workers(deployment: Deployment) -> int:
    """Return what the autoscaler of deploy/kubernetes/values.yaml is told by the metadata database."""
    values = yaml.safe_load((ROOT / "deploy" / "kubernetes" / "values.yaml").read_text())
    query = values["workers"]["celery"]["keda"]["query"]
    with psycopg.connect(deployment.settings.dsn(deployment.settings.metadata_database)) as metadata:
        row = metadata.execute(query.encode()).fetchone()
    assert row is not None
    return int(row[0])


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
    for server in [*left, *schedulers(deployment)[1:]]:
        deployment.supervisor.stop(server)


@pytest.fixture
def resize(api: AirflowApi) -> Iterator[Callable[[int], None]]:
    """Change how many tasks of ranges may extract at once."""
    path = f"/api/v2/pools/{FONTE_VENDAS_BACKGROUND}"
    before = api.call("GET", path)

    def resize(slots: int) -> None:
        body = {"pool": FONTE_VENDAS_BACKGROUND, "slots": slots, "include_deferred": False}
        api.call("PATCH", path, json=body)

    yield resize
    resize(before["slots"])


def test_a_backfill_over_workers_is_exact_though_one_is_killed(
    deployment: Deployment,
    api: AirflowApi,
    extra: list[Worker],
    resize: Callable[[int], None],
    schedule: None,
) -> None:
    resize(0)
    with closing(deployment.clickhouse.client()) as warehouse:
        until(deployment, lambda: [run for run in api.runs(DAG_ID, EPOCH) if run.state == "success"])
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

        def waiting() -> bool:
            tasks = [one for one in instances(api, DAG_ID, run_id) if one.task == "mirror"]
            return len(tasks) == 4 and {one.state for one in tasks} == {"scheduled"}

        until(deployment, waiting)
        asked_at = datetime.now(UTC)
        with psycopg.connect(deployment.settings.source_dsn, autocommit=True) as source:
            source.execute("INSERT INTO venda (cliente_id, data, valor_total) VALUES (1, now(), 271.83)")
        fresh = "SELECT count() FROM vendas_dw.venda WHERE valor_total = toDecimal64('271.83', 2)"
        until(deployment, lambda: warehouse.query(fresh).result_rows[0][0])
        until(deployment, lambda: [run for run in api.runs(DAG_ID, asked_at) if run.state == "success"])
        assert moved()[0] == 0, "what is new has not waited for the range"
        resize(4)
        until(deployment, lambda: moved()[0])
        with psycopg.connect(deployment.settings.source_dsn) as holder:
            # No task gets past its next piece while this is held, so whoever is killed now is killed on the way.
            holder.execute("LOCK TABLE venda, item_venda IN ACCESS EXCLUSIVE MODE")

            def sharing() -> dict[int, str]:
                busy = running(api, DAG_ID, run_id)
                return busy if len(set(busy.values())) > 1 else {}

            busy = until(deployment, sharing)
            before, _ = moved()
            lost = next(worker for worker in extra if worker.hostname in busy.values())
            deployment.supervisor.kill(lost)
        assert ended(deployment, api, DAG_ID, run_id).state == "success"

        entries, windows = moved()
        assert entries > before > 0
        assert entries == windows, "a retry moves what was left, and no more"
        mirrored = {one.index: one for one in instances(api, DAG_ID, run_id) if one.task == "mirror"}
        assert len(mirrored) == 4
        for index in (index for index, name in busy.items() if name == lost.hostname):
            assert mirrored[index].tries > 1
            assert mirrored[index].hostname != lost.hostname
        differences = compare(deployment.settings.source_dsn, warehouse, VENDAS)
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

    held = until(deployment, on_the_leaving_one)
    wanted = wanted_workers(deployment)
    assert 1 <= wanted <= 2  # for three tasks, and those of a run of etl_vendas if there is one
    with ThreadPoolExecutor(1) as pool:
        stopping = pool.submit(deployment.supervisor.stop, leaving)
        until(deployment, lambda: "Warm shutdown" in leaving.log.read_text())
        assert not stopping.done()
        for run_id in run_ids:
            open_gate(deployment, run_id)
        stopping.result()
    assert leaving.process is not None
    assert leaving.process.returncode == 0
    for run_id in run_ids:
        assert ended(deployment, api, GATED, run_id).state == "success"
        [task] = instances(api, GATED, run_id)
        assert task.tries == 1
        assert run_id not in held or task.hostname == leaving.hostname


def test_with_two_schedulers_one_is_killed_and_nothing_stops(
    deployment: Deployment, api: AirflowApi, extra: list[Worker], schedule: None
) -> None:
    api.unpause(GATED, PATIENCE, deployment.supervisor.check)
    assert len(schedulers(deployment)) == 2
    run_id = api.trigger(GATED, {})
    until(deployment, lambda: running(api, GATED, run_id))
    with psycopg.connect(deployment.settings.dsn(deployment.settings.metadata_database)) as metadata:
        row = metadata.execute(
            "SELECT queued_by_job_id FROM task_instance WHERE run_id = %s", (run_id,)
        ).fetchone()
    assert row is not None
    # The one that sent the task to the worker, and that would have heard of its end.
    lost = max((one for one in schedulers(deployment) if one.last_job < row[0]), key=lambda one: one.last_job)
    deployment.supervisor.kill(lost)
    killed = datetime.now(UTC)
    open_gate(deployment, run_id)
    assert ended(deployment, api, GATED, run_id).state == "success"
    [task] = instances(api, GATED, run_id)
    assert task.tries == 1
    until(
        deployment,
        lambda: [
            run for run in api.runs(DAG_ID, killed) if run.run_type == "scheduled" and run.state == "success"
        ],
    )
    assert len(schedulers(deployment)) == 1
