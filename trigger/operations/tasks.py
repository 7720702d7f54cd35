"""Task instances of a run: their states, logs and return values."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from trigger.address import quoted
from trigger.errors import NotFound
from trigger.model import Task, read_instant
from trigger.operations.base import Operations


class Tasks(Operations):
    """The operations on task instances."""

    def tasks(self, dag_id: str, run_id: str) -> list[Task]:
        """Return the task instances of a run in the order of their start; those without a start come last."""

        def read(entry: Mapping[str, Any]) -> Task:
            return Task(
                dag_id=dag_id,
                run_id=run_id,
                task_id=entry["task_id"],
                map_index=entry["map_index"],
                state=entry["state"] or "none",
                try_number=entry["try_number"],
                start_date=read_instant(entry["start_date"]),
                end_date=read_instant(entry["end_date"]),
                duration=entry["duration"],
            )

        path = f"/dags/{quoted(dag_id)}/dagRuns/{quoted(run_id)}/taskInstances"
        # Ordered by the growing ids: instances that are added between two pages, also by a retry, are on the last page.
        found = self._wire.pages(path, "task_instances", read, {"order_by": "id"})
        tasks = {(task.task_id, task.map_index): task for task in found}.values()
        never = datetime.max.replace(tzinfo=UTC)
        return sorted(tasks, key=lambda task: (task.start_date or never, task.task_id, task.map_index))

    def log(self, task: Task, try_number: int | None = None, *, errors_last: bool = False) -> list[str]:
        """Return the lines of a task instance's log, by default of its newest try.

        A task's printed lines can have later timestamps than the exception that ended it. `errors_last` moves the exception
        to the end. In a log that still grows, lines may then change their places.
        """

        def read(answer: Mapping[str, Any]) -> list[str]:
            entries = answer["content"]
            if errors_last:
                entries = sorted(
                    entries, key=lambda entry: isinstance(entry, dict) and "error_detail" in entry
                )
            return list(_log_lines(entries))

        number = task.try_number if try_number is None else try_number
        return self._wire.call(
            "GET",
            f"/dags/{quoted(task.dag_id)}/dagRuns/{quoted(task.run_id)}"
            f"/taskInstances/{quoted(task.task_id)}/logs/{number}",
            read,
            query={"map_index": task.map_index, "full_content": "true"},
        )

    def result(self, task: Task) -> Any:
        """Return a task instance's return value, as JSON data; None if it has none."""
        path = (
            f"/dags/{quoted(task.dag_id)}/dagRuns/{quoted(task.run_id)}"
            f"/taskInstances/{quoted(task.task_id)}/xcomEntries/return_value"
        )
        try:
            return self._wire.call(
                "GET", path, lambda entry: entry["value"], query={"map_index": task.map_index}
            )
        except NotFound:
            return None


def _log_lines(entries: Iterable[Any]) -> Iterator[str]:
    """Yield the lines of a log: each event, followed by its exceptions without the frames of Airflow's own code."""
    about_itself = False
    for entry in entries:
        if isinstance(entry, str):
            yield from entry.splitlines()
            continue
        event = str(entry.get("event", ""))
        # Marks of blocks that the UI can fold. The first block lists the sources of the log.
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
