"""The shared parts of commands for runs: the check before, the wait, and the hints when a wait is interrupted."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource
from rich.console import Group

from trigger.address import AUTOMATIONS
from trigger.errors import ApiUnavailable, NotAllowed, RequestRefused, TriggerError, WaitTimeout
from trigger.login import is_terminal
from trigger.model import Backfill, Dag, Run, Task
from trigger.progress import Progress
from trigger.screen import Screen, cell, wall_clock
from trigger.tables import backfill_state, show_backfill, show_run

if TYPE_CHECKING:
    from trigger.client import AirflowClient

LOG_LINES = 20  # lines shown of a failed task's log


def suggest_watch(screen: Screen, context: click.Context, dag_id: str, run_id: str) -> None:
    again = command_line(context, dag_id, "--watch", run_id)
    screen.say(f"the run may have been made all the same; to see: {again}")


def show_or_wait(
    client: AirflowClient, screen: Screen, context: click.Context, run: Run, timeout: float | None
) -> int:
    """Show a new run, or wait for its end with --wait or --logs."""
    if not (context.params["wait"] or context.params["logs"]):
        show_run(screen, run)
        return 0
    screen.say(run.run_id)
    screen.say(run.url)
    # Also without a delay: Airflow starts no run before the end of its data interval.
    if run.run_after and run.run_after > datetime.now(UTC):
        screen.say(f"it starts at {wall_clock(run.run_after)}")
    return wait_for_run(client, screen, context, run, timeout)


def wait_for_run(
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
        again = command_line(context, run.dag_id, "--watch", run.run_id)
        screen.say(f"the run goes on; to watch it again: {again}")
        raise
    if run.state == "failed" and not options["logs"]:
        _show_failures(client, screen, progress.tasks)
    show_run(screen, run, progress.tasks, **_results(client, screen, run, progress.tasks))
    return 0 if run.state == "success" else 1


def _results(client: AirflowClient, screen: Screen, run: Run, tasks: Sequence[Task]) -> dict[str, Any]:
    """Return {"result": an automation's return value}; {} for other DAGs, and for runs without a result."""
    if run.dag_id != AUTOMATIONS or run.state != "success":
        return {}
    try:
        return {"result": client.result(tasks[-1])}
    except TriggerError as error:
        # The run has succeeded nevertheless.
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


def confirm(question: str, what: str, instead: str = "") -> bool:
    """Ask at the terminal, and return whether the user confirm. Raises RequestRefused without a terminal."""
    if not is_terminal():
        raise RequestRefused(f"nobody is there to confirm {what}: add --yes{instead}")
    return click.confirm(question, err=True)


def wait_for_backfill(
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
        again = command_line(context, backfill.dag_id, "--backfill", "--watch", str(backfill.id))
        screen.say(f"the backfill goes on; to watch it again: {again}")
        raise
    show_backfill(screen, None, backfill, runs)
    return 1 if backfill_state(runs) == "failed" else 0


def find_dag(client: AirflowClient, dag_id: str) -> Dag:
    """Return a DAG. Raises RequestRefused if its file can't be imported."""
    dag = client.dag(dag_id)
    if dag.import_error:
        failures = [one for one in client.import_failures() if dag.dag_id in one.dag_ids]
        reason = f": {failures[0].reason}" if failures else ""
        raise RequestRefused(f"{dag.file}, which holds {dag.dag_id}, can't be imported{reason}")
    return dag


def ensure_unpaused(client: AirflowClient, screen: Screen, options: Mapping[str, Any], dag: Dag) -> None:
    """Unpause a paused DAG with --unpause, or if the user confirm; otherwise raise RequestRefused."""
    if not dag.paused:
        return
    if options["dry_run"] and options["unpause"]:
        screen.say(f"{dag.dag_id} is paused and would be unpaused")
        return
    if not options["unpause"]:
        asks = is_terminal() and not options["dry_run"]
        if not (asks and click.confirm(f"{dag.dag_id} is paused. Unpause it?", err=True)):
            raise RequestRefused(f"{dag.dag_id} is paused, so the run would wait for ever: add --unpause")
    client.unpause(dag.dag_id)
    screen.say(f"{dag.dag_id} is unpaused")


def show_request(screen: Screen, url: str, body: Mapping[str, Any]) -> None:
    def table() -> Group:
        return Group(cell(f"POST {url}"), cell(json.dumps(body, indent=2, ensure_ascii=False)))

    data = {"method": "POST", "url": url, "body": body}
    screen.show(data, table, [("POST", url, json.dumps(body, ensure_ascii=False))])


def command_line(context: click.Context, dag_id: str, *arguments: str) -> str:
    """Return the command that continues from here. It repeats the address and the user, but no secret."""
    whom = []
    for name in ("url", "username", "profile", "ca"):
        if context.get_parameter_source(name) == ParameterSource.COMMANDLINE:
            whom += [f"--{name}", context.params[name]]
    program = ("python", sys.argv[0])
    return shlex.join([*program, *whom, "--dag-id", dag_id, *arguments])
