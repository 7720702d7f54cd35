#!/usr/bin/env python3
# /// script
# requires-python = ">=3.11"
# dependencies = ["click", "jsonschema", "PyYAML", "referencing", "requests", "rich", "tenacity"]
# ///
"""List, trigger and watch Airflow DAGs through the REST API v2, with custom conf.

    python trigger_script.py --list
    python trigger_script.py --dag-id etl_vendas --wait
    python trigger_script.py --dag-id etl_vendas --conf '{"inicio": "…", "fim": "…"}'

Beside that, the automations that the service at /scheduler offers, and their jobs:

    python trigger_script.py enqueue send_email '{"email": "…", "message": "…"}' --wait
    python trigger_script.py jobs add greet hello_world.send_hello_world --cron '*/5 * * * *'

This file stands alone: copy it anywhere. From Python:

    from trigger_script import AirflowClient

    with AirflowClient("http://localhost:8080", username="maria", password="…") as client:
        run = client.trigger("etl_vendas", {"tabelas": ["venda"]})
        run = client.wait(run.dag_id, run.run_id, timeout=600)

What it prints as a result goes to standard output, everything else to standard error. Exit codes: 0 done,
1 a run failed, 2 usage, bad conf or refused before anything was created, 3 not found, 4 authentication or
permission, 5 API unreachable or broken, 6 timeout while waiting, 130 interrupted.
"""

from __future__ import annotations

import base64
import binascii
import difflib
import hashlib
import hmac
import io
import json
import math
import os
import re
import secrets
import shlex
import signal
import stat
import sys
import tempfile
import threading
import time
import tomllib
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, NoReturn, Self, TextIO, TypeVar
from urllib.parse import quote, urlsplit

import click
import requests
import tenacity
from click.core import ParameterSource
from click.shell_completion import get_completion_class
from jsonschema import FormatChecker, SchemaError, ValidationError, validate
from referencing import Registry
from referencing.exceptions import Unresolvable
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

VERSION = "1.1.0"
DEFAULT_URL = "http://localhost:8080"
API = "/api/v2"
SERVICE = "/scheduler"  # of the automations, beside Airflow's own API
AUTOMATIONS = "executar_tarefa"  # the DAG that runs them
STATE = "estado"  # the key under which a mirror's runs hand on how each table stands
PAGE = 100  # Airflow's own default for the longest page it gives
OUTAGE = 300.0  # seconds that a wait outlives an API that is down, as in a slow restart
LOG_LINES = 20  # of a failed task's log
FINISHED = ("success", "failed")
# Of a task instance; the others may still change by themselves.
TASK_FINISHED = ("success", "failed", "skipped", "upstream_failed", "removed")

Result = TypeVar("Result")


# ---------------------------------------------------------------------------------------------------- errors


class TriggerError(Exception):
    """What went wrong, in one line for people; `exit_code` is what the command ends with."""

    exit_code = 5


class RequestRefused(TriggerError):
    """The request is wrong, or was refused before anything was created."""

    exit_code = 2


class NotFound(TriggerError):
    """There is no such DAG, run or backfill."""

    exit_code = 3


class NotAllowed(TriggerError):
    """Who asks is not known, or may not do this."""

    exit_code = 4


class ApiUnavailable(TriggerError):
    """The API can't be reached, or what answers is not a working API."""

    exit_code = 5


class WaitTimeout(TriggerError):
    """The run has not ended in the time that was given to it; it goes on."""

    exit_code = 6


class _Conflict(RequestRefused):
    """409: something with the same identity exists already."""


