"""Runs of DAGs: create, read, and wait for the end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from trigger.address import quoted
from trigger.errors import Conflict, NotFound, RequestRefused
from trigger.model import Run, Task
from trigger.operations.dags import Dags
from trigger.operations.modules import Modules
from trigger.operations.tasks import Tasks
from trigger.request import RunRequest
from trigger.text import did_you_mean
from trigger.wire import PAGE


class Runs(Dags, Modules, Tasks):
    """The operations on runs."""

    def trigger(
        self,
        dag_id: str,
        conf: Mapping[str, Any] | None = None,
        *,
        run_id: str | None = None,
        data_interval: tuple[datetime, datetime] | None = None,
        logical_date: datetime | None = None,
        run_after: datetime | None = None,
        delay: timedelta | None = None,
        note: str | None = None,
    ) -> Run:
        """Create a run and return it. conf is sent without a check.

        The request contains the run's id, which is generated here unless it is given. So a repeated request, here after a
        lost answer or by the caller, finds the same run and does not create a second one. Raises RequestRefused if a run of
        another request has this id or this logical date.
        """
        request = RunRequest.make(
            dag_id,
            conf,
            run_id=run_id,
            data_interval=data_interval,
            logical_date=logical_date,
            run_after=run_after,
            delay=delay,
            note=note,
        )
        return self.send(request)

    def send(self, request: RunRequest) -> Run:
        """Create the run of a prepared request, as `trigger` does."""
        dag_id = request.dag_id
        path = f"/dags/{quoted(dag_id)}/dagRuns"
        try:
            return self._wire.call("POST", path, self._read_run, body=request.body)
        except Conflict as conflict:
            try:
                existing = self.run(dag_id, request.run_id)
            except NotFound:
                date = request.body["logical_date"]
                dates = {"logical_date_gte": date, "logical_date_lte": date}
                holders = self._wire.pages(path, "dag_runs", lambda entry: repr(entry["dag_run_id"]), dates)
                raise RequestRefused(
                    f"the logical date {date} of {dag_id} belongs to {', '.join(holders) or 'another run'}, "
                    "and a DAG has one run for each: clear that run, or give this one another --logical-date"
                ) from conflict
        differing = request.differing(
            existing, self.username, lambda: [one.task for file in self.modules() for one in file.functions]
        )
        if differing:
            raise RequestRefused(
                f"run {existing.run_id!r} of {dag_id} exists already"
                f"{f', made by {existing.triggered_by}' if existing.triggered_by else ''}, "
                f"with another {' and '.join(differing)}; choose another --run-id"
            )
        return existing

    def run(self, dag_id: str, run_id: str) -> Run:
        """Return a run. Raises NotFound, with a suggestion of a similar id."""
        path = f"/dags/{quoted(dag_id)}/dagRuns"
        try:
            return self._wire.call("GET", f"{path}/{quoted(run_id)}", self._read_run)
        except NotFound:
            self.dag(dag_id)  # raises NotFound if the DAG itself is missing

        def read(answer: Mapping[str, Any]) -> list[str]:
            return [entry["dag_run_id"] for entry in answer["dag_runs"]]

        newest = self._wire.call("GET", path, read, query={"order_by": "-run_after", "limit": PAGE})
        hint = did_you_mean(run_id, newest) or (
            f"; its newest is {newest[0]!r}" if newest else "; it has none"
        )
        raise NotFound(f"there is no run {run_id!r} of {dag_id}{hint}")

    def wait(
        self,
        dag_id: str,
        run_id: str,
        *,
        timeout: float | None = None,
        interval: float = 2.0,
        progress: Callable[[Run, list[Task]], None] | None = None,
        warn: Callable[[str], None] = lambda _: None,
    ) -> Run:
        """Wait for the end of a run, and return it in any state.

        The run is read every `interval` seconds, and passed to `progress` with its tasks. If the API does not answer, the
        wait continues for up to five minutes, and `warn` is called. Raises WaitTimeout after `timeout` seconds; the run
        itself continues.
        """
        seen = "of an unknown state"

        def ended() -> Run | None:
            nonlocal seen
            run = self.run(dag_id, run_id)
            if progress is not None:
                progress(run, self.tasks(dag_id, run_id))
            seen = run.state
            return run if run.finished else None

        return self._wire.until(
            ended, lambda: f"run {run_id!r} of {dag_id} is still {seen}", timeout, interval, warn
        )
