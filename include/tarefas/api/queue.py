"""clean-queue: removes runs that wait and have not started, while workers and schedulers keep running.

A run **waits** if none of its tasks was ever started: each has no start time, and its state is none, `scheduled` or
`queued`. A task that waits for its retry, or that was cleared, has been started before, so its run stays. Running runs
stay too. A run with a future `run_after` is scheduled, and is removed only with `scheduled=true`.

It is one transaction. It locks in the same order as the schedulers, which skip locked rows instead of waiting:

1. lock the waiting runs, in the order of their ids;
2. lock their task instances;
3. delete those runs that still wait; the database deletes their dependent rows;
4. commit.

A worker's request to start a task locks the task instance. So each run ends in one of two ways:

- The start came first: step 2 waits for it, step 3 sees a start time, and the run stays.
- The lock came first: the start waits for our commit, finds no task instance, gets 404, and the worker runs nothing.

Other processes that may interfere:

- **A scheduler that queues the task meanwhile**: it did so before step 1 or 2, which then waited for it, or it skips the
  locked row. It may send a message for a task whose row is deleted: see the next point.
- **Messages in Celery for deleted runs** stay. A worker that takes one gets that 404, logs a failed message, and takes the
  next one. The scheduler gets the result of a task that does not exist, and drops it. Removing them from Redis would be
  wrong: the scheduler counts a sent message as a used slot until a worker has answered.
- **A run id that is used again at once** has a new task instance, which the old message can't start. But the scheduler
  identifies tasks by DAG, run id and try. If the old message fails within the second in which the new task is queued, that
  counts as a failed try, and the task is retried. Ids that the service generates are never used again.
- **A user who deletes a run in the UI** locks the task instance before the run, so there may be a deadlock. PostgreSQL
  cancels one of the two; this transaction is repeated up to three times.
- **Two calls at once**: the second waits in step 1, and finds the runs that are left.
- **A process that dies** before step 4 changes nothing. After step 4, only the answer is lost, and a repeated call does no
  harm.
"""

from __future__ import annotations

import json
from typing import Annotated

from airflow.models.dagrun import DagRun
from airflow.models.log import Log
from airflow.models.taskinstance import TaskInstance
from airflow.utils.retries import retry_db_transaction
from airflow.utils.session import create_session
from airflow.utils.state import DagRunState, TaskInstanceState
from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import delete, exists, func, or_, select
from sqlalchemy.orm import Session

from include.conventions.queues import Queue
from include.tarefas.api.access import DAG_ID, Remover
from include.tarefas.api.errors import COMMON, answers

UNFINISHED = (DagRunState.QUEUED, DagRunState.RUNNING)
WAITING = (TaskInstanceState.SCHEDULED, TaskInstanceState.QUEUED)

router = APIRouter(tags=["queue"], responses=answers(*COMMON, 422))


class RunSelection(BaseModel):
    """Which runs to remove. An unknown key is refused, because without a queue all queues are meant."""

    model_config = ConfigDict(extra="forbid")

    queue: list[Queue] = Field([], description="This queue alone, or these; all when left out.")
    scheduled: bool = Field(False, description="Also what is scheduled for later.")


class Cleaned(BaseModel):
    """How many runs were removed."""

    message: str = Field(examples=["queue cleaned up"])
    removed: int


@router.delete("/clean-queue")
def clean_queue(user: Remover, which: Annotated[RunSelection, Query()]) -> Cleaned:
    """Remove runs that wait and have not started. Runs that run, or have run before, stay."""
    with create_session() as session:
        removed = remove_waiting(which.queue, which.scheduled, session=session)
        # The entry in Airflow's audit log, committed in the same transaction.
        asked = {"queue": which.queue, "scheduled": which.scheduled, "removed": removed}
        session.add(Log(event="clean_queue", owner=user.get_name(), dag_id=DAG_ID, extra=json.dumps(asked)))
    return Cleaned(message="queue cleaned up", removed=removed)


@router.get("/clean-queue")
def clean_queue_by_get(user: Remover, which: Annotated[RunSelection, Query()]) -> Cleaned:
    """The same by GET, for clients of the older service. It needs the header too, because it changes something."""
    return clean_queue(user, which)


@retry_db_transaction
def remove_waiting(queues: list[Queue], scheduled: bool, *, session: Session) -> int:
    """Delete the waiting runs of executar_tarefa, in these queues or in all; return how many.

    `session` must not have an open transaction, and the caller must commit it.
    """
    keeps = or_(
        TaskInstance.start_date.is_not(None),
        TaskInstance.state.is_not(None) & TaskInstance.state.not_in(WAITING),
        *([TaskInstance.queue.not_in(queues)] if queues else []),
    )
    waits = ~exists().where(TaskInstance.dag_id == DagRun.dag_id, TaskInstance.run_id == DagRun.run_id, keeps)
    runs = (
        select(DagRun.id, DagRun.run_id)
        .where(DagRun.dag_id == DAG_ID, DagRun.state.in_(UNFINISHED), waits)
        .order_by(DagRun.id)
        .with_for_update(of=DagRun)
    )
    if not scheduled:
        runs = runs.where(DagRun.run_after <= func.now())
    locked = {run_id: number for number, run_id in session.execute(runs)}
    session.execute(
        select(TaskInstance.id)
        .where(TaskInstance.dag_id == DAG_ID, TaskInstance.run_id.in_(locked))
        .order_by(TaskInstance.run_id)
        .with_for_update(of=TaskInstance)
    ).all()
    removed = session.execute(
        delete(DagRun)
        .where(DagRun.id.in_(locked.values()), waits)
        .returning(DagRun.id)
        .execution_options(synchronize_session=False)
    )
    return len(removed.all())
