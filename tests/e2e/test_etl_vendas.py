"""etl_vendas with scheduler and Celery worker, while the source is written to; both servers compute the expected values."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import psutil
import psycopg
import pytest

from include.vendas.tables import VENDAS
from local.compare.database import compare
from local.demos.vendas import chain
from local.deployment.api import AirflowApi, Run
from local.deployment.stack import Deployment
from local.source import simulator
from tests.e2e.conftest import DAG_ID, HISTORY
from tests.e2e.runs import PATIENCE, scheduled, until
from tests.processes import ask_descendants

RECONCILE_ID = "reconciliar_vendas"
AFTER = ("depois_de_venda", "depois_de_pais")
EPOCH = datetime(2000, 1, 1, tzinfo=UTC)


def wait_for_runs(
    deployment: Deployment, api: AirflowApi, enough: Callable[[Sequence[Run]], bool]
) -> list[Run]:
    def ask() -> list[Run]:
        runs = api.runs(DAG_ID, EPOCH)
        if enough(runs):
            return runs
        assert not [run.run_id for run in runs if run.state == "failed"]
        return []

    return until(deployment, ask)


@pytest.fixture(scope="module")
def runs(deployment: Deployment, api: AirflowApi) -> list[Run]:
    """Runs on adjoining intervals, up to the one that covers the simulator's last write."""
    simulator.run(
        deployment.settings.source_dsn, simulator.Traffic(rate=20, hold=(1, 10), prepared=0.02), seconds=15
    )
    stopped = datetime.now(UTC)
    with scheduled(api, DAG_ID):
        return wait_for_runs(
            deployment,
            api,
            lambda runs: (
                len(chain(runs)) >= 2
                and any(run.state == "success" and run.end is not None and run.end > stopped for run in runs)
            ),
        )


def same_everywhere(deployment: Deployment) -> bool:
    with closing(deployment.clickhouse.client()) as warehouse:
        differences = compare(deployment.settings.source_dsn, warehouse, VENDAS)
    [rows] = [one.source.rows for one in differences if one.table == "venda"]
    assert rows is not None
    assert rows > HISTORY
    return all(one.same for one in differences)


def check(deployment: Deployment) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "local", "check", "--folder", str(deployment.folder), "--wait", "0"],
        capture_output=True,
        text=True,
        check=False,
    )


def emitted(api: AirflowApi, run_id: str) -> dict[str, dict[str, Any]]:
    """Return the extra of each asset event of a run of etl_vendas, by asset."""
    found = api.call(
        "GET", "/api/v2/assets/events", params={"source_run_id": run_id, "source_dag_id": DAG_ID}
    )
    return {one["name"]: one["extra"] for one in found["asset_events"]}


def test_scheduled_runs_on_adjoining_intervals_move_every_row(deployment, runs):
    assert len(chain(runs)) >= 2
    assert same_everywhere(deployment)


def test_interval_moves_again_with_the_same_result(deployment, api, runs, schedule):
    with psycopg.connect(deployment.settings.source_dsn, autocommit=True) as source:
        [(newest,)] = source.execute("SELECT max(updated_at) FROM venda").fetchall()
    # A run's own interval may lie behind the last sale: then nothing would move.
    fim = newest.replace(tzinfo=UTC) + timedelta(microseconds=1)
    inicio = fim - timedelta(seconds=15)
    for after in AFTER:
        api.unpause(after, PATIENCE, deployment.supervisor.check)
    run_id = api.trigger(DAG_ID, {"inicio": inicio.isoformat(), "fim": fim.isoformat(), "tabelas": ["venda"]})
    assert api.wait(DAG_ID, run_id, PATIENCE, deployment.supervisor.check).state == "success"
    with closing(deployment.clickhouse.client()) as warehouse:
        [(tables,)] = warehouse.query(
            "SELECT groupUniqArray(tabela) FROM vendas_dw.cargas WHERE run_id = {run:String} AND kind = 'window'",
            parameters={"run": run_id},
        ).result_rows
    assert tables == ["venda"]
    assert same_everywhere(deployment)
    events = emitted(api, run_id)
    assert sorted(events) == ["vendas_dw", "vendas_dw.venda"]
    moved = events["vendas_dw.venda"]
    assert moved["rows"] > 0
    assert [datetime.fromisoformat(moved[key]) for key in ("inicio", "fim")] == [inicio, fim]
    # The DAG that waits for this table starts; the one that waits for another table does not.
    until(deployment, lambda: api.runs(AFTER[0], EPOCH))
    assert not api.runs(AFTER[1], EPOCH)


def test_a_table_is_built_anew_and_the_schedule_goes_on(deployment, api, runs, schedule):
    run_id = api.trigger(DAG_ID, {"reconstruir": ["cliente"]})
    assert api.wait(DAG_ID, run_id, PATIENCE, deployment.supervisor.check).state == "success"
    with closing(deployment.clickhouse.client()) as warehouse:
        rebuilt = warehouse.query(
            "SELECT DISTINCT tabela FROM vendas_dw.cargas WHERE run_id = {run:String} AND kind = 'rebuild'",
            parameters={"run": run_id},
        ).result_rows
    assert rebuilt == [("cliente",)]
    with psycopg.connect(deployment.settings.source_dsn, autocommit=True) as source:
        # The next scheduled run removes the deleted rows.
        source.execute("DELETE FROM item_venda WHERE item_id % 10 = 3")
    deleted = datetime.now(UTC)
    wait_for_runs(
        deployment,
        api,
        lambda found: any(
            run.state == "success" and run.end is not None and run.end > deleted for run in found
        ),
    )
    assert same_everywhere(deployment)


