"""Marks each DAG whose server does not run in this deployment, so that the list of DAGs says so.

The cluster policy calls this whenever a DAG file is read. So it must cost next to nothing, and it never raises.
"""

from __future__ import annotations

import socket
from threading import Thread
from typing import TYPE_CHECKING

from include.conventions.tags import Tag

if TYPE_CHECKING:
    from airflow.sdk import DAG

NEEDED = {Tag.LOJA: ("mysql_loja", 3306)}
"""The connection that all DAGs with a tag need, and the port of its server unless the connection names another."""
SECONDS = 0.5


def mark_lacking(dag: DAG) -> None:
    """Add the tag of a lacking server to a DAG, if the server that it needs does not answer."""
    for tag, (connection, port) in NEEDED.items():
        if tag in dag.tags and (address := address_of(connection, port)) and not answers(address):
            dag.tags.add(Tag.NO_SERVER)


def address_of(name: str, port: int) -> tuple[str, int] | None:
    """Return host and port of a connection, None unless a variable of the environment defines it.

    Other connections would cost a request, and need a database, which a check of the DAG files alone has not.
    """
    from airflow.secrets.environment_variables import EnvironmentVariablesBackend

    try:
        found = EnvironmentVariablesBackend().get_connection(name)
    except Exception:  # noqa: BLE001 - the tasks say what is wrong with it
        return None
    return (found.host, found.port or port) if found is not None and found.host else None


def answers(address: tuple[str, int]) -> bool:
    """Return whether a server accepts a connection within `SECONDS`. Also a slow look-up of its name counts as no."""
    found: list[bool] = []

    def ask() -> None:
        try:
            socket.create_connection(address, SECONDS).close()
        except (OSError, OverflowError):
            return
        found.append(True)

    thread = Thread(target=ask, name="server-answers", daemon=True)
    thread.start()
    thread.join(SECONDS)
    return bool(found)
