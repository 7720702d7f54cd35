"""What every domain does alike with Airflow's connections."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from include.conventions.errors import ConfigurationError

if TYPE_CHECKING:
    from airflow.models.connection import Connection as StoredConnection
    from airflow.sdk import Connection
    from clickhouse_connect.driver.client import Client


def missing(name: str) -> str:
    """Return what to tell of a connection that is not there."""
    return f"connection {name} is not defined: set AIRFLOW_CONN_{name.upper()}, or add it under Admin → Connections"


def find(name: str) -> Connection:
    """Return a connection. Raises ConfigurationError, which says how to define it, where there is none."""
    from airflow.sdk import BaseHook
    from airflow.sdk.exceptions import AirflowNotFoundException

    try:
        return BaseHook.get_connection(name)
    except AirflowNotFoundException:
        raise ConfigurationError(missing(name)) from None


def clickhouse(name: str) -> Client:
    """Return a new client of ClickHouse, through the official provider's hook; the caller closes it."""
    from airflow.providers.clickhousedb.hooks.clickhouse import ClickHouseHook

    find(name)
    return ClickHouseHook(clickhouse_conn_id=name).get_client()


def conninfo(connection: Connection | StoredConnection, extra: Mapping[str, Any]) -> str:
    """Return a connection of type postgres as libpq takes it; `extra` holds further parameters of libpq.

    Raises ConfigurationError, which names the connection, for a parameter that libpq does not know.
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
        raise ConfigurationError(f"connection {connection.conn_id}: {error}") from None
