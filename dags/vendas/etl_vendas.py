"""
# etl_vendas

Mirrors the sales system (PostgreSQL, connection `postgres_vendas`) into the warehouse (ClickHouse, connection
`clickhouse_dw`), by data interval. People query `vendas_dw.venda`, `item_venda`, `cliente`, `produto`, `cidade`
and `pais`: views of the current rows, exact without `FINAL`.

A scheduled run moves everything before its interval's end that is not in the warehouse yet: mostly its interval;
after an outage, a failed run or on the very first run, also what is missing. Rows of transactions that commit late
are read again once the transaction has ended.

To move a range again, at any time and as often as you like, trigger it with

```json
{"inicio": "2026-01-01T00:00:00Z", "fim": "2026-01-02T00:00:00Z", "tabelas": ["venda", "item_venda"], "queue": "low"}
```

Clearing a whole run moves its interval again. Clearing only `mirror` moves what its plan has not moved yet.

`vendas_dw.cargas` shows what each window moved.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from airflow.sdk import Asset, CronDataIntervalTimetable, Metadata, Param, dag, get_current_context, task

from include.conventions import alerts
from include.conventions.defaults import DEFAULT_ARGS
from include.conventions.pools import FONTE_VENDAS
from include.conventions.tags import Tag
from include.vendas import settings
from include.vendas.tables import TABLES

SETTINGS = settings.load()
WAREHOUSE = Asset("vendas_dw", uri="x-clickhouse://clickhouse_dw/vendas_dw")
# With a zone, always: a naive time would be somebody's guess.
INSTANT = r"^\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d{1,6})?)?(Z|[+-]\d\d:?\d\d)$"


@dag(
    schedule=CronDataIntervalTimetable(SETTINGS.schedule, timezone="UTC"),
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,  # what an outage left out is planned by the next run itself
    max_active_runs=1,
    # `airflow dags test` of 3.3 ends with an error where there is one (apache/airflow#73428).
    deadline=alerts.deadline(SETTINGS.late) if SETTINGS.late else None,
    default_args=DEFAULT_ARGS,
    doc_md=__doc__,
    tags=[Tag.VENDAS, Tag.MIRROR],
    params={
        "inicio": Param(
            None,
            type=["null", "string"],
            format="date-time",
            pattern=INSTANT,
            title="Início",
            description="Start of the range to move, with a zone: 2026-01-01T00:00:00Z. Needs fim.",
        ),
        "fim": Param(
            None,
            type=["null", "string"],
            format="date-time",
            pattern=INSTANT,
            title="Fim",
            description="End of the range (not included), with a zone. Needs inicio.",
        ),
        "tabelas": Param(
            None,
            type=["null", "array"],
            items={"type": "string", "enum": list(TABLES)},
            minItems=1,
            title="Tabelas",
            description="Tables to move; all when empty.",
        ),
    },
)
def etl_vendas() -> None:
    """Wire planning, moving and checking together."""

    @task
    def plan_windows() -> list[object]:
        from include.mirror.batch import dump
        from include.vendas import etl
        from include.vendas.failures import explained

        context = get_current_context()
        run = context["dag_run"]
        with explained():
            batches = etl.plan_windows(
                etl.mirror(SETTINGS),
                SETTINGS,
                {key: value for key, value in (run.conf or {}).items() if value is not None},
                (run.data_interval_start, run.data_interval_end),
            )
        return [dump(batch) for batch in batches]

    @task(pool=FONTE_VENDAS, execution_timeout=SETTINGS.timeout, map_index_template="{{ batch }}")
    def mirror(batch: dict[str, Any]) -> dict[str, int]:
        from include.mirror.batch import load
        from include.vendas import etl
        from include.vendas.failures import explained

        context = get_current_context()
        loaded = load(batch)
        context["batch"] = str(loaded)  # type: ignore[typeddict-unknown-key]
        with explained():
            return etl.move_batch(etl.mirror(SETTINGS), loaded, context["run_id"], context["ti"].try_number)

    @task(outlets=[WAREHOUSE])
    def check(batches: Any) -> Any:
        from include.mirror.batch import load
        from include.vendas import etl
        from include.vendas.failures import explained

        with explained():
            windows = etl.check(etl.mirror(SETTINGS), [load(batch) for batch in batches])
        yield Metadata(WAREHOUSE, extra={"windows": windows})

    planned = plan_windows()
    mirror.expand(batch=planned) >> check(planned)


etl_vendas()
