"""The one thing that jobs ask of Airflow: runs of `executar_tarefa`, over its REST API.

The connection's address, TLS and proxies are the business of whoever makes the `requests.Session`; Airflow's HttpHook
does that well. What it does not know is here: a token for a password, a new one when that has expired, and what each
answer means for a run that must not be started twice.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from datetime import timedelta
from enum import Enum
from typing import Any

import requests
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from trigger.answers import Bearer, ask_with_token, readable

log = logging.getLogger(__name__)

DAG = "executar_tarefa"
PATH = f"/api/v2/dags/{DAG}"
CONNECTION = "connection airflow_api"
# Airflow gives at most 100 runs a page; and an address has its limits.
BATCH = 50
# What a server says that may say something else in a moment.
PASSING = (408, 425, 429, 500, 502, 503, 504)
LONGEST_ANSWER = 500


class Outcome(Enum):
    """What became of a run that was asked for."""

    STARTED = "started"
    THERE = "was there already"


class RefusedError(Exception):
    """Airflow will not have this run, now or ever: the message is its answer."""


class AwayError(Exception):
    """No answer, or none that means anything; whether the run was made nobody knows. Asking again does no harm."""


class UnusableError(Exception):
    """Airflow answers, but nothing can be started: for no job, until somebody mends what the message names."""


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
        """Take the API server's address and a login; `timeout` bounds each wait for an answer."""
        self._session = session
        self._url = url.rstrip("/")
        self._login = {"username": user, "password": password}
        self._timeout = timeout.total_seconds()
        self._token: str | None = None
        self._retrying = Retrying(
            retry=retry_if_exception_type(AwayError),
            stop=stop_after_attempt(attempts),
            wait=wait_random_exponential(multiplier=0.2, max=2),
            reraise=True,
        )

    def start(self, run_id: str, conf: dict[str, Any], note: str) -> Outcome:
        """Start a run, unless one of this id is there. Raises RefusedError, AwayError, UnusableError."""
        body = {"dag_run_id": run_id, "logical_date": None, "conf": conf, "note": note}
        answer = self._retrying(self._ask, "POST", f"{PATH}/dagRuns", json=body)
        if answer.status_code == 409:
            return Outcome.THERE
        if answer.ok:
            # Anything may say 200: a login page, a proxy that means well.
            if _json(answer).get("dag_run_id") != run_id:
                raise UnusableError(f"{self._url} answers, but not like Airflow ({CONNECTION})")
            return Outcome.STARTED
        if answer.status_code == 400 and self._is_broken():
            raise UnusableError(f"the DAG {DAG} has an import error: {_said(answer)}")
        raise RefusedError(_said(answer))

    def states(self, run_ids: Iterable[str]) -> dict[str, str]:
        """Return the state of each of these runs that is there. Raises AwayError, UnusableError."""
        wanted = list(run_ids)
        found: dict[str, str] = {}
        for first in range(0, len(wanted), BATCH):
            batch = wanted[first : first + BATCH]
            query = {"run_id_prefix_pattern": "|".join(batch), "limit": 2 * BATCH}
            answer = self._retrying(self._ask, "GET", f"{PATH}/dagRuns", params=query)
            if not answer.ok:
                raise UnusableError(f"Airflow does not list the runs of {DAG}: {_said(answer)}")
            runs = {run["dag_run_id"]: run["state"] for run in _json(answer).get("dag_runs", [])}
            found |= {run_id: runs[run_id] for run_id in batch if run_id in runs}
        return found

    def _is_broken(self) -> bool:
        return bool(_json(self._retrying(self._ask, "GET", PATH)).get("has_import_errors"))

    def _ask(self, method: str, path: str, **request: Any) -> requests.Response:
        """Return the answer to a request with a valid token."""

        def ask(token: str) -> requests.Response:
            return self._send(method, path, auth=Bearer(token), **request)

        answer = ask_with_token(ask, self._token or self._log_in(), lambda _: self._log_in())
        if answer.status_code in (401, 403, 404):
            raise UnusableError(
                f"{method} {path} as {self._login['username']} ({CONNECTION}): {_said(answer)}"
            )
        return answer

    def _log_in(self) -> str:
        answer = self._send("POST", "/auth/token", auth=Bearer(None), json=self._login)
        token = _json(answer).get("access_token")
        if not answer.ok or not isinstance(token, str):
            said = f"{answer.status_code}" if answer.ok else _said(answer)
            raise UnusableError(f"no token for {self._login['username']} ({CONNECTION}): {said}")
        self._token = token
        return token

    def _send(self, method: str, path: str, **request: Any) -> requests.Response:
        try:
            answer = self._session.request(
                method, f"{self._url}{path}", timeout=self._timeout, allow_redirects=False, **request
            )
        except requests.RequestException as error:
            raise AwayError(f"{self._url} does not answer: {type(error).__name__}") from None
        if answer.status_code in PASSING:
            raise AwayError(f"{method} {path}: {_said(answer)}")
        if answer.is_redirect:
            raise UnusableError(
                f"{self._url} leads elsewhere, to {answer.headers['Location']} ({CONNECTION})"
            )
        return answer


def _json(answer: requests.Response) -> dict[str, Any]:
    try:
        body = answer.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _said(answer: requests.Response) -> str:
    return f"{answer.status_code} {readable(answer)}"[:LONGEST_ANSWER]
