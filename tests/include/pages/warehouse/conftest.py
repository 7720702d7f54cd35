"""The page in this process: real users, a mirror that Airflow's database knows, and the lab's two servers."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from fastapi.testclient import TestClient

from include.pages.warehouse import app, look

EXTRA = {"mirror": "vendas", "source": "postgres_vendas", "storage": "vendas_raw"}


@pytest.fixture
def airflow(tokens: dict[str, str]) -> Iterator[None]:
    """Airflow's database with the mirror's DAGs and that of the marts. All have failed but the second, which has not run."""
    from airflow.models.asset import AssetModel, TaskOutletAssetReference
    from airflow.models.dag import DagModel
    from airflow.models.dagbundle import DagBundleModel
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session
    from airflow.utils.state import DagRunState

    at = datetime(2026, 1, 5, 12, tzinfo=UTC)
    with create_session() as session:
        bundle = DagBundleModel(name="tests")
        dags = [
            DagModel(dag_id=name, bundle_name="tests", is_stale=False, is_paused=False)
            for name in ("etl_vendas", "reconciliar_vendas", "marts_vendas", "etl_outra")
        ]
        asset = AssetModel(
            name="vendas_dw", uri="x-clickhouse://clickhouse_dw/vendas_dw", group="asset", extra=EXTRA
        )
        runs = [
            DagRun(dag_id=dag_id, run_id=run_id, run_type=kind, state=DagRunState.FAILED, run_after=at)
            for dag_id, run_id, kind in (
                ("etl_vendas", "scheduled__1", "scheduled"),
                ("marts_vendas", "asset__1", "asset_triggered"),
            )
        ]
        for run in runs:
            run.start_date = run.end_date = at
        session.add_all([bundle])
        session.flush()
        session.add_all([*dags, asset])
        session.flush()
        outlet = TaskOutletAssetReference(asset_id=asset.id, dag_id="etl_vendas", task_id="check")
        session.add_all([outlet, *runs])
    yield
    with create_session() as session:
        for model in (TaskOutletAssetReference, DagRun, AssetModel, DagModel, DagBundleModel):
            session.query(model).delete()


@pytest.fixture
def nobody(airflow: None, monkeypatch: pytest.MonkeyPatch) -> TestClient:
    """A client without a login. The page keeps nothing from another test."""
    monkeypatch.setattr(look, "_views", look.Cache(0))
    monkeypatch.setattr(app, "_sales", look.Cache(0))
    monkeypatch.setattr(app, "_builds", look.Cache(0))
    return TestClient(app.create_app(), base_url="http://testserver")


@pytest.fixture
def viewer(nobody: TestClient, tokens: dict[str, str]) -> TestClient:
    """A browser of somebody who may only look."""
    return TestClient(nobody.app, cookies={"_token": tokens["vera"]})


@pytest.fixture
def operator(nobody: TestClient, tokens: dict[str, str]) -> TestClient:
    """A browser of somebody who may trigger runs."""
    return TestClient(nobody.app, cookies={"_token": tokens["olga"]})
