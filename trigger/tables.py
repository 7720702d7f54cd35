"""Print each kind of result, as a table and as plain lines."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from trigger.model import (
    TASK_FINISHED,
    Backfill,
    BackfillPlan,
    Dag,
    ImportFailure,
    Job,
    Module,
    Run,
    State,
    Task,
)
from trigger.screen import COLOURS, Screen, cell, clean, columns, time_taken, wall_clock


def _public(item: Any, *left_out: str) -> dict[str, Any]:
    return {name: value for name, value in asdict(item).items() if name not in left_out}


def show_dags(screen: Screen, dags: Sequence[Dag]) -> None:
    """Print DAGs; on a narrow terminal only the most important columns."""
    names = ["DAG", "state", "last run", "next run"]
    names += ["schedule"] if screen.width >= 80 else []
    names += ["tags"] if screen.width >= 100 else []

    def table() -> Table:
        table = columns(*names)
        for dag in dags:
            state = "import error" if dag.import_error else "paused" if dag.paused else "active"
            cells = [dag.dag_id, state, dag.last_state, wall_clock(dag.next_run), dag.schedule]
            cells.append(", ".join(dag.tags) or None)
            table.add_row(*map(cell, cells[: len(names)]))
        return table

    screen.show(
        [_public(dag, "params") for dag in dags],
        table,
        ((dag.dag_id, "paused" if dag.paused else "active", dag.last_state, dag.next_run) for dag in dags),
    )


def show_state(screen: Screen, state: State) -> None:
    """Print the state of each table of a mirror."""
    names = ["table", "state", "compared", "behind"]
    names += ["way", "deletes by"] if screen.width >= 100 else []

    def table() -> Group:
        rows = columns(*names)
        for one in state.tables:
            compared, lag = one["compared_at"], one["lag_seconds"]
            cells = [
                one["tabela"],
                one["word"],
                wall_clock(datetime.fromisoformat(compared)) if compared else None,
                None if lag is None else f"{lag:,.0f} s",
                one["way"] or None,
                one["deletes"] or None,
            ]
            rows.add_row(*map(cell, cells[: len(names)]))
        reasons = [clean(f"{one['tabela']}: {one['reason']}") for one in state.tables if one["reason"]]
        said = clean(f"as of {wall_clock(state.said_at)}, by run {state.run_id} of {state.dag_id}")
        return Group(rows, *(Text(reason) for reason in reasons), Text(said, style="dim"))

    screen.show(
        {"dag_id": state.dag_id, "run_id": state.run_id, "said_at": state.said_at, "tables": state.tables},
        table,
        ((one["tabela"], one["word"], one["compared_at"], one["lag_seconds"]) for one in state.tables),
    )


def show_import_failures(screen: Screen, failures: Sequence[ImportFailure]) -> None:
    """Print the files that can't be imported."""

    def table() -> Table:
        table = columns("file", "error", "DAGs")
        for failure in failures:
            table.add_row(*map(cell, (failure.file, failure.reason, ", ".join(failure.dag_ids) or None)))
        return table

    screen.show(
        [_public(failure) for failure in failures],
        table,
        ((failure.file, failure.reason) for failure in failures),
    )


def show_run(screen: Screen, run: Run, tasks: Sequence[Task] | None = None, **results: Any) -> None:
    """Print a run; after a wait, also its tasks and an automation's result."""
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
            "starts": wall_clock(waits),
            "took": time_taken(took),
            "interval": interval,
            "conf": json.dumps(run.conf, ensure_ascii=False) if run.conf else None,
            "note": run.note,
            **{name: json.dumps(value, ensure_ascii=False) for name, value in results.items()},
            "url": run.url,
        }.items():
            if value is not None:
                facts.add_row(name, cell(value))
        return Group(facts, "", task_table(tasks)) if tasks else Group(facts)

    screen.show(data, table, [(run.run_id, run.state, run.url)])


def show_backfill(
    screen: Screen, plan: BackfillPlan | None, backfill: Backfill | None, runs: Sequence[Run]
) -> None:
    """Print a backfill: the runs that it has created, or would create."""
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
        table = columns("logical date", "state", "run")
        for row in rows:
            table.add_row(cell(row["logical_date"]), cell(row["state"]), cell(row["run_id"]))
        return table

    screen.show(data, table, ((row["logical_date"], row["state"]) for row in rows))


