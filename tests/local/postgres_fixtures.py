"""A real PostgreSQL server per test module, and a database per test.

Test modules import the fixtures by name: `from tests.local.postgres_fixtures import database, server`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import psycopg
import pytest

from local.servers.postgres import Postgres
from local.servers.server import free_port
from tests import versions

PASSWORD = "p@ss: 'word'/ç%20"

_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    """Run a server for the tests of one module."""
    folder = tmp_path_factory.mktemp("postgres")
    # No test simulates a loss of power; after a crash of processes, the kernel still has all written data.
    with Postgres(
        folder / "the data",
        free_port(),
        PASSWORD,
        folder / "postgres.log",
        {"fsync": "off"},
        versions.postgres_binaries(),
    ) as server:
        yield server


@pytest.fixture
def database(server: Postgres) -> str:
    """Create an empty database and return its DSN."""
    name = f"test_{next(_numbers)}"
    server.create_database(name)
    return server.dsn(name)


@pytest.fixture
def connection(database: str) -> Iterator[psycopg.Connection]:
    """Connect to the test's database, with autocommit."""
    with psycopg.connect(database, autocommit=True) as connection:
        yield connection
