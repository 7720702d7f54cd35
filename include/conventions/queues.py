"""The queues that tasks may wait in, and who chooses: the run's conf, else the DAG.

A DAG's tasks wait in `default` unless its default arguments, or a task, name another queue. A run that is triggered
with `{"queue": "high"}` sends all its tasks there. Every DAG takes that key, because the cluster policy gives it the
Param; a value that is not in the list is refused when the run is triggered (400).
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
    """In the order in which a worker that listens to several of them serves them."""

    HIGH = "high"
    DEFAULT = "default"
    LOW = "low"


def queue_param() -> Param:
    """Return the Param that the trigger form shows, and that refuses any other queue."""
    from airflow.sdk import Param

    return Param(
        None,
        type=["null", "string"],
        enum=[None, *(queue.value for queue in Queue)],
        title="Queue",
        description="Where the tasks of this run wait for a worker; the DAG's own queues when empty.",
    )


def declare_queues(dag: DAG) -> None:
    """Give the DAG the Param `queue`, and hold its tasks to the list.

    Raises AirflowClusterPolicyViolation, an import error of that DAG, for a task in a queue that no worker serves,
    and for a Param `queue` of another meaning.
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
    """Send a task instance to the queue that its run's conf names.

    Airflow calls this while it creates, expands and clears task instances, more than once for each, sometimes before
    the run is known; and within a transaction in which nobody else may commit, so nothing is looked up here.

    A queue that is not in the list can only come from a run that was made before the list became shorter. Raising
    would stop the scheduler, for every DAG, so such a run stays in its DAG's own queues and says so in the log.
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
