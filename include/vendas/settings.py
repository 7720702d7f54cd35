"""What can be set of `etl_vendas`, all from the environment, all read here.

| variable                    | default       | meaning                                                          |
|-----------------------------|---------------|------------------------------------------------------------------|
| `ETL_VENDAS_SCHEDULE`       | `*/2 * * * *` | cron expression in UTC; a sixth field, if there, is seconds       |
| `ETL_VENDAS_GRACE_SECONDS`  | `2`           | how far past an interval's end the source's clock must be        |
| `ETL_VENDAS_MAX_ROWS`       | `1000000`     | rows above which a window is split                               |
| `ETL_VENDAS_TASKS`          | `4`           | at most this many tasks mirror at once in one run                |
| `ETL_VENDAS_TIMEOUT_MINUTES`| `60`          | time limit of one task that mirrors                              |
| `ETL_VENDAS_CLUSTER`        |               | ClickHouse cluster whose replicas hold the tables; empty for none |
| `ETL_VENDAS_LATE_SECONDS`   | `0`           | how long after it was queued a run that is not over is late; 0 for never |
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import timedelta

from include.mirror.cluster import Cluster


@dataclass(frozen=True)
class Settings:
    """The settings, parsed; see the module's table."""

    schedule: str
    grace: timedelta
    max_rows: int
    tasks: int
    timeout: timedelta
    late: timedelta
    cluster: Cluster | None = None


def _number(name: str, default: int, lowest: int) -> int:
    text = os.environ.get(name, str(default))
    if not text.isdecimal() or int(text) < lowest:
        raise ValueError(f"{name} is {text!r}; it must be a whole number of at least {lowest}")
    return int(text)


def _cluster(name: str) -> Cluster | None:
    text = os.environ.get(name, "")
    try:
        return Cluster(text) if text else None
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def load() -> Settings:
    """Read the settings; raise ValueError naming the variable that makes no sense."""
    return Settings(
        schedule=os.environ.get("ETL_VENDAS_SCHEDULE", "*/2 * * * *"),
        grace=timedelta(seconds=_number("ETL_VENDAS_GRACE_SECONDS", 2, 1)),
        max_rows=_number("ETL_VENDAS_MAX_ROWS", 1_000_000, 1),
        tasks=_number("ETL_VENDAS_TASKS", 4, 1),
        timeout=timedelta(minutes=_number("ETL_VENDAS_TIMEOUT_MINUTES", 60, 1)),
        cluster=_cluster("ETL_VENDAS_CLUSTER"),
        late=timedelta(seconds=_number("ETL_VENDAS_LATE_SECONDS", 0, 0)),
    )
