"""Automations: create a run, and remove waiting runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from trigger.address import AUTOMATIONS, SERVICE
from trigger.model import Run
from trigger.operations.runs import Runs
from trigger.request import TaskRequest


class Automations(Runs):
    """The operations on automations."""

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
        """Create one run of an automation and return it, as `trigger` does for a DAG.

        `task` is `module.function`, or only the function if one module has it. Raises RequestRefused with the service's
        message for a wrong task, queue, delay or arguments.
        """
        return self.send_task(
            TaskRequest.make(task, args, kwargs, queue=queue, delay=delay, run_id=run_id, note=note)
        )

    def send_task(self, request: TaskRequest) -> Run:
        """Create the run of a prepared request, as `enqueue` does."""
        # The service answers a repeated request with the run that the first one has created.
        run_id = self._wire.call(
            "POST", request.path, lambda answer: str(answer["run_id"]), body=request.body, root=SERVICE
        )
        return self.run(AUTOMATIONS, run_id)

    def clean_queue(self, queue: str | None = None, *, scheduled: bool = False) -> int:
        """Remove the runs of automations that have not started yet; return their number.

        Without `queue`, it removes runs of all queues. `scheduled` adds runs with a later start time. If an answer was lost
        and the request repeated, the number does not include the runs that the first request has removed.
        """
        query = {"queue": queue, "scheduled": "true" if scheduled else None}
        return self._wire.call(
            "DELETE", "/clean-queue", lambda answer: int(answer["removed"]), query=query, root=SERVICE
        )
