"""The two ends of the jobs, from Airflow's connections `postgres_jobs` and `airflow_api`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from include.automations.jobs.client import Api, UnusableError
from include.automations.jobs.store import AwayError, Store

if TYPE_CHECKING:
    from airflow.sdk import Connection

POSTGRES = "postgres_jobs"
API = "airflow_api"


def store() -> Store:
    """Return the table of jobs, not connected yet. Raises AwayError. What stands in the extra are libpq's parameters."""
    from airflow.sdk import BaseHook
    from airflow.sdk.exceptions import AirflowNotFoundException

    try:
        return Store(conninfo(BaseHook.get_connection(POSTGRES)))
    except AirflowNotFoundException:
        raise AwayError(_missing(POSTGRES)) from None


def conninfo(connection: Connection) -> str:
    """Return a connection of type postgres as libpq takes it. Raises AwayError for an extra that libpq does not know."""
    from psycopg import ProgrammingError
    from psycopg.conninfo import make_conninfo

    parameters = {
        "host": connection.host,
        "port": connection.port,
        "user": connection.login,
        "password": connection.password,
        "dbname": connection.schema,
        **connection.extra_dejson,
    }
    try:
        return make_conninfo(**{key: value for key, value in parameters.items() if value is not None})
    except ProgrammingError as error:
        raise AwayError(f"connection {POSTGRES}: {error}") from None


@contextmanager
def api() -> Iterator[Api]:
    """Give Airflow's API. Raises UnusableError. What stands in the extra is HttpHook's: `verify`, `cert`, `proxies`."""
    from airflow.providers.http.hooks.http import HttpHook
    from airflow.sdk import BaseHook
    from airflow.sdk.exceptions import AirflowNotFoundException

    hook = HttpHook(http_conn_id=API)
    try:
        connection = BaseHook.get_connection(API)
    except AirflowNotFoundException:
        raise UnusableError(_missing(API)) from None
    with hook.get_conn() as session:
        # The hook's own would be basic authentication, which Airflow does not take.
        session.auth = None
        yield Api(session, hook.base_url, connection.login or "", connection.password or "")


def _missing(name: str) -> str:
    return f"connection {name} is not defined: set AIRFLOW_CONN_{name.upper()}, or add it under Admin → Connections"
