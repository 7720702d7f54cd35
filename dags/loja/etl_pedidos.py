"""
# etl_pedidos

Every day at 01:00 in `LOJA_FUSO`: the orders that were changed since the last load, from MySQL (connection `mysql_loja`)
into the warehouse's `pedidos` (connection `redshift_dw`), through Parquet files on S3 (connection `s3_stage`).

A run reads what was changed before its data interval's end and is not in the warehouse yet: after an outage or a failed
run more than a day, on the first run everything. What a transaction commits late is read by the next run.

What can't be an order is set aside in `pedidos_rejeitados`, with its reason: copies and older versions of an order, dates
that are none, unknown states. To read a range of changes again, at any time, trigger it with

```json
{"inicio": "2026-01-01T00:00:00Z", "fim": "2026-01-02T00:00:00Z"}
```
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import CronDataIntervalTimetable, Param, dag, get_current_context, task

from include.conventions.defaults import DEFAULT_ARGS
from include.conventions.tags import Tag
from include.loja import settings

SETTINGS = settings.transfer()
HOUR = timedelta(hours=1)


@dag(
    schedule=CronDataIntervalTimetable("0 1 * * *", timezone=settings.zone()),
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,  # what an outage left out is read by the next run
    max_active_runs=1,
    default_args=DEFAULT_ARGS,
    doc_md=__doc__,
    tags=[Tag.LOJA],
    params={
        "inicio": Param(
            None,
            type=["null", "string"],
            format="date-time",
            title="Início",
            description="Start of the range of changes, with a zone: 2026-01-01T00:00:00Z. Needs fim.",
        ),
        "fim": Param(
            None,
            type=["null", "string"],
            format="date-time",
            title="Fim",
            description="End of the range (not included), with a zone. Needs inicio.",
        ),
    },
)
def etl_pedidos() -> None:
    """Wire extracting, loading and validating together."""

    @task(execution_timeout=HOUR)
    def extrair() -> dict[str, Any]:
        from include.loja.failures import explained
        from include.loja.tasks import etl_pedidos as work

        context = get_current_context()
        run, params = context["dag_run"], context["params"]
        with explained():
            return work.extract(
                SETTINGS,
                context["run_id"],
                (params["inicio"], params["fim"]),
                (run.data_interval_start, run.data_interval_end),
            )

    @task(execution_timeout=HOUR)
    def carregar(extraido: Any) -> dict[str, int]:
        from include.loja.failures import explained
        from include.loja.tasks import etl_pedidos as work

        with explained():
            return work.load(SETTINGS, get_current_context()["run_id"], extraido)

    @task
    def validar(extraido: Any) -> None:
        from include.loja.failures import explained
        from include.loja.tasks import etl_pedidos as work

        with explained():
            work.validate(SETTINGS, get_current_context()["run_id"], extraido)

    extracted = extrair()
    carregar(extracted) >> validar(extracted)


etl_pedidos()
