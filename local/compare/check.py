"""Compares the source and the warehouse of a deployment in a folder, even while people write and if nothing is running.

It runs a reconciliation that only reports (`include/mirror/reconcile.py`), and prints the wrong rows, with some keys and
both values, and the rows that are still on their way. It also checks the warehouse's views.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from uuid import uuid4
from zoneinfo import ZoneInfo

from rich.console import Console
from rich.markup import escape
from rich.status import Status
from rich.table import Table
from rich.text import Text

from include.airflow_mirror import settings as variables
from include.mirror import contract
from include.mirror.declaration import Mirror, problems
from include.mirror.engine import Engine, Options
from include.mirror.errors import SchemaError
from include.mirror.ledger import Attempt, Ledger
from include.mirror.reconcile import ONLY_REPORT, Limits, ReconcileOptions, plan_reconciliation, reconcile
from include.mirror.reports import Report
from include.mirror.source.session import Source
from include.mirror.warehouse.client import Warehouse
from local.deployment.airflow import environment
from local.deployment.settings import FILE_NAME, Settings, SettingsError
from local.deployment.stack import Deployment, clickhouse_server
from local.deployment.supervisor import AlreadyRunningError

STYLES = {"equal": "green", "follows": "green", "unknown": "yellow", "differs": "bold red"}


class CheckError(Exception):
    """There is nothing to compare. The message says why."""


def run(
    folder: Path,
    console: Console,
    mirror: str,
    source: str | None = None,
    wait: float = 0,
    pause: Callable[[], None] = lambda: time.sleep(1),
) -> int:
    """Print the comparison. Return 0 if every row is equal or on its way, else 1.

    `mirror` is the place of the declaration, as `module:NAME`. `source` is a connection string of its PostgreSQL, None for
    the deployment's sales. If the deployment runs, this waits for the mirror, at most `wait` seconds for all tables
    together; `pause` sleeps in between. If it does not run, both databases are started, and stopped again at the end.

    Raises SettingsError if `folder` holds no deployment, CheckError or MirrorError if there is nothing to compare.
    """
    if not (folder / FILE_NAME).exists():
        raise SettingsError(f"there is no deployment in {folder}: `make demo` or `make local` makes one")
    declaration = load(mirror)
    try:
        with Deployment(folder) as deployment:
            deployment.supervisor.start(deployment.postgres, deployment.clickhouse)
            return _compare(_engine(deployment.settings, declaration, source), console, 0, pause)
    except AlreadyRunningError:
        return _compare(_engine(Settings.load(folder), declaration, source), console, wait, pause)


def load(text: str) -> Mirror:
    """Return the declaration at `module:NAME`. Raise CheckError if there is none, or if it is wrong."""
    module, _, name = text.partition(":")
    try:
        found = getattr(import_module(module), name)
    except (AttributeError, ImportError, ValueError) as error:
        raise CheckError(f"{text} can't be loaded: {error}; give module:NAME") from None
    except Exception as error:  # noqa: BLE001 - whatever it is, it goes into the message
        # Any error of a file that a person wrote, such as a syntax error or a wrong keyword of Table.
        raise CheckError(f"{module} does not load: {type(error).__name__}: {error}; correct it") from None
    if not isinstance(found, Mirror):
        raise CheckError(f"{text} is of type {type(found).__name__}, not a Mirror")
    if wrong := problems(found):
        raise CheckError("; ".join(wrong))
    return found


def _engine(settings: Settings, declaration: Mirror, source: str | None) -> Engine:
    """Return the mirror as the deployment's processes run it, except for the reading role."""
    known = environment(settings)
    of = variables.load(declaration.name, known)
    return Engine(
        declaration,
        Source(source or settings.source_dsn, _zone(declaration, known), of.timeout, declaration.source),
        Warehouse(clickhouse_server(settings).client, declaration.storage, declaration.views, of.cluster),
        Options(timeout=of.timeout, sweep=of.sweep, compare_keys=of.compare_keys),
    )


def _zone(declaration: Mirror, known: Mapping[str, str]) -> ZoneInfo:
    """Return the zone of the source's timestamps without zone, from its connection in the environment; else UTC."""
    connection = known.get(f"AIRFLOW_CONN_{declaration.source.upper()}", "")
    extra = json.loads(connection).get("extra") or {} if connection.startswith("{") else {}
    return ZoneInfo(extra.get("source_timezone", "UTC"))


