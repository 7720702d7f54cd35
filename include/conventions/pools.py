"""The pools: how many tasks at once may use a limited resource.

    python -m include.conventions.pools

creates them, in the environment of the deployment. It can be run again at any time. A task whose pool is missing waits for
ever, so run it together with what prepares Airflow's metadata database. The settings win: it overwrites slots that were
changed in the UI.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from include.conventions.settings import FromEnvironment, whole

if TYPE_CHECKING:
    from airflow.models.dagrun import DagRun
    from airflow.models.taskinstance import TaskInstance

FONTE_VENDAS = "fonte_vendas"
"""The pool of tasks that extract from the sales system. Publishing in the warehouse needs no pool."""

FONTE_VENDAS_BACKGROUND = "fonte_vendas_background"
"""The pool of background work in the sales system, so that new rows don't wait for it."""

BACKGROUND = {FONTE_VENDAS: FONTE_VENDAS_BACKGROUND}
"""By a task's own pool, the pool that it gets if its run was asked to read something again."""

AGAIN = ("inicio", "reconstruir")
"""A run with one of these keys in its conf was asked to read something again."""

AUTOMACOES = "automacoes"
"""The pool of automations: thousands of them may wait without filling `default_pool`."""


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
    """A pool as it should be in Airflow's metadata database."""

    name: str
    slots: int
    description: str


def load() -> tuple[Pool, ...]:
    """Return the pools. Raise ValueError naming the variable with a wrong value."""
    slots = Slots.load()
    return (
        Pool(FONTE_VENDAS, slots.vendas, "extractions from the sales system at once"),
        Pool(
            FONTE_VENDAS_BACKGROUND,
            slots.vendas_background,
            "background extractions: ranges, rebuilds, reconciliation",
        ),
        Pool(AUTOMACOES, slots.automacoes, "automations that run or wait in a queue"),
    )


def choose_pool(task_instance: TaskInstance, dag_run: DagRun | None) -> None:
    """Move a task instance to the background pool if its run was asked to read something again.

    Airflow calls this like `choose_queue`: often, and in a transaction, so it must not query anything.
    """
    conf = dag_run.conf if dag_run is not None else None
    if isinstance(conf, dict) and any(conf.get(key) is not None for key in AGAIN):
        task_instance.pool = BACKGROUND.get(task_instance.pool, task_instance.pool)


def create() -> None:
    """Create the pools in Airflow's metadata database, or set their slots again."""
    from airflow.models.pool import Pool as Model

    for pool in load():
        Model.create_or_update_pool(pool.name, pool.slots, pool.description, include_deferred=False)


if __name__ == "__main__":
    create()
