"""Who gets in, who may act, and that no other site can act for somebody."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from fastapi.testclient import TestClient

from include.pages.warehouse import look, mirrors
from include.pages.warehouse.look import View
from tests.e2e.test_security import app_routes

pytestmark = pytest.mark.filterwarnings("ignore:Using `httpx` with")

HOME = {"Origin": "http://testserver"}
RECONCILE = {"mirror": "vendas", "deed": "reconcile", "tables": ["venda"]}


@pytest.fixture(autouse=True)
def unseen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the servers out: only users and requests count here."""
    monkeypatch.setattr(look, "look", lambda place: View(place, look.datetime.now(look.UTC), is_new=True))


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Any, str]]:
    """What the page asks Airflow for: DAG, conf and token. Airflow starts every run but those of `venda`'s rebuild."""
    found: list[tuple[str, Any, str]] = []
    api = FastAPI()

    @api.post("/api/v2/dags/{dag_id}/dagRuns")
    async def trigger(dag_id: str, request: Request) -> JSONResponse:
        body = await request.json()
        found.append((dag_id, body, request.headers["Authorization"]))
        if "reconstruir" in body["conf"]:
            return JSONResponse({"detail": "Forbidden"}, 403)
        return JSONResponse({"dag_run_id": "manual__1+x"})

    monkeypatch.setitem(sys.modules, "airflow.api_fastapi.main", SimpleNamespace(app=api))
    return found


def test_nobody_gets_anything_without_a_login(nobody: TestClient) -> None:
    routes = app_routes("", nobody.app)  # type: ignore[arg-type]
    assert {("GET", "/"), ("GET", "/table"), ("GET", "/sales"), ("POST", "/runs"), ("GET", "/{file}")} == set(
        routes
    )
    for method, route in routes:
        answer = nobody.request(method, route, json=RECONCILE if method == "POST" else None, headers=HOME)
        assert answer.status_code == 401, (method, route)


def test_a_viewer_sees_no_button_and_an_operator_does(viewer: TestClient, operator: TestClient) -> None:
    assert "Nothing is mirrored yet" in viewer.get("/").text
    assert "data-deed" not in viewer.get("/").text
    assert operator.get("/").text.count("<dialog") == 3


def test_the_mirrors_are_those_that_airflow_knows(airflow: None) -> None:
    [found] = mirrors.find()
    assert (found.label, found.source, found.warehouse) == ("vendas", "postgres_vendas", "clickhouse_dw")
    assert (found.storage, found.views) == ("vendas_raw", "vendas_dw")


@pytest.mark.parametrize(
    ("dag_id", "uri", "extra"),
    [
        ("marts_vendas", "x-clickhouse://clickhouse_dw/marts", {"source": "s", "storage": "r"}),
        ("etl_x", "x-clickhouse://clickhouse_dw", {"source": "s", "storage": "r"}),
        ("etl_x", "x-clickhouse://clickhouse_dw/x_dw", {}),
    ],
)
def test_other_assets_are_no_mirrors(dag_id: str, uri: str, extra: dict[str, str]) -> None:
    assert mirrors.place(dag_id, uri, extra) is None


def test_an_asset_of_one_table_names_its_mirror_as_well() -> None:
    extra = {"source": "s", "storage": "r"}
    whole = mirrors.place("etl_x", "x-clickhouse://dw/x_dw", extra)
    assert whole == mirrors.place("etl_x", "x-clickhouse://dw/x_dw/venda", extra)


def test_each_button_starts_its_run_with_the_callers_token(
    operator: TestClient, tokens: dict[str, str], asked: list[tuple[str, Any, str]]
) -> None:
    answer = operator.post("/runs", json=RECONCILE, headers=HOME)
    assert answer.json() == {
        "dag_id": "reconciliar_vendas",
        "run_id": "manual__1+x",
        "link": "../dags/reconciliar_vendas/runs/manual__1%2Bx",
    }
    span = {"inicio": "2026-01-01T00:00:00Z", "fim": "2026-01-02T00:00:00Z"}
    again = {"mirror": "vendas", "deed": "again", **span}
    assert operator.post("/runs", json=again, headers=HOME).status_code == 200
    refused = operator.post("/runs", json={**RECONCILE, "deed": "rebuild"}, headers=HOME)
    assert (refused.status_code, refused.json()) == (403, {"detail": "Forbidden"})
    bearer = f"Bearer {tokens['olga']}"
    assert asked == [
        ("reconciliar_vendas", {"logical_date": None, "conf": {"tabelas": ["venda"]}}, bearer),
        ("etl_vendas", {"logical_date": None, "conf": span}, bearer),
        ("etl_vendas", {"logical_date": None, "conf": {"reconstruir": ["venda"]}}, bearer),
    ]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "https://elsewhere.example"}, 403),
        ({"Origin": "http://testserver.elsewhere.example"}, 403),
        ({**HOME, "Content-Type": "text/plain"}, 415),
        ({**HOME, "Content-Type": "application/x-www-form-urlencoded"}, 415),
    ],
)
def test_another_site_can_not_act(
    operator: TestClient, asked: list[tuple[str, Any, str]], headers: dict[str, str], status: int
) -> None:
    answer = operator.post(
        "/runs",
        content='{"mirror": "vendas", "deed": "reconcile"}',
        headers={"Content-Type": "application/json", **headers},
    )
    assert answer.status_code == status
    assert asked == []


def test_the_header_needs_no_origin_and_counts_more_than_the_cookie(
    operator: TestClient, tokens: dict[str, str], asked: list[tuple[str, Any, str]]
) -> None:
    bearer = f"Bearer {tokens['vera']}"
    operator.post("/runs", json=RECONCILE, headers={"Authorization": bearer})
    assert [token for *_, token in asked] == [bearer]


@pytest.mark.parametrize(
    ("wrong", "status", "reason"),
    [
        ({"mirror": "outra"}, 404, "there is no mirror outra"),
        ({"deed": "drop"}, 422, ""),
        ({"sql": "DROP"}, 422, ""),
        ({"deed": "again"}, 422, "give the start and the end"),
        ({"deed": "rebuild", "tables": []}, 422, "choose at least one table"),
        ({"inicio": "2026-01-01T00:00:00Z"}, 422, "takes no range"),
    ],
)
def test_a_wrong_request_starts_nothing(
    operator: TestClient, asked: list[tuple[str, Any, str]], wrong: dict[str, Any], status: int, reason: str
) -> None:
    answer = operator.post("/runs", json={**RECONCILE, **wrong}, headers=HOME)
    assert answer.status_code == status
    assert reason in str(answer.json()["detail"])
    assert asked == []


def test_the_policy_allows_nothing_from_elsewhere(viewer: TestClient) -> None:
    for path in ("/", "/sales", "/page.css", "/page.js"):
        answer = viewer.get(path)
        assert answer.status_code == 200, path
        policy = answer.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'")
        assert "frame-ancestors 'self'" in policy
        assert "unsafe" not in policy
    assert "style=" not in viewer.get("/").text
    assert viewer.get("/secrets.py").status_code == 404
