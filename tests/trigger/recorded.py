"""Answers of Airflow 3.3's API, recorded for the tests of the script itself, and runs that end at once.

tests/trigger/deployment tests what depends on Airflow: filters, data intervals and permissions. Its test_recorded.py
compares these answers with those of a server.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import jwt

from tests.trigger.faulty import Answer, Request
from tests.trigger.users import User

FOLDER = Path(__file__).parent / "answers"
PAGE = 100  # the longest page
MANY = 300
STATES = ("queued", "running", "success")
Entry = dict[str, Any]


def recorded(name: str) -> Any:
    """Return the content of a file of answers."""
    return json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))


def dags() -> dict[str, Entry]:
    """Return the definition of each DAG by its id, as `…/details` returns it; of `many_000`, there are 300 copies."""
    # The file has the other DAGs only with their differences from `quick`.
    entries = {name: {**_DAGS["quick"], **entry} for name, entry in _DAGS.items()}
    many = entries.pop("many_000")
    for number in range(MANY):
        entries[f"many_{number:03}"] = {**many, "dag_id": f"many_{number:03}"}
    return entries


_DAGS: dict[str, Entry] = recorded("dags")["dags"]
LISTED: list[str] = recorded("dags")["listed"]
"""The keys of a definition that the list of DAGs has, too."""
IMPORT_ERRORS: Entry = recorded("import_errors")
RUNS: Entry = recorded("runs")
REFUSALS: dict[str, Entry] = recorded("refusals")


class RefusedError(Exception):
    """An answer with an error; `name` is its name among the recorded refusals."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


