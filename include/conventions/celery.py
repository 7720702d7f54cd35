"""Celery's configuration: Airflow's own, plus libraries that a worker loads once, before it forks processes for tasks.

Airflow preloads a few of its own modules. The libraries below are used by most tasks here; otherwise each task would need
more than half a second of CPU time to load them. The project's own code is not preloaded: a task uses the files as they are
when it starts.
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
