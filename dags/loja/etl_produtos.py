"""
# etl_produtos

Every day at 00:00 in `LOJA_FUSO`: all products from MySQL (connection `mysql_loja`), with `valor_estoque` and
`categoria_id`, into the warehouse's `produtos`, and their totals by category into `produtos_agg` (connection
`redshift_dw`). They go through Parquet files on S3 (connection `s3_stage`). Both tables change in one transaction, which is
committed only when they sum up to what the source does; afterwards both are compared once more.

A category without an id is loaded with none, and named in the log of `extrair` and the result of `validar`.

There is nothing to set but the queue:

```json
{"queue": "low"}
```
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import CronTriggerTimetable, dag, get_current_context, task

from include.conventions.defaults import DEFAULT_ARGS
from include.conventions.failures import explained
from include.conventions.tags import Tag
from include.loja import settings

SETTINGS = settings.Transfer.load()
HOUR = timedelta(hours=1)


@dag(
    # The products as they are, not those of an interval.
    schedule=CronTriggerTimetable("0 0 * * *", timezone=settings.Timetables.load().zone),
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULT_ARGS,
    doc_md=__doc__,
    tags=[Tag.LOJA],
)
def etl_produtos() -> None:
    """Wire extracting, loading and validating together."""

    @task(execution_timeout=HOUR)
    @explained
    def extrair() -> dict[str, Any]:
        from include.loja.tasks import etl_produtos as work

        return work.extract(SETTINGS, get_current_context()["run_id"])

    @task(execution_timeout=HOUR)
    @explained
    def carregar(extraido: Any) -> int:
        from include.loja.tasks import etl_produtos as work

        return work.load(SETTINGS, get_current_context()["run_id"], extraido)

    @task
    @explained
    def validar(extraido: Any) -> dict[str, Any]:
        from include.loja.tasks import etl_produtos as work

        return work.validate(SETTINGS, get_current_context()["run_id"], extraido)

    extracted = extrair()
    carregar(extracted) >> validar(extracted)


etl_produtos()
