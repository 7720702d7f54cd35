"""A job: the JSON that people write, and the row of the table `jobs`."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from include.conventions.queues import Queue
from include.tarefas import plain
from include.tarefas.jobs.schedule import Missed, Schedule
from trigger.calls import stored

NAME = re.compile(r"[A-Za-z0-9_.-]{1,100}")
CRON = "five fields, minute hour day month weekday, in the job's time zone"


class _Call(BaseModel):
    task: str = Field(
        description="The automation, as module.function.", examples=["hello_world.send_hello_world"]
    )
    args: list[Any] = Field(default_factory=list)
    kwargs: dict[str, Any] = Field(default_factory=dict)


class _Times(BaseModel):
    cron: str = Field(description=CRON, examples=["30 8 * * mon-fri"])
    timezone: str = Field(default="UTC", examples=["America/Sao_Paulo"])
    enabled: bool = True
    missed: Missed = Field(
        default=Missed.ONCE,
        description="What to do with due times that could not be kept: skip them, run once for all of them, or run all.",
    )


class Definition(_Call, _Times):
    """All fields of a job that people set, without its name. Raises ValidationError for wrong values.

    The times of a job that is not enabled are not checked. The arguments are checked elsewhere, against the catalog.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    queue: Queue = Queue.DEFAULT

    @model_validator(mode="after")
    def _times_exist(self) -> Self:
        if self.enabled:
            Schedule(self.cron, self.timezone)
        return self

    @model_validator(mode="after")
    def _arguments_can_be_kept(self) -> Self:
        plain.dump([self.args, self.kwargs])
        return self


class Job(_Call, _Times):
    """A row of the table. Nothing is checked: the row may have been inserted by hand, or may have become invalid."""

    model_config = ConfigDict(frozen=True)

    id: int = Field(exclude=True)
    name: str = Field(examples=["report-of-the-morning"])
    queue: str
    next_run_at: datetime | None = Field(description="The next due time. None while the job is not enabled.")
    last_run_at: datetime | None = Field(description="The due time of the run that was started last.")
    last_state: str | None = Field(
        description="The state of that run: queued, running, success, failed, or removed when it was deleted."
    )
    outcome: str | None = Field(
        description="How the newest run that has ended has ended: success, failed, or removed when it was deleted."
    )
    outcome_run_at: datetime | None = Field(description="The due time of the run with this outcome.")
    outcome_at: datetime | None = Field(description="When it ended.")
    outcome_reason: str | None = Field(default=None, description="The error of a run that failed.")
    last_error: str | None = Field(
        description="Why the job could not be started when it was tried last. It is tried again every ten minutes."
    )
    created_by: str | None = Field(
        description="The user of Airflow who created it. None if it was written by hand."
    )
    changed_by: str | None = Field(description="The user of Airflow who changed it last.")
    open_runs: list[datetime] = Field(exclude=True)

    def run_id(self, due: datetime) -> str:
        """Return the id of the run for a due time. It is the same for the same job and due time.

        The number distinguishes the job from a removed one with the same name.
        """
        return f"job__{self.name}__{self.id}__{due:%Y%m%dT%H%M%SZ}"

    def conf(self) -> dict[str, Any]:
        """Return the conf of its runs of `executar_tarefa`."""
        return stored(self.task, self.args, self.kwargs, self.queue)


def check_name(name: str) -> str:
    """Return the name. Raises ValueError if a run id or a URL can't contain it."""
    if not NAME.fullmatch(name) or ".." in name or name == ".":
        raise ValueError("must be 1 to 100 of the characters A-Z a-z 0-9 _ . - without two dots in a row")
    return name


class NewJob(Definition):
    """A job to create."""

    name: str

    _name = field_validator("name")(check_name)
