"""etl_vendas on the session's deployment: a source with past sales, and a schedule that is paused unless a test needs it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from local.deployment.api import AirflowApi
from local.deployment.stack import Deployment, fill
from tests.e2e.runs import PATIENCE, scheduled

DAG_ID = "etl_vendas"
HISTORY = 5_000


@pytest.fixture(scope="package")
def api(deployment: Deployment) -> Iterator[AirflowApi]:
    """A client of the deployment's API, logged in. The source has past sales; etl_vendas is paused (see `schedule`)."""
    fill(deployment.settings.source_dsn, HISTORY)
    with AirflowApi(deployment.settings) as client:
        client.unpause(DAG_ID, PATIENCE, deployment.supervisor.check)
        client.call("PATCH", f"/api/v2/dags/{DAG_ID}", json={"is_paused": True})
        yield client


@pytest.fixture
def schedule(api: AirflowApi) -> Iterator[None]:
    """Unpause etl_vendas for this test: it runs every 30 seconds. A triggered run needs this, too."""
    with scheduled(api, DAG_ID):
        yield
