"""Start runs of `executar_tarefa`, and read their states, through Airflow's REST API.

The caller configures the `requests.Session` with TLS and proxies; Airflow's HttpHook does this well. `trigger.wire` does
tokens and retries. This file interprets the answers for a run that must not start twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Any, Self

import requests

from include.conventions.errors import TaskError
from trigger import model
from trigger.answers import parse, readable
from trigger.errors import Transient, TriggerError
from trigger.request import RunRequest
from trigger.wire import Origin, Wire

DAG = "executar_tarefa"
PATH = f"/api/v2/dags/{DAG}"
CONNECTION = "connection airflow_api"
# Airflow returns at most 100 runs per page, and the length of a URL is limited.
BATCH = 50
# Statuses of errors that may pass.
PASSING = (408, 425, 429, 500, 502, 503, 504)
LONGEST_ANSWER = 500


class Outcome(Enum):
    """The result of a request to start a run."""

    STARTED = "started"
    THERE = "was there already"


@dataclass(frozen=True)
class Run:
    """A run's state. It has an end if it has ended."""

    state: str
    ended_at: datetime | None = None

    @classmethod
    def read(cls, entry: Mapping[str, Any]) -> Self:
        ended = entry.get("end_date") if entry["state"] in model.FINISHED else None
        return cls(entry["state"], datetime.fromisoformat(ended) if ended else None)


class RefusedError(Exception):
    """Airflow refuses this run, and a retry can't help. The message is Airflow's answer."""


class NoAnswerError(Exception):
    """No answer, or a temporary error. The run may have been created or not; a repeated request does no harm."""


class UnusableError(TaskError):
    """Airflow answers, but can't start any job until a person fixes what the message names."""

    heals = True


class Api:
    """Airflow's API for one user."""

    def __init__(
        self,
        session: requests.Session,
        url: str,
        user: str,
        password: str,
        timeout: timedelta = timedelta(seconds=5),
        attempts: int = 2,
    ) -> None:
        """Take the API server's address and a login; `timeout` bounds each wait for an answer. Raises UnusableError."""
        self._user = user
        with _explained():
            self._wire = Wire(
                url,
                username=user,
                password=password,
                connect_timeout=timeout.total_seconds(),
                attempts=attempts,
                session=session,
                transient=PASSING,
                cache=False,
                origin=Origin("the host", "`verify` in the extra"),
            )

    def start(self, run_id: str, conf: dict[str, Any], note: str) -> Outcome:
        """Start a run, unless one with this id exists for the same call.

        Raises RefusedError, NoAnswerError, UnusableError.
        """
        body = {"dag_run_id": run_id, "logical_date": None, "conf": conf, "note": note}
        answer = self._ask("POST", f"{PATH}/dagRuns", body=body)
        if answer.status_code == 409:
            self._compare(run_id, body)
            return Outcome.THERE
        if answer.ok:
            # Other servers may answer 200 too, such as a login page or a proxy.
            if _json(answer).get("dag_run_id") != run_id:
                raise UnusableError(f"{self._wire.url} answers, but not like Airflow ({CONNECTION})")
            return Outcome.STARTED
        if answer.status_code == 400 and self._is_broken():
            raise UnusableError(f"the DAG {DAG} has an import error: {_said(answer)}")
        raise RefusedError(_said(answer))

    def runs(self, run_ids: Iterable[str]) -> dict[str, Run]:
        """Return those of these runs that exist. Raises NoAnswerError, UnusableError."""
        wanted = list(run_ids)
        found: dict[str, Run] = {}
        for first in range(0, len(wanted), BATCH):
            batch = wanted[first : first + BATCH]
            found |= {run_id: Run.read(entry) for run_id, entry in self._entries(batch).items()}
        return found

    def _compare(self, run_id: str, body: dict[str, Any]) -> None:
        """Raise RefusedError if another user made the run with this id for another call, NoAnswerError if it is gone."""
        entry = self._entries([run_id]).get(run_id)
        if entry is None:
            raise NoAnswerError(f"run {run_id} was removed at this moment")
        there = model.Run.read(entry, self._wire.url)
        if (there.triggered_by or "").casefold() == self._user.casefold():
            # Its own, from before a crash; perhaps somebody has changed the job since.
            return
        # A job's call has the full name of its automation.
        if differing := RunRequest(DAG, body, {"conf": body["conf"]}).differing(there, None, list):
            raise RefusedError(
                f"run {run_id} was made by {there.triggered_by or 'another client'} with another"
                f" {' and '.join(differing)}: delete that run"
            )

    def _entries(self, run_ids: list[str]) -> dict[str, dict[str, Any]]:
        """Return Airflow's entries of those of these runs that exist, at most `BATCH`."""
        query = {"run_id_prefix_pattern": "|".join(run_ids), "limit": 2 * BATCH}
        answer = self._ask("GET", f"{PATH}/dagRuns", query=query)
        if not answer.ok:
            raise UnusableError(f"Airflow does not list the runs of {DAG}: {_said(answer)}")
        runs = {run["dag_run_id"]: run for run in _json(answer).get("dag_runs", [])}
        return {run_id: runs[run_id] for run_id in run_ids if run_id in runs}

    def _is_broken(self) -> bool:
        return bool(_json(self._ask("GET", PATH)).get("has_import_errors"))

    def _ask(self, method: str, path: str, **request: Any) -> requests.Response:
        """Return the answer to a request. Raises UnusableError for 401, 403 and 404, NoAnswerError for temporary errors."""
        with _explained():
            answer = self._wire.answer(method, path, **request)
        if answer.status_code in (401, 403, 404):
            raise UnusableError(f"{method} {path} as {self._user} ({CONNECTION}): {_said(answer)}")
        return answer


@contextmanager
def _explained() -> Iterator[None]:
    """Convert the errors of `trigger.wire` into those of this file."""
    try:
        yield
    except Transient as error:
        raise NoAnswerError(str(error)) from None
    except TriggerError as error:
        raise UnusableError(f"{error} ({CONNECTION})") from None


def _json(answer: requests.Response) -> dict[str, Any]:
    try:
        body = parse(answer)
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _said(answer: requests.Response) -> str:
    return f"{answer.status_code} {readable(answer)}"[:LONGEST_ANSWER]
