"""Compares the source and the warehouse of a deployment in a folder, whether it runs or not."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from rich.console import Console

from local.compare import compare
from local.demo_view import differences_tables
from local.settings import FILE_NAME, Settings, SettingsError
from local.stack import Deployment, clickhouse_server
from local.supervisor import AlreadyRunningError


def run(folder: Path, console: Console) -> int:
    """Print the comparison; return 0 when not one value differs, else 1.

    Starts the two databases, and stops them again, unless the deployment is running. Raises SettingsError when
    there is none in `folder`.
    """
    if not (folder / FILE_NAME).exists():
        raise SettingsError(f"there is no deployment in {folder}: `make demo` or `make local` makes one")
    try:
        with Deployment(folder) as deployment:
            deployment.supervisor.start(deployment.postgres, deployment.clickhouse)
            return _compare(deployment.settings, console)
    except AlreadyRunningError:
        return _compare(Settings.load(folder), console)


def _compare(settings: Settings, console: Console) -> int:
    with closing(clickhouse_server(settings).client()) as warehouse:
        differences = compare(settings.source_dsn, warehouse)
    console.print(differences_tables(differences, {}))
    return 0 if all(one.same for one in differences) else 1
