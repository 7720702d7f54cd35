"""Functions for tests to read a deployment's runs, and to wait for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import redis

from local import waiting
from local.deployment.api import AirflowApi, Run, pause
from local.deployment.stack import Deployment

PATIENCE = 300.0
Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Instance:
    """One task instance of a run."""

    task: str
    index: int
    state: str | None
    queue: str
    hostname: str
    tries: int
    started: datetime | None
    ended: datetime | None

    @property
    def ran(self) -> tuple[datetime, datetime]:
        """When it started and ended, of one that did both."""
        assert self.started is not None
        assert self.ended is not None
        return self.started, self.ended


def instances(api: AirflowApi, dag: str, run: str) -> list[Instance]:
    """Return the task instances of a run, in the order in which they started."""
    found = api.call("GET", f"{path(dag, run)}/taskInstances")["task_instances"]
    return sorted(map(_instance, found), key=lambda one: (one.started is None, one.started))


def every(api: AirflowApi, dag: str, runs: list[str]) -> list[tuple[str, Instance]]:
    """Return run and task instance for all of these runs, at most 100, with one request to the API."""
    query = {"limit": 100, "order_by": "-run_after"}
    found = api.call("GET", f"/api/v2/dags/{dag}/dagRuns/~/taskInstances", params=query)["task_instances"]
    return [(entry["dag_run_id"], _instance(entry)) for entry in found if entry["dag_run_id"] in runs]


def tries(api: AirflowApi, dag: str, run: str, task: str) -> list[Instance]:
    """Return all tries of a task, in their order."""
    found = api.call("GET", f"{path(dag, run)}/taskInstances/{task}/tries")["task_instances"]
    return sorted(map(_instance, found), key=lambda one: one.tries)


def log(api: AirflowApi, dag: str, run: str, task: str, attempt: int) -> str:
    """Return the log of one try, as the UI shows it."""
    answer = api.call("GET", f"{path(dag, run)}/taskInstances/{task}/logs/{attempt}")
    return "\n".join(entry if isinstance(entry, str) else str(entry) for entry in answer["content"])


def until(deployment: Deployment, ask: Callable[[], Answer]) -> Answer:
    """Call `ask` until its answer is true, and return that answer."""
    return waiting.until(ask, PATIENCE, "a true answer", check=deployment.supervisor.check, pause=pause)


def ended(deployment: Deployment, api: AirflowApi, dag: str, run: str) -> Run:
    """Wait for a run's end, and return it."""
    return api.wait(dag, run, PATIENCE, deployment.supervisor.check)


def open_gate(deployment: Deployment, run: str) -> None:
    """Let the task of a gated run end."""
    (gates(deployment) / run).touch()


def gates(deployment: Deployment) -> Path:
    """Return the folder in which the gated DAGs look for their files."""
    return Path(deployment.environment["GATES"])


def broker(deployment: Deployment) -> redis.Redis:
    """Return a client of the broker."""
    settings = deployment.settings
    return redis.Redis(port=settings.redis_port, password=settings.redis_password, decode_responses=True)


def resume(api: AirflowApi, dag: str) -> None:
    """Unpause a DAG, so that it is scheduled again.

    If a run ends while its DAG is paused, and the DAG allows one active run, Airflow 3.3.2 considers the DAG busy until its
    file is parsed again. Normally that happens every 30 s, but not in the session's deployment.
    """
    found = api.call("PATCH", f"/api/v2/dags/{dag}", json={"is_paused": False})
    api.call("PUT", f"/api/v2/parseDagFile/{found['file_token']}")


@contextmanager
def scheduled(api: AirflowApi, dag: str) -> Iterator[None]:
    """Unpause a DAG while the block runs, and pause it again."""
    resume(api, dag)
    yield
    api.call("PATCH", f"/api/v2/dags/{dag}", json={"is_paused": True})


def path(dag: str, run: str) -> str:
    """Return the API's path of a run."""
    return f"/api/v2/dags/{dag}/dagRuns/{quote(run)}"


def _instance(entry: dict[str, Any]) -> Instance:
    return Instance(
        task=entry["task_id"],
        index=entry["map_index"],
        state=entry["state"],
        queue=entry["queue"],
        hostname=entry["hostname"],
        tries=entry["try_number"],
        started=_moment(entry["start_date"]),
        ended=_moment(entry["end_date"]),
    )


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
