"""The embedded deployment from the command line: `python -m local --help`."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NoReturn

import click
import psycopg
import pymysql
from rich.console import Console
from rich.table import Table

from local.deployment.api import ApiError
from local.deployment.settings import DEFAULT_FOLDER, FILE_NAME, Settings, SettingsError
from local.deployment.supervisor import AlreadyRunningError, ProcessDiedError, recorded
from local.servers.server import ServerError

INTERRUPTED = 130
SALES = "include.vendas.tables:VENDAS"


class NothingComparedError(click.ClickException):
    """Nothing could be compared: exit code 2, because 1 means a difference."""

    exit_code = 2


def _folder(default: Path) -> Callable[[Callable[..., None]], Callable[..., None]]:
    return click.option(
        "--folder",
        type=click.Path(path_type=Path, file_okay=False),
        default=default,
        help=f"Folder of the deployment's data, logs and settings; default {default.relative_to(DEFAULT_FOLDER.parent)}.",
    )


@contextmanager
def _explained(
    failure: type[click.ClickException] = click.ClickException, interrupted: int = INTERRUPTED
) -> Iterator[None]:
    """Print expected errors as one message instead of a traceback, and stop cleanly at the first signal.

    `interrupted` is the exit code after a signal.
    """

    def interrupt(_signum: int, _frame: FrameType | None) -> NoReturn:
        # The stop takes a limited time, but a second signal during it would leave processes behind: ignore further ones.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)
    # Imported here, because these imports take a second and `--help` does not need them.
    from clickhouse_connect.driver.exceptions import ClickHouseError

    from include.conventions.errors import TaskError
    from local.compare.check import CheckError
    from local.compare.database import CompareError
    from local.demos.vendas import DemoError
    from local.servers.debian import DebianError
    from local.source.base import SourceError

    try:
        yield
    except KeyboardInterrupt:
        click.echo("Stopped.", err=True)
        sys.exit(interrupted)
    except (
        AlreadyRunningError,
        ApiError,
        CheckError,
        ClickHouseError,
        CompareError,
        DebianError,
        DemoError,
        ProcessDiedError,
        ServerError,
        SettingsError,
        SourceError,
        TaskError,
        psycopg.Error,
        pymysql.MySQLError,
    ) as error:
        raise failure(str(error)) from error


def _settings(folder: Path) -> Settings:
    """Return the settings of an existing deployment. Raises SettingsError if there is none."""
    if not (folder / FILE_NAME).exists():
        raise SettingsError(f"there is no deployment in {folder}: start one with `make local`")
    return Settings.load(folder)


def _console() -> Console:
    console = Console()
    # A pipe or file has no width, and the tables need 120 columns.
    return console if console.is_terminal else Console(width=120)


@click.group()
def main() -> None:
    """Run the whole project on this machine: PostgreSQL, ClickHouse, Redis, Airflow, a simulator of sales."""


@main.command()
@_folder(DEFAULT_FOLDER)
@click.option("--rate", type=click.FloatRange(min=0), default=2.0, help="Sales a second; 0 writes none.")
@click.option("--history", type=click.IntRange(min=1), default=50_000, help="Sales in a new source.")
@click.option("--loja", is_flag=True, help="Run the store's servers too: MariaDB, RabbitMQ, SQS and S3.")
def up(folder: Path, rate: float, history: int, loja: bool) -> None:
    """Start everything and keep it running until Ctrl-C, which is its normal end: exit code 0."""
    from local.deployment.up import run

    # With another code, `make local` would end with an error message.
    with _explained(interrupted=0):
        run(folder, _console(), rate, history, loja)


@main.command()
@_folder(DEFAULT_FOLDER / "demo")
def demo(folder: Path) -> None:
    """Watch sales move from PostgreSQL to ClickHouse; exit code 0 only if no value differs."""
    from local.demos import vendas as demonstration

    with _explained():
        sys.exit(demonstration.run(folder, _console()))


@main.command("demo-ocorrencias")
@_folder(DEFAULT_FOLDER / "demo-ocorrencias")
def demo_ocorrencias(folder: Path) -> None:
    """Replay recorded incidents through ocorrencias_cet_rio; exit code 0 only if CSV and warehouse agree."""
    from local.demos import ocorrencias as demonstration

    with _explained():
        sys.exit(demonstration.run(folder, _console()))


@main.command("demo-loja")
@_folder(DEFAULT_FOLDER / "demo-loja")
def demo_loja(folder: Path) -> None:
    """Run the store's seven DAGs, kill a worker and restart the broker; exit code 0 only if all results are right."""
    from local.demos import loja as demonstration

    with _explained():
        sys.exit(demonstration.run(folder, _console()))


