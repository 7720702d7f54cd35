"""One deployment for the session: the servers, and Airflow on a Celery worker with a timetable of seconds."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from local.api import AirflowApi
from local.stack import Deployment, fill

DAG_ID = "etl_vendas"
HISTORY = 5_000
PATIENCE = 180.0


@pytest.fixture(scope="session")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A running deployment whose source has a history that etl_vendas begins to move at once."""
    variables = {"ETL_VENDAS_SCHEDULE": "* * * * * */15"}
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
