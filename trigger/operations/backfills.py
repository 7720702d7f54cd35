"""Backfills: plan, start, read, and wait for the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from trigger.address import quoted
from trigger.errors import Conflict, NotFound, RequestRefused, Transient
from trigger.model import Backfill, BackfillPlan, Run, read_instant
from trigger.operations.base import Operations


class Backfills(Operations):
    """The operations on backfills."""

    def plan_backfill(
        self,
        dag_id: str,
        inicio: datetime,
        fim: datetime,
        *,
        conf: Mapping[str, Any] | None = None,
        reprocess: str = "none",
        max_active_runs: int | None = None,
        run_backwards: bool = False,
    ) -> BackfillPlan:
        """Return the plan of a backfill for the intervals that begin in [inicio, fim); create nothing."""
        # The API's range includes its end; all other ranges here exclude it.
        last = fim - timedelta(microseconds=1)
        body: dict[str, Any] = {
            "dag_id": dag_id,
            "from_date": inicio.isoformat(),
            "to_date": last.isoformat(),
            "reprocess_behavior": reprocess,
            "run_backwards": run_backwards,
            "dag_run_conf": dict(conf or {}),
        }
        if max_active_runs is not None:
            body["max_active_runs"] = max_active_runs

        def read(answer: Mapping[str, Any]) -> BackfillPlan:
            dates = [read_instant(entry["logical_date"]) for entry in answer["backfills"]]
            return BackfillPlan(dag_id, inicio, last, reprocess, [date for date in dates if date], body)

        return self._wire.call("POST", "/backfills/dry_run", read, body=body)

    def start_backfill(self, plan: BackfillPlan) -> Backfill:
        """Start a planned backfill. Raises RequestRefused while another backfill of the DAG is active.

        The client can't choose a backfill's id, so a repeated request is not safe. After a lost answer, the backfill is
        searched among those that are newer than the request.
        """
        newest = max((backfill.id for backfill in self._backfills(plan.dag_id)), default=-1)

        def ours() -> Backfill | None:
            for backfill in self._backfills(plan.dag_id):
                if backfill.id > newest and (backfill.from_date, backfill.to_date, backfill.reprocess) == (
                    plan.from_date,
                    plan.to_date,
                    plan.reprocess,
                ):
                    return backfill
            return None

        lost = False
        while True:
            try:
                return self._wire.call("POST", "/backfills", Backfill.read, body=plan.body, once=True)
            except (Conflict, Transient) as error:
                again, lost = lost, lost or isinstance(error, Transient)
                # The first request may have created it, and it then conflicts with the second request.
                if lost and (found := ours()) is not None:
                    return found
                if isinstance(error, Conflict):
                    raise RequestRefused(
                        f"another backfill of {plan.dag_id} is active, and a DAG has one at a time"
                    ) from error
                if again:
                    raise

    def backfill(self, backfill_id: int) -> Backfill:
        """Return a backfill."""
        try:
            return self._wire.call("GET", f"/backfills/{backfill_id}", Backfill.read)
        except NotFound:
            raise NotFound(f"there is no backfill {backfill_id}") from None

    def backfill_runs(self, backfill: Backfill) -> list[Run]:
        """Return the runs that a backfill has created or cleared, by logical date."""
        runs = self._wire.pages(
            f"/dags/{quoted(backfill.dag_id)}/dagRuns",
            "dag_runs",
            self._read_run,
            {
                "run_type": "backfill",
                "logical_date_gte": backfill.from_date.isoformat(),
                "logical_date_lte": backfill.to_date.isoformat(),
                "order_by": "logical_date",
            },
        )
        # Earlier backfills may have runs in the same range.
        return [run for run in runs if run.queued_at is not None and run.queued_at >= backfill.created_at]

    def wait_backfill(
        self,
        backfill: Backfill,
        *,
        timeout: float | None = None,
        interval: float = 2.0,
        progress: Callable[[list[Run]], None] = lambda _: None,
        warn: Callable[[str], None] = lambda _: None,
    ) -> list[Run]:
        """Wait until Airflow has completed a backfill, and return its runs; otherwise like `wait`.

        Airflow completes it within half a minute after the last run's end. Until then, no other backfill of the DAG can
        start.
        """
        count = 0

        def ended() -> list[Run] | None:
            nonlocal count
            completed = self.backfill(backfill.id).completed_at is not None
            runs = self.backfill_runs(backfill)
            progress(runs)
            count = sum(run.finished for run in runs)
            return runs if completed else None

        return self._wire.until(
            ended,
            lambda: f"backfill {backfill.id} of {backfill.dag_id} has ended {count} runs so far",
            timeout,
            interval,
            warn,
        )

    def _backfills(self, dag_id: str) -> Iterator[Backfill]:
        return self._wire.pages("/backfills", "backfills", Backfill.read, {"dag_id": dag_id})
