"""`airflow dags test`, without a deployment: any PostgreSQL, and the provider's in-process engine as warehouse."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from psycopg.conninfo import conninfo_to_dict

from local.deployment.compose import airflow_environment, defaults
from tests.lab import Lab
from tests.receivers import Webhook

ROOT = Path(__file__).resolve().parents[2]
CONF = '{"inicio": "2026-01-01T00:00:00Z", "fim": "2026-01-02T00:00:00Z", "tabelas": ["venda"]}'


class Airflow:
    """Airflow's command line with a home of its own and the two connections in its environment."""

    def __init__(self, home: Path, connections: dict[str, object]) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
        self.environment = {
            **kept,
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "PYTHONPATH": str(ROOT),
            **{f"AIRFLOW_CONN_{name}": json.dumps(value) for name, value in connections.items()},
        }

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "airflow", *arguments]
        return subprocess.run(
            command,
            env=self.environment,
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )


@pytest.fixture
def receiver() -> Iterator[Webhook]:
    """A receiver of OpenLineage's events."""
    with Webhook() as started:
        yield started


def test_one_run_in_one_process(lab: Lab, tmp_path: Path, receiver: Webhook) -> None:
    lab.execute(
        "INSERT INTO venda (valor_total, updated_at)"
        " SELECT n / 100.0, timestamp '2026-01-01 12:00' FROM generate_series(1, 500) AS n"
    )
    parts = conninfo_to_dict(lab.dsn)
    postgres = {
        "conn_type": "postgres",
        "host": parts["host"],
        "port": int(str(parts["port"])),
        "login": parts["user"],
        "password": parts["password"],
        "schema": parts["dbname"],
    }
    engine = {"interface": "chdb", "path": str(tmp_path / "engine")}
    airflow = Airflow(
        tmp_path / "airflow",
        {
            "POSTGRES_VENDAS": postgres,
            "CLICKHOUSE_DW": {"conn_type": "clickhouse", "extra": {"client_kwargs": engine}},
        },
    )
    airflow.environment["OPENLINEAGE_URL"] = f"http://127.0.0.1:{receiver.port}"
    assert airflow.run("db", "migrate").returncode == 0
    done = airflow.run("dags", "test", "etl_vendas", "--conf", CONF)
    assert done.returncode == 0, done.stdout
    assert str(parts["password"]) not in done.stdout
    assert "rows moved: venda 500" in done.stdout
    # In a process of its own: an engine that is open here could not be opened by the next test.
    program = (
        "import clickhouse_connect, sys\n"
        "client = clickhouse_connect.get_client(interface='chdb', path=sys.argv[1])\n"
        "print(client.query('SELECT count(), sum(valor_total) FROM vendas_dw.venda').result_rows)"
    )
    answer = subprocess.run(
        [sys.executable, "-c", program, engine["path"]], check=True, capture_output=True, text=True
    ).stdout
    assert answer.strip() == "[(500, Decimal('1252.50'))]"

    assert_lineage(receiver, parts)

    sent = len(receiver.posts)
    airflow.environment["AIRFLOW__OPENLINEAGE__DISABLED"] = "True"
    # dbt is a program of its own, so the marts need a server.
    lab.run()
    password = lab.clickhouse.password
    airflow.environment["AIRFLOW_CONN_CLICKHOUSE_DW"] = json.dumps(
        {
            "conn_type": "clickhouse",
            "host": "127.0.0.1",
            "port": lab.clickhouse.port,
            "login": lab.clickhouse.user,
            "password": password,
        }
    )
    built = airflow.run("dags", "test", "marts_vendas")
    assert built.returncode == 0, built.stdout
    assert password not in built.stdout
    assert "11 models, 14 tests" in built.stdout
    [(sales, value)] = lab.query("SELECT sum(vendas), sum(valor_total) FROM vendas_marts.vendas_por_dia")
    assert (sales, value) == (500, Decimal("1252.50"))

    del airflow.environment["AIRFLOW_CONN_POSTGRES_VENDAS"]
    missing = airflow.run("dags", "test", "etl_vendas", "--conf", CONF)
    assert missing.returncode != 0
    assert "connection postgres_vendas is not defined: set AIRFLOW_CONN_POSTGRES_VENDAS" in missing.stdout
    assert len(receiver.posts) == sent


def assert_lineage(receiver: Webhook, parts: dict[str, Any]) -> None:
    """Check the events of a run that has moved the table venda from the source with these libpq parameters."""
    events = [body for _, body in receiver.posts]
    assert {path for path, _ in receiver.posts} == {"/api/v1/lineage"}
    assert str(parts["password"]) not in json.dumps(events)
    by_job: dict[str, list[str]] = {}
    for event in events:
        by_job.setdefault(event["job"]["name"], []).append(event["eventType"])
    # The run as a whole belongs to the scheduler, which such a run has not.
    assert by_job["etl_vendas.plan_windows"] == by_job["etl_vendas.check"] == ["START", "COMPLETE"]
    assert by_job["etl_vendas.mirror"] == ["START", "RUNNING", "COMPLETE"]
    (moved,) = [event for event in events if event["eventType"] == "RUNNING"]
    (read,), (written,) = moved["inputs"], moved["outputs"]
    assert read["namespace"] == f"postgres://{parts['host']}:{parts['port']}"
    assert read["name"] == f"{parts['dbname']}.public.venda"
    assert (written["namespace"], written["name"]) == ("clickhouse://clickhouse_dw", "vendas_dw.venda")
    assert written["outputFacets"]["outputStatistics"]["rowCount"] == 500
    types = [
        {field["name"]: field["type"] for field in side["facets"]["schema"]["fields"]}
        for side in (read, written)
    ]
    assert types[0]["valor_total"] == "numeric(10,2)"
    assert types[1]["valor_total"] == "Nullable(Decimal(10, 2))"
    columns = written["facets"]["columnLineage"]["fields"]
    assert columns.keys() == types[0].keys() == types[1].keys()
    (origin,) = columns["valor_total"]["inputFields"]
    assert (origin["namespace"], origin["name"], origin["field"]) == (
        read["namespace"],
        read["name"],
        "valor_total",
    )


def test_nothing_is_sent_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.providers.openlineage.conf import is_disabled

    example = defaults()
    assert example["OPENLINEAGE_URL"] == ""
    shared = airflow_environment(
        {name: value or "x" for name, value in example.items()} | {"OPENLINEAGE_URL": ""}
    )
    monkeypatch.setenv("OPENLINEAGE_URL", shared["OPENLINEAGE_URL"])
    assert is_disabled()
    monkeypatch.setenv("OPENLINEAGE_URL", "http://marquez:5000")
    assert not is_disabled()
