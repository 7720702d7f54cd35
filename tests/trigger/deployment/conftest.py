"""trigger_script.py with the session's deployment, its users, and a proxy to its API with faults."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from local.deployment.airflow import ApiServer
from local.deployment.stack import Deployment
from local.servers.server import free_port
from local.waiting import until
from tests import rest
from tests.rest import Rest
from tests.trigger.faulty import Faulty, Upstream
from tests.trigger.script import Script
from tests.trigger.users import User

# Seconds. To parse all these DAGs and create their permissions takes seconds, on a busy machine minutes.
PATIENCE = 300.0
# One DAG of each file.
DAGS = {"quick", "daily", "breakable", "many_109"}


@pytest.fixture(scope="package")
def admin(deployment: Deployment) -> Iterator[Rest]:
    """A client for the API as the admin, without the script, after all DAG files were parsed."""
    with rest.admin(deployment.settings) as client:

        def read() -> bool:
            # All DAGs of a file are listed before each one's definition is stored.
            stored = all(client.get(f"/dags/{dag}/details").ok for dag in DAGS)
            return stored and client.get("/importErrors").json()["total_entries"] > 0

        until(read, PATIENCE, "a DAG of each file", check=deployment.supervisor.check, pause=0.2)
        yield client


def add_user(admin: Rest, role: str) -> User:
    """Create a user of FAB with this role."""
    user = User(f"{role.lower()}_user", secrets.token_hex(8))
    body = {
        "username": user.name,
        "password": user.password,
        "email": f"{user.name}@example.com",
        "first_name": user.name,
        "last_name": user.name,
        "roles": [{"name": role}],
    }
    admin.post("/auth/fab/v1/users", json=body, root="").raise_for_status()
    return user


@pytest.fixture(scope="package")
def viewer(admin: Rest) -> User:
    """A user who may only read."""
    return add_user(admin, "Viewer")


@pytest.fixture(scope="package")
def operator(admin: Rest) -> User:
    """A user who may also trigger, and who is not the admin."""
    return add_user(admin, "Op")


@pytest.fixture(scope="package")
def script(alone: Script, deployment: Deployment, admin: Rest) -> Script:
    """The script, with the admin's login in its environment."""
    settings = deployment.settings
    return alone.having(
        AIRFLOW_API_URL=settings.url,
        AIRFLOW_USERNAME=settings.admin_user,
        AIRFLOW_PASSWORD=settings.admin_password,
    )


@pytest.fixture(scope="package")
def automations(script: Script, admin: Rest) -> Script:
    """The script, when executar_tarefa is known and unpaused."""
    unpaused = {"is_paused": False}
    until(
        lambda: admin.patch("/dags/executar_tarefa", json=unpaused).ok, PATIENCE, "executar_tarefa", pause=0.5
    )
    return script


class SimpleApiServer(ApiServer):
    """A second API server on the same metadata database, with Airflow's simple auth manager and two users."""

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
            # It may be stopped after the receiver of metrics, and would wait for it.
            "METRICS__OTEL_ON": "False",
            "TRACES__OTEL_ON": "False",
        }
        variables = {
            **deployment.environment,
            **{f"AIRFLOW__{name}": value for name, value in options.items()},
        }
        super().__init__(deployment.settings, variables, deployment.settings.log(self.name))
        self.port = port


@pytest.fixture(scope="package")
def simple(
    deployment: Deployment, admin: Rest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SimpleApiServer]:
    """An API server with Airflow's simple auth manager. A test may kill it and start it again."""
    with SimpleApiServer(deployment, tmp_path_factory.mktemp("simple")) as server:
        yield server


@pytest.fixture
def faulty(deployment: Deployment) -> Iterator[Faulty]:
    """A proxy to the API, with faults on request."""
    with closing(Upstream(deployment.settings.url)) as api, Faulty(api) as way:
        yield way


@pytest.fixture
def run_ids(admin: Rest) -> Callable[[str], set[str]]:
    """A function that returns the ids of a DAG's runs."""

    def ask(dag_id: str) -> set[str]:
        answer: dict[str, Any] = admin.get(f"/dags/{dag_id}/dagRuns", params={"limit": 100}).json()
        return {run["dag_run_id"] for run in answer["dag_runs"]}

    return ask
