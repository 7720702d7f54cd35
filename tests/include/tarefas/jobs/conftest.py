"""A database of jobs of each test's own, and an API server that keeps books."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import timedelta

import psycopg
import pytest
import requests

from include.tarefas.jobs.client import Api
from include.tarefas.jobs.database import migrate
from include.tarefas.jobs.store import Store
from local.servers.postgres import Postgres
from tests.include.tarefas.jobs.recorder import PASSWORD, USER, Recorder

_numbers = itertools.count(1)


@pytest.fixture
def dsn(postgres: Postgres) -> str:
    """A database with the table."""
    name = f"jobs_{next(_numbers)}"
    postgres.create_database(name)
    migrate(postgres.dsn(name))
    with psycopg.connect(postgres.dsn(name)) as connection:
        # What the kernel has is enough here: clients are killed, not the server.
        connection.execute(f"ALTER DATABASE {name} SET synchronous_commit = off")
    return postgres.dsn(name)


@pytest.fixture
def store(dsn: str) -> Iterator[Store]:
    """The table, on a connection."""
    with Store(dsn) as store:
        yield store


@pytest.fixture
def server() -> Iterator[Recorder]:
    """The API server."""
    with Recorder() as server:
        yield server


@pytest.fixture
def api(server: Recorder) -> Iterator[Api]:
    """A client of it that does not wait long."""
    with requests.Session() as session:
        yield Api(session, server.url, USER, PASSWORD, timeout=timedelta(seconds=0.4))
