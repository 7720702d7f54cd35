"""The jobs' database and Airflow's API, from Airflow's connections `postgres_jobs` and `airflow_api`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from include.conventions.connections import conninfo, missing
from include.conventions.errors import ConfigurationError
from include.tarefas.jobs.client import Api, UnusableError
from include.tarefas.jobs.store import AwayError, Store

POSTGRES = "postgres_jobs"
API = "airflow_api"


def store() -> Store:
    """Return the table of jobs, not connected yet. The connection's extra has libpq's parameters. Raises AwayError."""
    from airflow.sdk import BaseHook
    from airflow.sdk.exceptions import AirflowNotFoundException

    try:
        connection = BaseHook.get_connection(POSTGRES)
        return Store(conninfo(connection, connection.extra_dejson))
    except AirflowNotFoundException:
        raise AwayError(missing(POSTGRES)) from None
    except ConfigurationError as error:
        raise AwayError(str(error)) from None


@contextmanager
def api() -> Iterator[Api]:
    """Yield Airflow's API. The connection's extra has HttpHook's options, such as `verify`, `cert`, `proxies`.

    Raises UnusableError.
    """
    from airflow.providers.http.hooks.http import HttpHook
    from airflow.sdk import BaseHook
    from airflow.sdk.exceptions import AirflowNotFoundException

    hook = HttpHook(http_conn_id=API)
    try:
        connection = BaseHook.get_connection(API)
    except AirflowNotFoundException:
        raise UnusableError(missing(API)) from None
    with hook.get_conn() as session:
        # The hook sets basic authentication, which Airflow does not accept.
        session.auth = None
        yield Api(session, hook.base_url, connection.login or "", connection.password or "")
