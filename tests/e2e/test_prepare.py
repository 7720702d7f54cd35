"""The results of `deploy.prepare`, which the service `init` and the embedded deployment run."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from deploy.prepare import USERS
from include.conventions import pools
from include.tarefas.jobs.connections import ROLE
from local.deployment.api import AirflowApi
from local.deployment.stack import Deployment


def passwords(deployment: Deployment) -> dict[str, str]:
    settings = deployment.settings
    return {
        "ADMIN_PASSWORD": settings.admin_password,
        "OPERATOR_PASSWORD": settings.operator_password,
        "VIEWER_PASSWORD": settings.viewer_password,
    }


def log_in(deployment: Deployment, user: str, password: str) -> int:
    answer = httpx.post(
        f"{deployment.settings.url}/auth/token", json={"username": user, "password": password}, timeout=30
    )
    return answer.status_code


def prepare(environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "deploy.prepare"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(("user", "role"), [("admin", "Admin"), ("operator", "Op"), ("viewer", "Viewer")])
def test_each_user_has_a_password_and_a_role_of_its_own(
    deployment: Deployment, api: AirflowApi, user: str, role: str
) -> None:
    assert [found["name"] for found in api.call("GET", f"/auth/fab/v1/users/{user}")["roles"]] == [role]
    for variable, password in passwords(deployment).items():
        expected = 201 if variable == USERS[user][0] else 401
        assert log_in(deployment, user, password) == expected


def test_the_pools_are_there(api: AirflowApi) -> None:
    found = {pool["name"]: pool["slots"] for pool in api.call("GET", "/api/v2/pools")["pools"]}
    assert {pool.name: pool.slots for pool in pools.load()}.items() <= found.items()


def test_who_starts_jobs_has_a_role_of_its_own(deployment: Deployment, api: AirflowApi) -> None:
    assert [role["name"] for role in api.call("GET", "/auth/fab/v1/users/agendador")["roles"]] == [ROLE]
    assert log_in(deployment, "agendador", deployment.settings.agendador_password) == 201
    given = {
        (entry["action"]["name"], entry["resource"]["name"])
        for entry in api.call("GET", f"/auth/fab/v1/roles/{ROLE}")["actions"]
    }
    assert given - {("can_read", "Website")} == {
        ("can_read", "DAG:executar_tarefa"),
        ("can_edit", "DAG:executar_tarefa"),
        ("can_read", "DAG Run:executar_tarefa"),
        ("can_create", "DAG Run:executar_tarefa"),
    }


def test_a_second_time_gives_users_the_passwords_and_roles_of_then(
    deployment: Deployment, api: AirflowApi
) -> None:
    environment = {**deployment.environment, **passwords(deployment)}
    try:
        api.call("PATCH", "/auth/fab/v1/users/viewer?update_mask=roles", json={"roles": [{"name": "Admin"}]})
        changed = prepare({**environment, "VIEWER_PASSWORD": "another one"})
        assert changed.returncode == 0, changed.stderr
        assert log_in(deployment, "viewer", "another one") == 201
        assert log_in(deployment, "viewer", deployment.settings.viewer_password) == 401
        assert [role["name"] for role in api.call("GET", "/auth/fab/v1/users/viewer")["roles"]] == ["Viewer"]
        assert "another one" not in changed.stdout + changed.stderr
    finally:
        # Two processes at once, as when two hosts start.
        with ThreadPoolExecutor() as pool:
            again = list(pool.map(prepare, [environment] * 2))
    assert [one.returncode for one in again] == [0, 0], again
    assert log_in(deployment, "viewer", deployment.settings.viewer_password) == 201


def test_a_missing_password_is_named_before_anything_is_done() -> None:
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_PASSWORD")}
    failed = prepare({**environment, "ADMIN_PASSWORD": "x", "VIEWER_PASSWORD": ""})
    assert failed.returncode == 1
    assert (
        failed.stderr == "OPERATOR_PASSWORD, VIEWER_PASSWORD not set: each must hold the password of a user\n"
    )


def test_a_missing_connection_is_named_before_anything_is_done() -> None:
    given = {"ADMIN_PASSWORD": "x", "OPERATOR_PASSWORD": "x", "VIEWER_PASSWORD": "x"}
    failed = prepare(
        {**os.environ, **given, "AIRFLOW_CONN_POSTGRES_JOBS": "postgres://jobs@127.0.0.1:9/jobs"}
    )
    assert failed.returncode == 1
    assert failed.stderr.splitlines()[-1] == (
        "connection airflow_api is not defined: set AIRFLOW_CONN_AIRFLOW_API"
    )
