"""Permissions: nothing without a login, a viewer may only read, an operator may run; and no secret in anything shown."""

from __future__ import annotations

import importlib.util
import json
import re
from base64 import b64encode
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from secrets import token_urlsafe
from typing import Any

import httpx
import jwt
import pytest
import yaml
from fastapi import APIRouter, FastAPI

from local.deployment.api import AirflowApi
from local.deployment.stack import Deployment
from tests.campaign import Campaign
from tests.conftest import ROOT
from tests.e2e.conftest import DAG_ID
from tests.e2e.runs import PATIENCE, ended, log, path

pytestmark = pytest.mark.security

LEAKY = "leaky"
METHODS = ("get", "post", "put", "patch", "delete")
# The routes that Airflow answers without a login: its health, its version, and the login page.
PUBLIC = {
    "GET /api/v2/monitor/health",
    "GET /api/v2/version",
    "GET /api/v2/auth/login",
    "GET /api/v2/auth/logout",
}
# What a viewer may send beside GET and lists: a token of the viewer's own.
VIEWERS = {"POST /ui/auth/token"}
RANGE = {"inicio": "2026-01-01T00:00:00Z", "fim": "2026-01-02T00:00:00Z"}
RUN: dict[str, object] = {"logical_date": None, "conf": {}}


@pytest.fixture(scope="module")
def anonymous(deployment: Deployment, api: AirflowApi) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=deployment.settings.url, timeout=30) as client:
        yield client


@pytest.fixture(scope="module")
def users(deployment: Deployment, api: AirflowApi) -> Iterator[dict[str, httpx.Client]]:
    """A client for each user, logged in."""
    settings = deployment.settings
    passwords = {"viewer": settings.viewer_password, "operator": settings.operator_password}
    with ExitStack() as clients:
        logged_in = {}
        for user, password in passwords.items():
            client = clients.enter_context(httpx.Client(base_url=settings.url, timeout=30))
            answer = client.post("/auth/token", json={"username": user, "password": password})
            assert answer.status_code == 201
            client.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
            logged_in[user] = client
        yield logged_in


def answers(client: httpx.Client, routes: Iterable[tuple[str, str]]) -> dict[str, int]:
    """Return the status of each route. Each path parameter is `1`."""
    found = {}
    for method, route in routes:
        body: dict[str, object] | None = {} if method in ("POST", "PUT", "PATCH") else None
        answer = client.request(method, re.sub(r"\{[^}]+\}", "1", route), json=body)
        found[f"{method} {route}"] = answer.status_code
    return found


def answered(client: httpx.Client, routes: Iterable[tuple[str, str]], refusal: int) -> set[str]:
    """Return the routes that do not answer with the status `refusal`."""
    return {route for route, status in answers(client, routes).items() if status != refusal}


def airflow_routes() -> list[tuple[str, str]]:
    """Return all routes of the API and of the UI's backend, from Airflow's own OpenAPI documents."""
    described = files("airflow.api_fastapi.core_api.openapi")
    return [
        (method.upper(), route)
        for name in ("v2-rest-api-generated.yaml", "_private_ui.yaml")
        for route, operations in yaml.safe_load((described / name).read_text())["paths"].items()
        for method in operations
        if method in METHODS
    ]


def project_apps() -> dict[str, FastAPI]:
    """Return the apps that the project's plugins add to the API server, by prefix."""
    from airflow.plugins_manager import is_valid_plugin

    apps: dict[str, FastAPI] = {}
    for file in sorted((ROOT / "plugins").glob("*.py")):
        spec = importlib.util.spec_from_file_location(file.stem, file)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        for value in vars(module).values():
            if is_valid_plugin(value):
                apps |= {entry["url_prefix"]: entry["app"] for entry in value().fastapi_apps}
    return apps


def app_routes(prefix: str, app: FastAPI) -> list[tuple[str, str]]:
    """Return all routes of an app, including those of its documentation."""
    return [
        (method, prefix + route.path)  # type: ignore[attr-defined]
        for route in app.routes
        for method in sorted(getattr(route, "methods", None) or {"GET"})
        if method.lower() in METHODS
    ]


def test_nobody_gets_anything_without_a_login(anonymous: httpx.Client, campaign: Campaign) -> None:
    routes = airflow_routes()
    assert len(routes) > 130
    assert answered(anonymous, routes, 401) == PUBLIC
    campaign.refused("requests", len(routes) - len(PUBLIC))
    campaign.let_through("requests", len(PUBLIC))


def test_what_the_project_adds_answers_nobody_either(
    anonymous: httpx.Client, api: AirflowApi, campaign: Campaign
) -> None:
    apps = project_apps()
    plugins = api.call("GET", "/api/v2/plugins", params={"limit": 100})["plugins"]
    served = {app["url_prefix"] for plugin in plugins for app in plugin["fastapi_apps"]}
    assert served == set(apps), "each app is served, and no other one"
    routes = [route for prefix, app in apps.items() for route in app_routes(prefix, app)]
    assert answered(anonymous, routes, 401) == set()
    campaign.refused("requests", len(routes))


