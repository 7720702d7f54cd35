"""The calls to Airflow's REST API that the demonstrations and the tests make."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from types import TracebackType
from typing import Any, Self

from local.deployment.settings import Settings
from local.waiting import until
from trigger.answers import readable
from trigger.errors import TriggerError
from trigger.wire import Wire

FINISHED = ("success", "failed")
PAGE = 100


class ApiError(Exception):
    """Airflow refused a request, or a run or a DAG was not ready in time. The message names it, with the reason.

    `status` is the HTTP status of the refusal, otherwise None.
    """

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Run:
    """One DAG run. `start` and `end` are its data interval, or None for a run without one."""

    run_id: str
    run_type: str
    state: str
    start: datetime | None
    end: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    conf: dict[str, Any]

    @property
    def seconds(self) -> float | None:
        """The run's duration, or None before its end."""
        if self.started_at is None or self.finished_at is None:
            return None
        return (self.finished_at - self.started_at).total_seconds()


class AirflowApi:
    """A client with the login of the deployment's admin. A context manager."""

    def __init__(self, settings: Settings) -> None:
        # No retries after the login: a test of a deployment must see each failure.
        self._wire = Wire(
            settings.url,
            username=settings.admin_user,
            password=settings.admin_password,
            connect_timeout=30,
            cache=False,
        )

    def __enter__(self) -> Self:
        """Log in. Raises ApiError."""
        try:
            self._wire.token()
        except TriggerError as error:
            raise ApiError(str(error)) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._wire.close()

    def call(self, method: str, path: str, *, params: dict[str, Any] | None = None, json: Any = None) -> Any:
        """Return the API's answer, parsed. Raises ApiError for any status but 2xx."""
        try:
            answer = self._wire.answer(method, path, query=params, body=json, once=True)
        except TriggerError as error:
            raise ApiError(f"{method} {path}: {error}") from error
        if not answer.ok:
            raise ApiError(
                f"{method} {path} answered {answer.status_code}: {readable(answer)}", answer.status_code
            )
        return answer.json()

    def unpause(self, dag_id: str, timeout: float, check: Callable[[], None] = lambda: None) -> None:
        """Wait until the DAG can be triggered, then unpause it. Raises ApiError after `timeout`, with the import errors.

        `check` is called while waiting; it raises when waiting has become pointless.
        """
        try:
            until(lambda: self._is_ready(dag_id), timeout, dag_id, check=check, pause=0.5)
        except TimeoutError:
            errors = [
                f"{error['filename']}: {error['stack_trace'].strip().splitlines()[-1]}"
                for error in self.call("GET", "/api/v2/importErrors")["import_errors"]
            ]
            raise ApiError(
                f"DAG {dag_id} can't be found after {timeout:g} s; {'; '.join(errors) or 'no import errors'}"
            ) from None
        self.call("PATCH", f"/api/v2/dags/{dag_id}", json={"is_paused": False})

    def _is_ready(self, dag_id: str) -> bool:
        found = self.call("GET", "/api/v2/dags", params={"dag_id_pattern": dag_id, "exclude_stale": True})
        if all(dag["dag_id"] != dag_id for dag in found["dags"]):
            return False
        # The list has all DAGs of a file as soon as the first one is stored completely (FAB commits with each DAG's
        # permissions). Until a DAG itself is stored, requests that need its definition get 404.
        try:
            self.call("GET", f"/api/v2/dags/{dag_id}/details")
        except ApiError as error:
            if error.status == HTTPStatus.NOT_FOUND:
                return False
            raise
        return True

    def runs(self, dag_id: str, since: datetime) -> list[Run]:
        """Return the runs that started at `since` or later, the oldest first."""
        runs: list[Run] = []
        while True:
            page = self.call(
                "GET",
                f"/api/v2/dags/{dag_id}/dagRuns",
                params={
                    "start_date_gte": since.isoformat(),
                    "order_by": "start_date",
                    "limit": PAGE,
                    "offset": len(runs),
                },
            )
            runs += [_run(entry) for entry in page["dag_runs"]]
            if not page["dag_runs"] or len(runs) >= page["total_entries"]:
                return runs

    def trigger(self, dag_id: str, conf: dict[str, Any]) -> str:
        """Create a run with this conf and return its id."""
        answer = self.call(
            "POST", f"/api/v2/dags/{dag_id}/dagRuns", json={"logical_date": None, "conf": conf}
        )
        return str(answer["dag_run_id"])

    def wait(self, dag_id: str, run_id: str, timeout: float, check: Callable[[], None] = lambda: None) -> Run:
        """Wait for the end of a run, and return it in any state. Raises ApiError if it has not ended after `timeout`."""
        seen = "of an unknown state"

        def ended() -> Run | None:
            nonlocal seen
            run = _run(self.call("GET", f"/api/v2/dags/{dag_id}/dagRuns/{run_id}"))
            seen = run.state
            return run if run.state in FINISHED else None

        try:
            return until(ended, timeout, run_id, check=check, pause=pause)
        except TimeoutError:
            raise ApiError(f"run {run_id} of {dag_id} is still {seen} after {timeout:g} s") from None


def pause(waited: float) -> None:
    """Sleep before the next request; longer after more seconds of waiting, to spare the API server."""
    time.sleep(min(0.2 + waited / 20, 1))


def _run(entry: dict[str, Any]) -> Run:
    return Run(
        run_id=entry["dag_run_id"],
        run_type=entry["run_type"],
        state=entry["state"],
        start=_moment(entry["data_interval_start"]),
        end=_moment(entry["data_interval_end"]),
        started_at=_moment(entry["start_date"]),
        finished_at=_moment(entry["end_date"]),
        conf=entry["conf"] or {},
    )


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
