"""More DAGs than any page of the API holds."""

from __future__ import annotations

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG

for number in range(110):
    with DAG(f"many_{number:03}", schedule=None, is_paused_upon_creation=True, tags=["many"]):
        EmptyOperator(task_id="nothing")
