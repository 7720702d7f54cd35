"""Several workers and schedulers: workers share a backfill and survive the loss of one, a stopped worker finishes its tasks,
and a scheduler takes over from another one."""

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
from tests.e2e.conftest import DAG_ID
from tests.e2e.runs import PATIENCE, ended, instances, open_gate, until

GATED = "gated"
"""A DAG of tests/e2e/dags with one task, which runs until a file with the run's name exists."""
EPOCH = datetime(2000, 1, 1, tzinfo=UTC)


def running(api: AirflowApi, dag_id: str, run_id: str) -> dict[int, str]:
    """Return the worker's name of each running task, by map index."""
    return {
        one.index: one.hostname
        for one in instances(api, dag_id, run_id)
        if one.state == "running" and one.hostname
    }


def schedulers(deployment: Deployment) -> list[Scheduler]:
    return [server for server in deployment.supervisor.servers if isinstance(server, Scheduler)]


def wanted_workers(deployment: Deployment) -> int:
    """Return the result of the autoscaler's query in deploy/kubernetes/values.yaml."""
    values = yaml.safe_load((ROOT / "deploy" / "kubernetes" / "values.yaml").read_text())
    query = values["workers"]["celery"]["keda"]["query"]
    with psycopg.connect(deployment.settings.dsn(deployment.settings.metadata_database)) as metadata:
        row = metadata.execute(query.encode()).fetchone()
    assert row is not None
    return int(row[0])


@pytest.fixture(scope="module")
def extra(deployment: Deployment, api: AirflowApi) -> Iterator[list[Worker]]:
    """Two more workers and a second scheduler. A test may stop any of them, or the first scheduler."""
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
    """Change how many tasks of ranges may read the source at once."""
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
        # The ledger has these rows as moved, so only the backfill can bring them back.
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
            # With this lock, no task gets past its next piece, so a worker that is killed now is in the middle of its work.
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
    # More tasks than the other worker has slots.
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
    # The scheduler that sent the task, and that would have received its result.
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
