"""Looks up Airflow's connections, and opens clients with them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from include.conventions.errors import ConfigurationError

if TYPE_CHECKING:
    from airflow.models.connection import Connection as StoredConnection
    from airflow.sdk import Connection
    from clickhouse_connect.driver.client import Client
    from requests import Session

_LOOPBACK = ("127.0.0.1", "::1", "localhost")


def find(name: str) -> Connection:
    """Return a connection. If it is not defined, raise ConfigurationError, which says how to define it."""
    from airflow.sdk import BaseHook
    from airflow.sdk.exceptions import AirflowNotFoundException

    try:
        return BaseHook.get_connection(name)
    except AirflowNotFoundException:
        raise ConfigurationError(
            f"connection {name} is not defined: set AIRFLOW_CONN_{name.upper()}, or add it under Admin → Connections"
        ) from None


def http(name: str) -> tuple[Session, str]:
    """Return a session and the base URL, through the official provider's hook: it knows credentials, proxies, TLS.

    Raises ConfigurationError for a connection that is not there, or that names no address.
    """
    from airflow.providers.http.hooks.http import HttpHook

    find(name)
    hook = HttpHook(http_conn_id=name)
    try:
        session = hook.get_conn()
    except ValueError as error:
        raise ConfigurationError(f"connection {name}: {error}") from None
    return session, hook.base_url


def clickhouse(name: str, **options: Any) -> Client:
    """Return a new ClickHouse client, from the official provider's hook. The caller closes it.

    `options` are arguments of clickhouse-connect's `get_client`, such as time limits in seconds. Raises ConfigurationError
    for a file of trusted certificates that is missing: the client's own error does not name it.
    """
    from airflow.providers.clickhousedb.hooks.clickhouse import ClickHouseHook

    connection = find(name)
    trusted = (connection.extra_dejson.get("client_kwargs") or {}).get("ca_cert")
    if trusted not in (None, "certifi") and not Path(trusted).is_file():
        raise ConfigurationError(f"connection {name}: ca_cert {trusted!r} must be a file with certificates")
    # Within a machine bytes cost less than the processor's time, unless the connection says how they are compressed.
    given: dict[str, Any] = {"compress": False} if connection.host in _LOOPBACK else {}
    return ClickHouseHook(clickhouse_conn_id=name, client_kwargs={**given, **options}).get_client()


def conninfo(connection: Connection | StoredConnection, extra: Mapping[str, Any]) -> str:
    """Return the libpq connection string of a connection of type postgres. `extra` are more parameters of libpq.

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
