"""Why tasks failed: the last line of each task's error, as an XCom, which the pages and the jobs show.

`failures.explained` saves it. Airflow drops the XCom when the task is tried again. A process that is killed saves none.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import quote

KEY = "error"

# The exceptions that `failures.explained` raises: their names say nothing about the error.
_NAME = re.compile(r"airflow\.[\w.]*Airflow(Fail)?Exception: ")


@dataclass(frozen=True)
class Reason:
    """The error of one task instance. `index` is -1 if the task is not mapped."""

    dag_id: str
    run_id: str
    task_id: str
    index: int
    text: str

    @property
    def path(self) -> str:
        """The path of the task instance in Airflow's UI, below its run."""
        mapped = f"/mapped/{self.index}" if self.index >= 0 else ""
        return f"tasks/{quote(self.task_id, safe='')}{mapped}"

    @property
    def plain(self) -> str:
        """The text without the name of an exception of Airflow."""
        return _NAME.sub("", self.text, count=1)


def save(error: BaseException) -> None:
    """Save the last line of an error, without secrets that Airflow knows. Raises nothing, so that it never hides that error.

    Exceptions by which a task asks Airflow for something else, such as to be skipped, are not saved.
    """
    with suppress(Exception):
        from airflow.sdk import exceptions, get_current_context

        asks = (
            exceptions.AirflowSkipException,
            exceptions.AirflowRescheduleException,
            exceptions.TaskDeferred,
        )
        if isinstance(error, asks):
            return
        from include.conventions.alerts import last_line

        get_current_context()["ti"].xcom_push(KEY, last_line(error).replace("\0", ""))


def read(dag_ids: Iterable[str], run_ids: Collection[str]) -> dict[tuple[str, str], list[Reason]]:
    """Return the errors that tasks of these runs have left, by (DAG, run), inside the API server."""
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session
    from sqlalchemy import select

    if not run_ids:
        return {}
    wanted = (
        select(
            XComModel.dag_id,
            XComModel.run_id,
            XComModel.task_id,
            XComModel.map_index,
            XComModel.value,
            XComModel.timestamp,
        )
        .where(XComModel.dag_id.in_(dag_ids), XComModel.key == KEY, XComModel.run_id.in_(run_ids))
        .order_by(XComModel.timestamp)
    )
    found: dict[tuple[str, str], list[Reason]] = {}
    with create_session() as session:
        for row in session.execute(wanted):
            text = str(XComModel.deserialize_value(row))
            one = Reason(row.dag_id, row.run_id, row.task_id, row.map_index, text)
            found.setdefault((row.dag_id, row.run_id), []).append(one)
    return found
