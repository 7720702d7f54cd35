"""Automations: run once, and what waits removed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from trigger.address import AUTOMATIONS, SERVICE
from trigger.model import Run
from trigger.operations.runs import Runs
from trigger.request import TaskRequest


class Automations(Runs):
    """What can be asked of automations."""

    def enqueue(
        self,
        task: str,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        *,
        queue: str | None = None,
        delay: timedelta | None = None,
        run_id: str | None = None,
        note: str | None = None,
    ) -> Run:
        """Ask for one run of an automation and return it, as `trigger` does that of a DAG.

        `task` is `module.function`, or the function alone where one module has it. Raises RequestRefused with
        the service's own words for a task, queue, delay or arguments that make no sense.
        """
        return self.send_task(
            TaskRequest.make(task, args, kwargs, queue=queue, delay=delay, run_id=run_id, note=note)
        )

    def send_task(self, request: TaskRequest) -> Run:
        """Ask for a run of an automation that is described already; otherwise as `enqueue`."""
        # The service answers a repeated request with the run that the first one made.
        run_id = self._wire.call(
            "POST", request.path, lambda answer: str(answer["run_id"]), body=request.body, root=SERVICE
        )
        return self.run(AUTOMATIONS, run_id)

    def clean_queue(self, queue: str | None = None, *, scheduled: bool = False) -> int:
        """Remove the runs of automations that wait and have not started; return how many.

        Those of all queues unless one is named; `scheduled` adds the ones that wait for their time. Where an
        answer got lost, the number leaves out what the request had removed that it belonged to.
        """
        query = {"queue": queue, "scheduled": "true" if scheduled else None}
        return self._wire.call(
            "DELETE", "/clean-queue", lambda answer: int(answer["removed"]), query=query, root=SERVICE
        )
