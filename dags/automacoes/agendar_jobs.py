"""
# agendar_jobs

Starts the jobs that are due: rows of the table `jobs` (PostgreSQL, connection `postgres_jobs`), each an automation with a
cron expression in a time zone. Every minute, one run at a time. Each due time becomes one run of `executar_tarefa`, started
over Airflow's REST API (connection `airflow_api`), never two, whatever is killed meanwhile.

Nothing is to be given; a run by hand starts what is due at that moment, on the queue that it names:

```json
{"queue": "high"}
```

Jobs are made and changed by `/scheduler/jobs`, or `trigger_script.py jobs`. A job that can't be started keeps the reason in
`last_error`, and fails the task once, after all others were started. It is tried again every ten minutes; only another
reason fails the task again.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import CronTriggerTimetable, dag, get_current_context, task

from include.conventions.defaults import DEFAULT_ARGS
from include.conventions.queues import Queue
from include.conventions.tags import Tag
from include.tarefas.jobs import settings

SETTINGS = settings.load()


@dag(
    # The moment alone matters: what is due stands in the table.
    schedule=CronTriggerTimetable("* * * * *", timezone="UTC"),
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    # Before what it starts, or a full queue would hold up the clock.
    default_args={**DEFAULT_ARGS, "queue": Queue.HIGH.value},
    doc_md=__doc__,
    tags=[Tag.AUTOMACOES],
)
def agendar_jobs() -> None:
    """Wire the one task."""

    @task(retries=1, execution_timeout=timedelta(seconds=SETTINGS.seconds) + timedelta(minutes=2))
    def start_due_jobs() -> dict[str, Any]:
        from include.tarefas.jobs import connections
        from include.tarefas.jobs.failures import explained
        from include.tarefas.jobs.start import tick

        run_id = get_current_context()["run_id"]
        with explained(), connections.store() as store, connections.api() as api:
            return tick(store, api, run_id, SETTINGS.grace, SETTINGS.seconds).summary()

    start_due_jobs()


agendar_jobs()
