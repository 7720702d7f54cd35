"""The store's tables in a database of the test's own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pymysql.connections import Connection

from include.store import mysql
from local.mariadb import USER, MariaDB

Connect = Callable[[], "Connection[Any]"]


@pytest.fixture
def connect(mariadb_server: MariaDB, loja: str) -> Iterator[Connect]:
    """Return a maker of connections to the test's database, which has the tables; all are closed at the end."""
    opened = []

    def new() -> Connection[Any]:
        connection = mysql.connect(
            {
                "host": "127.0.0.1",
                "port": mariadb_server.port,
                "user": USER,
                "password": mariadb_server.password,
                "database": loja,
            }
        )
        opened.append(connection)
        return connection

    mysql.create_schema(new())
    yield new
    for connection in opened:
        if connection.open:
            connection.close()


@pytest.fixture
def store(connect: Connect) -> Connection[Any]:
    """Return one connection to it."""
    return connect()