def show_modules(screen: Screen, modules: Sequence[Module]) -> None:
    """Print the automations with their arguments; if there is room, also the first line of each docstring."""
    names = ["task", "arguments"] + (["what it does"] if screen.width >= 100 else [])
    functions = [function for module in modules for function in module.functions]

    def table() -> Table:
        table = columns(*names)
        for function in functions:
            arguments = function.signature.removeprefix(function.function)
            doc = (function.doc or "").strip().partition("\n")[0] or None
            table.add_row(*map(cell, (function.task, arguments, doc)[: len(names)]))
        return table

    screen.show(
        [_public(module) for module in modules],
        table,
        ((function.task, function.signature) for function in functions),
    )


def show_jobs(screen: Screen, jobs: Sequence[Job]) -> None:
    """Print jobs; on a narrow terminal only the most important columns."""
    names = ["job", "state", "last outcome", "next run"]
    names += ["schedule"] if screen.width >= 80 else []
    names += ["newest run", "task", "queue"] if screen.width >= 120 else []

    def table() -> Table:
        table = columns(*names)
        for job in jobs:
            outcome = f"{job.outcome} {wall_clock(job.outcome_at)}" if job.outcome else None
            schedule = f"{job.cron} {job.timezone}"
            cells = [job.name, job.state, outcome, wall_clock(job.next_run_at), schedule]
            cells += [job.last_state, job.task, job.queue]
            table.add_row(*map(cell, cells[: len(names)]))
        return table

    screen.show(
        [_public(job) for job in jobs],
        table,
        (
            (
                job.name,
                job.state,
                job.last_state,
                job.next_run_at,
                job.outcome,
                job.outcome_at,
                job.outcome_reason,
            )
            for job in jobs
        ),
    )
    for job in jobs:
        if job.outcome == "failed":
            reason = job.outcome_reason or "no error is known: see the run's log"
            screen.warn(f"job {job.name} failed at {wall_clock(job.outcome_at)}: {reason}")
        if job.last_error is not None:
            screen.warn(f"job {job.name}: {job.last_error}")


def backfill_state(runs: Sequence[Run]) -> str:
    """Return the state of a backfill, derived from its runs."""
    if any(not run.finished for run in runs):
        return "running"
    return "failed" if any(run.state == "failed" for run in runs) else "success"


def by_task_id(tasks: Iterable[Task]) -> dict[str, list[Task]]:
    groups: dict[str, list[Task]] = {}
    for task in tasks:
        groups.setdefault(task.task_id, []).append(task)
    return groups


def is_mapped(group: Sequence[Task]) -> bool:
    return len(group) > 1 or group[0].map_index >= 0


def counted(group: Sequence[Task]) -> Text:
    """Return how many instances of a mapped task have ended, and the number per state."""
    states = Counter(task.state for task in group)
    text = Text(f"{sum(states[state] for state in TASK_FINISHED)}/{len(group)}")
    for name, count in sorted(states.items()):
        number = f" {count}" if len(states) > 1 else ""
        text.append(f"{number} {name}", style=COLOURS.get(name, ""))
    return text


def task_table(tasks: Sequence[Task], most: int | None = None) -> Table:
    """Return the tasks of a run; a mapped task is one row. With `most`, at most that many rows, active ones first."""
    rows = []
    for task_id, group in by_task_id(tasks).items():
        states = Counter(task.state for task in group)
        starts = [task.start_date for task in group if task.start_date]
        if is_mapped(group):
            state = counted(group)
            ends = [task.end_date or datetime.now(UTC) for task in group if task.start_date]
            took = max(0.0, (max(ends) - min(starts)).total_seconds()) if starts else None
        else:
            state, took = cell(group[0].state), group[0].seconds()
        busy = any(state not in (*TASK_FINISHED, "none") or state == "failed" for state in states)
        tries = max(task.try_number for task in group)
        rows.append((not busy, (cell(task_id), state, cell(tries or None), cell(time_taken(took)))))
    hidden = 0
    if most is not None and len(rows) > most:
        hidden = len(rows) - most
        rows = sorted(rows, key=lambda row: row[0])[:most]
    table = columns("task", "state", "try", "took")
    for _, cells in rows:
        table.add_row(*cells)
    if hidden:
        table.add_row(Text(f"and {hidden} more", style="dim"))
    return table
