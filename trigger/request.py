"""Requests for runs. A request is complete, with the run's id, before it is sent."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Self

from trigger.address import AUTOMATIONS
from trigger.calls import SLACK, same_delay, unified
from trigger.errors import RequestRefused
from trigger.model import Run


@dataclass(frozen=True)
class RunRequest:
    """A request for a run of a DAG. `wish` has the fields of the Run that the caller has chosen."""

    dag_id: str
    body: dict[str, Any]
    wish: dict[str, Any]
    delay: timedelta = timedelta()

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
        """Return a request; without `run_id`, it gets a new unique one. Raises RequestRefused."""
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
            # Without a logical date, the run has no data interval, and the API silently drops a given one. The UI sends the
            # present time too; the timetable then chooses the latest interval.
            "logical_date": now,
            **wish,
        }
        if delay is not None:
            try:
                # Not part of the wish: a repeated request has another time.
                body["run_after"] = now + delay
            except OverflowError:
                raise RequestRefused(f"a delay of {delay.days} days ends after the calendar does") from None
        dated = (
            datetime.isoformat(value) if isinstance(value, datetime) else value for value in body.values()
        )
        return cls(dag_id, dict(zip(body, dated, strict=True)), wish, delay or timedelta())

    @property
    def run_id(self) -> str:
        """The id that the run will have."""
        return str(self.body["dag_run_id"])

    def differing(self, run: Run, user: str | None, tasks: Callable[[], Iterable[str]]) -> list[str]:
        """Return the names of the fields in which an existing run differs from this request: "conf", "run after", …

        `tasks` returns the full names of all automations. Two calls of an automation are compared as the service does: by
        conf, in any form, and by the start time; not by note or user.
        """
        wish, found = dict(self.wish), {name: getattr(run, name) for name in self.wish}
        if self.dag_id == AUTOMATIONS:
            wish.pop("note", None)
            wish["conf"], found["conf"] = unified(wish["conf"], tasks), unified(run.conf, tasks)
        # Only the chosen fields are compared: dates that Airflow sets, or a colleague's note, do not matter.
        differing = [
            name.replace("_", " ")
            for name, value in wish.items()
            if not same(value or None, found[name] or None)
        ]
        if self.dag_id == AUTOMATIONS:
            if self._waits_otherwise(run):
                differing.append("delay")
        # A user who logs in as Ana may be stored as ana.
        elif user and user.casefold() != (run.triggered_by or "").casefold():
            differing.append("user")
        return differing

    def _waits_otherwise(self, run: Run) -> bool:
        if "run_after" in self.wish or run.queued_at is None or run.run_after is None:
            return False
        # A cleared run is queued again, so its queue time is no longer the time of its creation.
        again = run.queued_at > run.run_after + SLACK
        return not again and not same_delay(self.delay, run.queued_at, run.run_after)


@dataclass(frozen=True)
class TaskRequest:
    """A request for a run of an automation: a path of the service, and the body."""

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
        """Return a request; without `run_id`, it gets a new unique one. Raises RequestRefused."""
        body = {
            "tarefa": task,
            "args": list(args),
            "kwargs": dict(kwargs or {}),
            # The id begins with the task's name, because people search for it in the list of runs.
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
    """Return a new unique id of a run."""
    return f"{kind}__{datetime.now(UTC):%Y%m%dT%H%M%SZ}_{secrets.token_hex(4)}"


def same(ours: Any, theirs: Any) -> bool:
    """Return whether two values are equal in JSON: 1 equals 1.0, as in the database, and neither equals true."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        return ours.keys() == theirs.keys() and all(same(ours[key], theirs[key]) for key in ours)
    if isinstance(ours, list) and isinstance(theirs, list):
        return len(ours) == len(theirs) and all(map(same, ours, theirs))
    return bool(ours == theirs) and isinstance(ours, bool) == isinstance(theirs, bool)
