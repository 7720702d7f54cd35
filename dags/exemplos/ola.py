"""
# ola

Prints the time, every minute. It is the smallest possible DAG, and replaces this line of a crontab:

    * * * * * date >> /var/log/ola.log

To see the printed line, open in the UI: the DAG **ola**, a run, the task **diga_a_hora**, **Logs**. Each run has its own
log. To run it before other waiting runs (`high`) or after them (`low`), trigger it with

```json
{"queue": "high"}
```
"""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from airflow.sdk import CronTriggerTimetable, dag, task

from include.conventions.defaults import DEFAULT_ARGS
from include.conventions.tags import Tag

ZONE = ZoneInfo("America/Sao_Paulo")


@dag(
    # The task needs no data interval: one run per minute, as with cron.
    schedule=CronTriggerTimetable("* * * * *", timezone=ZONE.key),
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    default_args=DEFAULT_ARGS,
    doc_md=__doc__,
    tags=[Tag.EXEMPLO],
)
def ola() -> None:
    """Wire the one task."""

    @task
    def diga_a_hora() -> None:
        print(f"Olá! São {datetime.now(ZONE):%H:%M:%S}.")  # noqa: T201

    diga_a_hora()


ola()
