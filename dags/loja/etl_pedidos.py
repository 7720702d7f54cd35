"""
# etl_pedidos

Every day at 01:00 in `LOJA_FUSO`: the orders that were changed since the last load, from MySQL (connection `mysql_loja`)
into the warehouse's `pedidos` (connection `redshift_dw`), through Parquet files on S3 (connection `s3_stage`).

A run reads all changes before its data interval's end that are not in the warehouse yet. That is more than a day after an
outage or a failed run, and everything in the first run. If a transaction commits late, the next run reads its changes.

Wrong rows are set aside in `pedidos_rejeitados` with a reason: copies and older versions of an order, invalid dates, unknown
states. A run that is triggered without a range reads to the end of the schedule's last interval, so not what has changed
since 01:00. To read a range of changes, at any time, and again, trigger it with

```json
{"inicio": "2026-01-01T00:00:00Z", "fim": "2026-01-02T00:00:00Z"}
```
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import CronDataIntervalTimetable, dag, get_current_context, task

from include.conventions.conf import span_params
from include.conventions.defaults import DEFAULT_ARGS
from include.conventions.failures import explained
from include.conventions.tags import Tag
from include.loja import settings

SETTINGS = settings.Transfer.load()
HOUR = timedelta(hours=1)


@dag(
    schedule=CronDataIntervalTimetable("0 1 * * *", timezone=settings.Timetables.load().zone),
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,  # after an outage, the next run reads the missed changes
    max_active_runs=1,
    default_args=DEFAULT_ARGS | {"queue": settings.Workers.load().transfer},
    doc_md=__doc__,
    tags=[Tag.LOJA],
    params=span_params(
        "the range of changes",
        "Empty: the interval of the schedule before now, which ends at the last 01:00. For later changes, give a range.",
    ),
)
def etl_pedidos() -> None:
    """Wire the tasks: extract, load, validate."""

    @task(execution_timeout=HOUR)
    @explained
    def extrair() -> dict[str, Any]:
        from include.loja.tasks import etl_pedidos as work

        context = get_current_context()
        run = context["dag_run"]
        return work.extract(
            SETTINGS,
            context["run_id"],
            context["params"],
            (run.data_interval_start, run.data_interval_end),
        )

    @task(execution_timeout=HOUR)
    @explained
    def carregar(extraido: Any) -> dict[str, int]:
        from include.loja.tasks import etl_pedidos as work

        return work.load(SETTINGS, get_current_context()["run_id"], extraido)

    @task
    @explained
    def validar(extraido: Any) -> None:
        from include.loja.tasks import etl_pedidos as work

        work.validate(SETTINGS, get_current_context()["run_id"], extraido)

    extracted = extrair()
    carregar(extracted) >> validar(extracted)


etl_pedidos()
