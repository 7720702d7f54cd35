"""A DAG that shows a password in every way that a careless task may. The tests search for it wherever people can read."""

from __future__ import annotations

import logging
import sys

from airflow.sdk import BaseHook, dag, task

from include.conventions.defaults import DEFAULT_ARGS


@dag(schedule=None, default_args=DEFAULT_ARGS, is_paused_upon_creation=False)
def leaky() -> None:
    """Print, log and render a connection's password."""

    @task
    def show(rendered: str) -> None:
        connection = BaseHook.get_connection("postgres_vendas")
        print("printed", connection.password)
        print("complained", connection.password, file=sys.stderr)
        logging.getLogger(__name__).warning("logged %s", connection.password)
        logging.getLogger(__name__).warning("as a whole %s", connection.get_uri())
        print("was rendered", rendered)

    show("password {{ conn.postgres_vendas.password }}")


leaky()
