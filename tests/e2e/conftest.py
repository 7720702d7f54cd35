"""One deployment for the session: the servers, and Airflow on a Celery worker with a timetable of seconds."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.api import AirflowApi
from local.stack import Deployment, fill
from tests.otlp import Receiver
from tests.receivers import Mailbox, Webhook

ROOT = Path(__file__).resolve().parents[2]
DAG_ID = "etl_vendas"
HISTORY = 5_000
PATIENCE = 180.0
LOCAL_BUNDLE = "airflow.dag_processing.bundles.local.LocalDagBundle"


@pytest.fixture(scope="session")
def telemetry() -> Iterator[Receiver]:
    """What the deployment's processes send their metrics and traces to."""
    with Receiver() as receiver:
        yield receiver


@pytest.fixture(scope="session")
def mailbox() -> Iterator[Mailbox]:
    """Where the deployment's e-mail arrives."""
    with Mailbox() as server:
        yield server


@pytest.fixture(scope="session")
def webhook() -> Iterator[Webhook]:
    """What the deployment posts its alerts to."""
    with Webhook() as server:
        yield server


@pytest.fixture(scope="session")
def deployment(
    tmp_path_factory: pytest.TempPathFactory, telemetry: Receiver, mailbox: Mailbox, webhook: Webhook
) -> Iterator[Deployment]:
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
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "30",
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "2",
        "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "10",
        "AIRFLOW__METRICS__OTEL_ON": "True",
        "AIRFLOW__TRACES__OTEL_ON": "True",
        "OTEL_EXPORTER_OTLP_ENDPOINT": telemetry.url,
        "OTEL_METRIC_EXPORT_INTERVAL": "5000",
        # How often the scheduler counts tasks in queues: a task waits in one for a second.
        "AIRFLOW__SCHEDULER__TI_METRICS_INTERVAL": "1",
        "ETL_VENDAS_LATE_SECONDS": "20",
        "ALERTAS_EMAIL_PARA": "operacao@example.com, plantao@example.com",
        "AIRFLOW_CONN_SMTP_ALERTAS": json.dumps(mailbox.connection),
        "AIRFLOW_CONN_SLACK_ALERTAS": json.dumps(webhook.connection),
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
