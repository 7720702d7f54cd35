"""The cluster policy. Airflow imports this by its name, in every process whose path has this folder."""

from include.conventions.queues import choose_queue as task_instance_mutation_hook
from include.conventions.queues import declare_queues as dag_policy

__all__ = ["dag_policy", "task_instance_mutation_hook"]
