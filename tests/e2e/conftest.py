"""etl_vendas on the session's deployment: a source with a history, and a schedule that rests after these tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from local.api import AirflowApi
from local.stack import Deployment, fill
from tests import rest

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
