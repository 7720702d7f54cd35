"""The table `jobs`: the operations of people and of `agendar_jobs`.

Time is the database's clock, so a job is due at the same moment for all workers, whatever their own clocks are.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import psycopg
from psycopg.rows import DictRow, dict_row
from psycopg.types.json import Jsonb

from include.conventions import sql
from include.conventions.errors import TaskError
from include.tarefas.jobs.model import Definition, Job, NewJob
from include.tarefas.jobs.schedule import Schedule

LONGEST_ERROR = 1000


class JobError(Exception):
    """A person's request that must be refused."""


class UnknownJobError(JobError):
    """There is no job with that name."""


class JobExistsError(JobError):
    """There is a job with that name already."""


class DatabaseUnavailableError(TaskError):
    """The database does not answer, or a job stays locked, as the message says. It may pass by itself."""

    heals = True


@dataclass(frozen=True)
class Claim:
    """A job that no other process can start or change until the transaction ends. Call exactly one method."""

    job: Job
    _connection: psycopg.Connection[DictRow]

    def started(self, due: datetime, then: datetime) -> None:
        """Store that the run for `due` exists, and `then` as the next due time."""
        self._run("record_start", due=due, then=then)

    def skip_to(self, then: datetime) -> None:
        """Store that due times before `then` are not started."""
        self._run("move_next_run", then=then)

    def refuse(self, error: str) -> None:
        """Store why this job can't be started now."""
        self._run("record_error", error=error.replace("\0", "")[:LONGEST_ERROR])

    def move_to_end(self) -> None:
        """Leave the job due, behind all others."""
        self._run("move_to_end")

    def _run(self, name: str, **values: object) -> None:
        self._connection.execute(_sql(name), {"id": self.job.id, **values})


