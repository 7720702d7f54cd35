"""Compares the source and the warehouse of a deployment in a folder, whether it runs or not."""

from __future__ import annotations

from contextlib import closing
from importlib import import_module
from pathlib import Path

from rich.console import Console

from include.mirror.declaration import Mirror, problems
from local.compare import CompareError, compare
from local.demo_view import difference_lines, differences_tables
from local.settings import FILE_NAME, Settings, SettingsError
from local.stack import Deployment, clickhouse_server
from local.supervisor import AlreadyRunningError


def run(folder: Path, console: Console, mirror: str, source: str | None = None) -> int:
    """Print the comparison; return 0 when not one value differs, else 1.

    `mirror` is where the declaration is, as `module:NAME`, and `source` a connection string for its PostgreSQL, the
    deployment's sales where it is None. Starts the two databases, and stops them again, unless the deployment is
    running. Raises SettingsError when there is none in `folder`, CompareError when there is nothing to compare.
    """
    if not (folder / FILE_NAME).exists():
        raise SettingsError(f"there is no deployment in {folder}: `make demo` or `make local` makes one")
    declaration = load(mirror)
    try:
        with Deployment(folder) as deployment:
            deployment.supervisor.start(deployment.postgres, deployment.clickhouse)
            return _compare(deployment.settings, console, declaration, source)
    except AlreadyRunningError:
        return _compare(Settings.load(folder), console, declaration, source)


def load(text: str) -> Mirror:
    """Return the declaration that `module:NAME` stands for; raise CompareError where it is none, or a wrong one."""
    module, _, name = text.partition(":")
    try:
        found = getattr(import_module(module), name)
    except (AttributeError, ImportError, ValueError) as error:
        raise CompareError(f"{text} can't be loaded: {error}; give module:NAME") from None
    except Exception as error:  # noqa: BLE001 - whatever it is, it goes into the message
        # Whatever a file does that a person wrote: a keyword that Table does not have, a syntax error.
        raise CompareError(f"{module} does not load: {type(error).__name__}: {error}; mend it") from None
    if not isinstance(found, Mirror):
        raise CompareError(f"{text} is of type {type(found).__name__}, not a Mirror")
    if wrong := problems(found):
        raise CompareError("; ".join(wrong))
    return found


def _compare(settings: Settings, console: Console, mirror: Mirror, source: str | None) -> int:
    with closing(clickhouse_server(settings).client()) as warehouse:
        differences = compare(source or settings.source_dsn, warehouse, mirror)
    console.print(differences_tables(differences, {}))
    for line in difference_lines(differences):
        console.print(line)
    return 0 if all(one.same for one in differences) else 1