class Airflow:
    """The API. `runs` holds the runs of each DAG by id. A run ends after it was read twice."""

    def __init__(self) -> None:
        names = {"admin": "admin", "operator": "op_user", "viewer": "viewer_user"}
        self.users = {role: User(name, secrets.token_hex(8)) for role, name in names.items()}
        self.dags = dags()
        self.runs: dict[str, dict[str, Entry]] = {"failing": {"fails": RUNS["failing"]["run"]}}
        self._secret = secrets.token_hex(64)

    def token(self, name: str, age: float = 0) -> str:
        """Return a token of a user, `age` seconds old. Tokens are valid for an hour."""
        made = int(time.time() - age)
        claims = {"sub": name, "aud": "apache-airflow", "nbf": made, "iat": made, "exp": made + 3600}
        return jwt.encode({**claims, "jti": secrets.token_hex(16)}, self._secret, "HS512")

    def __call__(self, request: Request) -> Answer:
        """Return the answer to a request."""
        try:
            body: Any = self._answer(request)
            status = HTTPStatus.CREATED if request.path == "/auth/token" else HTTPStatus.OK
        except RefusedError as error:
            status, body = REFUSALS[error.name]["status"], REFUSALS[error.name]["body"]
        if isinstance(body, str):
            return Answer(status, body.encode(), {"Content-Type": "text/html"})
        return Answer(status, json.dumps(body).encode(), {"Content-Type": "application/json"})

    def _answer(self, request: Request) -> Entry:
        address = urlsplit(request.path)
        query = parse_qs(address.query)
        sent = json.loads(request.body) if request.body else {}
        path = [unquote(part) for part in address.path.split("/")[1:]]
        if path == ["auth", "token"]:
            return self._log_in(sent)
        user = self._user(request.headers)
        match request.method, path[2:]:
            case "GET", ["dags"]:
                return page("dags", list(self._listed(query)), query)
            case "GET", ["importErrors"]:
                return IMPORT_ERRORS
            case "GET", ["dags", dag, "details"]:
                return self._dag(dag, "unknown DAG")
            case "PATCH", ["dags", dag]:
                self._dag(dag, "unknown DAG").update(sent)
                return self.dags[dag]
            case "GET", ["dags", dag, "dagRuns"]:
                return page("dag_runs", list(self._runs(dag).values()), query)
            case "POST", ["dags", dag, "dagRuns"]:
                self._dag(dag, "run of an unknown DAG")
                return self._make_run(dag, sent, user)
            case "GET", ["dags", dag, "dagRuns", run]:
                return self._look_at(self._run(dag, run))
            case "GET", ["dags", dag, "dagRuns", run, "taskInstances"]:
                tasks = RUNS[dag]["tasks"] if self._run(dag, run)["state"] in ("success", "failed") else []
                return page("task_instances", tasks, query)
            case "GET", ["dags", dag, "dagRuns", run, "taskInstances", _, "logs", _]:
                self._run(dag, run)
                return dict(RUNS[dag]["log"])
        raise AssertionError(f"nobody has recorded {request.method} {request.path}")

    def _log_in(self, sent: Mapping[str, str]) -> Entry:
        if not sent:
            raise RefusedError("token for nobody")
        if User(sent["username"], sent["password"]) not in self.users.values():
            raise RefusedError("unknown user")
        return {"access_token": self.token(sent["username"])}

    def _user(self, headers: Mapping[str, str]) -> str:
        token = headers.get("Authorization", "").removeprefix("Bearer ")
        if not token:
            raise RefusedError("nobody")
        try:
            return str(jwt.decode(token, self._secret, ["HS512"], audience="apache-airflow")["sub"])
        except jwt.ExpiredSignatureError:
            raise RefusedError("expired") from None
        except jwt.InvalidTokenError:
            raise RefusedError("malformed") from None

    def _listed(self, query: Mapping[str, list[str]]) -> Iterator[Entry]:
        for name, dag in sorted(self.dags.items()):
            runs = list(self._runs(name).values())
            tags = {tag["name"] for tag in dag["tags"]}
            if (
                ("tags" not in query or tags & set(query["tags"]))
                and query.get("paused", [str(dag["is_paused"]).lower()]) == [str(dag["is_paused"]).lower()]
                and (
                    "last_dag_run_state" not in query
                    or [run["state"] for run in runs[-1:]] == query["last_dag_run_state"]
                )
                and ("has_import_errors" not in query or dag["has_import_errors"])
            ):
                yield {key: dag[key] for key in LISTED}

    def _dag(self, dag: str, refusal: str) -> Entry:
        if dag not in self.dags:
            raise RefusedError(refusal)
        return self.dags[dag]

    def _runs(self, dag: str) -> dict[str, Entry]:
        return self.runs.setdefault(dag, {})

    def _run(self, dag: str, run: str) -> Entry:
        if run not in self._runs(dag):
            raise RefusedError("unknown run")
        return self.runs[dag][run]

    def _make_run(self, dag: str, sent: Mapping[str, Any], user: str) -> Entry:
        run = sent["dag_run_id"]
        if run in self._runs(dag):
            raise RefusedError("conflict")
        start, end = (
            sent.get(f"data_interval_{bound}") or sent["logical_date"] for bound in ("start", "end")
        )
        made = {
            **RUNS["made"],
            **{"dag_id": dag, "dag_run_id": run, "triggering_user_name": user},
            **{"conf": sent["conf"], "note": sent.get("note"), "logical_date": sent["logical_date"]},
            **{"data_interval_start": start, "data_interval_end": end},
        }
        self.runs[dag][run] = made
        return made

    def _look_at(self, run: Entry) -> Entry:
        """Return the run's current state, then move it to the next state."""
        seen = dict(run)
        if run["state"] in STATES[:-1]:
            run["state"] = STATES[STATES.index(run["state"]) + 1]
            run["start_date"] = RUNS["quick"]["run"]["start_date"]
            run["end_date"] = RUNS["quick"]["run"]["end_date"] if run["state"] == "success" else None
        return seen


def page(name: str, entries: list[Entry], query: Mapping[str, list[str]]) -> Entry:
    """Return the page of a list that the query selects."""
    limit, offset = (int(query.get(key, [default])[0]) for key, default in (("limit", "50"), ("offset", "0")))
    return {name: entries[offset : offset + min(limit, PAGE)], "total_entries": len(entries)}
