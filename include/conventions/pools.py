"""The pools: how many tasks at once may use something that has limits of its own.

    python -m include.conventions.pools

creates them, in the environment of the deployment, and may run any number of times. A task whose pool is missing
waits for ever, so this belongs to what prepares Airflow's metadata database. The variables below decide: slots that
were changed in the UI are theirs again afterwards.

| variable             | default | meaning                                                               |
|----------------------|---------|-----------------------------------------------------------------------|
| `FONTE_VENDAS_SLOTS` | `2`     | tasks that extract from the sales system at the same time             |
| `AUTOMACOES_SLOTS`   | `1024`  | automations that run or wait in a queue; more wait where queues do not matter |
"""

from __future__ import annotations

import os
from dataclasses import dataclass

FONTE_VENDAS = "fonte_vendas"
"""Held by whoever extracts from the sales system; publishing in the warehouse needs none."""

AUTOMACOES = "automacoes"
"""Held by automations, so that thousands that wait leave `default_pool` to everybody else."""


@dataclass(frozen=True)
class Pool:
    """A pool as it should be."""

    name: str
    slots: int
    description: str


def load() -> tuple[Pool, ...]:
    """Return the pools; raise ValueError naming the variable that makes no sense."""
    return (
        Pool(FONTE_VENDAS, _slots("FONTE_VENDAS_SLOTS", 2), "extractions from the sales system at once"),
        Pool(AUTOMACOES, _slots("AUTOMACOES_SLOTS", 1024), "automations that run or wait in a queue"),
    )


def create() -> None:
    """Create the pools in Airflow's metadata database, or give them their slots again."""
    from airflow.models.pool import Pool as Model

    for pool in load():
        Model.create_or_update_pool(pool.name, pool.slots, pool.description, include_deferred=False)


def _slots(variable: str, default: int) -> int:
    text = os.environ.get(variable, str(default))
    if not text.isdecimal() or int(text) < 1:
        raise ValueError(f"{variable} is {text!r}; it must be a whole number of at least 1")
    return int(text)


if __name__ == "__main__":
    create()
