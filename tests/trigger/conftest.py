"""trigger_script.py on the session's deployment, its users, and the ways to reach its API."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from local.deployment.airflow import ApiServer
from local.deployment.stack import Deployment
from local.servers.server import free_port
from tests import rest
from tests.conftest import ROOT
from tests.trigger import certificate
from tests.trigger.faulty import Faulty
from tests.trigger.script import Script

# To read three hundred DAGs and give each its permissions takes seconds, on a busy machine minutes.
PATIENCE = 300.0
# One of each file.
DAGS = {"quick", "daily", "breakable", "many_299"}


@dataclass(frozen=True)
class User:
    """Somebody whom an auth manager knows."""

    name: str
    password: str


@pytest.fixture(scope="package")
def admin(deployment: Deployment) -> Iterator[httpx.Client]:
    """The API as its admin asks it without the script, once every DAG file was read."""
    with rest.admin(deployment.settings) as client:
        missing = DAGS
        errors = 0
        deadline = time.monotonic() + PATIENCE
        while missing or not errors:
            assert time.monotonic() < deadline, missing
            deployment.supervisor.check()
            time.sleep(0.2)
            # All DAGs of a file are listed before each one's definition is stored.
            missing = {dag for dag in missing if not client.get(f"/dags/{dag}/details").is_success}
            errors = client.get("/importErrors").json()["total_entries"]
        yield client


def add_user(url: str, token: str, role: str) -> User:
    """Make a user of FAB with this role."""
    user = User(f"{role.lower()}_user", secrets.token_hex(8))
    body = {
        "username": user.name,
        "password": user.password,
        "email": f"{user.name}@example.com",
        "first_name": user.name,
        "last_name": user.name,
        "roles": [{"name": role}],
    }
    headers = {"Authorization": token}
    httpx.post(f"{url}/auth/fab/v1/users", json=body, headers=headers, timeout=30).raise_for_status()
    return user


@pytest.fixture(scope="package")
def viewer(deployment: Deployment, admin: httpx.Client) -> User:
    """A user who may look and not touch."""
    return add_user(deployment.settings.url, admin.headers["Authorization"], "Viewer")


@pytest.fixture(scope="package")
def operator(deployment: Deployment, admin: httpx.Client) -> User:
    """A user who may trigger as well, and is not the admin."""
    return add_user(deployment.settings.url, admin.headers["Authorization"], "Op")


@pytest.fixture(scope="package")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Script:
    """The script copied by itself into a folder, with an environment that knows nobody."""
    folder = tmp_path_factory.mktemp("trigger")
    (folder / "home").mkdir()
    shutil.copy(ROOT / "trigger_script.py", folder)
    environment = {
        "PATH": os.environ["PATH"],
        "LANG": "C.UTF-8",
        "HOME": str(folder / "home"),
        "TZ": "UTC",
    }
    return Script(folder / "trigger_script.py", environment)


@pytest.fixture(scope="package")
def script(alone: Script, deployment: Deployment, admin: httpx.Client) -> Script:
    """The script with the admin's name and password in its environment."""
    settings = deployment.settings
    return alone.having(
        AIRFLOW_API_URL=settings.url,
        AIRFLOW_USERNAME=settings.admin_user,
        AIRFLOW_PASSWORD=settings.admin_password,
    )


@pytest.fixture(scope="package")
def automations(script: Script, admin: httpx.Client) -> Script:
    """The script where the DAG that runs automations is known and goes on."""
    deadline = time.monotonic() + PATIENCE
    while admin.patch("/dags/executar_tarefa", json={"is_paused": False}).status_code == 404:
        assert time.monotonic() < deadline
        time.sleep(0.5)
    return script


class SimpleApiServer(ApiServer):
    """One more API server on the same metadata database, with the Simple auth manager and two users."""

    name = "simple-api-server"

    def __init__(self, deployment: Deployment, folder: Path) -> None:
        self.admin = User("ana", secrets.token_hex(8))
        self.viewer = User("rui", secrets.token_hex(8))
        passwords = folder / "passwords.json"
        passwords.write_text(json.dumps({user.name: user.password for user in (self.admin, self.viewer)}))
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        options = {
            "CORE__AUTH_MANAGER": "airflow.api_fastapi.auth.managers.simple.simple_auth_manager.SimpleAuthManager",
            "CORE__SIMPLE_AUTH_MANAGER_USERS": f"{self.admin.name}:admin,{self.viewer.name}:viewer",
            "CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords),
            "API__PORT": str(port),
            "API__BASE_URL": self.url,
        }
        variables = {
            **deployment.environment,
            **{f"AIRFLOW__{name}": value for name, value in options.items()},
        }
        super().__init__(deployment.settings, variables, deployment.settings.log(self.name))
        self.port = port


@pytest.fixture(scope="package")
def simple(
    deployment: Deployment, admin: httpx.Client, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SimpleApiServer]:
    """An API server with the Simple auth manager, which a test may kill and start again."""
    with SimpleApiServer(deployment, tmp_path_factory.mktemp("simple")) as server:
        yield server


@pytest.fixture
def faulty(deployment: Deployment) -> Iterator[Faulty]:
    """A way to the API that breaks on request."""
    with Faulty(deployment.settings.url) as way:
        yield way


@pytest.fixture(scope="package")
def ca(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate that nobody trusts by default, and its key."""
    return certificate.create(tmp_path_factory.mktemp("certificate"))


@pytest.fixture
def encrypted(deployment: Deployment, ca: tuple[Path, Path]) -> Iterator[Faulty]:
    """A way to the API through TLS."""
    with Faulty(deployment.settings.url, ca) as way:
        yield way


@pytest.fixture
def run_ids(admin: httpx.Client) -> Callable[[str], set[str]]:
    """What tells which runs a DAG has."""

    def ask(dag_id: str) -> set[str]:
        answer: dict[str, Any] = admin.get(f"/dags/{dag_id}/dagRuns", params={"limit": 100}).json()
        return {run["dag_run_id"] for run in answer["dag_runs"]}

    return ask
