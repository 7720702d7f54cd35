"""Airflow's answers have the same keys and types as the recorded answers of the script's own tests."""

from __future__ import annotations

import time
from typing import Any

import jwt
import pytest
import requests

from local.deployment.stack import Deployment
from local.waiting import until
from tests.rest import Rest
from tests.trigger import recorded
from tests.trigger.script import PATIENCE
from tests.trigger.users import User

# The content of these depends on the DAG.
FREE = {"conf", "default_args", "params", "rendered_fields"}
RUN = {"dag_run_id": "recorded", "logical_date": "2026-04-01T00:00:00Z", "conf": {"a": [1]}, "note": "n"}


def shape(value: Any, place: str = "") -> dict[str, set[str]]:
    """Return the types at each place of an answer. All entries of a list are one place; null has no type."""
    if isinstance(value, dict):
        parts = [shape(one, f"{place}.{key}") for key, one in value.items() if key not in FREE]
    elif isinstance(value, list):
        parts = [shape(one, f"{place}[]") for one in value]
    else:
        return {place: set() if value is None else {type(value).__name__}}
    found: dict[str, set[str]] = {}
    for part in parts:
        for key, kinds in part.items():
            found.setdefault(key, set()).update(kinds)
    return found


def differing(given: Any, kept: Any) -> list[str]:
    """Return the places that only one of the answers has, and those where their types differ."""
    ours, theirs = shape(kept), shape(given)
    missing = ours.keys() ^ theirs.keys()
    both = ours.keys() & theirs.keys()
    return sorted(
        missing | {one for one in both if ours[one] and theirs[one] and not ours[one] & theirs[one]}
    )


@pytest.mark.parametrize("dag", ["quick", "described", "daily", "many_000", "etl_vendas", "executar_tarefa"])
def test_a_dag(admin: Rest, dag: str) -> None:
    kept = recorded.dags()[dag]
    given = admin.get(f"/dags/{dag}/details").json()
    assert differing(given, kept) == []
    for name, param in kept["params"].items():
        assert set(given["params"][name]) == set(param)
    [listed] = admin.get("/dags", params={"dag_id_pattern": dag, "limit": 1}).json()["dags"]
    assert list(listed) == recorded.LISTED


def test_a_file_that_cannot_be_imported(admin: Rest) -> None:
    assert differing(admin.get("/importErrors").json(), recorded.IMPORT_ERRORS) == []


def test_a_run_and_its_task(admin: Rest) -> None:
    made = admin.post("/dags/quick/dagRuns", json=RUN)
    assert made.status_code == 200
    assert differing(made.json(), recorded.RUNS["made"]) == []
    again = admin.post("/dags/quick/dagRuns", json=RUN)
    assert again.status_code == recorded.REFUSALS["conflict"]["status"]
    assert differing(again.json(), recorded.REFUSALS["conflict"]["body"]) == []

    def ended() -> Any:
        run = admin.get("/dags/quick/dagRuns/recorded").json()
        return run if run["state"] == "success" else None

    run = until(ended, PATIENCE, "the end of the run", pause=0.2)
    assert differing(run, recorded.RUNS["quick"]["run"]) == []
    tasks = admin.get("/dags/quick/dagRuns/recorded/taskInstances").json()["task_instances"]
    assert differing(tasks, recorded.RUNS["quick"]["tasks"]) == []


def refusals(deployment: Deployment, admin: Rest, viewer: User) -> dict[str, requests.Response]:
    """Return Airflow's answers to requests that it refuses."""
    url = deployment.settings.url

    def ask(method: str, path: str, token: str | None = None, body: Any = None) -> requests.Response:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        return requests.request(method, f"{url}{path}", headers=headers, json=body, timeout=60)

    wrong = {"username": viewer.name, "password": "wrong"}
    token = ask("POST", "/auth/token", body={"username": viewer.name, "password": viewer.password}).json()[
        "access_token"
    ]
    header = jwt.get_unverified_header(token)
    past = int(time.time()) - 3600
    claims = jwt.decode(token, options={"verify_signature": False})
    old = {**claims, "exp": past, "nbf": past - 60, "iat": past - 60}
    expired = jwt.encode(old, deployment.settings.jwt_secret, header["alg"], header)
    return {
        "nobody": ask("GET", "/api/v2/dags"),
        "malformed": ask("GET", "/api/v2/dags", "a.b.c"),
        "expired": ask("GET", "/api/v2/dags", expired),
        "forbidden": ask("POST", "/api/v2/dags/quick/dagRuns", token, RUN),
        "unknown user": ask("POST", "/auth/token", body=wrong),
        "token for nobody": ask("GET", "/auth/token"),
        "unknown DAG": admin.get("/dags/quik/details"),
        "run of an unknown DAG": admin.post("/dags/quik/dagRuns", json=RUN),
        "unknown run": admin.get("/dags/quick/dagRuns/nowhere"),
        "odd id": admin.post("/dags/quick/dagRuns", json={"dag_run_id": "by hand/1", "logical_date": None}),
    }


def test_refusals(deployment: Deployment, admin: Rest, viewer: User) -> None:
    given = refusals(deployment, admin, viewer)
    for name, answer in given.items():
        kept = recorded.REFUSALS[name]
        page = isinstance(kept["body"], str)
        assert (name, answer.status_code) == (name, kept["status"])
        assert (answer.text if page else answer.json()) == kept["body"]
    assert given.keys() | {"conflict"} == recorded.REFUSALS.keys()
