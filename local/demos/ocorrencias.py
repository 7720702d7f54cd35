"""The demonstration of `ocorrencias_cet_rio`: replay the recorded answers, and show the results.

The runs are real: Airflow with a Celery worker writes into the embedded ClickHouse. Only the service is a recording, which
includes failures. The incidents are invented.
"""

from __future__ import annotations

import time
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from include.ocorrencias import csv_file
from include.ocorrencias.archive import REPLAYED
from local.demos.vendas import DemoError
from local.deployment.api import AirflowApi
from local.deployment.stack import Deployment

DAG_ID = "ocorrencias_cet_rio"
# A recording, the rest of the run's conf, and the expected state.
STEPS: tuple[tuple[str, dict[str, Any], str], ...] = (
    ("manha", {}, "success"),
    ("tarde", {}, "success"),
    ("noite", {}, "failed"),
    ("noite", {"aceitar_desatualizados": True}, "success"),
)
PATIENCE = 300.0
LINES = 12


def run(folder: Path, console: Console) -> int:
    """Run the demonstration in `folder`; return 0 if CSV and warehouse agree.

    Raises DemoError for a run that does not end in the expected state.
    """
    began = time.monotonic()

    def say(text: str) -> None:
        console.print(f"[dim]{time.monotonic() - began:5.0f} s[/]  {text}", highlight=False)

    # A schedule that is almost never due: a scheduled run would call the real service.
    variables = {"OCORRENCIAS_SCHEDULE": "0 0 29 2 *"}
    with Deployment(folder, variables, lambda text: say(escape(text))) as deployment:
        deployment.start_databases()
        deployment.start_airflow("api-server", "worker", "dag-processor", "scheduler")
        with (
            AirflowApi(deployment.settings) as api,
            closing(deployment.clickhouse.client()) as warehouse,
        ):
            api.unpause(DAG_ID, PATIENCE, deployment.supervisor.check)
            for recording, more, expected in STEPS:
                run_id = api.trigger(DAG_ID, {"modo": "replay", "gravacao": recording, **more})
                ended = api.wait(DAG_ID, run_id, PATIENCE, deployment.supervisor.check)
                what = f"{recording}, stale events accepted" if more else recording
                say(f"{what}: [bold]{ended.state}[/] {_why(api, run_id, ended.state)}")
                if ended.state != expected:
                    raise DemoError(
                        f"the run ended as {ended.state}, not as {expected}: {deployment.settings.logs}"
                    )
            warehouse.database = REPLAYED
            _show(console, warehouse)
            file = Path(deployment.environment["OCORRENCIAS_PASTA"]) / "replay" / csv_file.NAME
            return _compare(console, warehouse, file)


def _why(api: AirflowApi, run_id: str, state: str) -> str:
    """Return a run's headline, or the reason why it failed."""
    if state == "success":
        found = api.call("GET", "/api/v2/assets/events", params={"source_run_id": run_id})["asset_events"]
        return escape(str(found[0]["extra"]["resumo"]))
    answer = api.call("GET", f"/api/v2/dags/{DAG_ID}/dagRuns/{run_id}/taskInstances/coletar/logs/1")
    texts = [str(entry) for entry in answer["content"]]
    return next(("(stale events are refused)" for text in texts if "stale events" in text), "")


def _show(console: Console, warehouse: Any) -> None:
    _table(
        console,
        warehouse,
        "coletas: the runs that were collected",
        "SELECT gravacao, eventos, de_outros, recusados, repetidos, requisicoes, retentativas, atraso != '' AS stale,"
        " pops_desconhecidos FROM coletas ORDER BY momento",
    )
    _table(
        console,
        warehouse,
        "contagens: the counts of the last run",
        "SELECT tipo_ocorrencia, status_ocorrencia, quantidade_ocorrencia FROM contagens"
        " WHERE momento = (SELECT max(momento) FROM coletas) ORDER BY ALL",
    )
    _table(
        console,
        warehouse,
        "eventos_atuais: some of the current events",
        "SELECT evento_id, tipo_ocorrencia, status, bairro, latitude, longitude FROM eventos_atuais"
        " ORDER BY evento_id DESC LIMIT 6",
    )
    _table(
        console,
        warehouse,
        "por_bairro_e_hora: where and when most began",
        "SELECT bairro, formatDateTime(hora, '%F %H:00', 'America/Sao_Paulo') AS hora, sum(ocorrencias) AS ocorrencias"
        " FROM por_bairro_e_hora GROUP BY bairro, hora ORDER BY ocorrencias DESC, hora, bairro LIMIT 6",
    )
    _table(
        console,
        warehouse,
        "recusados: the events that were set aside",
        "SELECT evento_id, campo, motivo FROM recusados ORDER BY evento_id",
    )


def _table(console: Console, warehouse: Any, title: str, query: str) -> None:
    answer = warehouse.query(query)
    table = Table(*answer.column_names, title=title, title_justify="left", box=None, pad_edge=False)
    for row in answer.result_rows:
        table.add_row(*(escape(_text(value)) for value in row))
    console.print()
    console.print(table)


def _text(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def _compare(console: Console, warehouse: Any, file: Path) -> int:
    """Print the last lines of the CSV, and compare the whole file with the view `contagens`; return the exit code."""
    header, *lines = file.read_text().splitlines()
    console.print(f"\n{file}, its last lines of {len(lines)}", highlight=False, markup=False)
    console.print("\n".join([header, *lines[-LINES:]]), highlight=False, markup=False)
    rows = warehouse.query(
        "SELECT momento, tipo_ocorrencia, status_ocorrencia, quantidade_ocorrencia FROM contagens"
    ).result_rows
    expected = sorted(f"{_time(moment)},{kind},{status},{number}" for moment, kind, status, number in rows)
    if expected != sorted(lines):
        console.print("[bold red]CSV and warehouse differ.")
        return 1
    console.print(
        f"[bold green]CSV and warehouse hold the same {len(lines)} lines.[/] The incidents are made up."
    )
    return 0


def _time(moment: datetime) -> str:
    # The client returns UTC, as an aware or a naive datetime.
    return csv_file.time_of(moment if moment.tzinfo else moment.replace(tzinfo=UTC))