def credentials(deployment: Deployment, login: str) -> dict[str, dict[str, str]]:
    """Return headers that look like a login and are none, by what they are. `login` is the token of an operator."""
    # With an id of their own: logging out ends all tokens of the same id.
    claims = {**jwt.decode(login, options={"verify_signature": False}), "jti": token_urlsafe(16)}
    secret = deployment.settings.jwt_secret
    over = {**claims, "exp": datetime.now(UTC) - timedelta(hours=1)}
    tokens = {
        "empty": "",
        "a word": "hello",
        "unsigned": jwt.encode(claims, "", "none"),
        "signed by another": jwt.encode(claims, secret[::-1], "HS512"),
        "signed with a word": jwt.encode(claims, "secret", "HS256"),
        "over": jwt.encode(over, secret, "HS512"),
        "of nobody": jwt.encode({**claims, "sub": "123456"}, secret, "HS512"),
        "of a task": jwt.encode({**claims, "aud": "urn:airflow.apache.org:task"}, secret, "HS512"),
    }
    password = deployment.settings.admin_password
    return {
        "none": {},
        **{f"token: {what}": {"Authorization": f"Bearer {token}".strip()} for what, token in tokens.items()},
        "cookie": {"Cookie": f"_token={tokens['signed by another']}; session={token_urlsafe(32)}"},
        "password": {"Authorization": "Basic " + b64encode(f"admin:{password}".encode()).decode()},
        "a proxy's": {"X-Forwarded-User": "admin", "Remote-User": "admin", "X-Remote-User": "admin"},
    }


@pytest.mark.soak
def test_no_route_answers_any_method_with_anything_that_only_looks_like_a_login(
    deployment: Deployment, users: dict[str, httpx.Client], campaign: Campaign
) -> None:
    """Each path with each method, as nobody, with forged logins, and with hostile values in the path."""
    apps = project_apps()
    routes = [
        *airflow_routes(),
        *(route for prefix, app in apps.items() for route in app_routes(prefix, app)),
    ]
    paths = sorted({route for _, route in routes})
    login = users["operator"].headers["Authorization"].removeprefix("Bearer ")
    forged = credentials(deployment, login)
    asked = [
        (method, re.sub(r"\{[^}]+\}", "1", path), what)
        for path in paths
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")
        for what in forged
    ]
    hostile = ("..%2f..%2fetc%2fpasswd", "%00", "1%27%3b--", "%0a", "%7b%7b1%7d%7d", "~")
    asked += [
        ("GET", re.sub(r"\{[^}]+\}", value, path), "none")
        for path in paths
        if "{" in path
        for value in hostile
    ]
    public = {route.partition(" ")[2] for route in PUBLIC}

    def ask(request: tuple[str, str, str]) -> tuple[str, str, str, int]:
        method, path, what = request
        body = b"{}" if method in ("POST", "PUT", "PATCH") else None
        headers = {"Content-Type": "application/json", **forged[what]}
        answer = client.request(method, path, content=body, headers=headers)
        # Some hostile values make another path of it. The UI answers each unknown path with its page, which shows nothing.
        return (*request, 404 if answer.content == page else answer.status_code)

    with (
        httpx.Client(base_url=deployment.settings.url, timeout=60) as client,
        ThreadPoolExecutor(4) as pool,
    ):
        page = client.get("/").content
        answers = list(pool.map(ask, asked))
    let_through = [one for one in answers if one[3] not in (401, 403, 404, 405)]
    assert {path for _, path, _, _ in let_through} <= public, let_through[:20]
    assert {method for method, _, _, _ in let_through} <= {"GET", "HEAD"}
    campaign.refused("requests", len(answers) - len(let_through))
    campaign.let_through("requests", len(let_through))


@pytest.mark.soak
def test_a_viewer_changes_nothing_by_any_route(users: dict[str, httpx.Client], campaign: Campaign) -> None:
    """The lists that are asked for by POST, and nothing else."""
    apps = project_apps()
    routes = [
        *airflow_routes(),
        *(route for prefix, app in apps.items() for route in app_routes(prefix, app)),
    ]
    changes = [(method, route) for method, route in routes if method != "GET"]
    statuses = answers(users["viewer"], changes)
    # Some routes look for the object, or read the body, before they look who asks: 404 and 422 change nothing either.
    assert set(statuses.values()) <= {200, 403, 404, 405, 422}
    let_through = {route for route, status in statuses.items() if status == 200}
    assert {route for route in let_through if not route.endswith("/list")} <= VIEWERS
    campaign.refused("requests", len(statuses) - len(let_through))
    campaign.let_through("requests", len(let_through))


