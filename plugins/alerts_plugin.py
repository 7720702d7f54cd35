"""Registers who hears of DAG files that do not load; the code is in include/conventions/alerts.py.

Airflow imports this in every process; it calls the listener in the DAG processor.
"""

from __future__ import annotations

from airflow.listeners import hookimpl
from airflow.sdk.plugins_manager import AirflowPlugin


class ImportErrors:
    """Told of each file that can't be imported."""

    @hookimpl
    def on_new_dag_import_error(self, filename: str, stacktrace: str) -> None:
        """A file has stopped to load, or has never loaded."""
        from include.conventions.alerts import on_import_error

        on_import_error(filename, stacktrace)

    @hookimpl
    def on_existing_dag_import_error(self, filename: str, stacktrace: str) -> None:
        """A file still does not load."""
        from include.conventions.alerts import on_import_error

        on_import_error(filename, stacktrace)


class AlertsPlugin(AirflowPlugin):
    """The listener."""

    name = "alerts"
    listeners = [ImportErrors()]  # noqa: RUF012 - as Airflow declares it
