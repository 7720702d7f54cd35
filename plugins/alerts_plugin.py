"""Registers the alert for DAG files that can't be imported, and keeps the list of late runs right.

The code of the alerts is in include/conventions/alerts.py. Airflow imports this file in every process.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.listeners import hookimpl
from airflow.sdk.plugins_manager import AirflowPlugin

if TYPE_CHECKING:
    from airflow.models import DagRun


class ImportErrors:
    """Called in the DAG processor for each file that can't be imported."""

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


class Deadlines:
    """Called in the scheduler when a run fails, and in the API server when a person marks it failed."""

    @hookimpl
    def on_dag_run_failed(self, dag_run: DagRun) -> None:
        """Remove the deadlines that a failed run has met, as Airflow 3.3 does for successful runs only.

        Otherwise the run would later be listed under *Missed Deadlines* (apache/airflow#60927).
        """
        from airflow.models import DagRun
        from airflow.models.deadline import Deadline
        from sqlalchemy.orm import object_session

        # The caller's own session: the run's end is not committed yet.
        if session := object_session(dag_run):
            Deadline.prune_deadlines(session=session, conditions={DagRun.id: dag_run.id})


class AlertsPlugin(AirflowPlugin):
    """The listeners."""

    name = "alerts"
    listeners = [ImportErrors(), Deadlines()]  # noqa: RUF012 - as Airflow declares it
