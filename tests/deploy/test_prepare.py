"""Whose password `deploy.prepare` gives: the users of its own, and nobody else's."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from airflow.models.connection import Connection

from deploy import prepare

POSTGRES = "postgres://jobs:secret@127.0.0.1:9/jobs"


class Security:
    """The users and roles of Airflow, in memory; `passwords` are those that were given."""

    def __init__(self, **users: list[str]) -> None:
        self.roles = {
            name: SimpleNamespace(id=name, name=name, permissions=[])
            for name in ("Op", prepare.connections.ROLE)
        }
        self.users = {
            user: SimpleNamespace(id=user, roles=[self.roles[role] for role in roles])
            for user, roles in users.items()
        }
        self.passwords: dict[str, str] = {}

    def find_user(self, user: str) -> Any:
        return self.users.get(user)

    def update_user(self, user: Any) -> None:
        self.users[user.id] = user

    def reset_password(self, user: str, password: str) -> None:
        self.passwords[user] = password

    def add_user(self, user: str, first: str, last: str, email: str, role: Any, password: str) -> None:
        self.users[user] = SimpleNamespace(id=user, roles=[role])
        self.passwords[user] = password

    def create_permission(self, action: str, resource: str) -> tuple[str, str]:
        return action, resource

    def add_role(self, name: str) -> Any:
        return self.roles[name]

    def update_role(self, role: str, name: str) -> None:
        assert role == name

    def roles_of(self, user: str) -> list[str]:
        return [role.name for role in self.users[user].roles]


@pytest.mark.parametrize("users", [{}, {"agendador": []}, {"agendador": [prepare.connections.ROLE]}], ids=str)
def test_who_starts_jobs_gets_the_password_and_the_role(users: dict[str, list[str]]) -> None:
    security = Security(**users)
    prepare.prepare_jobs_user(security, "agendador", "given")
    assert security.roles_of("agendador") == [prepare.connections.ROLE]
    assert security.passwords == {"agendador": "given"}


@pytest.mark.parametrize("roles", [["Op"], ["Op", prepare.connections.ROLE]], ids=str)
def test_a_user_with_another_role_keeps_it_and_the_password(roles: list[str]) -> None:
    security = Security(ana=roles)
    with pytest.raises(SystemExit, match="airflow_api: the user ana exists, with the role Op; name a user"):
        prepare.prepare_jobs_user(security, "ana", "given")
    assert security.roles_of("ana") == roles
    assert security.passwords == {}


def test_a_user_of_this_program_is_left_as_it_made_it() -> None:
    security = Security(operator=["Op"])
    prepare.prepare_jobs_user(security, "operator", "given")
    assert (security.roles_of("operator"), security.passwords) == (["Op"], {})


@pytest.mark.parametrize("uri", ["http://h:80", "http://agendador@h:80", "http://:given@h:80"])
def test_an_api_connection_without_a_login_is_refused(monkeypatch: pytest.MonkeyPatch, uri: str) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_POSTGRES_JOBS", POSTGRES)
    monkeypatch.setenv("AIRFLOW_CONN_AIRFLOW_API", uri)
    with pytest.raises(SystemExit, match="connection airflow_api has no login or no password"):
        prepare.jobs_connections()


def test_a_jobs_connection_that_names_too_little_is_refused_in_one_line() -> None:
    bare = Connection(conn_id="postgres_jobs", uri="postgres://127.0.0.1:9/jobs")
    with pytest.raises(SystemExit, match="connection postgres_jobs: login, password not given"):
        prepare.prepare_jobs_database(bare, "host=127.0.0.1 port=9 user=airflow dbname=airflow")


def test_a_server_that_is_away_is_named_in_one_line() -> None:
    jobs = Connection(uri=POSTGRES)
    with pytest.raises(
        SystemExit, match=r"^connection postgres_jobs: the server refused: .*127\.0\.0\.1.*refused"
    ) as said:
        prepare.prepare_jobs_database(jobs, "postgresql://airflow:hidden@127.0.0.1:9/airflow")
    assert "secret" not in str(said.value)
    assert "hidden" not in str(said.value)
