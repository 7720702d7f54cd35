"""Start a run through Airflow's own REST API, inside the server, with the caller's token.

So Airflow itself handles permissions, Params, the cluster policy, the audit log and the name of the triggering user.
There is no second way to create a run.

Airflow creates a run and its task in one transaction, so either both exist or none. A caller without an answer can't know
which. It repeats the request with the same `run_id`:

| what happened before                           | the second request                                              |
|------------------------------------------------|-----------------------------------------------------------------|
| it never arrived, or nothing was committed     | creates the run, 201                                            |
| the run exists, waiting, running or ended      | Airflow answers 409; if it is the same call: 200 with that run  |
| both arrive at once                            | Airflow's unique key (DAG, run id) lets one create it: 201, 200 |
| the id belongs to a run of another call        | 409                                                             |
| the id belongs to a run of another user        | 409, which names the user                                       |
| `clean-queue` has removed the run              | creates it again, 201                                           |

The same call means the same automation, arguments, queue and delay, whichever API created the run, and whatever form its
conf has (trigger/calls.py). The note does not matter.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from secrets import token_hex
from urllib.parse import quote

import httpx
from fastapi import HTTPException
from starlette.concurrency import run_in_threadpool

from include.conventions import own_api
from include.tarefas.api.access import DAG_ID
from include.tarefas.catalog import Catalog
from include.tarefas.request import Call
from trigger.calls import same_delay, unified
from trigger.request import same


@dataclass(frozen=True)
class Run:
    """A run of executar_tarefa. `created` is False if an earlier request has created it."""

    run_id: str
    run_after: datetime
    created: bool


async def start(
    token: str,
    user: str,
    call: Call,
    automations: Catalog,
    delay: timedelta = timedelta(),
    run_id: str | None = None,
    note: str | None = None,
) -> Run:
    """Start a run of the call after the delay, or find the existing one. `automations` is the catalog.

    `user` is the name of the user whose token this is.

    Raises HTTPException: Airflow's answer about permissions (401, 403), a call that Airflow refuses (422), a `run_id` of
    another call or user (409), or Airflow can't create the run now (503).
    """
    now = datetime.now(UTC)
    run_id = run_id or _new_id(call, now)
    run_after = now + delay
    body = {
        "dag_run_id": run_id,
        "logical_date": None,
        "run_after": run_after.isoformat(),
        "conf": call.conf(),
        "note": note,
    }
    answer = await own_api.ask("POST", f"/api/v2/dags/{DAG_ID}/dagRuns", token, body)
    if answer.is_success:
        return Run(run_id, run_after, created=True)
    if answer.status_code == 409:
        return await run_in_threadpool(_existing, run_id, user, call, automations, delay)
    raise _refusal(answer)


def links(run_id: str) -> dict[str, str]:
    """Return the run's URLs in the UI and in the REST API."""
    from airflow.configuration import conf

    base = str(conf.get("api", "base_url", fallback="")).rstrip("/")
    run = quote(run_id, safe="")
    return {"ui": f"{base}/dags/{DAG_ID}/runs/{run}", "run": f"{base}/api/v2/dags/{DAG_ID}/dagRuns/{run}"}


def _new_id(call: Call, now: datetime) -> str:
    """Return a new, unique id that is readable in the list of runs."""
    name = re.sub("[^A-Za-z0-9_.]", "_", call.name)[:150]
    return f"{name}__{now:%Y%m%dT%H%M%SZ}__{token_hex(6)}"


def _existing(run_id: str, user: str, call: Call, automations: Catalog, delay: timedelta) -> Run:
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        found = session.execute(
            select(DagRun.conf, DagRun.run_after, DagRun.created_at, DagRun.triggering_user_name).where(
                DagRun.dag_id == DAG_ID, DagRun.run_id == run_id
            )
        ).one_or_none()
    if found is None:
        raise HTTPException(409, f"run {run_id} was removed at this moment; ask again")
    # Nobody's: the run of an older version of Airflow, or of a DAG.
    if found.triggering_user_name not in (None, user):
        raise HTTPException(
            409,
            f"run_id {run_id} belongs to a run of {found.triggering_user_name}; take another one, or none",
        )
    conf = unified(found.conf, lambda: [function.task for function in automations.functions])
    if not same(call.conf(), conf) or not same_delay(delay, found.created_at, found.run_after):
        raise HTTPException(409, f"run_id {run_id} belongs to another call; take another one, or none")
    return Run(run_id, found.run_after, created=False)


def _refusal(answer: httpx.Response) -> HTTPException:
    """Translate Airflow's error into this service's error."""
    try:
        detail = answer.json()["detail"]
    except (ValueError, KeyError, TypeError):
        detail = "no reason"
    status = answer.status_code
    if status in (401, 403):
        return HTTPException(status, str(detail))
    if status in (400, 422):
        return HTTPException(422, f"Airflow refuses the run: {detail}")
    if status == 404:
        return HTTPException(503, f"Airflow has not read the DAG {DAG_ID} yet; ask again in a minute")
    return HTTPException(503, f"Airflow could not make the run (it answered {status}); ask again")
