"""One DAG per declaration: plan what is owed, move it, check that nothing is missing."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from airflow.sdk import (
    DAG,
    Asset,
    CronDataIntervalTimetable,
    Metadata,
    Param,
    dag,
    get_current_context,
    task,
)

from include.airflow_mirror.settings import Settings
from include.conventions import alerts, queues
from include.conventions.defaults import DEFAULT_ARGS
from include.mirror.declaration import Mirror

# With a zone, always: a naive time would be somebody's guess.
INSTANT = r"^\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d{1,6})?)?(Z|[+-]\d\d:?\d\d)$"


def mirror_dag(
    declaration: Mirror,
    settings: Settings,
    *,
    doc_md: str | None,
    tags: Sequence[str],
    pool: str = "default_pool",
) -> DAG:
    """Return the DAG `etl_<name>` of a mirror.

    `pool` holds the tasks that extract. What is wrong with the declaration fails the first task: a DAG that does not
    load is noticed by nobody.
    """
    warehouse = Asset(declaration.views, uri=f"x-clickhouse://{declaration.warehouse}/{declaration.views}")

    @dag(
        dag_id=f"etl_{declaration.label}",
        schedule=CronDataIntervalTimetable(settings.schedule, timezone="UTC"),
        start_date=datetime(2026, 1, 1, tzinfo=UTC),
        catchup=False,  # what an outage left out is planned by the next run itself
        max_active_runs=1,
        # `airflow dags test` of 3.3 ends with an error where there is one (apache/airflow#73428).
        deadline=alerts.deadline(settings.late) if settings.late else None,
        default_args=DEFAULT_ARGS,
        doc_md=doc_md,
        tags=list(tags),
        params=_params(declaration),
    )
    def etl() -> None:
        @task
        def plan_windows() -> list[object]:
            from include.airflow_mirror.connections import engine
            from include.airflow_mirror.failures import explained
            from include.mirror.batch import dump
            from include.mirror.run import plan_run

            run = get_current_context()["dag_run"]
            # Where a run's tasks wait is none of the mirror's business.
            conf = {
                key: value
                for key, value in (run.conf or {}).items()
                if value is not None and key != queues.KEY
            }
            with explained():
                batches = plan_run(
                    engine(declaration, settings),
                    conf,
                    (run.data_interval_start, run.data_interval_end),
                    run.run_id,
                )
            return [dump(batch) for batch in batches]

        @task(pool=pool, execution_timeout=settings.timeout, map_index_template="{{ batch }}")
        def mirror(batch: dict[str, Any]) -> dict[str, int]:
            from include.airflow_mirror.connections import engine
            from include.airflow_mirror.failures import explained
            from include.mirror.batch import load
            from include.mirror.run import move_batch

            context = get_current_context()
            loaded = load(batch)
            context["batch"] = str(loaded)  # type: ignore[typeddict-unknown-key]
            with explained():
                return move_batch(
                    engine(declaration, settings), loaded, context["run_id"], context["ti"].try_number
                )

        @task(outlets=[warehouse])
        def check(batches: Any) -> Any:
            from include.airflow_mirror.connections import engine
            from include.airflow_mirror.failures import explained
            from include.mirror.batch import load
            from include.mirror.run import check_run

            with explained():
                windows = check_run(engine(declaration, settings), [load(batch) for batch in batches])
            yield Metadata(warehouse, extra={"windows": windows})

        planned = plan_windows()
        mirror.expand(batch=planned) >> check(planned)

    return etl()


def _params(declaration: Mirror) -> dict[str, Param]:
    tables: dict[str, Any] = {"type": "string"}
    # The tables of a whole schema are known to the source alone.
    if declaration.schema is None:
        tables["enum"] = list(declaration.names)
    return {
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
            items=tables,
            minItems=1,
            title="Tabelas",
            description="Tables to move; all when empty.",
        ),
        "aceitar_fonte": Param(
            None,
            type=["null", "boolean"],
            title="Aceitar fonte",
            description="Take another source than before, after a restore, a move or an upgrade: everything is read again.",
        ),
        "reconstruir": Param(
            None,
            type=["null", "array"],
            items=tables,
            minItems=1,
            title="Reconstruir",
            description="Tables to build anew beside the old ones, and to exchange, without a gap for readers. Alone.",
        ),
    }
