"""The cluster policy. Airflow imports this by its name, in every process whose path has this folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from include.conventions.alerts import announce_failures
from include.conventions.pools import choose_pool
from include.conventions.queues import choose_queue, declare_queues
from include.conventions.traces import join_trace

if TYPE_CHECKING:
    from airflow.models.dagrun import DagRun
    from airflow.models.taskinstance import TaskInstance
    from airflow.sdk import DAG

__all__ = ["dag_policy", "task_instance_mutation_hook"]


def dag_policy(dag: DAG) -> None:
    """Give every DAG the choice of its queue, and a voice for runs that fail."""
    declare_queues(dag)
    announce_failures(dag)


def task_instance_mutation_hook(task_instance: TaskInstance, dag_run: DagRun | None) -> None:
    """Send a task instance to its queue and pool, and into the trace of its run."""
    choose_queue(task_instance, dag_run)
    choose_pool(task_instance, dag_run)
    join_trace(task_instance, dag_run)
