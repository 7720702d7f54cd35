"""executar_tarefa on the deployment: the project's automations, refused calls, and the order of the queues."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest

from include.conventions.queues import Queue
from include.vendas.tables import VENDAS
from local.compare.database import compare
from local.deployment.airflow import Worker
from local.deployment.api import AirflowApi
from local.deployment.stack import Deployment
from tests.e2e.conftest import DAG_ID as ETL
from tests.e2e.load import DAG_ID, Load, probing
from tests.e2e.runs import PATIENCE, ended, gates, instances, log, path, scheduled, tries, until
from tests.receivers import Mailbox

SLOTS = 4  # slots of two workers together
CALLS: dict[str, dict[str, Any]] = {
    "hello": {"module": "hello_world", "function": "send_hello_world", "kwargs": {"name": "João"}},
    "mail": {"tarefa": "send_email", "kwargs": {"email": "ana@example.com", "message": "Olá, <Ana>"}},
    "report": {"tarefa": "generate_report", "args": ["vendas_por_uf", {"limite": 100}], "queue": "high"},
    "nonsense": {"tarefa": "generate_report", "args": ["vendas_por_uf", {"uf": "São Paulo"}]},
    "retried": {"tarefa": "probes.fail_twice", "args": ["retried"]},
}


@pytest.fixture(scope="module")
def second(deployment: Deployment) -> Iterator[Worker]:
    """A second worker."""
    worker = Worker(deployment.settings, deployment.environment, deployment.settings.log("servidor02"))
    worker.name = worker.hostname = "servidor02"
    deployment.start(worker)
    yield worker
    deployment.supervisor.stop(worker)


@pytest.fixture(scope="module")
def called(deployment: Deployment, api: AirflowApi) -> dict[str, str]:
    """A run for each of CALLS. All are triggered at once, so that their processes start at the same time."""
    api.unpause(DAG_ID, PATIENCE, deployment.supervisor.check)
    with scheduled(api, ETL), closing(deployment.clickhouse.client()) as warehouse:
        until(deployment, lambda: warehouse.command("EXISTS VIEW vendas_dw.venda"))
        # No sales are written meanwhile, so the report can be compared with the source.
        until(
            deployment,
            lambda: all(one.same for one in compare(deployment.settings.source_dsn, warehouse, VENDAS)),
        )
    return {name: api.trigger(DAG_ID, conf) for name, conf in CALLS.items()}


def test_hello_world(deployment: Deployment, api: AirflowApi, called: dict[str, str]) -> None:
    run = called["hello"]
    assert ended(deployment, api, DAG_ID, run).state == "success"
    answer = api.call("GET", f"{path(DAG_ID, run)}/taskInstances/executar/xcomEntries/return_value")
    assert "Hello, João!" in str(answer["value"])
    shown = log(api, DAG_ID, run, "executar", 1)
    assert "Hello, João!" in shown
    [instance] = api.call("GET", f"{path(DAG_ID, run)}/taskInstances")["task_instances"]
    # The UI's list shows this beside the task.
    assert instance["rendered_map_index"] == "hello_world.send_hello_world"
    assert (instance["pool"], instance["queue"]) == ("automacoes", "default")


def test_mail_arrives(
    deployment: Deployment, api: AirflowApi, called: dict[str, str], mailbox: Mailbox
) -> None:
    assert ended(deployment, api, DAG_ID, called["mail"]).state == "success"
    [message] = [one for one in mailbox.messages if one["To"] == "ana@example.com"]
    assert message["Subject"] == "A message from Airflow"
    assert "Olá, &lt;Ana&gt;" in "\n".join(mailbox.texts())


def test_a_report_of_the_warehouse(deployment: Deployment, api: AirflowApi, called: dict[str, str]) -> None:
    run = called["report"]
    assert ended(deployment, api, DAG_ID, run).state == "success"
    folder = Path(deployment.environment["AUTOMACOES_REPORTS_PATH"]) / "vendas_por_uf"
    with (folder / f"{run}.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    with psycopg.connect(deployment.settings.source_dsn) as source:
        expected = source.execute(
            "SELECT coalesce(cidade_uf, ''), count(*), sum(valor_total) FROM venda"
            " LEFT JOIN cliente USING (cliente_id) LEFT JOIN cidade USING (cidade_id) GROUP BY 1"
        ).fetchall()
    assert {(row["uf"], int(row["vendas"]), Decimal(row["valor_total"])) for row in rows} == set(expected)
    page = (folder / f"{run}.html").read_text()
    assert "<svg" in page
    assert all(f">{row['uf']}<" in page for row in rows if row["uf"])
    assert instances(api, DAG_ID, run)[0].queue == "high"


def test_a_function_that_fails_is_tried_again(
    deployment: Deployment, api: AirflowApi, called: dict[str, str]
) -> None:
    run = called["retried"]
    assert ended(deployment, api, DAG_ID, run).state == "success"
    assert [one.state for one in tries(api, DAG_ID, run, "executar")] == ["failed", "failed", "success"]
    assert (gates(deployment) / "retried").read_text().splitlines() == [run] * 3
    assert "try 2 finds nobody at home" in log(api, DAG_ID, run, "executar", 2)
    assert "this is try 3" in log(api, DAG_ID, run, "executar", 3)


def test_what_makes_no_sense_is_not_tried_again(
    deployment: Deployment, api: AirflowApi, called: dict[str, str]
) -> None:
    run = called["nonsense"]
    assert ended(deployment, api, DAG_ID, run).state == "failed"
    assert [one.tries for one in instances(api, DAG_ID, run)] == [1]
    shown = log(api, DAG_ID, run, "executar", 1)
    assert "filter uf can" in shown
    assert "São Paulo" in shown


def run_load(deployment: Deployment, api: AirflowApi, each: int, patience: float) -> str:
    load = Load(deployment, api, f"load{each}", SLOTS, each)
    try:
        with probing(deployment) as probe:
            measured = load.run(patience)
    finally:
        load.open()
    assert probe.failures == []
    return f"{measured}; {probe}"


def test_sixty_runs_over_three_queues_and_two_workers(
    deployment: Deployment, api: AirflowApi, called: dict[str, str], second: Worker
) -> None:
    for run in called.values():
        ended(deployment, api, DAG_ID, run)
    print(run_load(deployment, api, 60 // len(Queue), PATIENCE))


@pytest.mark.load
@pytest.mark.timeout(3600)
def test_five_hundred_runs(
    deployment: Deployment, api: AirflowApi, called: dict[str, str], second: Worker
) -> None:
    for run in called.values():
        ended(deployment, api, DAG_ID, run)
    print(run_load(deployment, api, 500 // len(Queue) + 1, 1800))
