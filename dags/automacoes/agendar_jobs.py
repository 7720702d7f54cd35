"""
# agendar_jobs

Starts the jobs that are due, every minute, one run at a time. A job is a row of the table `jobs` (PostgreSQL, connection
`postgres_jobs`): an automation with a cron expression in a time zone. Each due time starts exactly one run of
`executar_tarefa`, through Airflow's REST API (connection `airflow_api`), even if processes are killed meanwhile.

The conf can be empty. A run triggered by hand starts the jobs that are due at that moment. Its own task runs on the queue
in its conf:

```json
{"queue": "high"}
```

Create and change jobs with `/scheduler/jobs` or `trigger_script.py jobs`. If a job can't be started, `last_error` holds the
reason, and the task fails once, after it has started all other jobs. The job is tried again every ten minutes. The task
fails again only if the reason changes.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import CronTriggerTimetable, dag, get_current_context, task

from include.conventions.defaults import DEFAULT_ARGS
from include.conventions.failures import explained
from include.conventions.queues import Queue
from include.conventions.tags import Tag
from include.tarefas.jobs import settings

SETTINGS = settings.load()


@dag(
    # A run needs no data interval: the table holds the due times.
    schedule=CronTriggerTimetable("* * * * *", timezone="UTC"),
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    # Ahead of the runs that it starts: behind them, a full queue would delay all jobs.
    default_args={**DEFAULT_ARGS, "queue": Queue.HIGH.value},
    doc_md=__doc__,
    tags=[Tag.AUTOMACOES],
)
def agendar_jobs() -> None:
    """Wire the one task."""

    @task(retries=1, execution_timeout=timedelta(seconds=SETTINGS.seconds) + timedelta(minutes=2))
    @explained
    def start_due_jobs() -> dict[str, Any]:
        from include.tarefas.jobs import connections
        from include.tarefas.jobs.start import tick

        run_id = get_current_context()["run_id"]
        with connections.store() as store, connections.api() as api:
            return tick(store, api, run_id, SETTINGS.grace, SETTINGS.seconds).summary()

    start_due_jobs()


agendar_jobs()
