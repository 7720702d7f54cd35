"""`airflow dags test`, without a deployment: any PostgreSQL, and the provider's in-process engine as warehouse."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

from psycopg.conninfo import conninfo_to_dict

from tests.lab import Lab

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


def test_one_run_in_one_process(lab: Lab, tmp_path: Path) -> None:
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
    assert "10 models, 14 tests" in built.stdout
    [(sales, value)] = lab.query("SELECT sum(vendas), sum(valor_total) FROM vendas_marts.vendas_por_dia")
    assert (sales, value) == (500, Decimal("1252.50"))

    del airflow.environment["AIRFLOW_CONN_POSTGRES_VENDAS"]
    missing = airflow.run("dags", "test", "etl_vendas", "--conf", CONF)
    assert missing.returncode != 0
    assert "connection postgres_vendas is not defined: set AIRFLOW_CONN_POSTGRES_VENDAS" in missing.stdout
