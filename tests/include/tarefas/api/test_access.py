"""Who gets in, with Airflow's simple auth manager; tests/e2e/test_scheduler_api.py asks the same of FAB's."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from fastapi.testclient import TestClient

from tests.e2e.test_security import app_routes

pytestmark = [pytest.mark.filterwarnings("ignore:Using `httpx` with"), pytest.mark.security]

CALL = {"tarefa": "add"}
READS = ["/modules", "/openapi.json", "/docs", "/docs/start.js", "/docs/swagger-ui.css"]
CHANGES: list[tuple[str, str, Any]] = [
    ("POST", "/queue-task", CALL),
    ("POST", "/schedule-task", {**CALL, "seconds": 1}),
    ("GET", "/clean-queue", None),
    ("DELETE", "/clean-queue", None),
]


def test_nobody_gets_anything_without_a_login(anybody: TestClient) -> None:
    routes = app_routes("", anybody.app)  # type: ignore[arg-type]
    assert {(method, route) for method, route, _ in CHANGES} <= set(routes)
    for method, route in routes:
        answer = anybody.request(method, route, json=None if method == "GET" else {})
        assert answer.status_code == 401, (method, route)
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert set(answer.json()) == {"message"}


def changed(token: str, **claims: Any) -> str:
    """Return the token with other claims, signed as the first was."""
    secret = "a secret of this session alone" * 3
    held = jwt.decode(token, options={"verify_signature": False})
    return jwt.encode({**held, **claims}, secret, algorithm="HS512")


def test_a_token_that_is_none_or_over_is_no_login(anybody: TestClient, tokens: dict[str, str]) -> None:
    past = datetime.now(UTC) - timedelta(hours=1)
    header, payload, signature = tokens["olga"].split(".")
    bad = {
        "no token": "hello",
        "half a token": f"{header}.{payload}",
        "a forged one": f"{header}.{payload}.{signature[::-1]}",
        "an unsigned one": jwt.encode({"sub": "olga", "role": "ADMIN"}, "", algorithm="none"),
        "one that is over": changed(tokens["olga"], exp=past),
        "one for another service": changed(tokens["olga"], aud="urn:airflow.apache.org:task"),
    }
    assert anybody.get("/modules", headers=bearer(changed(tokens["olga"]))).status_code == 200
    for what, token in bad.items():
        for method, route, body in [("GET", "/modules", None), *CHANGES]:
            answer = anybody.request(method, route, json=body, headers=bearer(token))
            assert answer.status_code == 401, what
            assert token not in answer.text


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def test_a_viewer_reads_and_changes_nothing(viewer: TestClient, airflow: Any) -> None:
    for route in READS:
        assert viewer.get(route).status_code == 200, route
    for method, route, body in CHANGES:
        answer = viewer.request(method, route, json=body)
        assert answer.status_code == 403, (method, route)
        assert answer.json()["message"].startswith("user vera may not ")
    assert airflow.asked == []


def test_a_cookie_reads_and_changes_nothing(
    anybody: TestClient, tokens: dict[str, str], airflow: Any
) -> None:
    anybody.cookies.set("_token", tokens["olga"])
    for route in READS:
        assert anybody.get(route).status_code == 200, route
    for method, route, body in CHANGES:
        answer = anybody.request(method, route, json=body)
        assert answer.status_code == 401, (method, route)
        assert "a cookie is not enough" in answer.json()["message"]
    # Other ways in which a browser would say who somebody is.
    for headers in ({"Authorization": "Basic b2xnYTpvbGdh"}, {"Authorization": "Bearer"}):
        assert anybody.get("/clean-queue", headers=headers).status_code == 401
    assert airflow.asked == []
    assert anybody.get("/clean-queue", headers=bearer(tokens["olga"])).json()["removed"] == 0


def test_the_header_wins_over_the_cookie(anybody: TestClient, tokens: dict[str, str]) -> None:
    anybody.cookies.set("_token", tokens["olga"])
    assert anybody.get("/clean-queue", headers=bearer(tokens["vera"])).status_code == 403
    assert anybody.get("/modules", headers=bearer("hello")).status_code == 401
