"""Registers the alert for DAG files that can't be imported. The code is in include/conventions/alerts.py.

Airflow imports this file in every process, and calls the listener in the DAG processor.
"""

from __future__ import annotations

from airflow.listeners import hookimpl
from airflow.sdk.plugins_manager import AirflowPlugin


class ImportErrors:
    """Called for each file that can't be imported."""

    @hookimpl
    def on_new_dag_import_error(self, filename: str, stacktrace: str) -> None:
        """The file could be imported before, or is new."""
        from include.conventions.alerts import on_import_error

        on_import_error(filename, stacktrace)

    @hookimpl
    def on_existing_dag_import_error(self, filename: str, stacktrace: str) -> None:
        """The file still can't be imported."""
        from include.conventions.alerts import on_import_error

        on_import_error(filename, stacktrace)


class AlertsPlugin(AirflowPlugin):
    """The listener."""

    name = "alerts"
    listeners = [ImportErrors()]  # noqa: RUF012 - as Airflow declares it
