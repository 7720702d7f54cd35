"""Celery's configuration: Airflow's own, with libraries that a worker loads once, before its processes fork for tasks.

Airflow does that with a few modules of its own. Those below are what most tasks here use; to load them costs each task more
than half a second of a processor otherwise. Code of this project is not among them: a task goes by the files as they are.
"""

from __future__ import annotations

from airflow.providers.celery.executors.default_celery import DEFAULT_CELERY_CONFIG

LIBRARIES = (
    "airflow.dag_processing.dagbag",
    "airflow.providers.clickhousedb.hooks.clickhouse",
    "clickhouse_connect",
    "numpy",
    "psycopg",
    "pyarrow",
)

CELERY_CONFIG = {**DEFAULT_CELERY_CONFIG, "imports": LIBRARIES}
