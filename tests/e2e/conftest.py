"""etl_vendas on the session's deployment: a source with a history, and a schedule that rests after these tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from local.api import AirflowApi
from local.stack import Deployment, fill
from tests import rest
from tests.e2e.runs import resting

DAG_ID = "etl_vendas"
HISTORY = 5_000
PATIENCE = 180.0


@pytest.fixture(scope="package")
def api(deployment: Deployment) -> Iterator[AirflowApi]:
    """A client of the deployment's API, logged in; etl_vendas has begun to move a history."""
    fill(deployment.settings.source_dsn, HISTORY)
    with AirflowApi(deployment.settings) as client:
        client.unpause(DAG_ID, PATIENCE, deployment.supervisor.check)
        yield client
    with rest.admin(deployment.settings) as admin:
        admin.patch(f"/dags/{DAG_ID}", json={"is_paused": True}).raise_for_status()


WATCH_THE_SCHEDULE = (
    "test_alerts",
    "test_automations",
    "test_etl_vendas",
    "test_scale_out",
    "test_telemetry",
)
"""The modules that need etl_vendas to run by itself. It would run every 15 seconds beside the others."""


@pytest.fixture(scope="module", autouse=True)
def _rest(request: pytest.FixtureRequest, deployment: Deployment, api: AirflowApi) -> Iterator[None]:
    """Let the schedule of etl_vendas rest while nobody looks at it."""
    if request.module.__name__.rpartition(".")[2] in WATCH_THE_SCHEDULE:
        yield
        return
    with resting(api, DAG_ID):
        yield
