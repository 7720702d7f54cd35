"""Options and arguments that several commands share, and the decorators that create commands."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.shell_completion import get_completion_class

from trigger.address import DEFAULT_URL
from trigger.conf import parse_duration
from trigger.errors import TriggerError
from trigger.login import connect, find_login
from trigger.screen import Screen
from trigger.text import did_you_mean

if TYPE_CHECKING:
    from trigger.client import AirflowClient

Result = TypeVar("Result")

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


class Commands(click.Group):
    """Commands, each with its own options. Options before a command's name are passed to the command."""

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        _, rest, _ = self.make_parser(context).parse_args(list(args))
        if rest and rest[0] in self.commands:
            args = [rest[0], *args[: len(args) - len(rest)], *rest[1:]]
        return super().parse_args(context, args)

    def resolve_command(
        self, context: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in self.commands:
            hint = did_you_mean(args[0], self.commands) or f"; there are {', '.join(self.commands)}"
            raise click.UsageError(f"there is no command {args[0]!r}{hint}", context)
        return super().resolve_command(context, args)


class RootCommand(Commands):
    """The flags for DAGs, and the commands."""

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(context, join_json(self, args, _conf_starts))

    def format_epilog(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        formatter.write_paragraph()
        formatter.write(EXAMPLES.replace("\b\n", ""))


class WithPayload(click.Command):
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
    """Return the arguments, with JSON that the shell has split joined again.

    `starts` gets the previous argument, an argument, and the names of options that take a value; it returns whether JSON
    may begin at this argument.
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
        # Join until it is JSON; otherwise up to the next option, for the error message.
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


def completes(
    names: Callable[[AirflowClient], Iterable[str]],
) -> Callable[[click.Context, click.Parameter, str], list[str]]:
    """Return a function for shell completion, which completes the names that the API returns."""

    def complete(context: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
        from trigger.client import AirflowClient

        # A failed completion must not print anything.
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


def dag_ids(client: AirflowClient) -> list[str]:
    return [dag.dag_id for dag in client.dags()]


def _tasks(client: AirflowClient) -> list[str]:
    return [function.task for module in client.modules() for function in module.functions]


def _job_names(client: AirflowClient) -> list[str]:
    return [job.name for job in client.jobs()]


def print_completion(context: click.Context, _: click.Parameter, shell: str | None) -> None:
    if shell is None or context.resilient_parsing:
        return
    kind = get_completion_class(shell)
    if kind is not None:
        click.echo(kind(context.command, {}, "trigger_script.py", COMPLETE).source())
    context.exit()


COMPLETE = "_TRIGGER_SCRIPT_COMPLETE"


Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def _together(*decorators: Decorator) -> Decorator:
    """Return several decorators as one. The first is the outermost, as if they were written one above the other."""

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
        help=f"The API server; {DEFAULT_URL} by default.",
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


Action = Callable[["AirflowClient", Screen, click.Context], int]


def run_action(context: click.Context, action: Action) -> int:
    screen = Screen(context.params["output"], context.params["verbose"])
    context.find_root().obj = screen
    with connect(context, screen) as client:
        return action(client, screen, context)


def given(options: Mapping[str, Any], name: str, parse: Callable[[str, str], Result]) -> Result | None:
    return None if options[name] is None else parse(options[name], f"--{name.replace('_', '-')}")


def timeout_of(options: Mapping[str, Any]) -> float | None:
    if options["timeout"] is not None and not any(options.get(name) for name in ("watch", "wait", "logs")):
        raise click.UsageError("--timeout says how long to wait: add --wait")
    duration = given(options, "timeout", parse_duration)
    return None if duration is None else duration.total_seconds()


def subcommand(
    group: click.Group, name: str, *options: Decorator, **settings: Any
) -> Callable[[Action], Action]:
    """Return a decorator that makes an action a command, with these options and the shared ones."""

    def add(action: Action) -> Action:
        @click.pass_context
        def perform(context: click.Context, **_: Any) -> int:
            return run_action(context, action)

        perform.__doc__ = action.__doc__
        group.command(name, **settings)(_together(*options, SHARED)(perform))
        return action

    return add


PAYLOAD = _together(
    click.argument("task", metavar="TASK", shell_complete=completes(_tasks)),
    click.argument("words", metavar="[PAYLOAD]", nargs=-1),
    click.option("-f", "--file", metavar="FILE", help="A file with the payload; - reads standard input."),
    click.option(
        "--set",
        "assignments",
        metavar="NAME=VALUE",
        multiple=True,
        help="One argument by its name; JSON where it parses.",
    ),
    click.option(
        "--queue", metavar="NAME", help="The queue: high, default or low. Without this option, it is default."
    ),
)


NAMES = click.argument(
    "names", metavar="NAME...", nargs=-1, required=True, shell_complete=completes(_job_names)
)
