"""Why runs of `executar_tarefa` failed: the task leaves its error as an XCom, and the service shows it beside the job.

Airflow drops the XCom when the task is tried again. A process that is killed leaves none.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import suppress
from functools import wraps
from typing import Any, TypeVar, cast

DAG_ID = "executar_tarefa"
KEY = "error"

Work = TypeVar("Work", bound=Callable[..., Any])


def left(work: Work) -> Work:
    """Decorate the task's function: leave the last line of its error, without secrets that Airflow knows."""

    @wraps(work)
    def call(*arguments: Any, **named: Any) -> Any:
        try:
            return work(*arguments, **named)
        # Airflow's own timeout is no Exception.
        except BaseException as error:
            # The error itself counts, whatever becomes of the note.
            with suppress(Exception):
                _leave(error)
            raise

    return cast(Work, call)


def _leave(error: BaseException) -> None:
    from airflow.sdk import get_current_context

    from include.conventions.alerts import last_line

    get_current_context()["ti"].xcom_push(KEY, last_line(error).replace("\0", ""))


def read(run_ids: Collection[str]) -> dict[str, str]:
    """Return the errors of those of these runs that have left one, inside the API server."""
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session
    from sqlalchemy import select

    wanted = select(XComModel.run_id, XComModel.value).where(
        XComModel.dag_id == DAG_ID, XComModel.key == KEY, XComModel.run_id.in_(run_ids)
    )
    with create_session() as session:
        return {row.run_id: str(XComModel.deserialize_value(row)) for row in session.execute(wanted)}
