"""The check before Airflow's own API: a wrong call is refused, and everything else reaches Airflow as it was sent."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi import FastAPI, Request
from fastapi.testclient import TestClient

from include.tarefas.api import middleware
from include.tarefas.api.middleware import CheckCalls, LineBreaks, OnlyStarts

pytestmark = [pytest.mark.filterwarnings("ignore:Using `httpx` with"), pytest.mark.security]

TRIGGER = "/api/v2/dags/executar_tarefa/dagRuns"
WRONG = {"logical_date": None, "conf": {"tarefa": "sent"}}
RIGHT = {"logical_date": None, "conf": {"tarefa": "add", "args": [1]}}
STORED = {"tarefa": "tools.add", "args": [1], "kwargs": {}, "queue": "default"}


@pytest.fixture(params=["", "/airflow"], ids=["at the root", "below a path"])
def server(request: pytest.FixtureRequest, tokens: dict[str, str], folder: Path) -> TestClient:
    """An API server that echoes what reaches it; a client of its operator."""
    app = FastAPI(root_path=request.param)
    app.add_middleware(CheckCalls)

    @app.api_route("/{path:path}", methods=["GET", "POST", "PATCH"])
    async def echo(request: Request) -> dict[str, Any]:
        body = (await request.body()).decode("latin-1")
        return {
            "path": request.url.path,
            "body": body,
            "length": request.headers.get("Content-Length"),
        }

    return TestClient(app, headers={"Authorization": f"Bearer {tokens['olga']}"})


def test_a_wrong_call_is_refused_as_airflow_refuses(server: TestClient) -> None:
    answer = server.post(TRIGGER, json=WRONG)
    assert answer.status_code == 400
    assert answer.json()["detail"].startswith('there is no tarefa "sent" (did you mean send?)')
    for conf in ({}, None, {"queue": "low"}):
        assert server.post(TRIGGER, json={"logical_date": None, "conf": conf}).status_code == 400
    assert server.post(TRIGGER, json={"logical_date": None}).status_code == 400


def test_below_a_path_it_is_found_with_and_without_that_path(tokens: dict[str, str], folder: Path) -> None:
    app = FastAPI(root_path="/airflow")
    app.add_middleware(CheckCalls)
    client = TestClient(app, headers={"Authorization": f"Bearer {tokens['olga']}"})
    assert client.post("/airflow" + TRIGGER, json=WRONG).status_code == 400
    assert client.post(TRIGGER, json=WRONG).status_code == 400


def test_a_right_call_in_the_one_shape_arrives_as_it_was_sent(server: TestClient) -> None:
    sent = json.dumps({"conf": STORED, "logical_date": None}, indent=3)
    answer = server.post(TRIGGER, content=sent)
    assert answer.status_code == 200
    assert answer.json()["body"] == sent


@pytest.mark.parametrize(
    "conf",
    [
        {"tarefa": "add", "args": [1]},
        {"tarefa": "tools.add", "args": [1], "queue": "default"},
        {"module": "tools", "function": "add", "args": [1], "kwargs": {}, "queue": "default"},
        # As the form of the UI sends it.
        {"tarefa": "add", "module": None, "function": None, "args": [1], "kwargs": None, "queue": None},
    ],
    ids=json.dumps,
)
@pytest.mark.parametrize("chunked", [False, True], ids=["with a length", "in chunks"])
def test_a_right_call_arrives_in_the_one_shape(
    server: TestClient, conf: dict[str, Any], chunked: bool
) -> None:
    rest = {"dag_run_id": "mine", "logical_date": None, "note": "\ud800 é", "run_after": "2026-01-01T00:00Z"}
    sent = json.dumps({**rest, "conf": conf}).encode()
    answer = server.post(TRIGGER, content=iter([sent]) if chunked else sent)
    assert answer.status_code == 200
    assert json.loads(answer.json()["body"]) == {**rest, "conf": STORED}
    length = answer.json()["length"]
    assert length == (None if chunked else str(len(answer.json()["body"])))


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 100_000, b'{"conf": '])
def test_what_is_no_call_is_left_to_airflow(server: TestClient, body: bytes) -> None:
    answer = server.post(TRIGGER, content=body)
    assert answer.status_code == 200
    assert answer.json()["body"] == body.decode("latin-1")


@pytest.mark.parametrize("root", ["", "/airflow"])
def test_a_path_with_a_line_break_is_answered_as_the_service_answers(root: str) -> None:
    """A mount of Starlette does not match it."""
    app = FastAPI(root_path=root)
    app.add_middleware(LineBreaks)
    service = FastAPI()
    app.mount("/scheduler", service)

    @service.get("/jobs/{name}")
    async def job(name: str) -> dict[str, str]:
        return {"name": name}

    client = TestClient(app)
    assert client.get(f"{root}/scheduler/jobs/a%0Db").json() == {"name": "a\rb"}
    for path in ("/scheduler/jobs/%0Aa", "/scheduler/jobs/a%0A", "/scheduler/%0A"):
        answer = client.get(root + path)
        assert (answer.status_code, answer.json()) == (404, {"message": "Not Found"})
    assert client.get(f"{root}/other/%0A").json() == {"detail": "Not Found"}


def test_other_requests_are_left_to_airflow(server: TestClient) -> None:
    for method, path in (
        ("POST", "/api/v2/dags/etl_vendas/dagRuns"),
        ("POST", TRIGGER + "/list"),
        ("GET", TRIGGER),
        ("PATCH", TRIGGER + "/a"),
    ):
        assert server.request(method, path, json=WRONG if method != "GET" else None).status_code == 200


def test_who_may_not_trigger_hears_from_airflow_and_learns_nothing(
    server: TestClient, tokens: dict[str, str]
) -> None:
    for headers in ({"Authorization": f"Bearer {tokens['vera']}"}, {"Authorization": "Bearer no"}):
        assert server.post(TRIGGER, json=WRONG, headers=headers).status_code == 200
    del server.headers["Authorization"]
    assert server.post(TRIGGER, json=WRONG).status_code == 200
    # The UI triggers with its cookie; Airflow takes that, so the check does too.
    server.cookies.set("_token", tokens["olga"])
    assert server.post(TRIGGER, json=WRONG).status_code == 400


def test_nothing_of_a_strangers_body_is_parsed(
    server: TestClient, monkeypatch: pytest.MonkeyPatch, tokens: dict[str, str]
) -> None:
    parsed: list[bytes] = []

    def checked(body: bytes) -> bytes:
        parsed.append(body)
        return body

    monkeypatch.setattr(middleware, "_checked", checked)
    for headers in ({}, {"Authorization": "Bearer no"}, {"Authorization": f"Bearer {tokens['vera']}"}):
        server.headers.pop("Authorization", None)
        assert server.post(TRIGGER, json=WRONG, headers=headers).status_code == 200
    assert parsed == []
    server.post(TRIGGER, json=WRONG, headers={"Authorization": f"Bearer {tokens['olga']}"})
    assert len(parsed) == 1


@pytest.mark.parametrize("who", ["olga", "vera", "nobody"])
@pytest.mark.parametrize("chunked", [False, True], ids=["with a length", "in chunks"])
def test_a_large_body_is_refused_whoever_sends_it(
    server: TestClient, tokens: dict[str, str], who: str, chunked: bool
) -> None:
    sent = b'{"conf": "' + b"x" * middleware.LARGEST_BODY + b'"}'
    answer = server.post(
        TRIGGER,
        content=iter([sent[:1000], sent[1000:]]) if chunked else sent,
        headers={"Authorization": f"Bearer {tokens.get(who, 'no')}"},
    )
    assert (answer.status_code, answer.json()) == (413, {"detail": "the body is larger than 262,144 bytes"})


def test_without_the_folder_no_call_is_right(server: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOMACOES_MODULES_PATH", "/nowhere")
    answer = server.post(TRIGGER, json=RIGHT)
    assert answer.status_code == 503
    assert "AUTOMACOES_MODULES_PATH" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PATCH", "/api/v2/dags/executar_tarefa"),
        ("PATCH", "/api/v2/dags"),
        ("PUT", "/api/v2/parseDagFile/x"),
        ("DELETE", "/api/v2/dags/executar_tarefa/dagRuns/x"),
        ("POST", "/scheduler/jobs"),
        ("DELETE", "/scheduler/jobs/x"),
        ("GET", "/scheduler/clean-queue"),
    ],
)
@pytest.mark.parametrize(
    ("roles", "passes"), [(["Agendador"], False), (["Agendador", "Op"], True), (["Op"], True), (None, True)]
)
def test_the_user_who_starts_jobs_changes_nothing_else(
    monkeypatch: pytest.MonkeyPatch, method: str, path: str, roles: list[str] | None, passes: bool
) -> None:
    user = SimpleNamespace(get_name=lambda: "agendador")
    if roles is not None:
        user.roles = [SimpleNamespace(name=role) for role in roles]

    async def get_user(*_: object) -> SimpleNamespace:
        return user

    monkeypatch.setattr(middleware, "get_user", get_user)
    app = FastAPI(root_path="/airflow")
    app.add_middleware(OnlyStarts)

    @app.api_route("/{path:path}", methods=["GET", "POST", "PATCH", "PUT", "DELETE"])
    async def passed() -> None:
        return None

    client = TestClient(app)
    answer = client.request(method, path)
    assert answer.status_code == (200 if passes else 403)
    if not passes:
        key = "message" if path.startswith("/scheduler") else "detail"
        assert answer.json() == {key: "user agendador may only start and see runs of executar_tarefa"}
    assert client.post(TRIGGER).status_code == 200
    assert client.get("/api/v2/dags/executar_tarefa/dagRuns").status_code == 200
