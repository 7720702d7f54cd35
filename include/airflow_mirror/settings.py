"""The settings of a mirror's DAGs, listed in docs/settings.md. The variables begin with `ETL_` and the mirror's name."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from include.conventions.settings import FromEnvironment, minutes, seconds, setting, text, whole, zone
from include.mirror.deletes import COMPARED
from include.mirror.warehouse.cluster import Cluster

NEVER = "never"
"""The schedule of a DAG that runs only when it is triggered."""


@dataclass(frozen=True)
class Settings(FromEnvironment):
    """The settings of one mirror."""

    schedule: str = text(
        "ETL_{NAME}_SCHEDULE",
        "*/2 * * * *",
        meaning="cron expression, by the clock of the zone; an optional sixth field is seconds",
    )
    zone: str = zone(
        "ETL_{NAME}_TIMEZONE", "UTC", meaning="time zone of both schedules, like America/Sao_Paulo"
    )
    grace: timedelta = seconds(
        "ETL_{NAME}_GRACE_SECONDS",
        2,
        1,
        meaning="an interval is read this long after its end, by the source's clock",
    )
    max_rows: int = whole("ETL_{NAME}_MAX_ROWS", 1_000_000, 1, meaning="a window with more rows is split")
    tasks: int = whole("ETL_{NAME}_TASKS", 2, 1, meaning="how many `mirror` tasks of one run may run at once")
    timeout: timedelta = minutes(
        "ETL_{NAME}_TIMEOUT_MINUTES", 60, 1, meaning="time limit of one `mirror` task"
    )
    sweep: timedelta | None = whole(
        "ETL_{NAME}_SWEEP_MINUTES",
        60,
        0,
        meaning="how often to look for rows that no window finds; 0 for never",
        of=lambda number: timedelta(minutes=number) if number else None,
        most=timedelta(days=3650) // timedelta(minutes=1),
    )
    compare_keys: int = whole(
        "ETL_{NAME}_COMPARE_KEYS",
        COMPARED,
        0,
        meaning="each run compares all keys of tables up to this size, to find deleted rows",
    )
    reconcile_schedule: str | None = setting(
        "ETL_{NAME}_RECONCILE_SCHEDULE",
        "0 3 * * *",
        f"a cron expression or {NEVER}",
        lambda given: None if given == NEVER else given,
        meaning="cron expression of the reconciliation, by the clock of the zone; never: only on demand",
    )
    reconcile_share: int = whole(
        "ETL_{NAME}_RECONCILE_SHARE",
        50,
        1,
        100,
        meaning="reconciliation reads the source in this percentage of its time, and pauses in the rest",
    )
    reconcile_deletes: int = whole(
        "ETL_{NAME}_RECONCILE_DELETES",
        20,
        0,
        100,
        meaning="reconciliation may delete this percentage of a table's rows without `confirmar`",
    )
    reconcile_patience: timedelta = minutes(
        "ETL_{NAME}_RECONCILE_PATIENCE_MINUTES",
        15,
        0,
        meaning="how long reconciliation waits until the mirror has moved differing rows",
    )
    reconcile_timeout: timedelta = minutes(
        "ETL_{NAME}_RECONCILE_TIMEOUT_MINUTES", 240, 1, meaning="time limit of one task of the reconciliation"
    )
    cluster: Cluster | None = setting(
        "ETL_{NAME}_CLUSTER",
        "",
        "a name of letters, digits, _ and - that begins with no digit, or empty",
        lambda given: Cluster(given) if given else None,
        meaning="ClickHouse cluster whose replicas hold the tables; empty for none",
    )
    late: timedelta = seconds(
        "ETL_{NAME}_LATE_SECONDS",
        0,
        0,
        meaning="a run that has not ended this long after it was queued is late; 0 for never",
    )


def load(mirror: str, given: Mapping[str, str] = os.environ) -> Settings:
    """Read the settings of one mirror from an environment. Raises ValueError naming the variable with a wrong value."""
    return Settings.load(given, NAME=str(mirror).upper())
