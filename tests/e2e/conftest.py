"""One deployment for the session: the servers, and Airflow on a Celery worker with a timetable of seconds."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.api import AirflowApi
from local.stack import Deployment, fill

ROOT = Path(__file__).resolve().parents[2]
DAG_ID = "etl_vendas"
HISTORY = 5_000
PATIENCE = 180.0
LOCAL_BUNDLE = "airflow.dag_processing.bundles.local.LocalDagBundle"


@pytest.fixture(scope="session")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A running deployment whose source has a history that etl_vendas begins to move at once."""
    folders = {"dags": ROOT / "dags", "tests": ROOT / "tests" / "e2e" / "dags"}
    bundles = [
        {"name": name, "classpath": LOCAL_BUNDLE, "kwargs": {"path": str(path)}}
        for name, path in folders.items()
    ]
    variables = {
        "ETL_VENDAS_SCHEDULE": "* * * * * */15",
        # The history is some tens of pieces: enough to be spread over workers, and for one to be lost on the way.
        "ETL_VENDAS_MAX_ROWS": "500",
        "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": json.dumps(bundles),
        # A worker or a scheduler that was killed is noticed within a test's patience.
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "20",
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "2",
        "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "10",
        # Where the tasks of tests/e2e/dags look for the files that let them go on.
        "GATES": str(tmp_path_factory.mktemp("gates")),
    }
    with Deployment(tmp_path_factory.mktemp("deployment"), variables) as running:
        running.start_databases()
        fill(running.settings.source_dsn, HISTORY)
        running.start_airflow("api-server", "worker", "dag-processor", "scheduler")
        yield running


@pytest.fixture(scope="session")
def api(deployment: Deployment) -> Iterator[AirflowApi]:
    """A client of the deployment's API, logged in; etl_vendas is scheduled."""
    with AirflowApi(deployment.settings) as client:
        client.unpause(DAG_ID, PATIENCE, deployment.supervisor.check)
        yield client
