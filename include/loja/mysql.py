"""The store's database, MySQL or MariaDB: one way to connect, one way to hold a transaction.

Every session is UTC, strict about values, and READ COMMITTED: a statement sees what is committed when it begins, and
locks only the rows it names. `snapshot` is for those who must see one state throughout.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import pymysql
from pymysql.connections import Connection
from pymysql.cursors import DictCursor

from include.conventions import sql

SESSION = (
    "SET time_zone = '+00:00', sql_mode = 'STRICT_TRANS_TABLES,NO_ENGINE_SUBSTITUTION,ERROR_FOR_DIVISION_BY_ZERO', "
    # A reader of millions of rows may pause while it uploads a part.
    "net_write_timeout = 3600, innodb_lock_wait_timeout = 10, "
    # A machine that vanishes says no goodbye: what it holds is free again after this, not after hours.
    "wait_timeout = 900"
)
# The server took no side: it chose a victim, gave up on a lock, or was gone. The same may go well a minute later.
TRANSIENT = {1205, 1213, 2006, 2013, 1020, 1158, 1159, 1160, 1161, 4031}


def connect(parameters: Mapping[str, Any]) -> Connection[DictCursor]:
    """Return a connection whose rows are dicts. Raises pymysql.OperationalError when nobody answers."""
    parameters = {"connect_timeout": 10, "charset": "utf8mb4", **parameters}
    if isinstance(parameters.get("password"), str):
        # As bytes: PyMySQL would take the text for Latin-1.
        parameters["password"] = parameters["password"].encode()
    connection: Connection[DictCursor] = pymysql.connect(
        **parameters,
        cursorclass=DictCursor,
        autocommit=True,
        init_command=SESSION,
    )
    with connection.cursor() as cursor:
        cursor.execute("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")
    return connection


@contextmanager
def transaction(connection: Connection[DictCursor]) -> Iterator[DictCursor]:
    """Commit what the block does, or roll it back."""
    connection.begin()
    try:
        with connection.cursor() as cursor:
            yield cursor
    except BaseException:
        # With the connection gone the server has rolled back by itself.
        if connection.open:
            # It notices that here where the server has hung up. Closing is its owner's, who can't do it twice.
            with suppress(pymysql.MySQLError):
                connection.rollback()
        raise
    connection.commit()


@contextmanager
def snapshot(connection: Connection[DictCursor]) -> Iterator[DictCursor]:
    """Let the block read one state of the database: that of this moment."""
    with connection.cursor() as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        cursor.execute("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")
        try:
            yield cursor
        finally:
            if connection.open:
                connection.rollback()


def is_transient(error: Exception) -> bool:
    """Tell whether the same statement may go well later."""
    return isinstance(error, pymysql.MySQLError) and bool(error.args) and error.args[0] in TRANSIENT


def execute_script(connection: Connection[DictCursor], folder: str, name: str) -> None:
    """Execute the statements of a script without values, one after the other."""
    with connection.cursor() as cursor:
        for statement in sql.statements(sql.text(folder, name)):
            cursor.execute(statement)


def create_schema(connection: Connection[DictCursor]) -> None:
    """Create the store's tables where they are missing."""
    execute_script(connection, "loja", "create_schema")
