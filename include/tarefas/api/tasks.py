"""The routes that list the automations, and call one now or later."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Any

from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from fastapi import APIRouter, Depends, Response
from pydantic import BaseModel, ConfigDict, Field, model_validator

from include.conventions.queues import Queue
from include.tarefas import catalog, request, settings
from include.tarefas.api import runs
from include.tarefas.api.access import Changer, Reader, Token
from include.tarefas.api.errors import BODY, COMMON, answers
from include.tarefas.catalog import Catalog

LATEST = timedelta(days=3650)
"""The longest delay: ten years."""

router = APIRouter(tags=["tasks"], responses=answers(*COMMON, 503))


def load_catalog() -> Catalog:
    """Return the present content of the folder of automations. New files are found at the next request."""
    return catalog.load(settings.load().modules_path)


Automations = Annotated[Catalog, Depends(load_catalog)]


class FunctionInfo(BaseModel):
    """An automation: a function with `@tarefa`."""

    function: str = Field(examples=["send_hello_world"])
    task: str = Field(description="Its full name.", examples=["hello_world.send_hello_world"])
    doc: str
    signature: str = Field(examples=["send_hello_world(name: str = 'world') -> str"])
    parameters: dict[str, Any] = Field(description="The JSON Schema of its `kwargs`.")


class ModuleInfo(BaseModel):
    """A file of automations."""

    module: str = Field(examples=["hello_world"])
    doc: str
    error: str | None = Field(description="Why the file can't be read. It has no functions then.")
    functions: list[FunctionInfo]


class TaskCall(BaseModel):
    """A call: `module` and `function`, or `tarefa`, and the arguments."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "oneOf": [
                {"required": ["tarefa"], "properties": {"tarefa": {"type": "string"}}},
                {
                    "required": ["module", "function"],
                    "properties": {"module": {"type": "string"}, "function": {"type": "string"}},
                },
            ],
            "examples": [
                {"module": "hello_world", "function": "send_hello_world", "queue": "default"},
                {"tarefa": "hello_world.send_hello_world", "kwargs": {"name": "Ana"}},
            ],
        },
    )

    module: str | None = None
    function: str | None = None
    tarefa: str | None = Field(
        None,
        description="Both in one: `hello_world.send_hello_world`, or the function's name if it is the only one.",
    )
    args: list[Any] | None = Field(None, description="Its positional arguments.")
    kwargs: dict[str, Any] | None = Field(None, description="Its arguments by name.")
    queue: Queue | None = Field(None, description="Where it waits for a worker; `default` when left out.")
    run_id: str | None = Field(
        None,
        min_length=1,
        max_length=200,
        pattern=r"^[A-Za-z0-9_.~:+-]+$",
        description="The run's id; drawn when left out. If the same user sends the same call with the same id again,"
        " nothing more is started, and the answer is 200 with the run that is there.",
    )
    note: str | None = Field(
        None, max_length=1000, pattern=r"^[^\x00]*$", description="Shown beside the run."
    )

    def conf(self) -> dict[str, Any]:
        """Return the call as a conf for `request.resolve`."""
        return self.model_dump(include=set(request.KEYS))


Part = Annotated[int, Field(strict=True, ge=0, le=int(LATEST.total_seconds()))]


class LaterCall(TaskCall):
    """A call with a delay, the sum of `seconds`, `minutes` and `hours`. Without them, it may start at once."""

    seconds: Part = 0
    minutes: Part = 0
    hours: Part = 0

    @model_validator(mode="after")
    def _not_too_late(self) -> LaterCall:
        if self.delay > LATEST:
            raise ValueError(
                f"seconds, minutes and hours together must be at most {LATEST.days} days, and are {self.in_words()}"
            )
        return self

    @property
    def delay(self) -> timedelta:
        """Return the sum of the three."""
        return timedelta(seconds=self.seconds, minutes=self.minutes, hours=self.hours)

    def in_words(self) -> str:
        """Return it as `2 Hours, 10 Minutes and 20 Seconds`."""
        named = (("Hour", self.hours), ("Minute", self.minutes), ("Second", self.seconds))
        words = [f"{number} {name}{'s' * (number > 1)}" for name, number in named if number]
        *most, last = words or ["0 Seconds"]
        return f"{', '.join(most)} and {last}" if most else last


class Links(BaseModel):
    """Where the run can be seen."""

    ui: str = Field(description="In Airflow's UI.")
    run: str = Field(description="In Airflow's REST API.")


class Started(BaseModel):
    """A run of executar_tarefa."""

    message: str = Field(examples=["task enqueued on default queue."])
    task: str = Field(examples=["hello_world.send_hello_world"])
    run_id: str
    queue: Queue
    run_after: datetime = Field(description="The moment from which a worker may take it.")
    links: Links


KNOWN: dict[int | str, dict[str, Any]] = {
    200: {"model": Started, "description": "An earlier request with this run_id made this very run"}
}


@router.get("/modules")
def list_modules(user: Reader, automations: Automations) -> list[ModuleInfo]:
    """List the files of automations, with their functions. No file is imported."""
    return [
        ModuleInfo(
            module=module.name,
            doc=module.doc,
            error=module.error,
            functions=[
                FunctionInfo(
                    function=one.name,
                    task=one.task,
                    doc=one.doc,
                    signature=one.signature,
                    parameters=one.schema,
                )
                for one in module.functions
            ],
        )
        for module in automations.modules
    ]


@router.post("/queue-task", status_code=201, responses={**KNOWN, **answers(*BODY, 409)})
async def queue_task(
    user: Changer, token: Token, body: TaskCall, automations: Automations, response: Response
) -> Started:
    """Start a run that calls the automation as soon as a worker of its queue is free."""
    return await _start(user, token, body, automations, response)


@router.post("/schedule-task", status_code=201, responses={**KNOWN, **answers(*BODY, 409)})
async def schedule_task(
    user: Changer, token: Token, body: LaterCall, automations: Automations, response: Response
) -> Started:
    """Start a run that waits for the given time from now, and then for a worker like any other run."""
    return await _start(user, token, body, automations, response)


async def _start(
    user: BaseUser, token: Token, body: TaskCall, automations: Catalog, response: Response
) -> Started:
    call = request.resolve(body.conf(), automations)
    later = body if isinstance(body, LaterCall) else None
    assert token is not None  # noqa: S101  # Changer requires it.
    run = await runs.start(
        token.credentials,
        user.get_name(),
        call,
        automations,
        later.delay if later else timedelta(),
        body.run_id,
        body.note,
    )
    if not run.created:
        response.status_code = 200
        message = f"task is there already, on {call.queue} queue."
    elif later:
        message = f"task scheduled for {later.in_words()} from now on {call.queue} queue."
    else:
        message = f"task enqueued on {call.queue} queue."
    return Started(
        message=message,
        task=call.name,
        run_id=run.run_id,
        queue=Queue(call.queue),
        run_after=run.run_after,
        links=Links(**runs.links(run.run_id)),
    )
