"""The store's servers, one of each for the session, and a database of its own per test.

`tests/conftest.py` makes them known everywhere. A machine that can't have one fails the tests that need it, with the
reason.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from secrets import token_urlsafe

import pytest

from local.deployment.settings import DEFAULT_FOLDER
from local.servers import mariadb, rabbitmq
from local.servers.aws import AWS
from local.servers.debian import unpack
from local.servers.mariadb import MariaDB
from local.servers.rabbitmq import RabbitMQ
from local.servers.server import free_port

DEBIAN = DEFAULT_FOLDER / "debian"
# No test cuts the power, and a crash of the processes loses nothing that the kernel has.
NO_FSYNC = {"innodb-flush-log-at-trx-commit": "2"}

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def mariadb_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MariaDB]:
    """One MariaDB for the session; each test gets a database of its own from `loja`."""
    folder = tmp_path_factory.mktemp("mariadb")
    tree = unpack(DEBIAN, mariadb.PACKAGES)
    with MariaDB(
        folder / "data", free_port(), token_urlsafe(12), folder / "log", tree, settings=NO_FSYNC
    ) as server:
        yield server


@pytest.fixture(scope="session")
def rabbitmq_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitMQ]:
    """One RabbitMQ for the session; tests take queues with names of their own."""
    folder = tmp_path_factory.mktemp("rabbitmq")
    tree = unpack(DEBIAN, rabbitmq.PACKAGES)
    with RabbitMQ(folder / "data", free_port(), token_urlsafe(12), folder / "log", tree) as server:
        yield server


@pytest.fixture(scope="session")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AWS]:
    """One moto server, with SQS and S3, for the session; tests take queues and buckets with names of their own."""
    with AWS(free_port(), tmp_path_factory.mktemp("aws") / "log") as server:
        yield server


@pytest.fixture
def loja(mariadb_server: MariaDB) -> str:
    """Create an empty database on MariaDB for one test, and return its name."""
    name = f"loja_{next(_numbers)}"
    mariadb_server.create_database(name)
    return name