@pytest.mark.filterwarnings("ignore:Using `httpx` with")
def test_an_open_route_would_be_found() -> None:
    from fastapi.testclient import TestClient

    app, router = FastAPI(openapi_url="/openapi.json", docs_url=None, redoc_url=None), APIRouter()
    router.add_api_route("/items/{item}", lambda item: item, methods=["GET"], name="read")
    router.add_api_route("/items/{item}", lambda item: item, methods=["DELETE"], name="remove")
    app.include_router(router)
    found = answered(TestClient(app), app_routes("", app), 401)
    assert found == {"GET /openapi.json", "GET /items/{item}", "DELETE /items/{item}"}


def test_a_wrong_password_and_a_wrong_token_are_refused(
    anonymous: httpx.Client, deployment: Deployment
) -> None:
    for user, password in (("admin", "admin"), ("viewer", deployment.settings.operator_password)):
        answer = anonymous.post("/auth/token", json={"username": user, "password": password})
        assert answer.status_code == 401
    forged = anonymous.get("/api/v2/dags", headers={"Authorization": "Bearer eyJhbGciOiJub25lIn0.e30."})
    assert forged.status_code in (401, 403)


def test_a_viewer_looks_and_changes_nothing(users: dict[str, httpx.Client]) -> None:
    viewer = users["viewer"]
    for seen in ("/api/v2/dags", f"/api/v2/dags/{DAG_ID}", f"/api/v2/dags/{DAG_ID}/dagRuns", "/api/v2/pools"):
        assert viewer.get(seen).status_code == 200
    dag = f"/api/v2/dags/{DAG_ID}"
    backfill = {"dag_id": DAG_ID, "from_date": RANGE["inicio"], "to_date": RANGE["inicio"]}
    refused = [
        ("POST", f"{dag}/dagRuns", RUN),
        ("POST", f"{dag}/dagRuns", {**RUN, "conf": {"queue": "high"}}),
        ("POST", f"{dag}/clearTaskInstances", {"dry_run": True}),
        ("POST", "/api/v2/backfills", backfill),
        ("PATCH", dag, {"is_paused": True}),
        ("DELETE", dag, None),
        ("POST", "/api/v2/pools", {"name": "mine", "slots": 100}),
        ("POST", "/api/v2/connections", {"connection_id": "mine", "conn_type": "http"}),
        ("POST", "/api/v2/variables", {"key": "mine", "value": "1"}),
        ("GET", "/api/v2/connections", None),
        ("GET", "/api/v2/variables", None),
        ("GET", "/api/v2/config", None),
        ("GET", "/auth/fab/v1/users", None),
    ]
    for method, route, body in refused:
        answer = viewer.request(method, route, json=body)
        assert answer.status_code == 403, (method, route, answer.text)


@pytest.mark.parametrize(
    "conf",
    [
        {**RANGE, "inicio": "2026-01-01T00:00:00Z'; DROP TABLE venda; --"},
        {**RANGE, "fim": "$(touch /tmp/owned)"},
        {**RANGE, "fim": "{{ conn.postgres_vendas.password }}"},
        {**RANGE, "tabelas": ["venda; DROP TABLE venda"]},
        {**RANGE, "tabelas": "venda"},
        {**RANGE, "queue": "low; reboot"},
        {**RANGE, "queue": ["high"]},
    ],
    ids=json.dumps,
)
@pytest.mark.security("payloads")
def test_a_hostile_conf_does_not_become_a_run(users: dict[str, httpx.Client], conf: dict[str, Any]) -> None:
    answer = users["operator"].post(f"/api/v2/dags/{DAG_ID}/dagRuns", json={**RUN, "conf": conf})
    assert answer.status_code == 400, answer.text


def test_secrets_are_masked_in_logs_and_rendered_fields(
    deployment: Deployment, api: AirflowApi, users: dict[str, httpx.Client]
) -> None:
    api.unpause(LEAKY, PATIENCE, deployment.supervisor.check)
    # As an operator: a user who may trigger runs sees no more secrets than a viewer.
    started = users["operator"].post(f"/api/v2/dags/{LEAKY}/dagRuns", json=RUN)
    assert started.status_code == 200, started.text
    run_id = started.json()["dag_run_id"]
    assert ended(deployment, api, LEAKY, run_id).state == "success"
    password = json.loads(deployment.environment["AIRFLOW_CONN_POSTGRES_VENDAS"])["password"]
    shown = log(api, LEAKY, run_id, "show", 1)
    for said in ("printed", "complained", "logged", "as a whole", "was rendered"):
        assert said in shown
    assert shown.count("***") >= 5
    task = users["viewer"].get(f"{path(LEAKY, run_id)}/taskInstances/show").json()
    assert task["rendered_fields"]["op_args"] == ["password ***"]
    connection = users["operator"].get("/api/v2/connections/postgres_vendas")
    for text in (shown, json.dumps(task), connection.text):
        assert password not in text
    files = [file for file in deployment.settings.logs.rglob("*") if file.is_file()]
    assert not [file for file in files if password in file.read_text(errors="replace")]
