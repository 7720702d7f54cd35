"""The objects of the API: DAGs, runs, tasks, backfills, automations, jobs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Self

from trigger.address import quoted

FINISHED = ("success", "failed")


# The final states of a task instance; other states may still change by themselves.
TASK_FINISHED = ("success", "failed", "skipped", "upstream_failed", "removed")


def seconds_since(instant: datetime) -> float:
    """Return the seconds since an instant, at least 0: the server's clock may be ahead of this one."""
    return max(0.0, (datetime.now(UTC) - instant).total_seconds())


def read_instant(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


@dataclass(frozen=True)
class Param:
    """A Param of a DAG: its default (None if there is none) and its JSON Schema."""

    default: Any
    schema: Mapping[str, Any]
    description: str | None


@dataclass(frozen=True)
class Dag:
    """A DAG. `last_state` and `params` are None if they were not requested."""

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
    def read(cls, entry: Mapping[str, Any]) -> Self:
        params = entry.get("params")
        return cls(
            dag_id=entry["dag_id"],
            paused=entry["is_paused"],
            schedule=entry["timetable_summary"],
            next_run=read_instant(entry["next_dagrun_run_after"]),
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
    """A file that Airflow can't import, with the complete error and the known DAGs of the file."""

    file: str
    bundle: str | None
    time: datetime | None
    error: str
    dag_ids: list[str]

    @property
    def reason(self) -> str:
        """The last line of the error, which has its message."""
        lines = self.error.strip().splitlines()
        return lines[-1].strip() if lines else "no error text"


@dataclass(frozen=True)
class Run:
    """A DAG run. `url` is its page in Airflow's UI."""

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

    @classmethod
    def read(cls, entry: Mapping[str, Any], ui: str) -> Self:
        """Return the run that an answer holds; `ui` is the address of the user interface."""
        dag_id, run_id = entry["dag_id"], entry["dag_run_id"]
        return cls(
            dag_id=dag_id,
            run_id=run_id,
            state=entry["state"],
            url=f"{ui}/dags/{quoted(dag_id)}/runs/{quoted(run_id)}",
            logical_date=read_instant(entry["logical_date"]),
            data_interval_start=read_instant(entry["data_interval_start"]),
            data_interval_end=read_instant(entry["data_interval_end"]),
            run_after=read_instant(entry["run_after"]),
            start_date=read_instant(entry["start_date"]),
            end_date=read_instant(entry["end_date"]),
            conf=entry["conf"] or {},
            note=entry["note"],
            triggered_by=entry["triggering_user_name"],
            queued_at=read_instant(entry["queued_at"]),
        )

    @property
    def finished(self) -> bool:
        """Whether the run has ended, in success or failure."""
        return self.state in FINISHED


@dataclass(frozen=True)
class State:
    """The state of each table of a mirror: the rows of its view `estado`, the worst first, as reported by a run."""

    dag_id: str
    run_id: str
    said_at: datetime
    tables: list[dict[str, Any]]


@dataclass(frozen=True)
class Task:
    """A task instance of a run. `map_index` is -1 if it is not mapped; `duration` is in seconds."""

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
        """The task's id; with the index, if it is mapped."""
        return self.task_id if self.map_index < 0 else f"{self.task_id}[{self.map_index}]"

    def seconds(self) -> float | None:
        """Its duration so far in seconds, or None before it starts."""
        if self.start_date is None:
            return None
        return seconds_since(self.start_date) if self.end_date is None else self.duration


@dataclass(frozen=True)
class BackfillPlan:
    """The runs that a backfill would create. Its intervals begin from `from_date` to `to_date`, both included."""

    dag_id: str
    from_date: datetime
    to_date: datetime
    reprocess: str
    logical_dates: list[datetime]
    body: dict[str, Any] = field(repr=False)


@dataclass(frozen=True)
class Backfill:
    """An existing backfill. Airflow sets `completed_at` when all of its runs have ended."""

    id: int
    dag_id: str
    from_date: datetime
    to_date: datetime
    reprocess: str
    created_at: datetime
    completed_at: datetime | None

    @classmethod
    def read(cls, entry: Mapping[str, Any]) -> Self:
        return cls(
            id=entry["id"],
            dag_id=entry["dag_id"],
            from_date=datetime.fromisoformat(entry["from_date"]),
            to_date=datetime.fromisoformat(entry["to_date"]),
            reprocess=entry["reprocess_behavior"],
            created_at=datetime.fromisoformat(entry["created_at"]),
            completed_at=read_instant(entry["completed_at"]),
        )


@dataclass(frozen=True)
class Function:
    """An automation's function. `task` is the name to call it by, `parameters` the JSON Schema of its arguments."""

    function: str
    task: str
    doc: str | None
    signature: str
    parameters: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True)
class Module:
    """A file of automations. If it can't be read, `error` has the reason, and there are no functions."""

    module: str
    doc: str | None
    error: str | None
    functions: list[Function]


@dataclass(frozen=True)
class Job:
    """An automation that runs at the times of a cron expression, in its time zone.

    `last_state` is the state of the newest run, `outcome` that of the newest run that has ended.
    """

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
    outcome: str | None
    outcome_run_at: datetime | None
    outcome_at: datetime | None
    outcome_reason: str | None
    last_error: str | None
    created_by: str | None
    changed_by: str | None

    @classmethod
    def read(cls, entry: Mapping[str, Any]) -> Self:
        known = {name: entry[name] for name in cls.__dataclass_fields__}
        instants = ("next_run_at", "last_run_at", "outcome_run_at", "outcome_at")
        dates = {name: read_instant(entry[name]) for name in instants}
        return cls(**{**known, **dates})

    @property
    def state(self) -> str:
        """One of active, paused, and broken, whose reason is in `last_error`."""
        if not self.enabled:
            return "paused"
        return "active" if self.last_error is None else "broken"