class Store:
    """The table, on one connection. A context manager. Every method may raise DatabaseUnavailableError."""

    def __init__(
        self,
        conninfo: str,
        patience: timedelta = timedelta(seconds=5),
        silence: timedelta = timedelta(minutes=1),
    ) -> None:
        """`conninfo` is libpq's; `patience` limits the waits for the server and for a locked row.

        The server ends a transaction that is idle for `silence`, and releases its lock. So a frozen process, or one whose
        machine is lost, does not lock a job for ever.
        """
        self._conninfo = conninfo
        self._seconds = max(1, int(patience.total_seconds()))
        self._options = (
            f"-c timezone=UTC -c lock_timeout={self._seconds}s"
            f" -c idle_in_transaction_session_timeout={int(silence.total_seconds())}s"
        )

    def __enter__(self) -> Store:
        with _explained():
            self._connection: psycopg.Connection[DictRow] = psycopg.connect(
                self._conninfo,
                autocommit=True,
                row_factory=dict_row,
                connect_timeout=self._seconds,
                options=self._options,
                application_name="jobs",
            )
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def now(self) -> datetime:
        """Return the database's time."""
        now: datetime = self._one("SELECT clock_timestamp() AS now")["now"]
        return now

    # Operations of people.

    def jobs(self) -> list[Job]:
        """Return all jobs by name."""
        return [_job(row) for row in self._all(_sql("read_jobs"))]

    def job(self, name: str) -> Job:
        """Return a job. Raises UnknownJobError."""
        return _known(name, self._all(_sql("read_job"), name=name))

    def add(self, job: NewJob, by: str | None = None) -> Job:
        """Create a job, by this user. Its first due time is the next one from now. Raises JobExistsError."""
        values = _values(job) | {"name": job.name, "next_run_at": self._first(job), "by": by}
        if made := self._all(_sql("insert_job"), **values):
            return _job(made[0])
        raise JobExistsError(f"there is a job {job.name!r} already; change it, or remove it first")

    def change(self, name: str, edit: Callable[[Job], Definition | Job], by: str | None = None) -> Job:
        """Replace a job's definition by the result of `edit`, by this user. Raises UnknownJobError, and what `edit` raises.

        If the cron expression or the time zone changes, or if the job is enabled again, it is due from now on, and missed
        times are dropped. Any other change keeps the next due time. Waits for a job that is just being started.
        """
        with _explained(), self._connection.transaction():
            job = _known(name, self._all(_sql("lock_job"), name=name))
            wanted = edit(job)
            kept = (
                wanted.enabled and job.enabled and (wanted.cron, wanted.timezone) == (job.cron, job.timezone)
            )
            planned = job.next_run_at if kept else None
            values = _values(wanted) | {
                "name": name,
                "next_run_at": planned or self._first(wanted),
                "by": by,
            }
            return _job(self._one(_sql("update_job"), **values))

    def remove(self, name: str) -> None:
        """Remove a job; its runs stay. Waits for a job that is just being started. Raises UnknownJobError."""
        with _explained():
            if not self._connection.execute(_sql("delete_job"), {"name": name}).rowcount:
                raise _unknown(name)

    # Operations of agendar_jobs.

    @contextmanager
    def claim(self, now: datetime, excluding: Collection[int]) -> Iterator[Claim | None]:
        """Lock the due job whose last try is longest ago, except the ids in `excluding`; None if there is none.

        A job with an error comes last, and only ten minutes after its last try.

        The changes are committed at the end of the block. They are rolled back after an exception, or if the process dies
        in the block.
        """
        with _explained(), self._connection.transaction():
            found = self._all(_sql("claim_due_job"), now=now, **{"except": list(excluding)})
            yield Claim(_job(found[0]), self._connection) if found else None

    def unfinished(self, limit: int) -> list[Job]:
        """Return up to `limit` jobs with runs that had not ended at the last check, in any order."""
        return [_job(row) for row in self._all(_sql("read_unfinished"), limit=limit)]

    def follow(self, job: Job, state: str) -> None:
        """Store the state of a job's newest run."""
        with _explained():
            self._connection.execute(
                _sql("record_state"), {"id": job.id, "run_at": job.last_run_at, "state": state}
            )

    def conclude(self, job: Job, run_at: datetime, outcome: str, ended_at: datetime | None) -> None:
        """Store how and when the run of a due time has ended; without `ended_at`, the time is now."""
        values = {"id": job.id, "run_at": run_at, "outcome": outcome, "ended_at": ended_at}
        with _explained():
            self._connection.execute(_sql("record_outcome"), values)

    def claim_errors(self, run_id: str) -> dict[str, str]:
        """Return the errors that no other run has reported, by the job's name; mark them as reported by this run."""
        return {row["name"]: row["last_error"] for row in self._all(_sql("claim_errors"), run_id=run_id)}

    def _first(self, wanted: Definition | Job) -> datetime | None:
        return Schedule(wanted.cron, wanted.timezone).after(self.now()) if wanted.enabled else None

    def _all(self, statement: Any, **values: object) -> list[DictRow]:
        with _explained():
            return self._connection.execute(statement, values).fetchall()

    def _one(self, statement: Any, **values: object) -> DictRow:
        return self._all(statement, **values)[0]


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except psycopg.errors.LockNotAvailable:
        raise DatabaseUnavailableError("the job is being started at this moment; try again") from None
    except (
        psycopg.OperationalError,
        psycopg.InterfaceError,
        psycopg.errors.IdleInTransactionSessionTimeout,
    ) as error:
        raise DatabaseUnavailableError(
            f"the jobs' database does not answer: {' '.join(str(error).split())}"
        ) from None
    except psycopg.errors.UndefinedTable:
        raise DatabaseUnavailableError(
            "the jobs' database has no table yet: run python -m deploy.prepare"
        ) from None


def _sql(name: str) -> Any:
    return sql.text("agendar_jobs", name)


def _values(wanted: Definition | Job) -> dict[str, Any]:
    values = wanted.model_dump(mode="json", include=set(Definition.model_fields))
    return values | {"args": Jsonb(wanted.args), "kwargs": Jsonb(wanted.kwargs)}


def _job(row: DictRow) -> Job:
    return Job.model_validate(row)


def _known(name: str, rows: list[DictRow]) -> Job:
    if not rows:
        raise _unknown(name)
    return _job(rows[0])


def _unknown(name: str) -> UnknownJobError:
    return UnknownJobError(f"there is no job {name!r}")
