"""The pools: how many tasks at once may use something that has limits of its own.

    python -m include.conventions.pools

creates them, in the environment of the deployment, and may run any number of times. A task whose pool is missing
waits for ever, so this belongs to what prepares Airflow's metadata database. The settings decide: slots that were changed
in the UI are theirs again afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from include.conventions.settings import FromEnvironment, whole

if TYPE_CHECKING:
    from airflow.models.dagrun import DagRun
    from airflow.models.taskinstance import TaskInstance

FONTE_VENDAS = "fonte_vendas"
"""Held by whoever extracts from the sales system; publishing in the warehouse needs none."""

FONTE_VENDAS_BACKGROUND = "fonte_vendas_background"
"""The same, for what must not keep waiting what is new."""

BACKGROUND = {FONTE_VENDAS: FONTE_VENDAS_BACKGROUND}
"""The pools of tasks whose run was asked to read something again, by the pools that they have otherwise."""

AGAIN = ("inicio", "reconstruir")
"""The keys in a run's conf by which it was."""

AUTOMACOES = "automacoes"
"""Held by automations, so that thousands that wait leave `default_pool` to everybody else."""


@dataclass(frozen=True)
class Slots(FromEnvironment):
    """How many slots each pool has."""

    vendas: int = whole(
        "FONTE_VENDAS_SLOTS",
        3,
        1,
        meaning="how many tasks of scheduled runs may read the sales system at once",
    )
    vendas_background: int = whole(
        "FONTE_VENDAS_BACKGROUND_SLOTS",
        3,
        1,
        meaning="the same for ranges, rebuilds and reconciliation",
    )
    automacoes: int = whole(
        "AUTOMACOES_SLOTS",
        1024,
        1,
        meaning="how many automations may run or wait in the queues; more of them wait in the scheduler, without priority",
    )


@dataclass(frozen=True)
class Pool:
    """A pool as it should be."""

    name: str
    slots: int
    description: str


def load() -> tuple[Pool, ...]:
    """Return the pools; raise ValueError naming the variable that makes no sense."""
    slots = Slots.load()
    return (
        Pool(FONTE_VENDAS, slots.vendas, "extractions from the sales system at once"),
        Pool(
            FONTE_VENDAS_BACKGROUND,
            slots.vendas_background,
            "extractions of what was read before: ranges, reconciliation",
        ),
        Pool(AUTOMACOES, slots.automacoes, "automations that run or wait in a queue"),
    )


def choose_pool(task_instance: TaskInstance, dag_run: DagRun | None) -> None:
    """Send a task instance to the background pool where its run was asked to read something again.

    Airflow calls this like `choose_queue`: often, and within a transaction, so nothing is looked up here.
    """
    conf = dag_run.conf if dag_run is not None else None
    if isinstance(conf, dict) and any(conf.get(key) is not None for key in AGAIN):
        task_instance.pool = BACKGROUND.get(task_instance.pool, task_instance.pool)


def create() -> None:
    """Create the pools in Airflow's metadata database, or give them their slots again."""
    from airflow.models.pool import Pool as Model

    for pool in load():
        Model.create_or_update_pool(pool.name, pool.slots, pool.description, include_deferred=False)


if __name__ == "__main__":
    create()
