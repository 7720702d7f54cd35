"""Jobs: automations that run at the times of a cron expression."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from trigger.address import SERVICE, quoted
from trigger.errors import Conflict, NotFound, RequestRefused
from trigger.model import Job
from trigger.operations.base import Operations
from trigger.request import same
from trigger.text import did_you_mean


class Jobs(Operations):
    """The operations on jobs."""

    def jobs(self) -> list[Job]:
        """Return all jobs by name."""
        return self._wire.call(
            "GET", "/jobs", lambda answer: [Job.read(entry) for entry in answer], root=SERVICE
        )

    def job(self, name: str) -> Job:
        """Return a job. Raises NotFound, with a suggestion of a similar name."""
        try:
            return self._wire.call("GET", f"/jobs/{quoted(name)}", Job.read, root=SERVICE)
        except NotFound:
            known = [job.name for job in self.jobs()]
        raise NotFound(f"there is no job {name!r}{did_you_mean(name, known) or '; see jobs list'}")

    def add_job(self, name: str, task: str, cron: str, **wish: Any) -> Job:
        """Create a job and return it. `wish` may have any other field of a Job that users can set.

        If a job with this name and the same fields exists, it is returned. Raises RequestRefused if its fields differ.
        """
        body = {"name": name, "tarefa": task, "cron": cron, **wish}
        try:
            return self._wire.call("POST", "/jobs", Job.read, body=body, root=SERVICE)
        except Conflict:
            existing = self.job(name)
        # The service's defaults for missing fields.
        defaults = {
            "args": [],
            "kwargs": {},
            "queue": "default",
            "timezone": "UTC",
            "missed": "once",
            "enabled": True,
        }
        asked = {"cron": cron, **defaults, **wish}
        differing = [field for field, value in asked.items() if not same(value, getattr(existing, field))]
        if task not in (existing.task, existing.task.rpartition(".")[2]):
            differing.insert(0, "task")
        if differing:
            raise RequestRefused(
                f"job {name!r} exists already, with another {' and '.join(differing)}; "
                "choose another name, or remove it first"
            )
        return existing

    def switch_job(self, name: str, *, enabled: bool) -> Job:
        """Pause or resume a job, and return it. Raises NotFound as `job` does."""
        path = f"/jobs/{quoted(name)}"
        try:
            return self._wire.call("PATCH", path, Job.read, body={"enabled": enabled}, root=SERVICE)
        except NotFound:
            self.job(name)
            raise

    def remove_job(self, name: str) -> Job:
        """Remove a job and return it as it was; its runs stay."""
        job = self.job(name)
        with suppress(NotFound):  # an earlier request without an answer has removed it
            self._wire.call("DELETE", f"/jobs/{quoted(name)}", lambda _: None, root=SERVICE)
        return job
