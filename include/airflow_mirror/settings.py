"""What can be set of a mirror's DAG, all from the environment, all read here.

The variables begin with `ETL_` and the mirror's name in capitals. For the mirror `vendas`:

| variable                    | default       | meaning                                                          |
|-----------------------------|---------------|------------------------------------------------------------------|
| `ETL_VENDAS_SCHEDULE`       | `*/2 * * * *` | cron expression in UTC; a sixth field, if there, is seconds       |
| `ETL_VENDAS_GRACE_SECONDS`  | `2`           | how far past an interval's end the source's clock must be        |
| `ETL_VENDAS_MAX_ROWS`       | `1000000`     | rows above which a window is split                               |
| `ETL_VENDAS_TASKS`          | `2`           | at most this many tasks mirror at once in one run                |
| `ETL_VENDAS_TIMEOUT_MINUTES`| `60`          | time limit of one task that mirrors                              |
| `ETL_VENDAS_SWEEP_MINUTES`  | `60`          | how often to look for rows that no window finds; 0 for never      |
| `ETL_VENDAS_COMPARE_KEYS`   | `1000000`     | up to so many keys of a table are compared in each run: what was deleted |
| `ETL_VENDAS_RECONCILE_SCHEDULE` | `0 3 * * *` | when reconciliation runs, cron in UTC; never for only on demand |
| `ETL_VENDAS_RECONCILE_SHARE` | `50`         | how many percent of the time it reads in the source               |
| `ETL_VENDAS_RECONCILE_DELETES` | `20`       | of a table's rows, how many percent it deletes without `confirmar` |
| `ETL_VENDAS_RECONCILE_PATIENCE_MINUTES` | `15` | how long it waits for the mirror to move what differs         |
| `ETL_VENDAS_RECONCILE_TIMEOUT_MINUTES` | `240` | time limit of one task that reconciles                        |
| `ETL_VENDAS_CLUSTER`        |               | ClickHouse cluster whose replicas hold the tables; empty for none |
| `ETL_VENDAS_LATE_SECONDS`   | `0`           | how long after it was queued a run that is not over is late; 0 for never |
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from include.mirror.deletes import COMPARED
from include.mirror.warehouse.cluster import Cluster

NEVER = "never"
"""A schedule for what only runs when it is triggered."""


@dataclass(frozen=True)
class Settings:
    """The settings, parsed; see the module's table."""

    schedule: str
    grace: timedelta
    max_rows: int
    tasks: int
    timeout: timedelta
    late: timedelta
    sweep: timedelta | None
    compare_keys: int
    reconcile_schedule: str | None
    reconcile_share: int
    reconcile_deletes: int
    reconcile_patience: timedelta
    reconcile_timeout: timedelta
    cluster: Cluster | None = None


def _number(
    given: Mapping[str, str], name: str, default: int, lowest: int, highest: int | None = None
) -> int:
    text = given.get(name, str(default))
    if not text.isdecimal() or int(text) < lowest or (highest is not None and int(text) > highest):
        bounds = f"of at least {lowest}" if highest is None else f"from {lowest} to {highest}"
        raise ValueError(f"{name} is {text!r}; it must be a whole number {bounds}")
    return int(text)


def _cluster(given: Mapping[str, str], name: str) -> Cluster | None:
    text = given.get(name, "")
    try:
        return Cluster(text) if text else None
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def load(mirror: str, given: Mapping[str, str] = os.environ) -> Settings:
    """Read the settings of one mirror from an environment; raise ValueError naming the variable that makes no sense."""
    prefix = f"ETL_{mirror}_".upper()
    return Settings(
        schedule=given.get(f"{prefix}SCHEDULE", "*/2 * * * *"),
        grace=timedelta(seconds=_number(given, f"{prefix}GRACE_SECONDS", 2, 1)),
        max_rows=_number(given, f"{prefix}MAX_ROWS", 1_000_000, 1),
        tasks=_number(given, f"{prefix}TASKS", 2, 1),
        timeout=timedelta(minutes=_number(given, f"{prefix}TIMEOUT_MINUTES", 60, 1)),
        cluster=_cluster(given, f"{prefix}CLUSTER"),
        sweep=timedelta(minutes=minutes)
        if (minutes := _number(given, f"{prefix}SWEEP_MINUTES", 60, 0))
        else None,
        compare_keys=_number(given, f"{prefix}COMPARE_KEYS", COMPARED, 0),
        reconcile_schedule=None
        if (when := given.get(f"{prefix}RECONCILE_SCHEDULE", "0 3 * * *")) == NEVER
        else when,
        reconcile_share=_number(given, f"{prefix}RECONCILE_SHARE", 50, 1, 100),
        reconcile_deletes=_number(given, f"{prefix}RECONCILE_DELETES", 20, 0, 100),
        reconcile_patience=timedelta(minutes=_number(given, f"{prefix}RECONCILE_PATIENCE_MINUTES", 15, 0)),
        reconcile_timeout=timedelta(minutes=_number(given, f"{prefix}RECONCILE_TIMEOUT_MINUTES", 240, 1)),
        late=timedelta(seconds=_number(given, f"{prefix}LATE_SECONDS", 0, 0)),
    )
