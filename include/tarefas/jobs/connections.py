"""The jobs' database and Airflow's API, from Airflow's connections `postgres_jobs` and `airflow_api`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from include.conventions.connections import conninfo, find, http
from include.conventions.errors import ConfigurationError
from include.tarefas.jobs.client import Api, UnusableError
from include.tarefas.jobs.store import DatabaseUnavailableError, Store

POSTGRES = "postgres_jobs"
API = "airflow_api"
ROLE = "Agendador"
"""The only role of the user of `airflow_api`, in Airflow."""


def store() -> Store:
    """Return the table of jobs, not connected yet. The connection's extra has libpq's parameters.

    Raises DatabaseUnavailableError.
    """
    try:
        connection = find(POSTGRES)
        return Store(conninfo(connection, connection.extra_dejson))
    except ConfigurationError as error:
        raise DatabaseUnavailableError(str(error)) from None


@contextmanager
def api() -> Iterator[Api]:
    """Yield Airflow's API. The connection's extra has HttpHook's options, such as `verify`, `cert`, `proxies`.

    Raises UnusableError.
    """
    try:
        connection = find(API)
        session, url = http(API)
    except ConfigurationError as error:
        raise UnusableError(str(error)) from None
    with session:
        # The hook sets basic authentication, which Airflow does not accept.
        session.auth = None
        yield Api(session, url, connection.login or "", connection.password or "")
