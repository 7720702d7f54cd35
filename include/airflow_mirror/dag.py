"""The two DAGs of a declaration: `etl_<name>` moves what is owed, `reconciliar_<name>` compares whole tables."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow.sdk import (
    DAG,
    CronDataIntervalTimetable,
    CronTriggerTimetable,
    Metadata,
    Param,
    dag,
    get_current_context,
    task,
)

from include.airflow_mirror.assets import any_table, mirror_asset, table_asset
from include.airflow_mirror.settings import Settings
from include.conventions import alerts, queues
from include.conventions.conf import span_params
from include.conventions.defaults import DEFAULT_ARGS
from include.conventions.failures import explained
from include.mirror.declaration import Mirror

if TYPE_CHECKING:
    from include.mirror.contract import Contents
    from include.mirror.counts import Count
    from include.mirror.engine import Engine

log = logging.getLogger(__name__)

RUNS = 3
"""How many runs may move rows at once: a long one, one of a requested range, and one that reads new rows."""

STATE = "estado"
"""The key of the XCom that holds each table's state at the end of a run."""

RECONCILE_DOC = """
Compares each table of the warehouse with its source, row by row, while people write, and repairs the differences.

Both servers compute sums of the rows' hashes; rows are fetched only where the sums differ. A row that differs may still be
on its way, so the run waits for the mirror to move it. The run fails if a row was wrong, even if it was repaired: somebody
should look for the cause.

```json
{"tabelas": ["venda"], "somente_relatorio": true}
```

changes nothing, and fails if anything differs. If more than a share of a table would be deleted, the run needs
`{"confirmar": true}`. The tables `reconciliacoes` and `estado`, beside the views, keep the results.
"""


def mirror_dags(
    declaration: Mirror,
    settings: Settings,
    *,
    doc_md: str | None,
    tags: Sequence[str],
    pool: str = "default_pool",
    background: str | None = None,
) -> tuple[DAG, DAG]:
    """Return the DAGs `etl_<name>` and `reconciliar_<name>` of a mirror.

    `pool` is the pool of the tasks that read the source. The tasks of reconciliation are in the pool `background`, if given,
    so that new rows don't wait for them. A wrong declaration fails the first task instead of the import: nobody notices a
    DAG that does not load.
    """
    return (
        _moving(declaration, settings, doc_md, tags, pool),
        _reconciling(declaration, settings, tags, background or pool),
    )


def _moving(
    declaration: Mirror, settings: Settings, doc_md: str | None, tags: Sequence[str], pool: str
) -> DAG:
    warehouse, tables = mirror_asset(declaration), any_table(declaration)

    @dag(
        dag_id=f"etl_{declaration.label}",
        schedule=CronDataIntervalTimetable(settings.schedule, timezone=settings.zone),
        start_date=datetime(2026, 1, 1, tzinfo=UTC),
        catchup=False,  # after an outage, the next run plans everything that is missing
        max_active_runs=RUNS,
        # With a deadline, `airflow dags test` of Airflow 3.3 ends with an error (apache/airflow#73428).
        deadline=alerts.deadline(settings.late) if settings.late else None,
        default_args=DEFAULT_ARGS,
        doc_md=doc_md,
        tags=list(tags),
        params=_params(declaration),
    )
    def etl() -> None:
        @task
        @explained
        def plan_windows() -> list[object]:
            from include.airflow_mirror.connections import engine
            from include.mirror.batch import dump
            from include.mirror.run import plan_run

            run = get_current_context()["dag_run"]
            batches = plan_run(
                engine(declaration, settings),
                _conf(),
                (run.data_interval_start, run.data_interval_end),
                run.run_id,
                _is_live,
            )
            return [dump(batch) for batch in batches]

        @task(
            pool=pool,
            execution_timeout=settings.timeout,
            map_index_template="{{ batch }}",
            outlets=[tables],
        )
        @explained
        def mirror(batch: dict[str, Any]) -> dict[str, int]:
            from include.airflow_mirror import lineage
            from include.airflow_mirror.connections import engine
            from include.mirror.batch import load
            from include.mirror.run import move_batch, moved_by

            context = get_current_context()
            loaded, between, try_number = load(batch), engine(declaration, settings), context["ti"].try_number
            context["batch"] = str(loaded)  # type: ignore[typeddict-unknown-key]
            rows = move_batch(between, loaded, context["run_id"], try_number)
            # An earlier try may have moved rows, too, but only a try that succeeds emits events.
            if any(rows.values()) or try_number > 1:
                moved = moved_by(between, loaded)
                for one in moved:
                    asset = table_asset(declaration, one.tabela)
                    context["outlet_events"][tables].add(asset, extra=one.as_json())
                lineage.report(between, moved)
            return rows

        @task(outlets=[warehouse])
        @explained
        def check(batches: Any, moved: Any) -> Any:
            from include.airflow_mirror.connections import engine
            from include.mirror.batch import load
            from include.mirror.errors import RefusedError
            from include.mirror.run import check_run, log_moved
            from include.mirror.state import refuse_lacking
            from include.mirror.summary import summary

            # All of them in one request; iterating asks for one after the other, and past the end.
            rows, planned = moved[:], [load(batch) for batch in batches]
            log_moved(rows)
            with engine(declaration, settings).with_shared_client() as between:
                try:
                    checked = check_run(between, planned)
                except RefusedError:
                    _record_state(between)
                    raise
                counts, states = _record_state(between, checked.contents)
                refuse_lacking(counts)
            yield Metadata(warehouse, extra={"windows": checked.reads, **summary(rows, planned, states)})

        planned = plan_windows()
        check(planned, mirror.expand(batch=planned))

    return etl()


