"""
# migracao_completa

Sundays at 03:00 in `LOJA_FUSO`: loads all products and orders from MySQL (connection `mysql_loja`), and replaces those in
the warehouse (connection `redshift_dw`). Orders are read in parallel, in chunks of `LOJA_TRECHO_LINHAS` rows; all data goes
through Parquet files on S3 (connection `s3_stage`). All tables change in one transaction. The counts and sums of every
chunk are compared with the source's before the commit, and once more after it. If they differ, the run fails.

It also removes rows from the warehouse that were deleted at the source. The daily load of orders can't see these deletes.

To resume a failed run, clear its failed tasks: chunks that are on S3 are not read again. The conf can only set the queue:

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
HOURS = timedelta(hours=3)


@dag(
    schedule=CronTriggerTimetable("0 3 * * 0", timezone=settings.Timetables.load().zone),
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULT_ARGS | {"queue": settings.Workers.load().transfer},
    doc_md=__doc__,
    tags=[Tag.LOJA],
)
def migracao_completa() -> None:
    """Wire the tasks: plan, move, load, compare."""

    @task
    @explained
    def planejar() -> list[str]:
        from include.loja.tasks import migracao_completa as work

        return work.plan(SETTINGS, get_current_context()["run_id"])

    @task(execution_timeout=HOURS, map_index_template="{{ trecho }}")
    @explained
    def mover(trecho: str) -> int:
        from include.loja.tasks import migracao_completa as work

        context = get_current_context()
        context["trecho"] = trecho  # type: ignore[typeddict-unknown-key]
        return work.move(SETTINGS, context["run_id"], trecho)

    @task(execution_timeout=HOURS)
    @explained
    def carregar() -> dict[str, int]:
        from include.loja.tasks import migracao_completa as work

        return work.load(SETTINGS, get_current_context()["run_id"])

    @task
    @explained
    def comparar() -> Any:
        from include.loja.tasks import migracao_completa as work

        return work.compare(SETTINGS, get_current_context()["run_id"])

    mover.expand(trecho=planejar()) >> carregar() >> comparar()


migracao_completa()