def _compare(engine: Engine, console: Console, wait: float, pause: Callable[[], None]) -> int:
    deadline, reports = time.monotonic() + wait, list[Report]()
    attempt = Attempt(uuid4(), "local_check", 1)
    aside = _set_aside(engine)
    for name in plan_reconciliation(engine, {}):
        limits = Limits(share=1, patience=timedelta(seconds=max(0.0, deadline - time.monotonic())))
        with console.status(escape(f"comparing {name}")) if console.is_terminal else nullcontext() as status:

            def waiting(name: str = name, status: Status | None = status) -> None:
                if status is not None:
                    status.update(escape(f"{name}: waiting for what etl_{engine.declaration.label} owes"))
                pause()

            report = reconcile(
                engine, name, ReconcileOptions(only_report=True), attempt, limits, wait=waiting
            )
        if name in aside and report.word != "unknown":
            report = report.with_word("differs", f"it was set aside: {aside[name]}")
        reports.append(report)
    reports = list(_of_views(engine, reports))
    console.print(_table(reports))
    for line in _lines(reports):
        console.print(line)
    console.print(_verdict(reports))
    return 0 if all(report.word in ("equal", "follows") for report in reports) else 1


def _set_aside(engine: Engine) -> dict[str, str]:
    """Return the tables that the mirror does not move at present, with the reasons."""
    with engine.warehouse.client() as client:
        contents = contract.read(engine.warehouse, client)
        ledger = Ledger(engine.warehouse, client, built=contract.builds(contents))
        return ledger.ask("set_aside").set_aside if "cargas" in contents.storage else {}


def _of_views(engine: Engine, reports: Sequence[Report]) -> Iterator[Report]:
    """Yield the reports, with problems of the views added: people query the views, and not the compared tables."""
    with engine.clients() as (source, client):
        contents = contract.read(engine.warehouse, client)
        tables, _ = engine.tables(source, client, [report.tabela for report in reports])
        for report in reports:
            table, view = tables.get(report.tabela), f"{engine.declaration.views}.{report.tabela}"
            why = ""
            if table is not None:
                try:
                    if contract.lacks_view(engine.warehouse, contents.views.get(report.tabela), table.spec):
                        why = f"the view {view} is missing, or has other columns: the next run makes it"
                except SchemaError as error:
                    why = str(error)
            yield (
                report.with_word("differs", "; ".join(filter(None, (report.reason, why)))) if why else report
            )


def _table(reports: Sequence[Report]) -> Table:
    # Narrow enough for the sales tables on 80 columns.
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("table", overflow="fold")
    for heading in (
        "source",
        "warehouse",
        "missing",
        "too\nmany",
        "different",
        "on the\nway",
        "not\nknown",
    ):
        # On a narrow terminal a number continues on the next line, and keeps its last digits.
        table.add_column(heading, justify="right", overflow="fold")
    table.add_column("result", no_wrap=True)
    for one in reports:
        counts = [f"{one.rows_source:,}", f"{one.rows_warehouse:,}"] if one.version else ["?", "?"]
        for count in (one.missing, one.extra + one.deleted, one.different, one.coming, one.undecided):
            counts.append(f"{count:,}" if count else "")
        # Escaped, because a name may look like rich's markup.
        table.add_row(escape(one.tabela), *counts, Text(one.word, style=STYLES[one.word]))
    return table


def _lines(reports: Sequence[Report]) -> Iterator[Text]:
    """Yield a line for each sample row and for each reason."""
    for one in reports:
        found = [*one.samples]
        if found and (rest := (one.wrong + one.deleted or one.undecided) - len(found)) > 0:
            found.append(f"and {rest:,} more")
        if why := one.reason.removeprefix(ONLY_REPORT).removeprefix("; "):
            found.append(why)
        for line in found:
            yield Text(f"{one.tabela}: {line}", style=STYLES[one.word] if one.word != "follows" else "")


def _verdict(reports: Sequence[Report]) -> Text:
    wrong = sum(one.wrong + one.deleted for one in reports)
    undecided = sum(one.undecided for one in reports)
    coming = sum(one.coming for one in reports)
    words = [one.word for one in reports]
    bad, unknown = words.count("differs"), words.count("unknown")
    texts = []
    if bad:
        texts.append(f"Differs: {bad} of {len(words)} tables, wrong rows: {wrong:,}.")
    if unknown or undecided:
        texts.append(
            f"Not known: {unknown} of {len(words)} tables; rows that only the next run can decide: {undecided:,}."
        )
    if not texts:
        texts.append("Not one row that has been moved differs." if coming else "Not one row differs.")
    if coming:
        texts.append(
            f"Rows on their way: {coming:,}, written after all that has been moved. That is lag, not a difference."
        )
    style = "differs" if bad else "unknown" if unknown else "equal"
    return Text(" ".join(texts), style=STYLES[style])