def _reconciling(declaration: Mirror, settings: Settings, tags: Sequence[str], pool: str) -> DAG:
    @dag(
        dag_id=f"reconciliar_{declaration.label}",
        schedule=CronTriggerTimetable(settings.reconcile_schedule, timezone=settings.zone)
        if settings.reconcile_schedule
        else None,
        start_date=datetime(2026, 1, 1, tzinfo=UTC),
        catchup=False,
        max_active_runs=1,
        default_args=DEFAULT_ARGS,
        doc_md=RECONCILE_DOC,
        tags=list(tags),
        params=_reconcile_params(declaration),
    )
    def reconciliar() -> None:
        @task
        @explained
        def choose_tables() -> list[list[str]]:
            from include.airflow_mirror.connections import engine
            from include.mirror.reconcile import plan_reconciliation

            tables = plan_reconciliation(engine(declaration, settings), _conf())
            count = min(settings.tasks, len(tables))
            return [list(tables[first::count]) for first in range(count)]

        @task(pool=pool, execution_timeout=settings.reconcile_timeout, map_index_template="{{ tables }}")
        @explained
        def compare(tabelas: list[str]) -> list[dict[str, Any]]:
            from dataclasses import asdict
            from uuid import uuid4

            from include.airflow_mirror.connections import engine, limits
            from include.mirror.ledger import Attempt
            from include.mirror.reconcile import reconcile, reconcile_options
            from include.mirror.summary import brief

            context, request = get_current_context(), reconcile_options(_conf())
            context["tables"] = brief(tabelas)  # type: ignore[typeddict-unknown-key]
            between = engine(declaration, settings)
            return [
                asdict(
                    reconcile(
                        between,
                        tabela,
                        request,
                        Attempt(uuid4(), context["run_id"], context["ti"].try_number),
                        limits(settings),
                    )
                )
                for tabela in tabelas
            ]

        @task
        @explained
        def report(found: Any) -> None:
            from include.airflow_mirror.connections import engine
            from include.mirror.reconcile import conclude, reconcile_options
            from include.mirror.reports import load

            reports = [load(one) for some in found for one in some]
            for one in reports:
                log.info("%s", one)
            _record_state(engine(declaration, settings))
            conclude(reports, only_report=reconcile_options(_conf()).only_report)

        report(compare.expand(tabelas=choose_tables()))

    return reconciliar()


def _is_live(run_id: str) -> bool:
    """Return whether a run of the same DAG is queued or running; a run that was deleted is not."""
    context = get_current_context()
    states = ["queued", "running"]
    return context["ti"].get_dr_count(context["dag"].dag_id, run_ids=[run_id], states=states) > 0


def _conf() -> dict[str, Any]:
    """Return the run's conf without empty values and without the key that chooses the queue."""
    conf = get_current_context()["dag_run"].conf or {}
    return {key: value for key, value in conf.items() if value is not None and key != queues.KEY}


def _record_state(
    between: Engine, contents: Contents | None = None
) -> tuple[dict[str, Count], list[dict[str, Any]]]:
    """Note each table's state, and store the states as an XCom; return the counts of both sides, and the states.

    `contents` is the content of the warehouse if it was read just now.
    """
    from include.mirror import state

    context = get_current_context()
    counts = state.note(between, context["run_id"], contents)
    states = state.read(between)
    context["ti"].xcom_push(STATE, states)
    return counts, states


def _reconcile_params(declaration: Mirror) -> dict[str, Param]:
    return {
        "tabelas": _tables_param(declaration, "Tabelas", "Tables to compare; all when empty."),
        "somente_relatorio": _flag_param(
            "Somente relatório", "Change nothing, and fail if anything differs."
        ),
        "confirmar": _flag_param(
            "Confirmar", "Delete rows that are no longer in the source, however many they are."
        ),
    }


def _tables_param(declaration: Mirror, title: str, description: str) -> Param:
    tables: dict[str, Any] = {"type": "string"}
    choices: dict[str, Any] = {}
    # The tables of a whole schema are known only to the source: there, people type names.
    if declaration.schema is None:
        tables["enum"] = list(declaration.names)
        # With examples, the form offers a list to choose from.
        choices["examples"] = list(declaration.names)
    return Param(
        None,
        type=["null", "array"],
        items=tables,
        minItems=1,
        title=title,
        description=description,
        **choices,
    )


def _flag_param(title: str, description: str) -> Param:
    return Param(None, type=["null", "boolean"], title=title, description=description)


def _params(declaration: Mirror) -> dict[str, Param]:
    return {
        **span_params(
            "the range to move",
            "A logical date or a backfill, which this form also offers, moves an interval of the schedule instead, and all "
            "that is missing before its end.",
        ),
        "tabelas": _tables_param(declaration, "Tabelas", "Tables to move; all when empty."),
        "aceitar_fonte": _flag_param(
            "Aceitar fonte",
            "Accept another source than before, after a restore, a move or an upgrade: everything is read again.",
        ),
        "reconstruir": _tables_param(
            declaration,
            "Reconstruir",
            "Tables to rebuild beside the old ones, and then to exchange, without a gap for readers. Give no other key.",
        ),
    }
