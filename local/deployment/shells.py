"""A shell on each server of a deployment: `local psql`, `local clickhouse` and `local mysql`.

PostgreSQL's wheel has `psql`, which replaces this process. The other servers come without a client, so a small prompt here
sends statements through their drivers. No command line contains a password.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

import click
import pymysql
import sqlparse
from clickhouse_connect.driver.exceptions import ClickHouseError
from rich.console import Console
from rich.table import Table
from rich.text import Text

from local.deployment.settings import Settings
from local.deployment.stack import clickhouse_server
from local.deployment.supervisor import recorded
from local.servers import mariadb
from local.servers.clickhouse import ClickHouse
from local.servers.mariadb import MariaDB
from local.servers.postgres import BINARIES, SUPERUSER, Postgres
from local.servers.server import Server, ServerError

# Runs one statement, and returns its result for people; empty if it has none.
Execute = Callable[[str], Table | str]
WIDEST = 1_000_000
ENDINGS = {"exit", "quit", "\\q"}


def require(folder: Path, server: type[Server], start: str = "make local") -> None:
    """Raise ServerError if `server` does not run in `folder`; its port may belong to another process by now."""
    if server.name not in {name for name, _, _ in recorded(folder)}:
        raise ServerError(f"{server.name} does not run in {folder}: start it with `{start}`")


def psql(settings: Settings, database: str, command: str | None) -> NoReturn:
    """Replace this process by `psql`, as PostgreSQL's superuser; it ends at the first error unless a person types."""
    require(settings.folder, Postgres)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    environment |= {
        "PGHOST": "127.0.0.1",
        "PGPORT": str(settings.postgres_port),
        "PGUSER": SUPERUSER,
        "PGPASSWORD": settings.postgres_password,
        "PGDATABASE": database,
    }
    arguments = ["psql", "--set=ON_ERROR_STOP=1", *([] if command is None else ["--command", command])]
    os.execve(BINARIES / "psql", arguments, environment)  # noqa: S606 (no shell)


def clickhouse(settings: Settings, database: str, command: str | None) -> None:
    """Run statements on ClickHouse, which formats its results itself, unless a statement has a `FORMAT`."""
    require(settings.folder, ClickHouse)
    client = clickhouse_server(settings).client(database=database)

    def execute(statement: str) -> str:
        answer = client.raw_query(statement, transport_settings={"X-ClickHouse-Format": "PrettyCompact"})
        return str(answer, errors="backslashreplace")

    with client:
        _run(execute, "clickhouse", command)


def mysql(settings: Settings, database: str, command: str | None) -> None:
    """Run statements on MariaDB, each in a transaction of its own unless they begin one."""
    require(settings.folder, MariaDB, "make local-loja")
    connection = pymysql.connect(
        host="127.0.0.1",
        port=settings.mariadb_port,
        user=mariadb.USER,
        # As bytes: PyMySQL would encode a str as Latin-1.
        password=settings.mariadb_password.encode(),
        database=database,
        charset="utf8mb4",
        autocommit=True,
    )

    def execute(statement: str) -> Table | str:
        with connection.cursor() as cursor:
            changed = cursor.execute(statement)
            if not cursor.description:
                return f"{changed} rows"
            return _table([column[0] for column in cursor.description], cursor.fetchall())

    with connection:
        _run(execute, "mysql", command)


def statements(text: str) -> list[str]:
    """Return the statements of a text, without the semicolons between them; comments alone are none."""
    return [
        statement
        for statement in sqlparse.split(text, strip_semicolon=True)
        if sqlparse.format(statement, strip_comments=True).strip()
    ]


def _run(execute: Execute, prompt: str, command: str | None) -> None:
    """Run the statements of `command`, or of a pipe, up to the first error; without both, those that a person types."""
    if command is None and sys.stdin.isatty():
        # In the prompt, Ctrl-C drops the line.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for statement in _typed(prompt):
            try:
                _print(execute(statement))
            except (ClickHouseError, pymysql.MySQLError) as error:
                click.echo(f"Error: {error}", err=True)
        return
    for statement in statements(sys.stdin.read() if command is None else command):
        _print(execute(statement))


def _typed(prompt: str) -> Iterator[str]:
    """Return the statements that a person types. Each ends with a semicolon; Ctrl-D ends."""
    with suppress(ImportError):
        import readline  # noqa: F401 - input() then has a history
    click.echo("A statement ends with a semicolon. Ctrl-D ends.")
    pending = ""
    while True:
        try:
            line = input(f"{'-' * len(prompt) if pending else prompt}> ")
        except EOFError:
            click.echo()
            return
        except KeyboardInterrupt:
            click.echo()
            pending = ""
            continue
        if not pending and line.strip().rstrip(";").lower() in ENDINGS:
            return
        pending = f"{pending}{line}\n".lstrip()
        if pending.rstrip().endswith(";"):
            yield from statements(pending)
            pending = ""


def _table(columns: list[str], rows: tuple[tuple[object, ...], ...]) -> Table:
    table = Table()
    for column in columns:
        table.add_column(_cell(column))
    for row in rows:
        table.add_row(*map(_cell, row))
    return table


def _cell(value: object) -> Text:
    """Return a value without control characters, which could rewrite the terminal."""
    text = "NULL" if value is None else str(value)
    return Text("".join(one if one.isprintable() or one == "\n" else ascii(one)[1:-1] for one in text))


def _print(result: Table | str) -> None:
    if isinstance(result, Table):
        # A pipe or file has no width: columns get the width that they need.
        Console(width=None if sys.stdout.isatty() else WIDEST).print(result)
    elif result:
        click.echo(result.rstrip("\n"))
