"""The commands for automations and their jobs."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click
from rich.console import Group

from trigger.address import AUTOMATIONS, JOBS, SERVICE
from trigger.cli.dags import command
from trigger.cli.options import (
    NAMES,
    PAYLOAD,
    SHARED,
    WAITING,
    Commands,
    WithPayload,
    given,
    subcommand,
    timeout_of,
)
from trigger.cli.waiting import confirm, ensure_unpaused, find_dag, show_or_wait, show_request, suggest_watch
from trigger.conf import parse_duration, read_payload
from trigger.errors import ApiUnavailable, NotAllowed, NotFound, RequestRefused
from trigger.model import Job
from trigger.request import TaskRequest
from trigger.screen import Screen, cell
from trigger.tables import show_jobs, show_modules

if TYPE_CHECKING:
    from trigger.client import AirflowClient


@subcommand(
    command,
    "enqueue",
    PAYLOAD,
    click.option("--delay", metavar="DURATION", help="Start after so long, such as 2h10m20s."),
    click.option("--run-id", metavar="ID", help="The run's id; asking twice with the same makes one run."),
    click.option("--note", metavar="TEXT", help="A note on the run."),
    click.option("--unpause", is_flag=True, help=f"Unpause {AUTOMATIONS} first."),
    click.option("--dry-run", is_flag=True, help="Print the request, create nothing."),
    WAITING,
    cls=WithPayload,
)
def _enqueue(client: AirflowClient, screen: Screen, context: click.Context) -> int:
    """Run an automation once.

    TASK is module.function, or only the function if one module has it. PAYLOAD has its arguments: a JSON object by name
    such as '{"email": "ana@example.com"}', or a list; or @payload.json, or - for standard input.
    """
    options = context.params
    args, kwargs = read_payload(options["words"], options["file"], options["assignments"])
    request = TaskRequest.make(
        options["task"],
        args,
        kwargs,
        queue=options["queue"],
        delay=given(options, "delay", parse_duration),
        run_id=options["run_id"],
        note=options["note"],
    )
    timeout = timeout_of(options)
    ensure_unpaused(client, screen, options, find_dag(client, AUTOMATIONS))
    if options["dry_run"]:
        show_request(screen, f"{client.url}{SERVICE}{request.path}", request.body)
        return 0
    try:
        run = client.send_task(request)
    except (ApiUnavailable, KeyboardInterrupt):
        suggest_watch(screen, context, AUTOMATIONS, request.run_id)
        raise
    return show_or_wait(client, screen, context, run, timeout)


@subcommand(command, "modules")
def _list_modules(client: AirflowClient, screen: Screen, context: click.Context) -> int:
    """List the automations and their arguments."""
    modules = client.modules()
    show_modules(screen, modules)
    for module in modules:
        if module.error is not None:
            screen.warn(f"module {module.module} can't be read: {module.error}")
    if not modules:
        screen.say("there are no automations")
    return 0


@subcommand(
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
    if not options["yes"] and not confirm(f"Remove {what}?", "that runs are removed"):
        raise RequestRefused("nothing was removed")
    removed = client.clean_queue(queue, scheduled=scheduled)
    screen.show(
        {"queue": queue, "scheduled": scheduled, "removed": removed},
        lambda: Group(cell(f"removed {removed} run(s)")),
        [(removed,)],
    )
    return 0


@command.group(cls=Commands, no_args_is_help=False)
@SHARED
def jobs(**_: Any) -> None:
    """List and change the jobs: automations that run at the times of a cron expression."""


@subcommand(jobs, "list")
def _list_jobs(client: AirflowClient, screen: Screen, context: click.Context) -> int:
    """List the jobs."""
    found = client.jobs()
    show_jobs(screen, found)
    if not found:
        screen.say("there are no jobs")
    return 0


@subcommand(
    jobs,
    "add",
    click.argument("name"),
    PAYLOAD,
    click.option("--cron", metavar="EXPRESSION", required=True, help="When, such as '*/5 * * * *'."),
    click.option(
        "--timezone", metavar="ZONE", help="The time zone, such as America/Sao_Paulo; UTC by default."
    ),
    click.option(
        "--missed",
        type=click.Choice(["skip", "once", "all"]),
        help="What to do with due times that were missed; once by default.",
    ),
    click.option("--paused", is_flag=True, help="Add it without letting it run yet."),
    click.option("--unpause", is_flag=True, help=f"Unpause {JOBS}, which starts the jobs."),
    cls=WithPayload,
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
    _ensure_jobs_run(client, screen, options["unpause"])
    return 0


def _ensure_jobs_run(client: AirflowClient, screen: Screen, unpause: bool) -> None:
    """Unpause the DAGs without which no job runs, or warn that they are paused."""
    for dag_id in (JOBS, AUTOMATIONS):
        try:
            paused = client.dag(dag_id).paused
        except (NotAllowed, NotFound):  # not every user may see both
            continue
        if paused and unpause:
            client.unpause(dag_id)
            screen.say(f"{dag_id} is unpaused")
        elif paused:
            screen.warn(f"{dag_id} is paused, so no job runs: repeat this command with --unpause")


@subcommand(jobs, "pause", NAMES)
def _pause_jobs(client: AirflowClient, screen: Screen, context: click.Context) -> int:
    """Pause jobs until they are resumed."""
    return _change_jobs(client, screen, context, lambda name: client.switch_job(name, enabled=False))


@subcommand(jobs, "resume", NAMES)
def _resume_jobs(client: AirflowClient, screen: Screen, context: click.Context) -> int:
    """Resume paused jobs."""
    return _change_jobs(client, screen, context, lambda name: client.switch_job(name, enabled=True))


@subcommand(jobs, "remove", NAMES)
def _remove_jobs(client: AirflowClient, screen: Screen, context: click.Context) -> int:
    """Remove jobs; the runs that they have started stay."""
    return _change_jobs(client, screen, context, client.remove_job)


def _change_jobs(
    client: AirflowClient, screen: Screen, context: click.Context, change: Callable[[str], Job]
) -> int:
    names = context.params["names"]
    for name in names:
        client.job(name)  # raises for a wrong name before any job is changed
    show_jobs(screen, [change(name) for name in names])
    return 0