@pytest.mark.parametrize(
    ("table", "column", "altered", "shown"),
    [
        ("venda", "valor_total", "valor_total + toDecimal64(0.01, 2)", "valor_total is "),
        ("cliente", "nome", "concat(nome, ' ')", "nome is "),
        ("item_venda", "is_deleted", "1", "not in the warehouse"),
    ],
)
def test_altered_row_makes_the_comparison_fail(deployment, runs, table, column, altered, shown):
    key = {"venda": "venda_id", "cliente": "cliente_id", "item_venda": "item_id"}[table]
    row = f"FROM vendas_raw.{table} FINAL WHERE {key} = 7"
    with closing(deployment.clickhouse.client()) as warehouse:
        kept = warehouse.query(f"SELECT * {row}")
        [original] = kept.named_results()
        warehouse.command(
            f"INSERT INTO vendas_raw.{table} SELECT * REPLACE (version + 1 AS version, {altered} AS {column}) {row}"
        )
        failed = check(deployment)
        restored = {**original, "version": original["version"] + 2}
        warehouse.insert(f"vendas_raw.{table}", [list(restored.values())], column_names=list(restored))
    assert failed.returncode == 1, failed.stderr
    assert f"\n{table}: {key} = '7': {shown}" in failed.stdout, failed.stdout
    assert check(deployment).returncode == 0


def test_damage_is_found_repaired_and_reported(deployment, api, runs, schedule):
    """Three rows are changed by hand, one is deleted, one added: the run that repairs them fails, the next one succeeds."""
    begun = datetime.now(UTC)
    with closing(deployment.clickhouse.client()) as warehouse:
        into, row = (
            "INSERT INTO vendas_raw.venda SELECT * REPLACE",
            "FROM vendas_raw.venda FINAL WHERE venda_id",
        )
        warehouse.command(f"{into} (valor_total + 1 AS valor_total) {row} IN (11, 12, 13)")
        warehouse.command(f"{into} (1 AS is_deleted) {row} = 14")
        warehouse.command(f"{into} (venda_id + 900000000 AS venda_id) {row} = 15")
    api.unpause(RECONCILE_ID, PATIENCE, deployment.supervisor.check)
    settings = deployment.settings

    def reconcile(conf: dict[str, object]) -> str:
        run_id = api.trigger(RECONCILE_ID, conf)
        return api.wait(RECONCILE_ID, run_id, PATIENCE, deployment.supervisor.check).state

    assert reconcile({"tabelas": ["venda"]}) == "failed"
    assert same_everywhere(deployment)
    shown = subprocess.run(
        [sys.executable, "trigger_script.py", "--dag-id", DAG_ID, "--state"],
        env={
            **os.environ,
            "AIRFLOW_API_URL": settings.url,
            "AIRFLOW_USERNAME": settings.admin_user,
            "AIRFLOW_PASSWORD": settings.admin_password,
            "COLUMNS": "120",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert shown.returncode == 0, shown.stdout
    words = {line.split()[0]: line for line in shown.stdout.splitlines() if line}
    assert set(words) >= set(VENDAS.names)
    assert re.match(r"venda +(equal|follows) +\d\d:\d\d:\d\d", words["venda"]), shown.stdout
    # `local check` compares too, and notes its result.
    assert re.match(r"pais +(never compared +-|equal +\d\d:)", words["pais"]), shown.stdout
    assert reconcile({"somente_relatorio": True}) == "success"
    with closing(deployment.clickhouse.client()) as warehouse:
        [first, *others] = warehouse.query(
            "SELECT tabela, word, different, missing, repaired FROM vendas_dw.reconciliacoes"
            " WHERE started_at >= {begun:DateTime64(6, 'UTC')} ORDER BY started_at",
            parameters={"begun": begun},
        ).result_rows
    # The added row may be gone already: each run compares all keys of a table of this size.
    assert first[:4] == ("venda", "repaired", 3, 1)
    assert first[4] in (4, 5)
    assert sorted(one[:2] for one in others) == sorted((name, "equal") for name in VENDAS.names)


def test_no_secret_is_in_an_argument_or_a_log(deployment, runs):
    settings = deployment.settings
    secrets = [
        value for name, value in vars(settings).items() if name.endswith(("password", "secret", "key"))
    ]
    arguments = ask_descendants(lambda process: " ".join(process.cmdline()))
    assert len(arguments) > 7
    logs = {path: path.read_text(errors="replace") for path in settings.logs.rglob("*") if path.is_file()}
    assert len(logs) > 7
    for secret in secrets:
        assert not [line for line in arguments if secret in line]
        assert not [path for path, text in logs.items() if secret in text]


def test_everything_listens_on_the_loopback_interface_only(deployment, runs):
    connections = ask_descendants(lambda process: process.net_connections())
    listening = {
        connection.laddr.ip
        for of_process in connections
        for connection in of_process
        if connection.status == psutil.CONN_LISTEN
    }
    assert listening == {"127.0.0.1"}
