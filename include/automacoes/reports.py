"""Reports of the sales warehouse (connection `clickhouse_dw`), as CSV and as a page with a plot."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Literal

from airflow.sdk import get_current_context

from include.conventions.connections import clickhouse
from include.reports import files, kinds
from include.tarefas import settings, tarefa

CLICKHOUSE = "clickhouse_dw"


@tarefa
def generate_report(
    report_type: Literal["vendas_por_dia", "vendas_por_uf", "produtos_mais_vendidos"],
    filters: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Write `<report>/<run id>.csv` and `.html` into the folder AUTOMACOES_REPORTS_PATH; return their paths.

    Filters, all optional: `de` and `ate` (days, both included), `uf`, `limite` (rows). A retry overwrites the run's
    files.
    """
    from include.reports.page import Report, render

    kind, wanted = kinds.KINDS[report_type], kinds.parse(filters or {})
    client = clickhouse(CLICKHOUSE)
    try:
        answer = client.query(kind.query, parameters=wanted.parameters(kind))
    finally:
        client.close()
    run_id = get_current_context()["run_id"]
    report = Report(kind, wanted, run_id, datetime.now(UTC), answer.column_names, answer.result_rows)
    folder = settings.load().reports_path
    texts = {".csv": files.as_csv(report.columns, report.rows), ".html": render(report)}
    paths = {suffix: files.path(folder, kind.name, run_id, suffix) for suffix in texts}
    for suffix, text in texts.items():
        files.write(paths[suffix], text)
        print(f"wrote {paths[suffix]}")  # noqa: T201
    return {"csv": str(paths[".csv"]), "html": str(paths[".html"]), "rows": len(report.rows)}
