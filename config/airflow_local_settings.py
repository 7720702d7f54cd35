"""The cluster policy. Airflow imports this module by its fixed name in every process with this folder on its path."""

from __future__ import annotations

from typing import TYPE_CHECKING

from include.conventions.alerts import announce_failures
from include.conventions.pools import choose_pool
from include.conventions.queues import choose_queue, declare_queues
from include.conventions.servers import mark_lacking
from include.conventions.traces import join_trace

if TYPE_CHECKING:
    from airflow.models.dagrun import DagRun
    from airflow.models.taskinstance import TaskInstance
    from airflow.sdk import DAG

__all__ = ["dag_policy", "task_instance_mutation_hook"]


def dag_policy(dag: DAG) -> None:
    """Add the conf key `queue` and the alert for failed runs to every DAG, and a tag where the DAG's server is lacking."""
    declare_queues(dag)
    announce_failures(dag)
    mark_lacking(dag)


def task_instance_mutation_hook(task_instance: TaskInstance, dag_run: DagRun | None) -> None:
    """Set a task instance's queue and pool, and join it to the trace of its run."""
    choose_queue(task_instance, dag_run)
    choose_pool(task_instance, dag_run)
    join_trace(task_instance, dag_run)
