"""
# etl_produtos

Every day at 00:00 in `LOJA_FUSO`: loads all products from MySQL (connection `mysql_loja`), with `valor_estoque` and
`categoria_id`, into the warehouse's `produtos`, and their totals per category into `produtos_agg` (connection
`redshift_dw`), through Parquet files on S3 (connection `s3_stage`). Both tables change in one transaction. It is committed
only if their sums equal the source's; after the commit both are compared once more.

Products of an unknown category are loaded without a `categoria_id`. The log of `extrair` and the result of `validar` name
these categories.

The conf can only set the queue:

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
    # A run reads all present products: it needs no data interval.
    schedule=CronTriggerTimetable("0 0 * * *", timezone=settings.Timetables.load().zone),
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULT_ARGS | {"queue": settings.Workers.load().transfer},
    doc_md=__doc__,
    tags=[Tag.LOJA],
)
def etl_produtos() -> None:
    """Wire the tasks: extract, load, validate."""

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