@main.command()
@_folder(DEFAULT_FOLDER / "demo")
@click.option("--mirror", default=SALES, show_default=True, help="The mirror's declaration, as module:NAME.")
@click.option(
    "--source", help="libpq connection string of the source; default: the deployment's sales database."
)
@click.option(
    "--wait",
    type=click.FloatRange(min=0),
    default=180.0,
    show_default=True,
    help="How many seconds to wait, in all, until the mirror of a running deployment has caught up; 0: do not wait.",
)
def check(folder: Path, mirror: str, source: str | None, wait: float) -> None:
    """Compare source and warehouse of a deployment, running or not, while people write.

    Prints the keys of wrong rows. Rows that the mirror has not moved yet do not count as wrong. Exit code 0 if every row is
    equal or not moved yet, 1 if a row is wrong or a table can't be compared, 2 if nothing can be compared.
    """
    from local.compare.check import run

    # The printed table has what the mirror would log.
    logging.disable(logging.WARNING)
    try:
        with _explained(NothingComparedError):
            sys.exit(run(folder, _console(), mirror, source, wait))
    finally:
        logging.disable(logging.NOTSET)


@main.command()
@_folder(DEFAULT_FOLDER)
def status(folder: Path) -> None:
    """List the processes of a deployment; exit code 1 if there are none."""
    with _explained():
        running = recorded(folder)
        table = Table("process", "id", "log", box=None)
        for name, pid, log in running:
            table.add_row(name, str(pid), str(log))
        _console().print(table if running else f"Nothing runs in {folder}.")
    sys.exit(0 if running else 1)


def _shell(database: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Add the options of a shell."""

    def options(command: Callable[..., None]) -> Callable[..., None]:
        for option in (
            click.option(
                "-c",
                "--command",
                metavar="SQL",
                help="Run these statements and end; default: a prompt, or a pipe.",
            ),
            click.option("-d", "--database", default=database, show_default=True, help="The database."),
            _folder(DEFAULT_FOLDER),
        ):
            command = option(command)
        return command

    return options


@main.command()
@_shell("vendas")
def psql(folder: Path, database: str, command: str | None) -> None:
    """Open psql on the PostgreSQL of a running deployment: the sales; `--database airflow` for Airflow's own."""
    from local.deployment import shells

    with _explained():
        shells.psql(_settings(folder), database, command)


@main.command()
@_shell("default")
def clickhouse(folder: Path, database: str, command: str | None) -> None:
    """Open a shell on the ClickHouse of a running deployment, which has the mirror in `vendas_dw`."""
    from local.deployment import shells

    with _explained():
        shells.clickhouse(_settings(folder), database, command)


@main.command()
@_shell("loja")
def mysql(folder: Path, database: str, command: str | None) -> None:
    """Open a shell on the MariaDB of a running deployment with the store's servers."""
    from local.deployment import shells

    with _explained():
        shells.mysql(_settings(folder), database, command)


@main.command(context_settings={"allow_interspersed_args": False})
@_folder(DEFAULT_FOLDER)
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def env(folder: Path, command: tuple[str, ...]) -> None:
    """Run COMMAND in the environment of a running deployment, such as `python trigger_script.py --list`.

    Everything after COMMAND belongs to it, also `--help` and `--folder`.
    """
    from local.deployment.airflow import environment

    with _explained():
        settings = _settings(folder)
    variables = {
        **environment(settings),
        # Address and login for trigger_script.py.
        "AIRFLOW_API_URL": settings.url,
        "AIRFLOW_USERNAME": settings.admin_user,
        "AIRFLOW_PASSWORD": settings.admin_password,
    }
    path = f"{Path(sys.executable).parent}{os.pathsep}{variables.get('PATH', '')}"
    os.execvpe(command[0], list(command), {**variables, "PATH": path})  # noqa: S606 (no shell; the user's own command)


if __name__ == "__main__":
    main()
