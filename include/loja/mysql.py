"""The store's database, MySQL or MariaDB: one way to connect, one way to run a transaction.

Every session is in UTC, has the strict SQL mode, and is READ COMMITTED: a statement sees what is committed when it
begins, and locks only the rows it names. `snapshot` is for code whose statements must all see one state.
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
    # A machine that vanishes does not close its connection: the server frees its locks after this, not after hours.
    "wait_timeout = 900"
)
# A deadlock, a lock timeout, or a lost connection. The same statement may succeed a minute later.
TRANSIENT = {1205, 1213, 2006, 2013, 1020, 1158, 1159, 1160, 1161, 4031}


def connect(parameters: Mapping[str, Any]) -> Connection[DictCursor]:
    """Return a connection whose rows are dicts. Raises pymysql.OperationalError when the server does not answer."""
    parameters = {"connect_timeout": 10, "charset": "utf8mb4", **parameters}
    if isinstance(parameters.get("password"), str):
        # As bytes: PyMySQL would encode a str as Latin-1.
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
    """Run the block in a transaction: commit at its end, roll back when it raises."""
    connection.begin()
    try:
        with connection.cursor() as cursor:
            yield cursor
    except BaseException:
        # If the connection is closed, the server has rolled back already.
        if connection.open:
            # ROLLBACK fails if the server has closed the connection. Don't close it here: its owner does, once.
            with suppress(pymysql.MySQLError):
                connection.rollback()
        raise
    connection.commit()


@contextmanager
def snapshot(connection: Connection[DictCursor]) -> Iterator[DictCursor]:
    """Run the block in a read-only transaction that sees the database's present state throughout."""
    with connection.cursor() as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        cursor.execute("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")
        try:
            yield cursor
        finally:
            if connection.open:
                connection.rollback()


def is_transient(error: Exception) -> bool:
    """Return whether the same statement may succeed later."""
    return isinstance(error, pymysql.MySQLError) and bool(error.args) and error.args[0] in TRANSIENT


def execute_script(connection: Connection[DictCursor], folder: str, name: str) -> None:
    """Execute a script's statements one after the other; they take no bound parameters."""
    with connection.cursor() as cursor:
        for statement in sql.statements(sql.text(folder, name)):
            cursor.execute(statement)


def create_schema(connection: Connection[DictCursor]) -> None:
    """Create those of the store's tables that are missing."""
    execute_script(connection, "loja", "create_schema")
