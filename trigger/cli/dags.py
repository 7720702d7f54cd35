"""The command itself. Its flags are for DAGs: list, trigger, watch, backfill, state."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from trigger.address import VERSION, quoted
from trigger.cli.options import (
    SHARED,
    WAITING,
    Action,
    RootCommand,
    completes,
    dag_ids,
    given,
    print_completion,
    run_action,
    timeout_of,
)
from trigger.cli.waiting import (
    command_line,
    confirm,
    ensure_unpaused,
    find_dag,
    show_or_wait,
    show_request,
    suggest_watch,
    wait_for_backfill,
    wait_for_run,
)
from trigger.conf import check_conf, parse_duration, parse_instant, read_conf
from trigger.errors import ApiUnavailable, NotFound, RequestRefused
from trigger.model import Dag
from trigger.request import RunRequest
from trigger.screen import Screen
from trigger.tables import show_backfill, show_dags, show_import_failures, show_state

if TYPE_CHECKING:
    from trigger.client import AirflowClient

# The options of each action. An option for another action is refused, because it would have no effect.
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


@click.group(
    cls=RootCommand,
    invoke_without_command=True,
    subcommand_metavar="[COMMAND]",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.option("--list", "list_dags", is_flag=True, help="List the DAGs.")
@click.option(
    "--dag-id", metavar="ID", shell_complete=completes(dag_ids), help="The DAG to trigger or watch."
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
    callback=print_completion,
    help="Print what completes this command in a shell.",
)
@click.version_option(VERSION, message="trigger_script.py %(version)s")
@click.pass_context
def command(context: click.Context, **options: Any) -> int:
    """List, trigger and watch Airflow DAGs.

    Before a run is created, it is checked that the DAG exists, can be imported and is not paused, and that conf
    fits the DAG's Params.

    The commands are for automations; each has its own --help.
    """
    if context.invoked_subcommand is not None:
        return 0
    action = _find_action(context)
    if len(options["conf"]) > 1:
        raise click.UsageError("--conf is given twice; --set subcommand single keys to it")
    context.params["conf"] = options["conf"][0] if options["conf"] else None
    return run_action(context, ACTIONS[action])


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
        logical_date=given(options, "logical_date", parse_instant),
        run_after=given(options, "run_after", parse_instant),
        delay=given(options, "delay", parse_duration),
        note=options["note"],
    )
    timeout = timeout_of(options)
    dag = _preflight(client, screen, context, conf)
    if options["dry_run"]:
        show_request(screen, f"{client.url}/api/v2/dags/{quoted(dag.dag_id)}/dagRuns", request.body)
        return 0
    try:
        run = client.send(request)
    except (ApiUnavailable, KeyboardInterrupt):
        suggest_watch(screen, context, request.dag_id, request.run_id)
        raise
    return show_or_wait(client, screen, context, run, timeout)


def _watch(client: AirflowClient, screen: Screen, context: click.Context) -> int:
    timeout = timeout_of(context.params)
    run = client.run(context.params["dag_id"], context.params["watch"])
    return wait_for_run(client, screen, context, run, timeout)


def _backfill(client: AirflowClient, screen: Screen, context: click.Context) -> int:
    options = context.params
    if options["inicio"] is None or options["fim"] is None:
        raise click.UsageError("--backfill needs --inicio and --fim")
    conf = read_conf(options["conf"], options["file"], options["assignments"])
    interval = _interval(options, conf)
    if interval is None:
        raise AssertionError("both bounds were given")
    timeout = timeout_of(options)
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
    if not options["yes"] and not confirm("Start the backfill?", "the backfill", ", or --dry-run to see it"):
        raise RequestRefused("nothing was started")
    try:
        backfill = client.start_backfill(plan)
    except (ApiUnavailable, KeyboardInterrupt):
        page = f"{client.url}/dags/{quoted(dag.dag_id)}/backfills"
        screen.say(f"the backfill may have been started all the same; to see: {page}")
        raise
    if not options["wait"]:
        show_backfill(screen, plan, backfill, client.backfill_runs(backfill))
        again = command_line(context, dag.dag_id, "--backfill", "--watch", str(backfill.id))
        screen.say(f"to watch it: {again}")
        return 0
    return wait_for_backfill(client, screen, context, backfill, timeout)


def _watch_backfill(client: AirflowClient, screen: Screen, context: click.Context) -> int:
    options = context.params
    if not options["watch"].isdecimal():
        raise RequestRefused(f"{options['watch']!r} is not the number of a backfill")
    timeout = timeout_of(options)
    backfill = client.backfill(int(options["watch"]))
    if backfill.dag_id != options["dag_id"]:
        raise NotFound(f"backfill {backfill.id} is of DAG {backfill.dag_id!r}, not of {options['dag_id']!r}")
    return wait_for_backfill(client, screen, context, backfill, timeout)


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
    """Return the DAG. Raises NotFound or RequestRefused for errors that would otherwise show only after the run exists."""
    options = context.params
    dag = find_dag(client, options["dag_id"])
    check_conf(dag, conf, allow_undeclared=options["allow_undeclared"])
    ensure_unpaused(client, screen, options, dag)
    return dag


def _interval(options: Mapping[str, Any], conf: Mapping[str, Any]) -> tuple[datetime, datetime] | None:
    """Return [inicio, fim) from the options. Raises RequestRefused if conf contradicts them."""
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
