"""clean-queue: takes away what waits and has not started, while workers and schedulers go on.

A run **waits** when none of its tasks was ever started: each has no start time, and is in no state, `scheduled` or
`queued`. A task that waits for its retry, or that was cleared, has been started: its run stays, as one that runs does.
A run with its `run_after` ahead is scheduled, and goes only when that is asked for.

One transaction, in this order, which is the schedulers' own (they never wait for a lock that we hold, they pass over it):

1. lock the runs that wait, in the order of their ids;
2. lock their task instances;
3. delete those of the runs that still wait; the database deletes with them what belongs to them;
4. commit.

A worker's request to start a task locks the task instance. So for each run there are two ways, and no third:

- the start came first: step 2 waits for it, step 3 sees a start time, and the run stays;
- the lock came first: the start waits for our commit, finds no task instance, is answered 404, and the worker runs
  nothing.

What else can meet us:

- **A scheduler that queues the task meanwhile** did so before step 1 or 2, which waits for it, or passes over what is
  locked. It may send a message for a task whose row is gone: the next point.
- **Messages in Celery for deleted runs** stay. A worker that takes one gets that 404, logs it as a failed message and
  takes the next; the scheduler hears of a task that is not there and forgets it. To take them out of Redis would be
  wrong: the scheduler counts a message that it sent as a slot that is taken, until a worker has answered.
- **A run id that is used again at once** belongs to another task instance, which the old message can't start. But the
  scheduler knows tasks by DAG, run id and try: if it hears of the failed message in the second in which it queues the
  new one, that counts as a failed try, and the task is retried. Ids that the service draws are never used again.
- **Somebody who deletes a run in the UI** locks the task instance before the run, which can dead-lock with us.
  PostgreSQL ends one of the two; we begin again, up to three times.
- **Two at once**: the second waits in step 1 and finds what is left.
- **Dying before step 4** changes nothing; after it, all is done and only the answer is lost. Asking again is harmless.
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


class Which(BaseModel):
    """What to take away. A misspelt key is refused: it would mean all queues."""

    model_config = ConfigDict(extra="forbid")

    queue: list[Queue] = Field([], description="This queue alone, or these; all when left out.")
    scheduled: bool = Field(False, description="Also what is scheduled for later.")


class Cleaned(BaseModel):
    """How many runs were taken away."""

    message: str = Field(examples=["queue cleaned up"])
    removed: int


@router.delete("/clean-queue")
def clean_queue(user: Remover, which: Annotated[Which, Query()]) -> Cleaned:
    """Take away what waits and has not started; what runs, or has run before, stays."""
    with create_session() as session:
        removed = remove_waiting(which.queue, which.scheduled, session=session)
        # What Airflow's audit log shows of it; committed together with it.
        asked = {"queue": which.queue, "scheduled": which.scheduled, "removed": removed}
        session.add(Log(event="clean_queue", owner=user.get_name(), dag_id=DAG_ID, extra=json.dumps(asked)))
    return Cleaned(message="queue cleaned up", removed=removed)


@router.get("/clean-queue")
def clean_queue_by_get(user: Remover, which: Annotated[Which, Query()]) -> Cleaned:
    """The same by GET, as the users of the older service know it. It needs the header too: it changes something."""
    return clean_queue(user, which)


@retry_db_transaction
def remove_waiting(queues: list[Queue], scheduled: bool, *, session: Session) -> int:
    """Delete the runs of executar_tarefa that wait, in these queues or in all; return how many.

    The session has begun nothing before, and is committed by the caller.
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
