"""What every domain says and does alike about Airflow's connections."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.models.connection import Connection as StoredConnection
    from airflow.sdk import Connection


def missing(name: str) -> str:
    """Return what to tell of a connection that is not there."""
    return f"connection {name} is not defined: set AIRFLOW_CONN_{name.upper()}, or add it under Admin → Connections"


def conninfo(connection: Connection | StoredConnection, extra: Mapping[str, Any]) -> str:
    """Return a connection of type postgres as libpq takes it; `extra` holds further parameters of libpq.

    Raises ValueError, which names the connection, for a parameter that libpq does not know.
    """
    from psycopg import ProgrammingError
    from psycopg.conninfo import make_conninfo

    parameters = {
        "host": connection.host,
        "port": connection.port,
        "user": connection.login,
        "password": connection.password,
        "dbname": connection.schema,
        **extra,
    }
    try:
        return make_conninfo(**{key: value for key, value in parameters.items() if value is not None})
    except ProgrammingError as error:
        raise ValueError(f"connection {connection.conn_id}: {error}") from None
