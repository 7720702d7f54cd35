"""The routes to list, create, change and remove jobs. `agendar_jobs` starts them.

Each change is an entry in Airflow's audit log.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from airflow.models.log import Log
from airflow.sdk.log import redact
from airflow.utils.session import create_session
from fastapi import APIRouter, HTTPException
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from include.conventions import reasons
from include.conventions.queues import Queue
from include.tarefas.api import access
from include.tarefas.api.access import Changer, Reader
from include.tarefas.api.errors import BODY, COMMON, Message, answers
from include.tarefas.api.tasks import Automations
from include.tarefas.catalog import Catalog
from include.tarefas.jobs import connections
from include.tarefas.jobs.model import CRON, NAME, Definition, Job, NewJob, check_name
from include.tarefas.jobs.schedule import Missed, Schedule, ScheduleError
from include.tarefas.jobs.store import DatabaseUnavailableError, JobExistsError, Store, UnknownJobError
from include.tarefas.request import resolve

DAG_ID = "agendar_jobs"

router = APIRouter(prefix="/jobs", tags=["jobs"], responses=answers(*COMMON, 503))

CALL = ("module", "function", "tarefa", "args", "kwargs", "queue")


class JobChange(BaseModel):
    """The fields of a job to change; other fields stay unchanged. The automation can be named in three ways."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"enabled": False}]})

    task: str | None = Field(None, description="`module.function`, as the service shows it.")
    tarefa: str | None = Field(None, description="The same, or the function's name if it is the only one.")
    module: str | None = None
    function: str | None = None
    args: list[Any] | None = Field(None, description="The automation's positional arguments.")
    kwargs: dict[str, Any] | None = Field(None, description="Its arguments by name.")
    queue: Queue | None = None
    cron: str | None = Field(None, description=CRON, examples=["30 8 * * mon-fri"])
    timezone: str | None = Field(None, description="By whose clock.", examples=["America/Sao_Paulo"])
    enabled: bool | None = Field(None, strict=True)
    missed: Missed | None = Field(None, description="What becomes of due times that could not be kept.")


class JobBody(JobChange):
    """A job to create: its name, its automation and its cron expression. The other fields have defaults."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "name": "greet",
                    "task": "hello_world.send_hello_world",
                    "kwargs": {"name": "Ana"},
                    "cron": "30 8 * * mon-fri",
                    "timezone": "America/Sao_Paulo",
                }
            ]
        }
    )

    name: Annotated[str, AfterValidator(check_name)] = Field(
        min_length=1, max_length=100, pattern=f"^{NAME.pattern}$"
    )
    cron: str = Field(description=CRON, examples=["30 8 * * mon-fri"])


@router.get("")
def list_jobs(user: Reader) -> list[Job]:
    """List the jobs, by name."""
    with _store() as store:
        return _explained(store.jobs())


@router.get("/{name}", responses=answers(404, 422))
def get_job(user: Reader, name: str) -> Job:
    """Show a job."""
    with _store(name) as store:
        return _explained([store.job(name)])[0]


@router.post("", status_code=201, responses=answers(*BODY, 409))
def add_job(user: Changer, automations: Automations, body: JobBody) -> Job:
    """Create a job. It is first due at the next time of its cron expression."""
    wanted = _merged({}, body, automations)
    with _store() as store, _audited("add_job", user, body.name, body):
        return store.add(NewJob(name=body.name, **wanted), user.get_name())


@router.patch("/{name}", responses=answers(*BODY, 404))
def change_job(user: Changer, automations: Automations, name: str, body: JobChange) -> Job:
    """Change a job: pause or enable it, or change its times or its arguments. Its `last_error` is cleared.

    If the cron expression or the time zone changes, or if the job is enabled again, it is due from now on: missed times are
    not started.
    """

    def edit(job: Job) -> Definition | Job:
        if body.model_dump(exclude_none=True) == {"enabled": False}:
            # Pausing needs no check: even a wrong row can be paused.
            return job.model_copy(update={"enabled": False})
        return Definition(**_merged(job.model_dump(include=set(Definition.model_fields)), body, automations))

    with _store(name) as store, _audited("change_job", user, name, body):
        job = store.change(name, edit, user.get_name())
    return _explained([job])[0]


@router.delete("/{name}", responses=answers(404, 422))
def remove_job(user: Changer, name: str) -> Message:
    """Remove a job. The runs that it has started stay."""
    with _store(name) as store, _audited("remove_job", user, name):
        store.remove(name)
    return Message(message=f"job {name} removed")


@contextmanager
def _audited(event: str, user: BaseUser, name: str, asked: BaseModel | None = None) -> Iterator[None]:
    """Write the block's change to Airflow's audit log, unless the block raises.

    The jobs are in another database. So the entry is sent first, and committed when the change is done: a database that is
    away prevents the change.
    """
    fields = asked.model_dump(mode="json", exclude_none=True, exclude={"name"}) if asked else {}
    with create_session() as session:
        # Without the secrets that Airflow knows.
        extra = json.dumps(redact({"name": name, **fields}))
        session.add(Log(event=event, owner=user.get_name(), dag_id=DAG_ID, extra=extra))
        session.flush()
        yield


def _explained(jobs: list[Job]) -> list[Job]:
    """Return the jobs with the errors of their last failed runs, which Airflow's database has."""
    failed = {
        job.name: job.run_id(job.outcome_run_at)
        for job in jobs
        if job.outcome == "failed" and job.outcome_run_at
    }
    if not failed:
        return jobs
    found = reasons.read([access.DAG_ID], failed.values())
    errors = {run_id: left[-1].text for (_, run_id), left in found.items()}
    return [job.model_copy(update={"outcome_reason": errors.get(failed.get(job.name, ""))}) for job in jobs]


def _merged(known: dict[str, Any], body: JobChange, automations: Catalog) -> dict[str, Any]:
    """Return the fields of a Definition, checked. Raises RequestError for a wrong call, HTTPException for wrong times."""
    asked = body.model_dump(exclude_none=True, exclude={"name"})
    if (task := asked.pop("task", None)) is not None:
        if {"tarefa", "module", "function"} & asked.keys():
            raise HTTPException(422, "give one of task, tarefa, or module and function")
        asked["tarefa"] = task
    call = {key: asked.pop(key) for key in CALL if key in asked}
    merged = {**known, **asked}
    if call or not known:
        if not {"tarefa", "module", "function"} & call.keys() and known:
            call["tarefa"] = known["task"]
        found = resolve({**{key: known.get(key) for key in ("args", "kwargs", "queue")}, **call}, automations)
        merged |= {"task": found.name, "args": found.args, "kwargs": found.kwargs, "queue": found.queue}
    if merged.get("enabled", True) or {"cron", "timezone"} & asked.keys():
        try:
            Schedule(merged["cron"], merged.get("timezone", "UTC"))
        except ScheduleError as error:
            raise HTTPException(422, str(error)) from None
    return merged


@contextmanager
def _store(name: str | None = None) -> Iterator[Store]:
    """Yield the table of jobs, and turn its errors into HTTP answers."""
    try:
        if name is not None and not NAME.fullmatch(name):
            raise UnknownJobError(f"there is no job {name!r}")
        with connections.store() as store:
            yield store
    except UnknownJobError as error:
        raise HTTPException(404, str(error)) from None
    except JobExistsError as error:
        raise HTTPException(409, str(error)) from None
    except DatabaseUnavailableError as error:
        raise HTTPException(503, str(error)) from None