class _Transient(ApiUnavailable):
    """An ApiUnavailable that time may heal; `retry_after` is the server's own wish, seconds."""

    def __init__(self, message: str, retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


# ------------------------------------------------------------------------------------- what the API speaks of


def _since(instant: datetime) -> float:
    """Return the seconds since an instant; the server's clock may be ahead of this one."""
    return max(0.0, (datetime.now(UTC) - instant).total_seconds())


def _instant(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


@dataclass(frozen=True)
class Param:
    """A Param that a DAG declares: its default (None where there is none) and its JSON Schema."""

    default: Any
    schema: Mapping[str, Any]
    description: str | None


@dataclass(frozen=True)
class Dag:
    """A DAG; `last_state` and `params` are None where they were not asked for."""

    dag_id: str
    paused: bool
    schedule: str | None
    next_run: datetime | None
    last_state: str | None
    tags: list[str]
    owners: list[str]
    description: str | None
    import_error: bool
    file: str
    params: Mapping[str, Param] | None = field(default=None, repr=False)

    @classmethod
    def _read(cls, entry: Mapping[str, Any]) -> Self:
        params = entry.get("params")
        return cls(
            dag_id=entry["dag_id"],
            paused=entry["is_paused"],
            schedule=entry["timetable_summary"],
            next_run=_instant(entry["next_dagrun_run_after"]),
            last_state=None,
            tags=[tag["name"] for tag in entry["tags"]],
            owners=entry["owners"],
            description=entry["description"],
            import_error=entry["has_import_errors"],
            file=entry["relative_fileloc"] or entry["fileloc"],
            params=None
            if params is None
            else {
                name: Param(param["value"], param.get("schema") or {}, param.get("description"))
                for name, param in params.items()
            },
        )


@dataclass(frozen=True)
class ImportFailure:
    """A file that Airflow can't import, the whole error, and the DAGs it is known to hold."""

    file: str
    bundle: str | None
    time: datetime | None
    error: str
    dag_ids: list[str]

    @property
    def reason(self) -> str:
        """The error's last line, which names it."""
        lines = self.error.strip().splitlines()
        return lines[-1].strip() if lines else "no error text"


@dataclass(frozen=True)
class Run:
    """A DAG run; `url` is its page in Airflow's user interface."""

    dag_id: str
    run_id: str
    state: str
    url: str
    logical_date: datetime | None
    data_interval_start: datetime | None
    data_interval_end: datetime | None
    run_after: datetime | None
    start_date: datetime | None
    end_date: datetime | None
    conf: dict[str, Any]
    note: str | None
    triggered_by: str | None
    queued_at: datetime | None = field(default=None, repr=False)

    @property
    def finished(self) -> bool:
        """Whether the run has come to an end, good or bad."""
        return self.state in FINISHED


@dataclass(frozen=True)
class State:
    """How each table of a mirror stands: the rows of its view `estado`, the worst first, and which run said so."""

    dag_id: str
    run_id: str
    said_at: datetime
    tables: list[dict[str, Any]]


@dataclass(frozen=True)
class Task:
    """A task instance of a run; `map_index` is -1 unless it is mapped, `duration` in seconds."""

    dag_id: str = field(repr=False)
    run_id: str = field(repr=False)
    task_id: str
    map_index: int
    state: str
    try_number: int
    start_date: datetime | None
    end_date: datetime | None
    duration: float | None

    @property
    def label(self) -> str:
        """The task's id, with the index of a mapped one."""
        return self.task_id if self.map_index < 0 else f"{self.task_id}[{self.map_index}]"

    def seconds(self) -> float | None:
        """How long it took, or has been running, in seconds; None before it starts."""
        if self.start_date is None:
            return None
        return _since(self.start_date) if self.end_date is None else self.duration


@dataclass(frozen=True)
class RunRequest:
    """What asks for a run of a DAG; `wish` holds the fields of a Run that are not left to the server."""

    dag_id: str
    body: dict[str, Any]
    wish: dict[str, Any]

    @classmethod
    def make(
        cls,
        dag_id: str,
        conf: Mapping[str, Any] | None = None,
        *,
        run_id: str | None = None,
        data_interval: tuple[datetime, datetime] | None = None,
        logical_date: datetime | None = None,
        run_after: datetime | None = None,
        delay: timedelta | None = None,
        note: str | None = None,
    ) -> Self:
        """Return a request; without `run_id` it gets one that nobody else has. Raises RequestRefused."""
        now = datetime.now(UTC)
        start, end = data_interval or (None, None)
        if start is not None and end is not None and start >= end:
            raise RequestRefused(f"a data interval from {start} to {end} does not end after it begins")
        asked = {
            "conf": dict(conf or {}),
            "logical_date": logical_date or start,
            "data_interval_start": start,
            "data_interval_end": end,
            "run_after": run_after,
            "note": note,
        }
        wish = {name: value for name, value in asked.items() if value is not None}
        body = {
            "dag_run_id": run_id or _new_run_id(),
            # Without one, the run would have no data interval, and the API drops one that is given without
            # a word. This moment is what the web page sends too: the timetable then gives the last interval.
            "logical_date": now,
            **wish,
        }
        if delay is not None:
            try:
                # Another moment each time the same is asked, so it is no part of the wish.
                body["run_after"] = now + delay
            except OverflowError:
                raise RequestRefused(f"a delay of {delay.days} days ends after the calendar does") from None
        dated = (
            datetime.isoformat(value) if isinstance(value, datetime) else value for value in body.values()
        )
        return cls(dag_id, dict(zip(body, dated, strict=True)), wish)

    @property
    def run_id(self) -> str:
        """The id that the run will have."""
        return str(self.body["dag_run_id"])


@dataclass(frozen=True)
class TaskRequest:
    """What asks for a run of an automation: a path of the service, and what is sent there."""

    path: str
    body: dict[str, Any]

    @classmethod
    def make(
        cls,
        task: str,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        *,
        queue: str | None = None,
        delay: timedelta | None = None,
        run_id: str | None = None,
        note: str | None = None,
    ) -> Self:
        """Return a request; without `run_id` it gets one that nobody else has. Raises RequestRefused."""
        body = {
            "tarefa": task,
            "args": list(args),
            "kwargs": dict(kwargs or {}),
            # The task's name, as far as an id can hold it, is what people look for in the list of runs.
            "run_id": run_id or _new_run_id(re.sub("[^A-Za-z0-9_.]", "_", task)[:150]),
            "queue": queue,
            "note": note,
        }
        asked = {name: value for name, value in body.items() if value is not None}
        if delay is None:
            return cls("/queue-task", asked)
        if delay.microseconds:
            raise RequestRefused(f"a delay of {delay.total_seconds():g} s is not a whole number of seconds")
        minutes, seconds = divmod(delay // timedelta(seconds=1), 60)
        hours, minutes = divmod(minutes, 60)
        return cls("/schedule-task", {**asked, "hours": hours, "minutes": minutes, "seconds": seconds})

    @property
    def run_id(self) -> str:
        """The id that the run will have."""
        return str(self.body["run_id"])


def _new_run_id(kind: str = "manual") -> str:
    """Return an id of a run that nobody else draws."""
    return f"{kind}__{datetime.now(UTC):%Y%m%dT%H%M%SZ}_{secrets.token_hex(4)}"


@dataclass(frozen=True)
class BackfillPlan:
    """What a backfill of the intervals that begin from one instant to another, both included, would run."""

    dag_id: str
    from_date: datetime
    to_date: datetime
    reprocess: str
    logical_dates: list[datetime]
    body: dict[str, Any] = field(repr=False)


@dataclass(frozen=True)
class Backfill:
    """A backfill that exists; `completed_at` is set once Airflow finds nothing of it unfinished."""

    id: int
    dag_id: str
    from_date: datetime
    to_date: datetime
    reprocess: str
    created_at: datetime
    completed_at: datetime | None


@dataclass(frozen=True)
class Function:
    """A function of an automation; `task` is the name to ask for it, `parameters` its JSON Schema."""

    function: str
    task: str
    doc: str | None
    signature: str
    parameters: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True)
class Module:
    """A file of automations; `error` says why it has no functions, if it can't be read."""

    module: str
    doc: str | None
    error: str | None
    functions: list[Function]


@dataclass(frozen=True)
class Job:
    """An automation that runs at the times of a cron expression, by the clock of its time zone."""

    name: str
    task: str
    args: list[Any]
    kwargs: dict[str, Any]
    cron: str
    timezone: str
    queue: str
    enabled: bool
    missed: str
    next_run_at: datetime | None
    last_run_at: datetime | None
    last_state: str | None
    last_error: str | None

    @classmethod
    def _read(cls, entry: Mapping[str, Any]) -> Self:
        known = {name: entry[name] for name in cls.__dataclass_fields__}
        dates = {name: _instant(entry[name]) for name in ("next_run_at", "last_run_at")}
        return cls(**{**known, **dates})

    @property
    def state(self) -> str:
        """Whether it will run: active, paused, or broken, with the reason in `last_error`."""
        if not self.enabled:
            return "paused"
        return "active" if self.last_error is None else "broken"


# ------------------------------------------------------------------------------------------------ the client


class AirflowClient:
    """Airflow's REST API v2, with retries, renewed tokens and errors that people can read.

    `url` is the address of the user interface; `token` wins over `username` and `password`. `ca` names a
    file of certificates to trust. An API that can't be reached, or answers 429, 502, 503 or 504, is tried
    again for `connect_timeout` seconds. With `cache`, tokens are kept in a file that only its owner can
    read, and `ask_password` is called where a password is needed and none was given.

    Every method raises a TriggerError: RequestRefused, NotFound, NotAllowed or ApiUnavailable. One client
    serves one thread.
    """

    def __init__(
        self,
        url: str = DEFAULT_URL,
        *,
        username: str | None = None,
        password: str | None = None,
        token: str | None = None,
        ca: str | Path | None = None,
        connect_timeout: float = 20.0,
        cache: bool = True,
        ask_password: Callable[[], str] | None = None,
        trace: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.url = check_url(url)
        self.username = username
        self._password = password
        # A file's last line end comes along easily.
        self._token = token.strip() if token is not None else None
        if self._token is not None and not re.fullmatch(r"[!-~]+", self._token):
            raise RequestRefused("the token is empty, or holds characters that no token has")
        self._own_token = token is not None
        self._ask_password = ask_password
        self._patience = connect_timeout
        self._deadline: float | None = None  # of a wait, by the monotonic clock
        self._trace = trace
        self._cache = _TokenCache() if cache else None
        self._session = requests.Session()
        # Passed with each request: requests lets REQUESTS_CA_BUNDLE win over a session's own setting.
        self._verify: bool | str = True if ca is None else str(ca)
        if ca is not None and not Path(ca).is_file():
            raise RequestRefused(f"there is no file {str(ca)!r} of certificates to trust")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    # DAGs

    def dags(
        self, *, tags: Sequence[str] = (), paused: bool | None = None, last_states: bool = False
    ) -> list[Dag]:
        """Return all DAGs by id, those with any of the tags; `last_states` asks for their newest run's."""
        filters: dict[str, Any] = {"tags": list(tags), "tags_match_mode": "any"} if tags else {}
        if paused is not None:
            filters["paused"] = str(paused).lower()
        filters["order_by"] = "dag_id"
        states: dict[str, str] = {}
        if last_states:
            # Four short questions instead of one for each DAG.
            for state in ("queued", "running", "success", "failed"):
                query = {**filters, "last_dag_run_state": state}
                states.update((dag.dag_id, state) for dag in self._pages("/dags", "dags", Dag._read, query))
        found = {dag.dag_id: dag for dag in self._pages("/dags", "dags", Dag._read, filters)}
        found.update((dag.dag_id, dag) for dag in self._broken(filters))
        return [replace(found[dag_id], last_state=states.get(dag_id)) for dag_id in sorted(found)]

    def _broken(self, filters: Mapping[str, Any]) -> Iterator[Dag]:
        """Yield the DAGs of files that can't be imported any more; Airflow leaves them out of its lists."""
        broken = {"has_import_errors": "true", "exclude_stale": "false"}
        return self._pages("/dags", "dags", Dag._read, {**filters, **broken})

    def dag(self, dag_id: str) -> Dag:
        """Return one DAG with its Params. Raises NotFound with the id that was perhaps meant."""
        try:
            return self._call("GET", f"/dags/{_quoted(dag_id)}/details", Dag._read)
        except NotFound:
            known = [dag.dag_id for dag in self.dags()]
        if dag_id in known:
            # Airflow lists all DAGs of a new file before it has stored the definition of each.
            raise NotFound(f"DAG {dag_id!r} is new and Airflow is still reading it: try again in a moment")
        broken = []
        with suppress(NotAllowed):  # not everyone may see them
            broken = self.import_failures()
        hint = _did_you_mean(dag_id, known)
        if broken and not hint:
            files = ", ".join(failure.file for failure in broken[:3])
            hint = f"; {len(broken)} file(s) can't be imported ({files}): see --list --import-errors"
        raise NotFound(f"there is no DAG {dag_id!r}{hint or '; see --list'}")

    def import_failures(self) -> list[ImportFailure]:
        """Return the files that Airflow can't import."""

        def read(entry: Mapping[str, Any]) -> ImportFailure:
            return ImportFailure(
                file=entry["filename"],
                bundle=entry["bundle_name"],
                time=_instant(entry["timestamp"]),
                error=entry["stack_trace"] or "",
                dag_ids=[],
            )

        failures = list(self._pages("/importErrors", "import_errors", read, {"order_by": "id"}))
        broken = list(self._broken({"order_by": "dag_id"})) if failures else []
        return [
            replace(failure, dag_ids=[dag.dag_id for dag in broken if dag.file == failure.file])
            for failure in failures
        ]

    def unpause(self, dag_id: str) -> None:
        """Let a paused DAG run."""
        self._call(
            "PATCH",
            f"/dags/{_quoted(dag_id)}",
            Dag._read,
            query={"update_mask": "is_paused"},
            body={"is_paused": False},
        )

    # Runs

    def trigger(
        self,
        dag_id: str,
        conf: Mapping[str, Any] | None = None,
        *,
        run_id: str | None = None,
        data_interval: tuple[datetime, datetime] | None = None,
        logical_date: datetime | None = None,
        run_after: datetime | None = None,
        delay: timedelta | None = None,
        note: str | None = None,
    ) -> Run:
        """Ask for a run and return it; conf is sent as it is, without a check.

        The run's id is part of the request, drawn here unless given, so that asking again, here after a lost
        answer or by the caller, finds the same run instead of making a second one. Raises RequestRefused
        when the id, or the logical date, belongs to another request's run.
        """
        request = RunRequest.make(
            dag_id,
            conf,
            run_id=run_id,
            data_interval=data_interval,
            logical_date=logical_date,
            run_after=run_after,
            delay=delay,
            note=note,
        )
        return self.send(request)

    def send(self, request: RunRequest) -> Run:
        """Ask for a run that is described already; otherwise as `trigger`."""
        dag_id = request.dag_id
        path = f"/dags/{_quoted(dag_id)}/dagRuns"
        try:
            return self._call("POST", path, self._read_run, body=request.body)
        except _Conflict as conflict:
            try:
                existing = self.run(dag_id, request.run_id)
            except NotFound:
                date = request.body["logical_date"]
                dates = {"logical_date_gte": date, "logical_date_lte": date}
                holders = self._pages(path, "dag_runs", lambda entry: repr(entry["dag_run_id"]), dates)
                raise RequestRefused(
                    f"the logical date {date} of {dag_id} belongs to {', '.join(holders) or 'another run'}, "
                    "and a DAG has one run for each: clear that run, or give this one another --logical-date"
                ) from conflict
        # Lists and dates that were not asked for, or the note of a colleague, make it no other request.
        differing = [
            name.replace("_", " ")
            for name, value in request.wish.items()
            if not _same(value or None, getattr(existing, name) or None)
        ]
        # Whoever signs in as Ana may be known as ana.
        if self.username and self.username.casefold() != (existing.triggered_by or "").casefold():
            differing.append("user")
        if differing:
            raise RequestRefused(
                f"run {existing.run_id!r} of {dag_id} exists already"
                f"{f', made by {existing.triggered_by}' if existing.triggered_by else ''}, "
                f"with another {' and '.join(differing)}; choose another --run-id"
            )
        return existing

    def run(self, dag_id: str, run_id: str) -> Run:
        """Return a run. Raises NotFound with the id that was perhaps meant."""
        path = f"/dags/{_quoted(dag_id)}/dagRuns"
        try:
            return self._call("GET", f"{path}/{_quoted(run_id)}", self._read_run)
        except NotFound:
            self.dag(dag_id)  # which may be what is not there

        def read(answer: Mapping[str, Any]) -> list[str]:
            return [entry["dag_run_id"] for entry in answer["dag_runs"]]

        newest = self._call("GET", path, read, query={"order_by": "-run_after", "limit": PAGE})
        hint = _did_you_mean(run_id, newest) or (
            f"; its newest is {newest[0]!r}" if newest else "; it has none"
        )
        raise NotFound(f"there is no run {run_id!r} of {dag_id}{hint}")

    def tasks(self, dag_id: str, run_id: str) -> list[Task]:
        """Return the task instances of a run in the order they began; those that have not stand last."""

        def read(entry: Mapping[str, Any]) -> Task:
            return Task(
                dag_id=dag_id,
                run_id=run_id,
                task_id=entry["task_id"],
                map_index=entry["map_index"],
                state=entry["state"] or "none",
                try_number=entry["try_number"],
                start_date=_instant(entry["start_date"]),
                end_date=_instant(entry["end_date"]),
                duration=entry["duration"],
            )

        path = f"/dags/{_quoted(dag_id)}/dagRuns/{_quoted(run_id)}/taskInstances"
        # Ids grow, so that what is added between two pages stands on the last; a retry moves there too.
        found = self._pages(path, "task_instances", read, {"order_by": "id"})
        tasks = {(task.task_id, task.map_index): task for task in found}.values()
        never = datetime.max.replace(tzinfo=UTC)
        return sorted(tasks, key=lambda task: (task.start_date or never, task.task_id, task.map_index))

    def log(self, task: Task, try_number: int | None = None, *, errors_last: bool = False) -> list[str]:
        """Return the lines of a task instance's log, of its newest try unless told otherwise.

        What a task printed can be stamped later than the exception that ended it: `errors_last` puts that
        where it belongs, though the lines of a log that still grows may then change their places.
        """

        def read(answer: Mapping[str, Any]) -> list[str]:
            entries = answer["content"]
            if errors_last:
                entries = sorted(
                    entries, key=lambda entry: isinstance(entry, dict) and "error_detail" in entry
                )
            return list(_log_lines(entries))

        number = task.try_number if try_number is None else try_number
        return self._call(
            "GET",
            f"/dags/{_quoted(task.dag_id)}/dagRuns/{_quoted(task.run_id)}"
            f"/taskInstances/{_quoted(task.task_id)}/logs/{number}",
            read,
            query={"map_index": task.map_index, "full_content": "true"},
        )

    def result(self, task: Task) -> Any:
        """Return what a task instance returned, as JSON knows it; None if it returned nothing."""
        path = (
            f"/dags/{_quoted(task.dag_id)}/dagRuns/{_quoted(task.run_id)}"
            f"/taskInstances/{_quoted(task.task_id)}/xcomEntries/return_value"
        )
        try:
            return self._call("GET", path, lambda entry: entry["value"], query={"map_index": task.map_index})
        except NotFound:
            return None

    def state(self, dag_id: str) -> State:
        """Return how each table of a mirror stands, as its newest run says.

        `dag_id` is either of its DAGs, `etl_…` or `reconciliar_…`. Raises NotFound where neither has said anything yet.
        """
        self.dag(dag_id)
        mirror = dag_id.removeprefix("etl_").removeprefix("reconciliar_")

        def read_newest(answer: Mapping[str, Any]) -> list[tuple[datetime, str, str]]:
            return [
                (datetime.fromisoformat(entry["timestamp"]), entry["run_id"], entry["task_id"])
                for entry in answer["xcom_entries"]
            ]

        newest: list[tuple[datetime, str, str, str]] = []
        for name in dict.fromkeys((dag_id, f"etl_{mirror}", f"reconciliar_{mirror}")):
            path = f"/dags/{_quoted(name)}/dagRuns/~/taskInstances/~/xcomEntries"
            query = {"xcom_key": STATE, "order_by": "-timestamp", "limit": 1}
            with suppress(NotFound):
                newest += [(*one, name) for one in self._call("GET", path, read_newest, query=query)]
        if not newest:
            raise NotFound(
                f"{dag_id} has said nothing of the state of tables yet: it does at the end of each run"
            )
        said_at, run_id, task_id, name = max(newest)
        path = f"/dags/{_quoted(name)}/dagRuns/{_quoted(run_id)}/taskInstances/{_quoted(task_id)}/xcomEntries/{STATE}"
        tables = self._call("GET", path, lambda entry: list(entry["value"]))
        return State(name, run_id, said_at, tables)

    def wait(
        self,
        dag_id: str,
        run_id: str,
        *,
        timeout: float | None = None,
        interval: float = 2.0,
        progress: Callable[[Run, list[Task]], None] | None = None,
        warn: Callable[[str], None] = lambda _: None,
    ) -> Run:
        """Return the run once it has ended, whatever its state.

        It is asked for every `interval` seconds; `progress` gets it with its tasks each time. An API that
        goes away is waited for up to five minutes, and `warn` is told. Raises WaitTimeout after `timeout`
        seconds, which leaves the run going.
        """
        seen = "of an unknown state"

        def ended() -> Run | None:
            nonlocal seen
            run = self.run(dag_id, run_id)
            if progress is not None:
                progress(run, self.tasks(dag_id, run_id))
            seen = run.state
            return run if run.finished else None

        return self._until(
            ended, lambda: f"run {run_id!r} of {dag_id} is still {seen}", timeout, interval, warn
        )

    # Backfills

    def plan_backfill(
        self,
        dag_id: str,
        inicio: datetime,
        fim: datetime,
        *,
        conf: Mapping[str, Any] | None = None,
        reprocess: str = "none",
        max_active_runs: int | None = None,
        run_backwards: bool = False,
    ) -> BackfillPlan:
        """Return what a backfill of the intervals beginning in [inicio, fim) would run; create nothing."""
        # The API's range includes its end; everywhere else here it does not.
        last = fim - timedelta(microseconds=1)
        body: dict[str, Any] = {
            "dag_id": dag_id,
            "from_date": inicio.isoformat(),
            "to_date": last.isoformat(),
            "reprocess_behavior": reprocess,
            "run_backwards": run_backwards,
            "dag_run_conf": dict(conf or {}),
        }
        if max_active_runs is not None:
            body["max_active_runs"] = max_active_runs

        def read(answer: Mapping[str, Any]) -> BackfillPlan:
            dates = [_instant(entry["logical_date"]) for entry in answer["backfills"]]
            return BackfillPlan(dag_id, inicio, last, reprocess, [date for date in dates if date], body)

        return self._call("POST", "/backfills/dry_run", read, body=body)

    def start_backfill(self, plan: BackfillPlan) -> Backfill:
        """Start what was planned. Raises RequestRefused while another backfill of the DAG is active.

        A backfill has no id of ours that would make asking twice harmless: an answer that got lost is looked
        for among the backfills that are newer than the request.
        """
        newest = max((backfill.id for backfill in self._backfills(plan.dag_id)), default=-1)

        def ours() -> Backfill | None:
            for backfill in self._backfills(plan.dag_id):
                if backfill.id > newest and (backfill.from_date, backfill.to_date, backfill.reprocess) == (
                    plan.from_date,
                    plan.to_date,
                    plan.reprocess,
                ):
                    return backfill
            return None

        lost = False
        while True:
            try:
                return self._call("POST", "/backfills", self._read_backfill, body=plan.body, once=True)
            except (_Conflict, _Transient) as error:
                again, lost = lost, lost or isinstance(error, _Transient)
                # It may have been made after all, or stand in the way of the second request.
                if lost and (found := ours()) is not None:
                    return found
                if isinstance(error, _Conflict):
                    raise RequestRefused(
                        f"another backfill of {plan.dag_id} is active, and a DAG has one at a time"
                    ) from error
                if again:
                    raise

    def backfill(self, backfill_id: int) -> Backfill:
        """Return a backfill."""
        try:
            return self._call("GET", f"/backfills/{backfill_id}", self._read_backfill)
        except NotFound:
            raise NotFound(f"there is no backfill {backfill_id}") from None

    def backfill_runs(self, backfill: Backfill) -> list[Run]:
        """Return the runs that a backfill has created or cleared, by logical date."""
        runs = self._pages(
            f"/dags/{_quoted(backfill.dag_id)}/dagRuns",
            "dag_runs",
            self._read_run,
            {
                "run_type": "backfill",
                "logical_date_gte": backfill.from_date.isoformat(),
                "logical_date_lte": backfill.to_date.isoformat(),
                "order_by": "logical_date",
            },
        )
        # Earlier backfills have left their runs in the same range.
        return [run for run in runs if run.queued_at is not None and run.queued_at >= backfill.created_at]

    def wait_backfill(
        self,
        backfill: Backfill,
        *,
        timeout: float | None = None,
        interval: float = 2.0,
        progress: Callable[[list[Run]], None] = lambda _: None,
        warn: Callable[[str], None] = lambda _: None,
    ) -> list[Run]:
        """Return the runs of a backfill once Airflow has closed it; otherwise as `wait`.

        It does so within half a minute of the last run's end, and lets no other backfill begin before.
        """
        count = 0

        def ended() -> list[Run] | None:
            nonlocal count
            completed = self.backfill(backfill.id).completed_at is not None
            runs = self.backfill_runs(backfill)
            progress(runs)
            count = sum(run.finished for run in runs)
            return runs if completed else None

        return self._until(
            ended,
            lambda: f"backfill {backfill.id} of {backfill.dag_id} has ended {count} runs so far",
            timeout,
            interval,
            warn,
        )

    # Automations

    def modules(self) -> list[Module]:
        """Return the automations that can be asked for."""

        def read(answer: Sequence[Mapping[str, Any]]) -> list[Module]:
            return [
                Module(
                    module=entry["module"],
                    doc=entry["doc"],
                    error=entry["error"],
                    functions=[
                        Function(**{name: one[name] for name in Function.__dataclass_fields__})
                        for one in entry["functions"]
                    ],
                )
                for entry in answer
            ]

        return self._call("GET", "/modules", read, root=SERVICE)

    def enqueue(
        self,
        task: str,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        *,
        queue: str | None = None,
        delay: timedelta | None = None,
        run_id: str | None = None,
        note: str | None = None,
    ) -> Run:
        """Ask for one run of an automation and return it, as `trigger` does that of a DAG.

        `task` is `module.function`, or the function alone where one module has it. Raises RequestRefused with
        the service's own words for a task, queue, delay or arguments that make no sense.
        """
        return self.send_task(
            TaskRequest.make(task, args, kwargs, queue=queue, delay=delay, run_id=run_id, note=note)
        )

    def send_task(self, request: TaskRequest) -> Run:
        """Ask for a run of an automation that is described already; otherwise as `enqueue`."""
        # The service answers a repeated request with the run that the first one made.
        run_id = self._call(
            "POST", request.path, lambda answer: str(answer["run_id"]), body=request.body, root=SERVICE
        )
        return self.run(AUTOMATIONS, run_id)

    def clean_queue(self, queue: str | None = None, *, scheduled: bool = False) -> int:
        """Remove the runs of automations that wait and have not started; return how many.

        Those of all queues unless one is named; `scheduled` adds the ones that wait for their time. Where an
        answer got lost, the number leaves out what the request had removed that it belonged to.
        """
        query = {"queue": queue, "scheduled": "true" if scheduled else None}
        return self._call(
            "DELETE", "/clean-queue", lambda answer: int(answer["removed"]), query=query, root=SERVICE
        )

    def jobs(self) -> list[Job]:
        """Return all jobs by name."""
        return self._call("GET", "/jobs", lambda answer: [Job._read(entry) for entry in answer], root=SERVICE)

    def job(self, name: str) -> Job:
        """Return a job. Raises NotFound with the name that was perhaps meant."""
        try:
            return self._call("GET", f"/jobs/{_quoted(name)}", Job._read, root=SERVICE)
        except NotFound:
            known = [job.name for job in self.jobs()]
        raise NotFound(f"there is no job {name!r}{_did_you_mean(name, known) or '; see jobs list'}")

    def add_job(self, name: str, task: str, cron: str, **wish: Any) -> Job:
        """Make a job and return it; `wish` holds any of the other fields that a Job has for its maker.

        A job of this name that was made by the same request is that job. Raises RequestRefused where it was
        made by another one.
        """
        body = {"name": name, "tarefa": task, "cron": cron, **wish}
        try:
            return self._call("POST", "/jobs", Job._read, body=body, root=SERVICE)
        except _Conflict:
            existing = self.job(name)
        # What is left out asks for the service's default.
        defaults = {
            "args": [],
            "kwargs": {},
            "queue": "default",
            "timezone": "UTC",
            "missed": "once",
            "enabled": True,
        }
        asked = {"cron": cron, **defaults, **wish}
        differing = [field for field, value in asked.items() if not _same(value, getattr(existing, field))]
        if task not in (existing.task, existing.task.rpartition(".")[2]):
            differing.insert(0, "task")
        if differing:
            raise RequestRefused(
                f"job {name!r} exists already, with another {' and '.join(differing)}; "
                "choose another name, or remove it first"
            )
        return existing

    def switch_job(self, name: str, *, enabled: bool) -> Job:
        """Pause a job, or let it go on; return it. Raises NotFound as `job` does."""
        path = f"/jobs/{_quoted(name)}"
        try:
            return self._call("PATCH", path, Job._read, body={"enabled": enabled}, root=SERVICE)
        except NotFound:
            self.job(name)
            raise

    def remove_job(self, name: str) -> Job:
        """Remove a job and return what it was; its runs stay."""
        job = self.job(name)
        with suppress(NotFound):  # of a request that had no answer
            self._call("DELETE", f"/jobs/{_quoted(name)}", lambda _: None, root=SERVICE)
        return job

    def _backfills(self, dag_id: str) -> Iterator[Backfill]:
        return self._pages("/backfills", "backfills", self._read_backfill, {"dag_id": dag_id})

    def _until(
        self,
        ended: Callable[[], Result | None],
        situation: Callable[[], str],
        timeout: float | None,
        interval: float,
        warn: Callable[[str], None],
    ) -> Result:
        """Ask again and again until there is a result; an API that is down for a while is no reason to end."""
        start = time.monotonic()
        self._deadline = None if timeout is None else start + timeout
        answered = start
        lost = False
        try:
            while True:
                try:
                    result = ended()
                    answered = time.monotonic()
                    if lost:
                        warn("the API is back")
                    lost = False
                    if result is not None:
                        return result
                except _Transient as outage:
                    if time.monotonic() - answered > OUTAGE:
                        raise
                    if not lost:
                        warn(f"{outage}; still trying")
                    lost = True
                remaining = float("inf") if self._deadline is None else self._deadline - time.monotonic()
                if remaining <= 0:
                    raise WaitTimeout(f"{situation()} after {timeout:g} s")
                time.sleep(min(interval, remaining))
        finally:
            self._deadline = None

    def _read_run(self, entry: Mapping[str, Any]) -> Run:
        dag_id, run_id = entry["dag_id"], entry["dag_run_id"]
        return Run(
            dag_id=dag_id,
            run_id=run_id,
            state=entry["state"],
            url=f"{self.url}/dags/{_quoted(dag_id)}/runs/{_quoted(run_id)}",
            logical_date=_instant(entry["logical_date"]),
            data_interval_start=_instant(entry["data_interval_start"]),
            data_interval_end=_instant(entry["data_interval_end"]),
            run_after=_instant(entry["run_after"]),
            start_date=_instant(entry["start_date"]),
            end_date=_instant(entry["end_date"]),
            conf=entry["conf"] or {},
            note=entry["note"],
            triggered_by=entry["triggering_user_name"],
            queued_at=_instant(entry["queued_at"]),
        )

    def _read_backfill(self, entry: Mapping[str, Any]) -> Backfill:
        return Backfill(
            id=entry["id"],
            dag_id=entry["dag_id"],
            from_date=datetime.fromisoformat(entry["from_date"]),
            to_date=datetime.fromisoformat(entry["to_date"]),
            reprocess=entry["reprocess_behavior"],
            created_at=datetime.fromisoformat(entry["created_at"]),
            completed_at=_instant(entry["completed_at"]),
        )

    def _pages(
        self, path: str, name: str, read: Callable[[dict[str, Any]], Result], query: Mapping[str, Any]
    ) -> Iterator[Result]:
        """Yield the entries of all pages of a list."""

        def read_page(answer: Mapping[str, Any]) -> tuple[list[Result], int]:
            return [read(entry) for entry in answer[name]], int(answer["total_entries"])

        offset = 0
        while True:
            entries, total = self._call(
                "GET", path, read_page, query={**query, "limit": PAGE, "offset": offset}
            )
            yield from entries
            # A server may give shorter pages than it was asked for.
            offset += len(entries)
            if not entries or offset >= total:
                return

    def _call(
        self,
        method: str,
        path: str,
        read: Callable[[Any], Result],
        *,
        query: Mapping[str, Any] | None = None,
        body: Any = None,
        once: bool = False,
        root: str = API,
    ) -> Result:
        """Return what `read` makes of the answer; with `once`, what may have arrived is not sent again."""
        url = f"{self.url}{root}{path}"
        doubt = "is --url right?" if root == API else f"is there a service at {self.url}{root}?"
        response = self._send(method, url, query=query, body=body, token=self._get_token(), once=once)
        if _is_token_refused(response):
            token = self._renew_token(response)
            response = self._send(method, url, query=query, body=body, token=token, once=once)
        _raise_for(response, self.username, doubt)
        try:
            answer = _parse(response) if response.content else None
        except ValueError:
            raise ApiUnavailable(f"{self.url} answered with {_readable(response)}; {doubt}") from None
        try:
            return read(answer)
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            what = f"{type(error).__name__}: {_one_line(str(error), 100)}"
            raise ApiUnavailable(
                f"{self.url} answered {method} {path} as Airflow 3 does not ({what}); {doubt}"
            ) from error

    def _send(
        self,
        method: str,
        url: str,
        *,
        query: Mapping[str, Any] | None = None,
        body: Any = None,
        token: str | None = None,
        once: bool = False,
    ) -> requests.Response:
        """Return the answer, whatever its status but for those that time heals. Raises ApiUnavailable."""
        patience = self._patience
        if self._deadline is not None:
            patience = max(0.1, min(patience, self._deadline - time.monotonic()))
        until = time.monotonic() + patience

        def attempt() -> requests.Response:
            began = time.monotonic()
            # Whatever is left, a healthy server on a busy machine must have the time to answer.
            remaining = max(2.0, until - began)

            def ask() -> requests.Response:
                return self._session.request(
                    method,
                    url,
                    params=query,
                    json=body,
                    auth=_Bearer(token),
                    headers={"Accept": "application/json", "User-Agent": f"trigger_script/{VERSION}"},
                    # An address that swallows packets leaves time to try it again.
                    timeout=(min(5.0, remaining), remaining),
                    verify=self._verify,
                    allow_redirects=False,
                )

            try:
                response = _within(remaining, ask)
            except requests.exceptions.SSLError as error:
                raise ApiUnavailable(
                    f"{self.url} can't be trusted: {_root_cause(error)}; --ca names the certificates to trust"
                ) from None
            except (
                requests.ConnectionError,
                requests.Timeout,
                requests.exceptions.ChunkedEncodingError,
                requests.exceptions.ContentDecodingError,
            ) as error:
                self._trace(f"{method} {url} -> {_root_cause(error)}")
                raise _Transient(f"{self.url} can't be reached: {_root_cause(error)}") from None
            except TimeoutError:
                self._trace(f"{method} {url} -> nothing in {remaining:.1f} s")
                raise _Transient(f"{self.url} has not answered in {remaining:.0f} s") from None
            except (OSError, ValueError) as error:
                raise RequestRefused(f"{self.url} can't be asked: {_root_cause(error)}") from None
            self._trace(
                f"{method} {response.url} -> {response.status_code} in {time.monotonic() - began:.2f} s"
            )
            if 300 <= response.status_code < 400:
                target = response.headers.get("Location", "nowhere")
                raise ApiUnavailable(f"{response.url} sends on to {target}; give the final address as --url")
            if response.status_code in (429, 502, 503, 504):
                wish = response.headers.get("Retry-After", "")
                raise _Transient(
                    f"{self.url} answered {response.status_code}: {_readable(response)}",
                    float(wish) if wish.isascii() and wish.isdigit() else 0.0,
                )
            return response

        if once:
            return attempt()
        return tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(_Transient),
            stop=tenacity.stop_before_delay(patience),
            wait=_backoff,
            reraise=True,
        )(attempt)

    # Who asks

    def _get_token(self) -> str:
        if self._token is None:
            cached = self._cache and self._cache.load(self.url, self.username, self._password)
            self._token = cached or self._login()
        return self._token

    def _renew_token(self, refusal: requests.Response) -> str:
        if self._own_token:
            raise NotAllowed(
                f"{self.url} refuses the token ({_readable(refusal)}): give a new one, or a username and a password"
            )
        self._token = self._login()
        return self._token

    def _login(self) -> str:
        url = f"{self.url}/auth/token"
        if self.username is None:
            # The Simple auth manager may be set to let in everyone as its admin.
            response = self._send("GET", url)
            if response.status_code != 201:
                raise NotAllowed(
                    f"{self.url} wants to know who asks: give --username and --password, --token, or a --profile"
                )
        else:
            if self._password is None and self._ask_password is not None:
                self._password = self._ask_password()
            if self._password is None:
                raise NotAllowed(
                    f"no password for {self.username!r} at {self.url}: set AIRFLOW_PASSWORD, or use a terminal to be asked"
                )
            credentials = {"username": self.username, "password": self._password}
            response = self._send("POST", url, body=credentials)
            # Its text is not repeated: a validation error quotes what was sent, the password too.
            if response.status_code in (400, 401, 403, 422):
                raise NotAllowed(f"{self.url} does not know {self.username!r} with this password")
        try:
            token = _parse(response)["access_token"]
        except (LookupError, TypeError, ValueError):
            token = None
        if not isinstance(token, str):
            raise ApiUnavailable(
                f"{url} answered {response.status_code} without a token; is {self.url} an Airflow 3 API server?"
            )
        if self._cache:
            self._cache.store(self.url, self.username, self._password, token)
        return token


def check_url(url: str) -> str:
    """Return the address without its end that the API adds. Raises RequestRefused for what is not one."""
    if "@" in url:
        raise RequestRefused("the address holds a user or a password: give them as --username and --password")
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # of a port, or of brackets around no IPv6 address
        good = False
    if not good or parts.query or parts.fragment or re.search(r"\s", url):
        raise RequestRefused(f"{url!r} is not the address of an API server, such as {DEFAULT_URL}")
    return url.rstrip("/").removesuffix("/api/v2").rstrip("/")


def _quoted(part: str) -> str:
    quoted = quote(part, safe="", errors="surrogateescape")
    # As they are, these two would name other places of the API.
    return quoted.replace(".", "%2E") if part in (".", "..") else quoted


def _same(ours: Any, theirs: Any) -> bool:
    """Whether two values are the same for JSON: 1 is 1.0, as the database has it, and neither is true."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        return ours.keys() == theirs.keys() and all(_same(ours[key], theirs[key]) for key in ours)
    if isinstance(ours, list) and isinstance(theirs, list):
        return len(ours) == len(theirs) and all(map(_same, ours, theirs))
    return bool(ours == theirs) and isinstance(ours, bool) == isinstance(theirs, bool)


def _within(seconds: float, work: Callable[[], Result]) -> Result:
    """Return what the work returns. Raises TimeoutError after so long, and leaves it to itself.

    Looking up a name knows no timeout and no Ctrl-C, and the timeout of a socket begins anew with each byte.
    """
    outcome: Future[Result] = Future()

    def run() -> None:
        try:
            outcome.set_result(work())
        except BaseException as error:  # noqa: BLE001 (raised again by the thread that waits for this one)
            outcome.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return outcome.result(seconds)


def _backoff(state: tenacity.RetryCallState) -> float:
    """Wait about twice as long each time, not in step with others, and as long as the server wishes."""
    error = state.outcome.exception() if state.outcome else None
    wish = error.retry_after if isinstance(error, _Transient) else 0.0
    return max(wish, (tenacity.wait_exponential(multiplier=0.2, max=4) + tenacity.wait_random(0, 0.5))(state))


class _Bearer(requests.auth.AuthBase):
    """The token, or nothing at all: without an auth object requests would send what a .netrc holds."""

    def __init__(self, token: str | None) -> None:
        self.token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self.token is not None:
            request.headers["Authorization"] = f"Bearer {self.token}"
        return request


def _is_token_refused(response: requests.Response) -> bool:
    return response.status_code == 401 or (
        response.status_code == 403 and "Invalid JWT token" in _readable(response)
    )


def _raise_for(response: requests.Response, username: str | None, doubt: str) -> None:
    """Raise the TriggerError of an answer that is not a success; `doubt` asks whether it is the right address."""
    code = response.status_code
    if code < 300:
        return
    text = _readable(response)
    if code in (401, 403):
        raise NotAllowed(f"{username or 'the token'} may not do this: {code} {text}")
    if code == 405 or (code == 404 and text.startswith("a web page")):
        raise ApiUnavailable(f"{response.url} answered {code} with {text}; {doubt}")
    if code == 404:
        raise NotFound(text)
    if code == 409:
        raise _Conflict(text)
    if code < 500:
        raise RequestRefused(f"the API refused the request: {text}")
    raise ApiUnavailable(f"the API failed: {code} {text}")


def _parse(response: requests.Response) -> Any:
    """Return the JSON that an answer holds. Raises ValueError."""
    try:
        return response.json()
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _readable(response: requests.Response) -> str:
    """Return what an answer says in one line, whether it is a list, a dict, a string, HTML or nothing."""
    try:
        body = _parse(response)
    except ValueError:
        # Its beginning will do, and guessing the encoding of all of it takes long.
        body = response.content[:10_000].decode(errors="replace").strip() or response.reason
        if body[:1] == "<":
            title = re.search(r"<title[^>]*>(.*?)</title>", body, re.IGNORECASE | re.DOTALL)
            body = "a web page" + (f" ({title.group(1).strip()})" if title else "")
    if isinstance(body, dict):
        body = body.get("detail") or body.get("error") or body.get("title") or body
    if isinstance(body, dict):
        body = body.get("message") or body.get("reason") or body
    if isinstance(body, list):
        body = "; ".join(_one_complaint(entry) for entry in body)
    text = body if isinstance(body, str) else json.dumps(body, ensure_ascii=False)
    # Some servers send back what they were sent.
    if token := response.request.headers.get("Authorization", "").removeprefix("Bearer "):
        text = text.replace(token, "***")
    return _one_line(text) or "nothing"


def _one_complaint(entry: Any) -> str:
    if not isinstance(entry, dict) or "msg" not in entry:
        return str(entry)
    steps = entry.get("loc")
    place = ".".join(str(step) for step in steps if step != "body") if isinstance(steps, list) else ""
    return f"{place}: {entry['msg']}" if place else str(entry["msg"])


def _one_line(text: str, longest: int = 300) -> str:
    line = " ".join(text.split())
    return line if len(line) <= longest else line[: longest - 1] + "…"


def _root_cause(error: BaseException) -> str:
    """Return what lies at the bottom of requests' and urllib3's nested errors."""
    while True:
        inner = getattr(error, "reason", None) or next(
            (argument for argument in error.args if isinstance(argument, BaseException)), None
        )
        if not isinstance(inner, BaseException):
            break
        error = inner
    # urllib3 puts its own object's repr in front.
    text = re.sub(r"^<[^>]*>: |^[\w.]+\(host=[^)]*\): ", "", _one_line(str(error)))
    return text or type(error).__name__


def _log_lines(entries: Iterable[Any]) -> Iterator[str]:
    """Yield the lines of a log: each event, then its exceptions with the frames that are not Airflow's."""
    about_itself = False
    for entry in entries:
        if isinstance(entry, str):
            yield from entry.splitlines()
            continue
        event = str(entry.get("event", ""))
        # Marks of what the web page can fold; the first such block says where the server found the log.
        if event.startswith(("::group::", "::endgroup::")):
            about_itself = event.startswith("::group::Log message source")
            continue
        if about_itself:
            continue
        stamp = (entry.get("timestamp") or "")[11:19]
        level = str(entry.get("level") or "").upper()
        prefix = " ".join(part for part in (stamp, level) if part)
        yield from (f"{prefix} {line}".strip() for line in event.splitlines() or [""])
        for error in entry.get("error_detail") or ():
            frames = error.get("frames") or ()
            own = [frame for frame in frames if "/site-packages/airflow/" not in str(frame.get("filename"))]
            for frame in own or frames:
                yield f"  {frame.get('filename')}:{frame.get('lineno')} in {frame.get('name')}"
            yield f"{error.get('exc_type')}: {error.get('exc_value')}"


def _did_you_mean(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(known), n=3, cutoff=0.6)
    return f"; did you mean {' or '.join(map(repr, close))}?" if close else ""


class _TokenCache:
    """Tokens of earlier calls, one file per address and user, each for its owner alone."""

    def __init__(self) -> None:
        base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
        self._folder = Path(base) / "trigger_script"

    def load(self, url: str, username: str | None, password: str | None) -> str | None:
        """Return a token that is still good, got with the same password if one is given."""
        path = self._path(url, username)
        try:
            if stat.S_IMODE(path.stat().st_mode) & 0o077:
                return None  # others could have read, or written, it
            kept = json.loads(path.read_text())
            token = str(kept["token"])
            # Or a wrong password would do as long as a right one did a moment ago.
            if password is not None and not hmac.compare_digest(
                _fingerprint(password, bytes.fromhex(kept["salt"])), kept["password"]
            ):
                return None
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return token if _expires(token) > time.time() + 5 else None

    def store(self, url: str, username: str | None, password: str | None, token: str) -> None:
        """Keep a token; where no file can be written, the next call asks for a new one."""
        salt = secrets.token_bytes(16)
        kept = {"token": token, "salt": salt.hex(), "password": _fingerprint(password or "", salt)}
        if not self._folder.is_absolute():
            return  # a "~" of nobody, as in some containers
        with suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            # Made with mode 0600; renamed, so that nobody ever reads half of it.
            with tempfile.NamedTemporaryFile("w", dir=self._folder, delete=False) as file:
                json.dump(kept, file)
            Path(file.name).replace(self._path(url, username))

    def _path(self, url: str, username: str | None) -> Path:
        name = hashlib.sha256(f"{url}\n{username or ''}".encode(errors="surrogateescape")).hexdigest()
        return self._folder / f"{name[:32]}.json"


def _fingerprint(password: str, salt: bytes) -> str:
    """Return what tells two passwords apart, and costs too much to guess them from."""
    return hashlib.scrypt(password.encode(errors="surrogateescape"), salt=salt, n=2**14, r=8, p=1).hex()


def _expires(token: str) -> float:
    """Return when a token ends, seconds since 1970; its signature is the server's to check."""
    try:
        payload = token.split(".")[1]
        return float(json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["exp"])
    except (IndexError, ValueError, KeyError, TypeError, binascii.Error):
        return 0.0


# ------------------------------------------------------------------------------------- conf and other values


def check_conf(dag: Dag, conf: Mapping[str, Any], *, allow_undeclared: bool = False) -> None:
    """Raise RequestRefused unless every key of conf is a Param of the DAG and every Param fits its schema.

    The Params that conf leaves out are checked with their defaults, as Airflow does when it makes the run.
    """
    params = dag.params or {}
    if not allow_undeclared:
        for key in conf:
            if key not in params:
                hint = _did_you_mean(key, params) or (
                    f"; it has {', '.join(params)}"
                    if params
                    else ": it has none (--allow-undeclared sends it)"
                )
                raise RequestRefused(f"conf key {key!r} is not a Param of {dag.dag_id}{hint}")
    for name, param in params.items():
        try:
            validate(
                conf.get(name, param.default),
                param.schema,
                format_checker=FormatChecker(),
                registry=Registry(),  # without one, what a $ref names would be fetched from anywhere
            )
        except ValidationError as error:
            if name not in conf and param.default is None:
                raise RequestRefused(
                    f"conf lacks {name!r}, which {dag.dag_id} requires{_describe(param)}"
                ) from None
            reason = _one_line(error.message)
            if error.validator == "pattern" and param.description:
                reason = f"{error.instance!r} is not of that form"  # a regex tells people less
            raise RequestRefused(f"conf {_place(name, error)}: {reason}{_describe(param)}") from None
        except SchemaError as broken:
            raise RequestRefused(
                f"the schema of Param {name!r} of {dag.dag_id} is wrong: {_one_line(broken.message)}"
            ) from None
        except Unresolvable:
            continue  # only the server can tell


def _describe(param: Param) -> str:
    return f" ({_one_line(param.description)})" if param.description else ""


def _place(name: str, error: ValidationError) -> str:
    steps = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in error.absolute_path)
    return repr(name + steps)


def _load(text: str, source: str) -> Any:
    """Return the value of a JSON text. Raises ValueError where it is none, RequestRefused for a doubtful one."""

    def refuse_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        twins = [key for key, count in Counter(key for key, _ in pairs).items() if count > 1]
        if twins:
            raise RequestRefused(f"{source} has the key {twins[0]!r} twice")
        return dict(pairs)

    def finite(name: str) -> float:
        if not math.isfinite(number := float(name)):
            raise ValueError(f"it holds {name}, which JSON does not know")
        return number

    try:
        return json.loads(text, object_pairs_hook=refuse_twins, parse_constant=finite, parse_float=finite)
    except RecursionError:
        raise RequestRefused(f"{source} is nested too deeply") from None


def _parse_json(text: str, source: str, form: str, instead: str) -> Any:
    """Return the JSON object in `text`, or the list, if `form` speaks of one.

    Raises RequestRefused with line and column; `source` names the text, and `instead` a way without a shell.
    """
    try:
        value = _load(text, source)
    except json.JSONDecodeError as error:
        hint = ""
        if re.match(r"\s*\{\s*[A-Za-z_]", text):
            hint = f"; did the shell take the quotes away? Give --set key=value, or a file: {instead}"
        raise RequestRefused(
            f"{source} is not JSON: {error.msg} at line {error.lineno}, column {error.colno}{hint}"
        ) from None
    except ValueError as error:
        raise RequestRefused(f"{source} is not JSON: {error}") from None
    if isinstance(value, dict) or (isinstance(value, list) and "list" in form):
        return value
    kinds = {list: "a list", str: "a string", bool: "a boolean", type(None): "null"}
    kind = kinds.get(type(value), "a number")
    raise RequestRefused(f"{source} is {kind} at line 1, column 1, not {form}")


def _read_json(text: str | None, file: str | None, name: str, form: str, instead: str) -> Any:
    """Return what a JSON text holds, or `@file`, or `-` for standard input, or the file; {} if none is given."""
    if text is not None and text.startswith("@"):
        file, text = text.removeprefix("@"), None
    if "-" in (text, file):
        read = _decode(sys.stdin.buffer.read(), "standard input")
        return _parse_json(read, f"{name} from standard input", form, instead)
    if file is not None:
        return _parse_json(_read_file(file), f"{name} in {file}", form, instead)
    return {} if text is None else _parse_json(text, name, form, instead)


def _assigned(assignments: Sequence[str]) -> dict[str, Any]:
    """Return the values of `key=value` texts: JSON where it parses, else the text itself."""
    result: dict[str, Any] = {}
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        if not equals or not key:
            raise RequestRefused(f"--set {assignment!r} is not of the form key=value")
        try:
            result[key] = _load(text, f"--set {key}")
        except ValueError:
            result[key] = text
    return result


def read_conf(conf: str | None, file: str | None, assignments: Sequence[str]) -> dict[str, Any]:
    """Return conf from a string, `@file` or `-`, or from a file; `key=value` assignments go on top.

    Raises RequestRefused where one of them can't be read.
    """
    if conf is not None and file is not None:
        raise RequestRefused("--conf and --file both give the conf: use one of them, and --set on top of it")
    form = 'a JSON object such as {"key": "value"}'
    return {**_read_json(conf, file, "conf", form, "--conf @conf.json"), **_assigned(assignments)}


def read_payload(
    words: Sequence[str], file: str | None, assignments: Sequence[str]
) -> tuple[list[Any], dict[str, Any]]:
    """Return args and kwargs: a JSON list, or an object, in words or in a file; assignments are kwargs too.

    Raises RequestRefused where one of them can't be read.
    """
    if words and file is not None:
        raise RequestRefused(
            "a text and --file both give the payload: use one of them, and --set on top of it"
        )
    form = 'a JSON object such as {"name": "value"}, or a list'
    text = " ".join(words) if words else None
    given = _read_json(text, file, "the payload", form, "-f payload.json")
    args, kwargs = (given, {}) if isinstance(given, list) else ([], given)
    return args, {**kwargs, **_assigned(assignments)}


def _read_file(name: str) -> str:
    try:
        return _decode(Path(name).read_bytes(), name)
    except OSError as error:
        raise RequestRefused(f"{name} can't be read: {error.strerror}") from None


def _decode(content: bytes, name: str) -> str:
    try:
        # Editors on Windows put a mark in front that JSON does not know.
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise RequestRefused(f"{name} is not text in UTF-8") from None


def parse_instant(text: str, name: str) -> datetime:
    """Return an ISO 8601 instant. Raises RequestRefused without a zone: a wall clock is no instant."""
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        raise RequestRefused(f"{name} {text!r} is not an instant such as 2026-01-31T03:00:00Z") from None
    if instant.tzinfo is None:
        full = instant.isoformat()
        raise RequestRefused(f"{name} {text!r} has no time zone: write {full}Z for UTC, or {full}-03:00")
    return instant


def parse_duration(text: str, name: str) -> timedelta:
    """Return a duration such as 2h10m20s, or of plain seconds. Raises RequestRefused for anything else."""
    found = re.fullmatch(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s?)?", text.strip())
    if not found or not any(found.groups()):
        raise RequestRefused(f"{name} {text!r} is not a duration such as 2h10m20s, 90m or 45")
    days, hours, minutes, seconds = (float(group or 0) for group in found.groups())
    try:
        return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
    except OverflowError:
        raise RequestRefused(f"{name} {text!r} is longer than time is counted") from None


# ---------------------------------------------------------------------------------------- what people look at


COLOURS = {
    "success": "green",
    "running": "cyan",
    "failed": "red",
    "upstream_failed": "red",
    "up_for_retry": "yellow",
    "queued": "blue",
    "scheduled": "blue",
    "paused": "yellow",
    "import error": "red",
    "broken": "red",
}


def _clean(text: str) -> str:
    """Return text without the control characters by which a log could rewrite the terminal."""
    text = re.sub(r"\x1b\[[0-?]*[ -/]*[@-~]", "", text)
    return "".join(character for character in text if character.isprintable() or character in "\t\n")


def _text(value: Any) -> Text:
    text = _clean("-" if value is None else str(value))
    return Text(text, style=COLOURS.get(text, ""))


def _local(instant: datetime | None) -> str | None:
    """Return an instant by the wall clock of who looks, with its offset."""
    if instant is None:
        return None
    try:
        local = instant.astimezone()
    except OverflowError:  # at an end of the calendar
        return str(instant)
    day = "" if local.date() == datetime.now().astimezone().date() else f"{local:%Y-%m-%d} "
    return f"{day}{local:%H:%M:%S %Z}"


def _took(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    if seconds < 60:
        return f"{seconds:.1f} s"
    return str(timedelta(seconds=round(seconds)))


def _columns(*names: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in names:
        table.add_column(name, overflow="fold")
    return table


def _to_nowhere(stream: TextIO) -> None:
    """Let what is still written to a stream that nobody reads any more end nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


class _Beside(Console):
    def on_broken_pipe(self) -> None:
        # A run goes on, and has its exit code, when nobody reads of it.
        self.quiet = True
        _to_nowhere(sys.stderr)


class Screen:
    """Where results, progress and complaints go: results to standard output, the rest beside it."""

    def __init__(self, form: str, verbose: bool) -> None:
        self.form = form
        self.verbose = verbose
        if form == "yaml":
            _yaml(None)  # a missing library must show before anything is created
        self.beside = _Beside(stderr=True, highlight=False, markup=False, soft_wrap=True)
        # Into a file or a pipe nothing is cut or folded.
        self.width = Console().width if sys.stdout.isatty() else 10_000
        self._secrets: list[str] = []

    def hide(self, *values: str | None) -> None:
        """Never print these, whoever may say them."""
        self._secrets.extend(value for value in values if value)

    def _without_secrets(self, text: str) -> str:
        for secret in self._secrets:
            # As a word of its own: a short password may be part of many.
            text = re.sub(rf"(?<!\w){re.escape(secret)}(?!\w)", "***", text)
        # Of a proxy or a redirection.
        return _clean(re.sub(r"(?<=//)[^/\s@]+@", "***@", text))

    def say(self, text: str) -> None:
        """Tell what happens."""
        self.beside.print(Text(self._without_secrets(text)))

    def warn(self, text: str) -> None:
        """Tell what may be wrong."""
        self.beside.print(Text.assemble(("warning: ", "yellow"), self._without_secrets(text)))

    def fail(self, text: str) -> None:
        """Tell why it ends."""
        self.beside.print(Text.assemble(("error: ", "red"), self._without_secrets(text)))

    def trace(self, text: str) -> None:
        """Tell what is asked and answered, with --verbose."""
        if self.verbose:
            self.beside.print(Text(self._without_secrets(text), style="dim"))

    def show(self, data: Any, table: Callable[[], Table | Group], plain: Iterable[Sequence[Any]]) -> None:
        """Print a result in the form that was asked for."""
        try:
            if self.form == "table":
                console = Console(width=self.width, highlight=False)
                with console.capture() as capture:
                    console.print(table())
                click.echo("\n".join(line.rstrip() for line in capture.get().splitlines()))
            elif self.form == "plain":
                for row in plain:
                    cells = (_clean("-" if cell is None else str(cell)) for cell in row)
                    click.echo("\t".join(" ".join(cell.split()) for cell in cells))
            else:
                unicode = sys.stdout.encoding.lower().startswith("utf")
                text = json.dumps(data, indent=2, ensure_ascii=not unicode, default=_isoformat)
                # Some terminals obey these as well; surrogates can't be written at all.
                text = re.sub("[\x7f-\x9f\ud800-\udfff]", lambda odd: f"\\u{ord(odd[0]):04x}", text)
                click.echo(text if self.form == "json" else _yaml(json.loads(text), unicode).rstrip("\n"))
            sys.stdout.flush()
        except OSError as error:
            _to_nowhere(sys.stdout)
            # Who reads has seen enough; what this command did keeps its own exit code.
            if not isinstance(error, BrokenPipeError):
                raise TriggerError(f"the result can't be written: {error.strerror}") from None


def _isoformat(value: datetime) -> str:
    return value.isoformat()


def _yaml(data: Any, unicode: bool = True) -> str:
    try:
        import yaml  # the one library that only one form of output needs
    except ImportError:
        raise RequestRefused("--output yaml needs PyYAML: pip install PyYAML, or use --output json") from None
    text: str = yaml.safe_dump(data, sort_keys=False, allow_unicode=unicode, width=1000)
    return text


def _public(item: Any, *left_out: str) -> dict[str, Any]:
    return {name: value for name, value in asdict(item).items() if name not in left_out}


def show_dags(screen: Screen, dags: Sequence[Dag]) -> None:
    """Print DAGs; a narrow terminal sees the columns that matter most."""
    names = ["DAG", "state", "last run", "next run"]
    names += ["schedule"] if screen.width >= 80 else []
    names += ["tags"] if screen.width >= 100 else []

    def table() -> Table:
        table = _columns(*names)
        for dag in dags:
            state = "import error" if dag.import_error else "paused" if dag.paused else "active"
            cells = [dag.dag_id, state, dag.last_state, _local(dag.next_run), dag.schedule]
            cells.append(", ".join(dag.tags) or None)
            table.add_row(*map(_text, cells[: len(names)]))
        return table

    screen.show(
        [_public(dag, "params") for dag in dags],
        table,
        ((dag.dag_id, "paused" if dag.paused else "active", dag.last_state, dag.next_run) for dag in dags),
    )


def show_state(screen: Screen, state: State) -> None:
    """Print how each table of a mirror stands."""
    names = ["table", "state", "compared", "behind"]
    names += ["way", "deletes by"] if screen.width >= 100 else []

    def table() -> Group:
        rows = _columns(*names)
        for one in state.tables:
            compared, lag = one["compared_at"], one["lag_seconds"]
            cells = [
                one["tabela"],
                one["word"],
                _local(datetime.fromisoformat(compared)) if compared else None,
                None if lag is None else f"{lag:,.0f} s",
                one["way"] or None,
                one["deletes"] or None,
            ]
            rows.add_row(*map(_text, cells[: len(names)]))
        reasons = [_clean(f"{one['tabela']}: {one['reason']}") for one in state.tables if one["reason"]]
        said = _clean(f"as of {_local(state.said_at)}, by run {state.run_id} of {state.dag_id}")
        return Group(rows, *(Text(reason) for reason in reasons), Text(said, style="dim"))

    screen.show(
        {"dag_id": state.dag_id, "run_id": state.run_id, "said_at": state.said_at, "tables": state.tables},
        table,
        ((one["tabela"], one["word"], one["compared_at"], one["lag_seconds"]) for one in state.tables),
    )


def show_import_failures(screen: Screen, failures: Sequence[ImportFailure]) -> None:
    """Print the files that can't be imported."""

    def table() -> Table:
        table = _columns("file", "error", "DAGs")
        for failure in failures:
            table.add_row(*map(_text, (failure.file, failure.reason, ", ".join(failure.dag_ids) or None)))
        return table

    screen.show(
        [_public(failure) for failure in failures],
        table,
        ((failure.file, failure.reason) for failure in failures),
    )


def show_run(screen: Screen, run: Run, tasks: Sequence[Task] | None = None, **results: Any) -> None:
    """Print a run, with its tasks once they were waited for, and what an automation returned."""
    data = _public(run, "queued_at")
    if tasks is not None:
        data["tasks"] = [_public(task, "dag_id", "run_id") for task in tasks]
    data.update(results)

    def table() -> Group:
        facts = Table.grid(padding=(0, 2))
        facts.add_column(style="bold")
        facts.add_column(overflow="fold")
        interval = None
        if run.data_interval_start != run.data_interval_end:
            interval = f"{run.data_interval_start} to {run.data_interval_end}"
        took = None
        if run.start_date and run.end_date:
            took = (run.end_date - run.start_date).total_seconds()
        waits = run.run_after if run.run_after and run.run_after > datetime.now(UTC) else None
        for name, value in {
            "run": run.run_id,
            "state": run.state,
            "starts": _local(waits),
            "took": _took(took),
            "interval": interval,
            "conf": json.dumps(run.conf, ensure_ascii=False) if run.conf else None,
            "note": run.note,
            **{name: json.dumps(value, ensure_ascii=False) for name, value in results.items()},
            "url": run.url,
        }.items():
            if value is not None:
                facts.add_row(name, _text(value))
        return Group(facts, "", task_table(tasks)) if tasks else Group(facts)

    screen.show(data, table, [(run.run_id, run.state, run.url)])


def show_backfill(
    screen: Screen, plan: BackfillPlan | None, backfill: Backfill | None, runs: Sequence[Run]
) -> None:
    """Print a backfill: the runs it has made, or those that it would make."""
    subject = backfill or plan
    if subject is None:
        raise AssertionError("neither planned nor started")
    rows: list[dict[str, Any]] = [
        {"logical_date": run.logical_date, "run_id": run.run_id, "state": run.state} for run in runs
    ]
    if backfill is None and plan is not None:
        rows = [{"logical_date": date, "run_id": None, "state": "planned"} for date in plan.logical_dates]
    state = backfill_state(runs) if backfill else "planned"
    data = {
        "id": backfill.id if backfill else None,
        **{name: getattr(subject, name) for name in ("dag_id", "from_date", "to_date", "reprocess")},
        "runs": rows,
        "state": state,
    }

    def table() -> Table:
        table = _columns("logical date", "state", "run")
        for row in rows:
            table.add_row(_text(row["logical_date"]), _text(row["state"]), _text(row["run_id"]))
        return table

    screen.show(data, table, ((row["logical_date"], row["state"]) for row in rows))


def show_modules(screen: Screen, modules: Sequence[Module]) -> None:
    """Print the automations: how each is called, and, if there is room, the first line of what it says of itself."""
    names = ["task", "arguments"] + (["what it does"] if screen.width >= 100 else [])
    functions = [function for module in modules for function in module.functions]

    def table() -> Table:
        table = _columns(*names)
        for function in functions:
            arguments = function.signature.removeprefix(function.function)
            doc = (function.doc or "").strip().partition("\n")[0] or None
            table.add_row(*map(_text, (function.task, arguments, doc)[: len(names)]))
        return table

    screen.show(
        [_public(module) for module in modules],
        table,
        ((function.task, function.signature) for function in functions),
    )


def show_jobs(screen: Screen, jobs: Sequence[Job]) -> None:
    """Print jobs; a narrow terminal sees the columns that matter most."""
    names = ["job", "state", "last run", "next run"]
    names += ["schedule"] if screen.width >= 80 else []
    names += ["task", "queue"] if screen.width >= 120 else []

    def table() -> Table:
        table = _columns(*names)
        for job in jobs:
            schedule = f"{job.cron} {job.timezone}"
            cells = [job.name, job.state, job.last_state, _local(job.next_run_at), schedule]
            cells += [job.task, job.queue]
            table.add_row(*map(_text, cells[: len(names)]))
        return table

    screen.show(
        [_public(job) for job in jobs],
        table,
        ((job.name, job.state, job.last_state, job.next_run_at) for job in jobs),
    )
    for job in jobs:
        if job.last_error is not None:
            screen.warn(f"job {job.name}: {job.last_error}")


def backfill_state(runs: Sequence[Run]) -> str:
    """Return the state of a backfill, by those of its runs."""
    if any(not run.finished for run in runs):
        return "running"
    return "failed" if any(run.state == "failed" for run in runs) else "success"


def _by_task_id(tasks: Iterable[Task]) -> dict[str, list[Task]]:
    groups: dict[str, list[Task]] = {}
    for task in tasks:
        groups.setdefault(task.task_id, []).append(task)
    return groups


def _is_mapped(group: Sequence[Task]) -> bool:
    return len(group) > 1 or group[0].map_index >= 0


def _counted(group: Sequence[Task]) -> Text:
    """Return how many of a mapped task's instances have ended, and in which states they all are."""
    states = Counter(task.state for task in group)
    text = Text(f"{sum(states[state] for state in TASK_FINISHED)}/{len(group)}")
    for name, count in sorted(states.items()):
        number = f" {count}" if len(states) > 1 else ""
        text.append(f"{number} {name}", style=COLOURS.get(name, ""))
    return text


def task_table(tasks: Sequence[Task], most: int | None = None) -> Table:
    """Return the tasks of a run, mapped ones counted in one row; at most so many rows, busy ones first."""
    rows = []
    for task_id, group in _by_task_id(tasks).items():
        states = Counter(task.state for task in group)
        starts = [task.start_date for task in group if task.start_date]
        if _is_mapped(group):
            state = _counted(group)
            ends = [task.end_date or datetime.now(UTC) for task in group if task.start_date]
            took = max(0.0, (max(ends) - min(starts)).total_seconds()) if starts else None
        else:
            state, took = _text(group[0].state), group[0].seconds()
        busy = any(state not in (*TASK_FINISHED, "none") or state == "failed" for state in states)
        tries = max(task.try_number for task in group)
        rows.append((not busy, (_text(task_id), state, _text(tries or None), _text(_took(took)))))
    hidden = 0
    if most is not None and len(rows) > most:
        hidden = len(rows) - most
        rows = sorted(rows, key=lambda row: row[0])[:most]
    table = _columns("task", "state", "try", "took")
    for _, cells in rows:
        table.add_row(*cells)
    if hidden:
        table.add_row(Text(f"and {hidden} more", style="dim"))
    return table


class Progress:
    """Shows a run while it is waited for: a table that moves on a terminal, a line for each change elsewhere."""

    def __init__(self, screen: Screen, follow: Callable[[Task, int], list[str]] | None) -> None:
        self.screen = screen
        self.tasks: list[Task] = []
        self._follow = follow
        self._seen: dict[str, str] = {}
        self._lines: dict[tuple[str, int], Counter[str]] = {}
        self._ended: set[tuple[str, int]] = set()
        # FORCE_COLOR makes a pipe coloured, and no terminal of it.
        moves = sys.stderr.isatty() and not screen.beside.is_dumb_terminal
        self._live = Live(console=screen.beside, auto_refresh=False) if moves else None

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            # The result shows the same once more, so nothing of it stays behind.
            self._live.update(Text(""), refresh=True)
            self._live.stop()

    def run(self, run: Run, tasks: list[Task]) -> None:
        """Show a run and its tasks as they are now."""
        self.tasks = tasks
        if self._follow is not None:
            for task in tasks:
                self._print_log(task)
        if self._live:
            took = None if run.start_date is None else _since(run.start_date)
            head = Text.assemble((run.dag_id, "bold"), "  ", run.run_id, "  ", _text(run.state))
            head.append(f"  {_took(took) or ''}")
            height = max(3, self.screen.beside.height - 4)
            self._live.update(Group(head, task_table(tasks, most=height)), refresh=True)
            return
        self._change("run", run.state)
        for task_id, group in _by_task_id(tasks).items():
            task = group[0]
            if _is_mapped(group):
                self._change(task_id, _counted(group).plain)
            elif task.state != "none":
                details = f" (try {task.try_number})" if task.try_number else ""
                if task.state in FINISHED and task.duration is not None:
                    details = f" (try {task.try_number}, {_took(task.duration)})"
                self._change(task.label, f"{task.state}{details}")

    def runs(self, runs: Sequence[Run]) -> None:
        """Show the runs of a backfill as they are now."""
        states = Counter(run.state for run in runs)
        done = sum(states[state] for state in FINISHED)
        line = Text(f"{done}/{len(runs)} runs")
        for name, count in sorted(states.items()):
            line.append(f" {count} {name}", style=COLOURS.get(name, ""))
        if runs and done == len(runs):
            line.append("; Airflow closes the backfill within half a minute")
        if self._live:
            self._live.update(line, refresh=True)
        else:
            self._change("backfill", line.plain)

    def _change(self, name: str, state: str) -> None:
        if self._seen.get(name) != state:
            self._seen[name] = state
            self.screen.say(f"{datetime.now().astimezone():%H:%M:%S} {name} {state}")

    def _print_log(self, task: Task) -> None:
        # An upstream_failed or skipped task has a start but no log.
        if self._follow is None or task.start_date is None or not task.try_number:
            return
        for number in range(1, task.try_number + 1):
            key = (task.label, number)
            if key in self._ended:
                continue
            ended = number < task.try_number or task.state in (*TASK_FINISHED, "up_for_retry")
            try:
                lines = self._follow(task, number)
            except NotFound:
                lines = []  # none yet
            except _Transient:
                raise
            except TriggerError as error:
                self.screen.warn(f"the log of {task.label} can't be read: {error}")
                lines, ended = [], True
            # A log is sorted by time, so that lines come in between, and a first note on it may go again.
            seen = self._lines.setdefault(key, Counter())
            unseen = Counter(lines) - seen
            for line in lines:
                if unseen[line] > 0:
                    unseen[line] -= 1
                    seen[line] += 1
                    self.screen.say(f"{task.label} | {line}")
            if ended:
                self._ended.add(key)


# ------------------------------------------------------------------------------------------- who asks, and whom


@dataclass(frozen=True)
class Login:
    """An address, and who asks there; `ca` names a file of certificates."""

    url: str
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    ca: str | None = None


def profiles_path() -> Path:
    """Return where the profiles are: AIRFLOW_PROFILES, or a file in the user's configuration folder."""
    named = os.environ.get("AIRFLOW_PROFILES")
    return Path(named) if named else Path(click.get_app_dir("trigger_script")) / "profiles.toml"


def read_profiles(path: Path, warn: Callable[[str], None] = lambda _: None) -> dict[str, dict[str, str]]:
    """Return the profiles of a TOML file by name; none if there is no file. Raises RequestRefused."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise RequestRefused(f"the profiles in {path} can't be read: {error}") from None
    try:
        profiles = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RequestRefused(f"{path} is not TOML: {error}") from None
    known = ("url", "username", "password", "token", "ca")
    for name, profile in profiles.items():
        if not isinstance(profile, dict):
            raise RequestRefused(f"{path}: {name!r} stands outside of a profile such as [default]")
        for key, value in profile.items():
            if key not in known:
                raise RequestRefused(
                    f"{path}: profile {name!r} has an unknown key {key!r}{_did_you_mean(key, known)}"
                )
            if not isinstance(value, str):
                raise RequestRefused(f"{path}: {key!r} of profile {name!r} is not a string")
        if {"password", "token"} & profile.keys() and stat.S_IMODE(path.stat().st_mode) & 0o077:
            warn(f"others can read the secrets in {path}: chmod 600 {path}")
    return profiles


def find_login(context: click.Context, warn: Callable[[str], None]) -> Login:
    """Return address and credentials: flags win over a --profile, that over the environment, and all over
    the profile called default. Raises RequestRefused when they contradict each other.
    """
    names = ("url", "username", "password", "token", "ca")
    flags: dict[str, str] = {
        name: context.params[name]
        for name in names
        if context.params.get(name) and context.get_parameter_source(name) == ParameterSource.COMMANDLINE
    }
    # Also what a flag hides: whose password it is, and where it is for, stands beside it.
    environment = {
        str(option.name): value
        for option in context.command.params
        if option.name in names
        and isinstance(option.envvar, str)
        and (value := os.environ.get(option.envvar))
    }
    if "token" in flags and {"username", "password"} & flags.keys():
        raise RequestRefused("--token says who asks: leave out --username and --password")
    if "password" in flags:
        warn(
            "a password on the command line stays in the shell's history and shows in the list of processes: "
            "set AIRFLOW_PASSWORD, use a profile, or leave it out to be asked"
        )
    chosen = context.params.get("profile")
    by_flag = context.get_parameter_source("profile") == ParameterSource.COMMANDLINE
    path = profiles_path()
    profiles = read_profiles(path, warn)
    if chosen and chosen not in profiles:
        raise RequestRefused(f"there is no profile {chosen!r} in {path}{_did_you_mean(chosen, profiles)}")
    profile = dict(profiles.get(chosen or "default", {}))
    layers = [flags, profile, environment] if by_flag else [flags, environment, profile]
    url = check_url(next((layer["url"] for layer in layers if "url" in layer), DEFAULT_URL))
    if by_flag and "url" in profile and check_url(profile["url"]) != url:
        raise RequestRefused(f"--url {url} is not the address of profile {chosen!r}, {profile['url']}")
    for layer in (profile, environment):
        # Its secrets are for its own address.
        if "url" in layer and check_url(layer["url"]) != url:
            layer.clear()
    ca = next((layer["ca"] for layer in layers if "ca" in layer), None)
    who = next((i for i, layer in enumerate(layers) if {"token", "username", "password"} & layer.keys()), 0)
    if "token" in layers[who]:
        return Login(url, token=layers[who]["token"], ca=ca)
    username = next((layer["username"] for layer in layers[who:] if "username" in layer), None)
    password = next(
        (
            layer["password"]
            for layer in layers[who:]
            # The password beside another name is that one's.
            if "password" in layer and layer.get("username", username) == username
        ),
        None,
    )
    if password is not None and username is None:
        raise RequestRefused("there is a password but no username: give --username, or set AIRFLOW_USERNAME")
    return Login(url, username, password, ca=ca)


def connect(context: click.Context, screen: Screen) -> AirflowClient:
    """Return the client that the options, the environment and the profiles describe, asking for the rest."""
    login = find_login(context, screen.warn)
    screen.hide(login.password, login.token)
    options = context.params
    # What comes through standard input is the conf, not the answers.
    asks = _is_terminal() and "-" not in (options.get("conf"), options.get("file"))
    username = login.username
    if asks and username is None and login.token is None:
        username = click.prompt(f"User at {login.url}", err=True)

    def ask_password() -> str:
        password: str = click.prompt(f"Password of {username} at {login.url}", hide_input=True, err=True)
        screen.hide(password)
        return password

    host = urlsplit(login.url)
    if host.scheme == "http" and host.hostname not in ("localhost", "127.0.0.1", "::1"):
        screen.warn(f"{login.url} is not encrypted: who listens on the way can use what passes")
    return AirflowClient(
        login.url,
        username=username,
        password=login.password,
        token=login.token,
        ca=login.ca,
        connect_timeout=options["connect_timeout"],
        ask_password=ask_password if asks else None,
        trace=screen.trace,
    )


# ------------------------------------------------------------------------------------------------ the command

# What each option is for; given anywhere else it would silently do nothing.
PURPOSES = {
    "trigger": {
        *("conf", "file", "assignments", "allow_undeclared", "run_id", "inicio", "fim", "logical_date"),
        *("delay", "run_after", "note", "unpause", "dry_run", "wait", "logs", "timeout", "interval"),
    },
    "watch": {"watch", "wait", "logs", "timeout", "interval"},
    "backfill": {
        *("backfill", "inicio", "fim", "conf", "file", "assignments", "allow_undeclared", "unpause"),
        *("reprocess", "max_active_runs", "run_backwards", "yes", "dry_run", "wait", "timeout", "interval"),
    },
    "watch a backfill": {"backfill", "watch", "wait", "timeout", "interval"},
    "show the state": {"state"},
    "list": {"list_dags", "tags", "pattern", "paused"},
    "list import errors": {"list_dags", "pattern", "import_errors"},
}
EVERYWHERE = {
    *("dag_id", "output", "verbose", "url", "username", "password", "token", "profile", "ca"),
    "connect_timeout",
}
EXAMPLES = """\b
Examples:
  python trigger_script.py --list --tag vendas
  python trigger_script.py --dag-id etl_vendas --wait
  python trigger_script.py --dag-id etl_vendas --conf '{"tabelas": ["venda"]}'
  python trigger_script.py --dag-id etl_vendas --conf @conf.json --set queue=high
  python trigger_script.py --dag-id etl_vendas --delay 2h10m --note 'after the stocktaking'
  python trigger_script.py --dag-id etl_vendas --watch RUN_ID --logs
  python trigger_script.py --dag-id etl_vendas --state
  python trigger_script.py --dag-id meu_dag --backfill --inicio 2026-01-01T00:00Z --fim 2026-02-01T00:00Z
  python trigger_script.py enqueue send_email '{"email": "ana@example.com", "message": "Olá"}' --wait

\b
Environment: AIRFLOW_API_URL, AIRFLOW_USERNAME, AIRFLOW_PASSWORD, AIRFLOW_TOKEN, AIRFLOW_PROFILE,
AIRFLOW_PROFILES.

\b
Exit codes: 0 done, 1 a run failed or a table differs, 2 usage, bad conf or refused, 3 not found,
4 authentication or permission, 5 API unreachable or broken, 6 timeout while waiting, 130 interrupted.
"""


class _Seconds(click.FloatRange):
    def __init__(self) -> None:
        super().__init__(min=0.1, max=86400)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if math.isnan(seconds := float(super().convert(value, param, ctx))):
            self.fail(f"{value} is not a number of seconds", param, ctx)
        return seconds


class _Group(click.Group):
    """Commands, each with its own options; what stands before a command counts as the command's."""

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        _, rest, _ = self.make_parser(context).parse_args(list(args))
        if rest and rest[0] in self.commands:
            args = [rest[0], *args[: len(args) - len(rest)], *rest[1:]]
        return super().parse_args(context, args)

    def resolve_command(
        self, context: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in self.commands:
            hint = _did_you_mean(args[0], self.commands) or f"; there are {', '.join(self.commands)}"
            raise click.UsageError(f"there is no command {args[0]!r}{hint}", context)
        return super().resolve_command(context, args)


class _Root(_Group):
    """The flags for DAGs, and beside them the commands."""

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(context, join_json(self, args, _conf_starts))

    def format_epilog(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        formatter.write_paragraph()
        formatter.write(EXAMPLES.replace("\b\n", ""))


class _WithPayload(click.Command):
    """A command that takes the arguments of an automation."""

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(context, join_json(self, args, _payload_starts))


def _conf_starts(before: str, argument: str, _: set[str]) -> bool:
    return before == "--conf" or argument.startswith("--conf=")


def _payload_starts(before: str, _: str, valued: set[str]) -> bool:
    return before not in valued


def join_json(
    command: click.Command, args: Sequence[str], starts: Callable[[str, str, set[str]], bool]
) -> list[str]:
    """Return the arguments with JSON that the shell broke into several made whole again.

    `starts` tells by an argument, the one before it and the names of options that take a value whether it may
    be the beginning.
    """
    options = [option for option in command.params if isinstance(option, click.Option)]
    names = {name for option in options for name in (*option.opts, *option.secondary_opts)}
    valued = {name for option in options if not option.is_flag for name in option.opts}
    joined = list(args)
    for at, argument in enumerate(joined):
        before = joined[at - 1] if at else ""
        text = argument.removeprefix("--conf=")
        if text[:1] not in ("{", "[") or not starts(before, argument, valued):
            continue
        # As far as it takes to be JSON, or, for the complaint, to what can only be an option.
        ends = range(at + 1, len(joined) + 1)
        further = (end for end in ends[:-1] if joined[end].partition("=")[0] in names)
        end = next((end for end in ends if _is_json(" ".join(joined[at:end]).removeprefix("--conf="))), None)
        if end is None:
            end = next(further, len(joined))
        joined[at:end] = [" ".join(joined[at:end])]
    return joined


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _completes(
    names: Callable[[AirflowClient], Iterable[str]],
) -> Callable[[click.Context, click.Parameter, str], list[str]]:
    """Return what completes the beginning of a name for a shell, of those that the API knows."""

    def complete(context: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
        # A completion that fails must leave the terminal alone.
        try:
            login = find_login(context, lambda _: None)
            with AirflowClient(
                login.url,
                username=login.username,
                password=login.password,
                token=login.token,
                ca=login.ca,
                connect_timeout=2.0,
            ) as client:
                return [name for name in names(client) if name.startswith(incomplete)]
        except TriggerError:
            return []

    return complete


def _dag_ids(client: AirflowClient) -> list[str]:
    return [dag.dag_id for dag in client.dags()]


def _tasks(client: AirflowClient) -> list[str]:
    return [function.task for module in client.modules() for function in module.functions]


def _job_names(client: AirflowClient) -> list[str]:
    return [job.name for job in client.jobs()]


def _print_completion(context: click.Context, _: click.Parameter, shell: str | None) -> None:
    if shell is None or context.resilient_parsing:
        return
    kind = get_completion_class(shell)
    if kind is not None:
        click.echo(kind(context.command, {}, "trigger_script.py", COMPLETE).source())
    context.exit()


COMPLETE = "_TRIGGER_SCRIPT_COMPLETE"

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def _together(*decorators: Decorator) -> Decorator:
    """Return several decorators as one, the first outermost, as they would be written."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return decorate


WAITING = _together(
    click.option("--wait", is_flag=True, help="Watch the run until it ends; fail if it fails."),
    click.option("--logs", is_flag=True, help="Print the tasks' logs while the run goes on."),
    click.option("--timeout", metavar="DURATION", help="Wait no longer than this; the run goes on."),
    click.option(
        "--interval",
        metavar="SECONDS",
        type=_Seconds(),
        default=2.0,
        show_default=True,
        help="How often a wait asks.",
    ),
)
SHARED = _together(
    click.option(
        "-o",
        "--output",
        type=click.Choice(["table", "json", "yaml", "plain"]),
        default="table",
        show_default=True,
        help="The form of the result.",
    ),
    click.option("-v", "--verbose", is_flag=True, help="Print what is asked and answered, without secrets."),
    click.option(
        "--url",
        metavar="URL",
        envvar="AIRFLOW_API_URL",
        help=f"The API server; {DEFAULT_URL} unless told otherwise.",
    ),
    click.option("--username", metavar="NAME", envvar="AIRFLOW_USERNAME", help="Who asks."),
    click.option(
        "--password",
        metavar="TEXT",
        envvar="AIRFLOW_PASSWORD",
        help="Better in the environment, a profile, or typed when asked.",
    ),
    click.option(
        "--token", metavar="TEXT", envvar="AIRFLOW_TOKEN", help="A token, instead of username and password."
    ),
    click.option(
        "--profile", metavar="NAME", envvar="AIRFLOW_PROFILE", help="Address and user from the profiles file."
    ),
    click.option("--ca", metavar="FILE", help="Certificates to trust, in PEM form."),
    click.option(
        "--connect-timeout",
        metavar="SECONDS",
        type=_Seconds(),
        default=20.0,
        show_default=True,
        help="How long an API that can't be reached is tried.",
    ),
)


@click.group(
    cls=_Root,
    invoke_without_command=True,
    subcommand_metavar="[COMMAND]",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.option("--list", "list_dags", is_flag=True, help="List the DAGs.")
@click.option(
    "--dag-id", metavar="ID", shell_complete=_completes(_dag_ids), help="The DAG to trigger or watch."
)
@click.option(
    "--conf",
    metavar="JSON",
    multiple=True,
    help="The run's conf: a JSON object, @file.json, or - to read it.",
)
@click.option("-f", "--file", metavar="FILE", help="A file with the run's conf.")
@click.option(
    "--set", "assignments", metavar="KEY=VALUE", multiple=True, help="One key of conf; JSON where it parses."
)
@click.option("--allow-undeclared", is_flag=True, help="Send conf keys that the DAG declares no Param for.")
@click.option("--run-id", metavar="ID", help="The run's id; asking twice with the same makes one run.")
@click.option(
    "--inicio", metavar="INSTANT", help="Where the data interval begins, such as 2026-01-31T03:00:00Z."
)
@click.option("--fim", metavar="INSTANT", help="Where it ends; the end is not part of it.")
@click.option("--logical-date", metavar="INSTANT", help="The run's logical date, if it is not --inicio.")
@click.option("--delay", metavar="DURATION", help="Start after so long, such as 2h10m20s.")
@click.option("--run-after", metavar="INSTANT", help="Start at this moment.")
@click.option("--note", metavar="TEXT", help="A note on the run.")
@click.option("--unpause", is_flag=True, help="Unpause the DAG first.")
@click.option("--dry-run", is_flag=True, help="Check everything, print the request, create nothing.")
@WAITING
@click.option(
    "--watch", metavar="RUN_ID", help="Watch a run that exists (with --backfill: a backfill, by its number)."
)
@click.option(
    "--state",
    is_flag=True,
    help="Show how each table of a mirror stands: equal, follows, differs, never compared.",
)
@click.option("--backfill", is_flag=True, help="Run the DAG for each of its intervals in [--inicio, --fim).")
@click.option(
    "--reprocess",
    type=click.Choice(["none", "failed", "completed"]),
    default="none",
    show_default=True,
    help="Which intervals that have run are run again.",
)
@click.option(
    "--max-active-runs",
    type=click.IntRange(min=1),
    metavar="N",
    help="How many runs of a backfill go on at once.",
)
@click.option("--run-backwards", is_flag=True, help="The newest interval first.")
@click.option("-y", "--yes", is_flag=True, help="Start the backfill without a question.")
@click.option("--tag", "tags", metavar="TAG", multiple=True, help="List DAGs with any of these tags.")
@click.option("--pattern", metavar="TEXT", help="List DAGs whose id holds this, or matches etl_* or ?.")
@click.option("--paused/--unpaused", default=None, help="List paused DAGs only, or those that are not.")
@click.option("--import-errors", is_flag=True, help="List the files that Airflow can't import.")
@SHARED
@click.option(
    "--completion",
    type=click.Choice(["bash", "zsh", "fish"]),
    is_eager=True,
    expose_value=False,
    callback=_print_completion,
    help="Print what completes this command in a shell.",
)
@click.version_option(VERSION, message="trigger_script.py %(version)s")
@click.pass_context
def command(context: click.Context, **options: Any) -> int:
    """List, trigger and watch Airflow DAGs.

    A run is checked before it exists: that the DAG is there, can be imported and is not paused, and that conf
    fits the Params that the DAG declares.

    The commands are for automations; each has a --help of its own.
    """
    if context.invoked_subcommand is not None:
        return 0
    action = _find_action(context)
    if len(options["conf"]) > 1:
        raise click.UsageError("--conf is given twice; --set adds single keys to it")
    context.params["conf"] = options["conf"][0] if options["conf"] else None
    return _perform(context, ACTIONS[action])


Action = Callable[[AirflowClient, Screen, click.Context], int]


def _perform(context: click.Context, action: Action) -> int:
    screen = Screen(context.params["output"], context.params["verbose"])
    context.find_root().obj = screen
    with connect(context, screen) as client:
        return action(client, screen, context)


def _find_action(context: click.Context) -> str:
    given = {
        name
        for name in context.params
        if context.get_parameter_source(name) == ParameterSource.COMMANDLINE
        and context.params[name] is not None
    }
    if "list_dags" in given:
        action = "list import errors" if "import_errors" in given else "list"
    elif "dag_id" not in given:
        raise click.UsageError("nothing to do: give --list, or --dag-id with the DAG to trigger")
    elif "state" in given:
        action = "show the state"
    elif "backfill" in given:
        action = "watch a backfill" if "watch" in given else "backfill"
    else:
        action = "watch" if "watch" in given else "trigger"
    allowed = PURPOSES[action] | EVERYWHERE - ({"dag_id"} if "list_dags" in given else set())
    flags = {parameter.name: parameter.opts[-1] for parameter in context.command.params}
    if misplaced := sorted(flags[name] for name in given - allowed):
        raise click.UsageError(f"{', '.join(misplaced)} can't be used to {action}")
    return action


def _list(client: AirflowClient, screen: Screen, context: click.Context) -> int:
    options = context.params
    found = client.dags(tags=options["tags"], paused=options["paused"], last_states=True)
    dags = [dag for dag in found if _matches(options["pattern"], dag.dag_id)]
    show_dags(screen, dags)
    if not dags:
        screen.say("no DAG matches" if options["tags"] or options["pattern"] else "there are no DAGs")
    return 0


def _list_import_errors(client: AirflowClient, screen: Screen, context: click.Context) -> int:
    pattern = context.params["pattern"]
    failures = [one for one in client.import_failures() if _matches(pattern, one.file, *one.dag_ids)]
    show_import_failures(screen, failures)
    return 0


def _state(client: AirflowClient, screen: Screen, context: click.Context) -> int:
    state = client.state(context.params["dag_id"])
    show_state(screen, state)
    return 1 if any(one["word"] == "differs" for one in state.tables) else 0


def _matches(pattern: str | None, *names: str) -> bool:
    if pattern is None:
        return True
    if not any(character in pattern for character in "*?["):
        return any(pattern.casefold() in name.casefold() for name in names)
    return any(fnmatchcase(name.casefold(), pattern.casefold()) for name in names)


def _trigger(client: AirflowClient, screen: Screen, context: click.Context) -> int:
    options = context.params
    conf = read_conf(options["conf"], options["file"], options["assignments"])
    if options["delay"] is not None and options["run_after"] is not None:
        raise RequestRefused("--delay and --run-after both say when: give one of them")
    request = RunRequest.make(
        options["dag_id"],
        conf,
        run_id=options["run_id"],
        data_interval=_interval(options, conf),
        logical_date=_given(options, "logical_date", parse_instant),
        run_after=_given(options, "run_after", parse_instant),
        delay=_given(options, "delay", parse_duration),
        note=options["note"],
    )
    timeout = _timeout(options)
    dag = _preflight(client, screen, context, conf)
    if options["dry_run"]:
        _show_request(screen, f"{client.url}/api/v2/dags/{_quoted(dag.dag_id)}/dagRuns", request.body)
        return 0
    try:
        run = client.send(request)
    except (ApiUnavailable, KeyboardInterrupt):
        _say_how_to_see(screen, context, request.dag_id, request.run_id)
        raise
    return _show_or_wait(client, screen, context, run, timeout)


def _say_how_to_see(screen: Screen, context: click.Context, dag_id: str, run_id: str) -> None:
    again = _command_line(context, dag_id, "--watch", run_id)
    screen.say(f"the run may have been made all the same; to see: {again}")


def _show_or_wait(
    client: AirflowClient, screen: Screen, context: click.Context, run: Run, timeout: float | None
) -> int:
    """Show a run that was just made, or wait for its end if that was asked for."""
    if not (context.params["wait"] or context.params["logs"]):
        show_run(screen, run)
        return 0
    screen.say(run.run_id)
    screen.say(run.url)
    # Also where nobody asked for a delay: Airflow begins no interval before its end.
    if run.run_after and run.run_after > datetime.now(UTC):
        screen.say(f"it starts at {_local(run.run_after)}")
    return _wait(client, screen, context, run, timeout)


def _watch(client: AirflowClient, screen: Screen, context: click.Context) -> int:
    timeout = _timeout(context.params)
    run = client.run(context.params["dag_id"], context.params["watch"])
    return _wait(client, screen, context, run, timeout)


def _wait(
    client: AirflowClient, screen: Screen, context: click.Context, run: Run, timeout: float | None
) -> int:
    options = context.params
    progress = Progress(screen, client.log if options["logs"] else None)
    try:
        with progress:
            run = client.wait(
                run.dag_id,
                run.run_id,
                timeout=timeout,
                interval=options["interval"],
                progress=progress.run,
                warn=screen.warn,
            )
    except (WaitTimeout, ApiUnavailable, NotAllowed, KeyboardInterrupt):
        again = _command_line(context, run.dag_id, "--watch", run.run_id)
        screen.say(f"the run goes on; to watch it again: {again}")
        raise
    if run.state == "failed" and not options["logs"]:
        _show_failures(client, screen, progress.tasks)
    show_run(screen, run, progress.tasks, **_results(client, screen, run, progress.tasks))
    return 0 if run.state == "success" else 1


def _results(client: AirflowClient, screen: Screen, run: Run, tasks: Sequence[Task]) -> dict[str, Any]:
    """Return what an automation returned as `result`; nothing of other DAGs, and of what has no result."""
    if run.dag_id != AUTOMATIONS or run.state != "success":
        return {}
    try:
        return {"result": client.result(tasks[-1])}
    except TriggerError as error:
        # The run has succeeded all the same.
        screen.warn(f"its result can't be read: {error}")
        return {}


def _show_failures(client: AirflowClient, screen: Screen, tasks: Sequence[Task]) -> None:
    failed = [task for task in tasks if task.state == "failed"]
    for task in failed[:3]:
        try:
            lines = client.log(task, errors_last=True)
        except TriggerError as error:
            screen.warn(f"the log of {task.label} can't be read: {error}")
            continue
        screen.say(f"{task.label} failed, try {task.try_number}; the end of its log:")
        for line in lines[-LOG_LINES:]:
            screen.say(f"  {line}")
    if len(failed) > 3:
        screen.say(f"{len(failed) - 3} more tasks failed")
    if not failed:
        screen.say(
            "no task failed: the run was ended from outside, or it took longer than its dagrun_timeout"
        )


def _backfill(client: AirflowClient, screen: Screen, context: click.Context) -> int:
    options = context.params
    if options["inicio"] is None or options["fim"] is None:
        raise click.UsageError("--backfill needs --inicio and --fim")
    conf = read_conf(options["conf"], options["file"], options["assignments"])
    interval = _interval(options, conf)
    if interval is None:
        raise AssertionError("both bounds were given")
    timeout = _timeout(options)
    dag = _preflight(client, screen, context, conf)
    plan = client.plan_backfill(
        dag.dag_id,
        *interval,
        conf=conf,
        reprocess=options["reprocess"],
        max_active_runs=options["max_active_runs"],
        run_backwards=options["run_backwards"],
    )
    count = len(plan.logical_dates)
    extent = f", from {min(plan.logical_dates)} to {max(plan.logical_dates)}" if count else ""
    screen.say(f"{count} run(s) of {dag.dag_id}{extent}; reprocess: {plan.reprocess}")
    if options["dry_run"] or not count:
        show_backfill(screen, plan, None, [])
        return 0
    if not options["yes"] and not _agrees("Start the backfill?", "the backfill", ", or --dry-run to see it"):
        raise RequestRefused("nothing was started")
    try:
        backfill = client.start_backfill(plan)
    except (ApiUnavailable, KeyboardInterrupt):
        page = f"{client.url}/dags/{_quoted(dag.dag_id)}/backfills"
        screen.say(f"the backfill may have been started all the same; to see: {page}")
        raise
    if not options["wait"]:
        show_backfill(screen, plan, backfill, client.backfill_runs(backfill))
        again = _command_line(context, dag.dag_id, "--backfill", "--watch", str(backfill.id))
        screen.say(f"to watch it: {again}")
        return 0
    return _wait_backfill(client, screen, context, backfill, timeout)


def _agrees(question: str, what: str, instead: str = "") -> bool:
    """Return what whoever sits at the terminal says. Raises RequestRefused where there is none."""
    if not _is_terminal():
        raise RequestRefused(f"nobody is there to confirm {what}: add --yes{instead}")
    return click.confirm(question, err=True)


def _is_terminal() -> bool:
    return sys.stdin.isatty() and sys.stderr.isatty()


def _watch_backfill(client: AirflowClient, screen: Screen, context: click.Context) -> int:
    options = context.params
    if not options["watch"].isdecimal():
        raise RequestRefused(f"{options['watch']!r} is not the number of a backfill")
    timeout = _timeout(options)
    backfill = client.backfill(int(options["watch"]))
    if backfill.dag_id != options["dag_id"]:
        raise NotFound(f"backfill {backfill.id} is of DAG {backfill.dag_id!r}, not of {options['dag_id']!r}")
    return _wait_backfill(client, screen, context, backfill, timeout)


def _wait_backfill(
    client: AirflowClient,
    screen: Screen,
    context: click.Context,
    backfill: Backfill,
    timeout: float | None,
) -> int:
    progress = Progress(screen, None)
    try:
        with progress:
            runs = client.wait_backfill(
                backfill,
                timeout=timeout,
                interval=context.params["interval"],
                progress=progress.runs,
                warn=screen.warn,
            )
    except (WaitTimeout, ApiUnavailable, NotAllowed, KeyboardInterrupt):
        again = _command_line(context, backfill.dag_id, "--backfill", "--watch", str(backfill.id))
        screen.say(f"the backfill goes on; to watch it again: {again}")
        raise
    show_backfill(screen, None, backfill, runs)
    return 1 if backfill_state(runs) == "failed" else 0


ACTIONS: dict[str, Action] = {
    "list": _list,
    "list import errors": _list_import_errors,
    "trigger": _trigger,
    "watch": _watch,
    "backfill": _backfill,
    "watch a backfill": _watch_backfill,
    "show the state": _state,
}


def _preflight(client: AirflowClient, screen: Screen, context: click.Context, conf: Mapping[str, Any]) -> Dag:
    """Return the DAG. Raises NotFound or RequestRefused for what would only show once a run exists."""
    options = context.params
    dag = _find_dag(client, options["dag_id"])
    check_conf(dag, conf, allow_undeclared=options["allow_undeclared"])
    _have_unpaused(client, screen, options, dag)
    return dag


def _find_dag(client: AirflowClient, dag_id: str) -> Dag:
    """Return a DAG whose file is in order."""
    dag = client.dag(dag_id)
    if dag.import_error:
        failures = [one for one in client.import_failures() if dag.dag_id in one.dag_ids]
        reason = f": {failures[0].reason}" if failures else ""
        raise RequestRefused(f"{dag.file}, which holds {dag.dag_id}, can't be imported{reason}")
    return dag


def _have_unpaused(client: AirflowClient, screen: Screen, options: Mapping[str, Any], dag: Dag) -> None:
    """Raise RequestRefused if a run would wait for ever, unless somebody wants the DAG unpaused."""
    if not dag.paused:
        return
    if options["dry_run"] and options["unpause"]:
        screen.say(f"{dag.dag_id} is paused and would be unpaused")
        return
    if not options["unpause"]:
        asks = _is_terminal() and not options["dry_run"]
        if not (asks and click.confirm(f"{dag.dag_id} is paused. Unpause it?", err=True)):
            raise RequestRefused(f"{dag.dag_id} is paused, so the run would wait for ever: add --unpause")
    client.unpause(dag.dag_id)
    screen.say(f"{dag.dag_id} is unpaused")


def _interval(options: Mapping[str, Any], conf: Mapping[str, Any]) -> tuple[datetime, datetime] | None:
    """Return [inicio, fim) of the options. Raises RequestRefused when conf says something else."""
    bounds = []
    for name in ("inicio", "fim"):
        if options[name] is None:
            continue
        bound = parse_instant(options[name], f"--{name}")
        if isinstance(conf.get(name), str) and parse_instant(conf[name], f"conf {name!r}") != bound:
            raise RequestRefused(
                f"--{name} {options[name]} contradicts conf, where {name!r} is {conf[name]!r}: give one of them"
            )
        bounds.append(bound)
    if not bounds:
        return None
    if len(bounds) == 1:
        raise RequestRefused("an interval has two ends: give both --inicio and --fim")
    if bounds[0] >= bounds[1]:
        raise RequestRefused(f"--inicio {options['inicio']} is not before --fim {options['fim']}")
    return bounds[0], bounds[1]


def _given(options: Mapping[str, Any], name: str, parse: Callable[[str, str], Result]) -> Result | None:
    return None if options[name] is None else parse(options[name], f"--{name.replace('_', '-')}")


def _timeout(options: Mapping[str, Any]) -> float | None:
    if options["timeout"] is not None and not any(options.get(name) for name in ("watch", "wait", "logs")):
        raise click.UsageError("--timeout says how long to wait: add --wait")
    duration = _given(options, "timeout", parse_duration)
    return None if duration is None else duration.total_seconds()


def _show_request(screen: Screen, url: str, body: Mapping[str, Any]) -> None:
    def table() -> Group:
        return Group(_text(f"POST {url}"), _text(json.dumps(body, indent=2, ensure_ascii=False)))

    data = {"method": "POST", "url": url, "body": body}
    screen.show(data, table, [("POST", url, json.dumps(body, ensure_ascii=False))])


def _command_line(context: click.Context, dag_id: str, *arguments: str) -> str:
    """Return the command that goes on from here; it repeats whom to ask, and no secret."""
    whom = []
    for name in ("url", "username", "profile", "ca"):
        if context.get_parameter_source(name) == ParameterSource.COMMANDLINE:
            whom += [f"--{name}", context.params[name]]
    program = ("python", sys.argv[0])
    return shlex.join([*program, *whom, "--dag-id", dag_id, *arguments])


# -------------------------------------------------------------------------------- the commands for automations


def _adds(group: click.Group, name: str, *options: Decorator, **settings: Any) -> Callable[[Action], Action]:
    """Return what makes an action a command, with these options beside those that all have."""

    def add(action: Action) -> Action:
        @click.pass_context
        def perform(context: click.Context, **_: Any) -> int:
            return _perform(context, action)

        perform.__doc__ = action.__doc__
        group.command(name, **settings)(_together(*options, SHARED)(perform))
        return action

    return add


PAYLOAD = _together(
    click.argument("task", metavar="TASK", shell_complete=_completes(_tasks)),
    click.argument("words", metavar="[PAYLOAD]", nargs=-1),
    click.option("-f", "--file", metavar="FILE", help="A file with the payload; - reads standard input."),
    click.option(
        "--set",
        "assignments",
        metavar="NAME=VALUE",
        multiple=True,
        help="One argument by its name; JSON where it parses.",
    ),
    click.option("--queue", metavar="NAME", help="high, default or low; default unless told otherwise."),
)
NAMES = click.argument(
    "names", metavar="NAME...", nargs=-1, required=True, shell_complete=_completes(_job_names)
)


@_adds(
    command,
    "enqueue",
    PAYLOAD,
    click.option("--delay", metavar="DURATION", help="Start after so long, such as 2h10m20s."),
    click.option("--run-id", metavar="ID", help="The run's id; asking twice with the same makes one run."),
    click.option("--note", metavar="TEXT", help="A note on the run."),
    click.option("--unpause", is_flag=True, help=f"Unpause {AUTOMATIONS} first."),
    click.option("--dry-run", is_flag=True, help="Print the request, create nothing."),
    WAITING,
    cls=_WithPayload,
)
def _enqueue(client: AirflowClient, screen: Screen, context: click.Context) -> int:
    """Run an automation once.

    TASK is module.function, or the function alone where one module has it. PAYLOAD holds its arguments: a JSON
    object by name such as '{"email": "ana@example.com"}', or a list; @payload.json, or - for standard input.
    """
    options = context.params
    args, kwargs = read_payload(options["words"], options["file"], options["assignments"])
    request = TaskRequest.make(
        options["task"],
        args,
        kwargs,
        queue=options["queue"],
        delay=_given(options, "delay", parse_duration),
        run_id=options["run_id"],
        note=options["note"],
    )
    timeout = _timeout(options)
    _have_unpaused(client, screen, options, _find_dag(client, AUTOMATIONS))
    if options["dry_run"]:
        _show_request(screen, f"{client.url}{SERVICE}{request.path}", request.body)
        return 0
    try:
        run = client.send_task(request)
    except (ApiUnavailable, KeyboardInterrupt):
        _say_how_to_see(screen, context, AUTOMATIONS, request.run_id)
        raise
    return _show_or_wait(client, screen, context, run, timeout)


@_adds(command, "modules")
def _list_modules(client: AirflowClient, screen: Screen, context: click.Context) -> int:
    """List the automations, and the arguments that they take."""
    modules = client.modules()
    show_modules(screen, modules)
    for module in modules:
        if module.error is not None:
            screen.warn(f"module {module.module} can't be read: {module.error}")
    if not modules:
        screen.say("there are no automations")
    return 0


@_adds(
    command,
    "clean-queue",
    click.option("--queue", metavar="NAME", help="This queue only: high, default or low."),
    click.option("--scheduled", is_flag=True, help="Also runs that wait for their time."),
    click.option("-y", "--yes", is_flag=True, help="Remove them without a question."),
)
def _clean_queue(client: AirflowClient, screen: Screen, context: click.Context) -> int:
    """Remove the runs of automations that wait and have not started."""
    options = context.params
    queue, scheduled = options["queue"], options["scheduled"]
    what = "the runs that wait " + (f"on queue {queue}" if queue else "on all queues")
    what += ", and for their time" if scheduled else ""
    if not options["yes"] and not _agrees(f"Remove {what}?", "that runs are removed"):
        raise RequestRefused("nothing was removed")
    removed = client.clean_queue(queue, scheduled=scheduled)
    screen.show(
        {"queue": queue, "scheduled": scheduled, "removed": removed},
        lambda: Group(_text(f"removed {removed} run(s)")),
        [(removed,)],
    )
    return 0


@command.group(cls=_Group, no_args_is_help=False)
@SHARED
def jobs(**_: Any) -> None:
    """List and change the jobs: automations that run at the times of a cron expression."""


@_adds(jobs, "list")
def _list_jobs(client: AirflowClient, screen: Screen, context: click.Context) -> int:
    """List the jobs."""
    found = client.jobs()
    show_jobs(screen, found)
    if not found:
        screen.say("there are no jobs")
    return 0


@_adds(
    jobs,
    "add",
    click.argument("name"),
    PAYLOAD,
    click.option("--cron", metavar="EXPRESSION", required=True, help="When, such as '*/5 * * * *'."),
    click.option(
        "--timezone", metavar="ZONE", help="By whose clock, such as America/Sao_Paulo; UTC unless told."
    ),
    click.option(
        "--missed",
        type=click.Choice(["skip", "once", "all"]),
        help="What becomes of times that were missed; once unless told.",
    ),
    click.option("--paused", is_flag=True, help="Add it without letting it run yet."),
    cls=_WithPayload,
)
def _add_job(client: AirflowClient, screen: Screen, context: click.Context) -> int:
    """Add the job NAME, which runs TASK with the arguments in PAYLOAD, given as to enqueue."""
    options = context.params
    args, kwargs = read_payload(options["words"], options["file"], options["assignments"])
    wish = {name: options[name] for name in ("timezone", "queue", "missed") if options[name] is not None}
    job = client.add_job(
        options["name"],
        options["task"],
        options["cron"],
        args=args,
        kwargs=kwargs,
        enabled=not options["paused"],
        **wish,
    )
    show_jobs(screen, [job])
    return 0


@_adds(jobs, "pause", NAMES)
def _pause_jobs(client: AirflowClient, screen: Screen, context: click.Context) -> int:
    """Keep jobs from running until they are resumed."""
    return _change_jobs(client, screen, context, lambda name: client.switch_job(name, enabled=False))


@_adds(jobs, "resume", NAMES)
def _resume_jobs(client: AirflowClient, screen: Screen, context: click.Context) -> int:
    """Let paused jobs go on."""
    return _change_jobs(client, screen, context, lambda name: client.switch_job(name, enabled=True))


@_adds(jobs, "remove", NAMES)
def _remove_jobs(client: AirflowClient, screen: Screen, context: click.Context) -> int:
    """Remove jobs; the runs that they have made stay."""
    return _change_jobs(client, screen, context, client.remove_job)


def _change_jobs(
    client: AirflowClient, screen: Screen, context: click.Context, change: Callable[[str], Job]
) -> int:
    names = context.params["names"]
    for name in names:
        client.job(name)  # a name that is wrong must show before any job is changed
    show_jobs(screen, [change(name) for name in names])
    return 0


# ------------------------------------------------------------------------------------------- from the shell


class _Terminated(KeyboardInterrupt):
    """The wish of whoever ends processes, to be met as Ctrl-C is."""


def _terminate(number: int, frame: FrameType | None) -> NoReturn:
    raise _Terminated


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code; every error becomes one line."""
    screen = Screen("table", verbose=False)
    try:
        with command.make_context(
            "trigger_script.py", list(sys.argv[1:] if arguments is None else arguments)
        ) as context:
            try:
                return int(command.invoke(context))
            finally:
                # It knows the secrets that no error may show.
                screen = context.obj or screen
    except click.exceptions.Exit as done:
        return done.exit_code
    except _Terminated:
        screen.say("terminated")
        return 128 + signal.SIGTERM
    except (KeyboardInterrupt, click.Abort):
        screen.say("interrupted")
        return 130
    except click.UsageError as error:
        path = error.ctx.command_path.split()[1:] if error.ctx else []
        screen.fail(f"{error.format_message()} (see {' '.join([*path, '--help'])})")
        return 2
    except TriggerError as error:
        screen.fail(str(error))
        return error.exit_code
    except BrokenPipeError:  # of the help, which is long
        _to_nowhere(sys.stdout)
        return 0
    except Exception as error:  # noqa: BLE001 (a fault of this file, which a script that calls it must see as one)
        place = traceback.extract_tb(error.__traceback__)[-1]
        screen.fail(
            f"unexpected {type(error).__name__} at {Path(place.filename).name}:{place.lineno}: {_one_line(str(error))}"
        )
        return TriggerError.exit_code


if __name__ == "__main__":
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # closed by who calls
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115 (to the end)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    signal.signal(signal.SIGTERM, _terminate)
    if COMPLETE in os.environ:
        command.main(prog_name="trigger_script.py", complete_var=COMPLETE)
    sys.exit(main())
