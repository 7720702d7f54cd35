"""The queues in which tasks wait for a worker. The run's conf chooses the queue, else the DAG.

A DAG's tasks wait in `default` unless its default arguments, or a task, name another queue. All tasks of a run that is
triggered with `{"queue": "high"}` wait in that queue. The cluster policy adds the Param to every DAG, so every DAG accepts
this key. Any other value is refused when the run is triggered (400).
"""

from __future__ import annotations

import logging
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.models.dagrun import DagRun
    from airflow.models.taskinstance import TaskInstance
    from airflow.sdk import DAG, Param

log = logging.getLogger(__name__)

KEY = "queue"
"""The key in a run's conf, and the Param's name."""


class Queue(StrEnum):
    """The queues. A worker that listens to several of them serves them in this order."""

    HIGH = "high"
    DEFAULT = "default"
    LOW = "low"


def queue_param() -> Param:
    """Return the Param of the trigger form. It refuses unknown queues."""
    from airflow.sdk import Param

    return Param(
        None,
        type=["null", "string"],
        enum=[None, *(queue.value for queue in Queue)],
        title="Queue",
        description="Where the tasks of this run wait for a worker; the DAG's own queues when empty.",
    )


def declare_queues(dag: DAG) -> None:
    """Add the Param `queue` to a DAG, and check its tasks' queues.

    Raises AirflowClusterPolicyViolation, which becomes an import error of the DAG, for a task in a queue that no worker
    serves, and for a Param `queue` with another meaning.
    """
    from airflow.exceptions import AirflowClusterPolicyViolation

    names = ", ".join(Queue)
    for task in dag.tasks:
        if task.queue not in list(Queue):
            raise AirflowClusterPolicyViolation(
                f"task {task.task_id} of {dag.dag_id} has queue {task.queue!r}; there are {names}"
            )
    if KEY not in dag.params:
        dag.params[KEY] = queue_param()
    elif not set(dag.params.get_param(KEY).schema.get("enum", [...])) <= {None, *Queue}:
        raise AirflowClusterPolicyViolation(
            f"Param {KEY} of {dag.dag_id} must be an enum of {names}: it chooses the queue of the run"
        )


def choose_queue(task_instance: TaskInstance, dag_run: DagRun | None) -> None:
    """Move a task instance to the queue that its run's conf names.

    Airflow calls this when it creates, expands and clears task instances: several times for each, and sometimes before the
    run is known. It calls it in a transaction in which nothing else may commit, so it must not query anything.

    A queue that is not in the list can only come from a run that was triggered before the list became shorter. An error here
    would stop the scheduler for every DAG. So the tasks of such a run stay in the DAG's own queues, and a warning is logged.
    """
    conf: Any = dag_run.conf if dag_run is not None else None
    wanted = conf.get(KEY) if isinstance(conf, dict) else None
    if wanted is None:
        return
    if wanted not in list(Queue):
        log.warning(
            "run %s of %s asks for queue %r; there are %s. Its tasks stay in %s",
            *(task_instance.run_id, task_instance.dag_id, wanted, ", ".join(Queue), task_instance.queue),
        )
        return
    task_instance.queue = Queue(wanted).value
