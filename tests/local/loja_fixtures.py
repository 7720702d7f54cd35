"""The store's servers, one of each per session, and a database per test.

`tests/conftest.py` makes these fixtures available everywhere. If a server can't be started on this machine, the tests that
need it fail with the reason.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from secrets import token_urlsafe

import pytest

from local.servers import mariadb
from local.servers.aws import AWS
from local.servers.debian import unpack
from local.servers.mariadb import MariaDB
from local.servers.rabbitmq import RabbitMQ
from local.servers.server import free_port
from tests import versions
from tests.versions import DEBIAN
from tests.versions.mysql import MySQL

__all__ = ["DEBIAN"]
# No test simulates a loss of power; after a crash of processes, the kernel still has all written data.
NO_FSYNC = {"innodb-flush-log-at-trx-commit": "2"}

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def mariadb_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MariaDB]:
    """One MariaDB, or MySQL, for the session. The fixture `loja_name` gives each test its own database."""
    folder = tmp_path_factory.mktemp("mariadb")
    mysql = versions.chosen("mysql")
    tree = mysql.tree() if mysql else unpack(DEBIAN, mariadb.PACKAGES)
    with (MySQL if mysql else MariaDB)(
        folder / "data", free_port(), token_urlsafe(12), folder / "log", tree, settings=NO_FSYNC
    ) as server:
        yield server


@pytest.fixture(scope="session")
def rabbitmq_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitMQ]:
    """One RabbitMQ for the session. Each test uses its own names of queues."""
    folder = tmp_path_factory.mktemp("rabbitmq")
    tree = versions.rabbitmq_tree()
    with RabbitMQ(folder / "data", free_port(), token_urlsafe(12), folder / "log", tree) as server:
        yield server


@pytest.fixture(scope="session")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AWS]:
    """One moto server, with SQS and S3, for the session. Each test uses its own names of queues and buckets."""
    with AWS(free_port(), tmp_path_factory.mktemp("aws") / "log") as server:
        yield server


@pytest.fixture
def loja_name(mariadb_server: MariaDB) -> str:
    """Create an empty database on MariaDB for one test, and return its name."""
    name = f"loja_{next(_numbers)}"
    mariadb_server.create_database(name)
    return name
