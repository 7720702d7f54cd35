"""What the tasks of `etl_vendas` do: plan, move a batch, check that nothing planned is missing."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from include.conventions import queues
from include.mirror import batch as batches
from include.mirror import source as pg
from include.mirror import telemetry
from include.mirror import warehouse as ch
from include.mirror.batch import Batch
from include.mirror.errors import RequestError, VerificationError
from include.mirror.ledger import TABLE as LEDGER
from include.mirror.ledger import Attempt
from include.mirror.move import Mirror
from include.mirror.plan import Read, covered_until, plan
from include.mirror.window import Window, resolve
from include.vendas import connections
from include.vendas.settings import Settings
from include.vendas.tables import CREATE_FIRST, SQL, TABLES

if TYPE_CHECKING:
    import psycopg

log = logging.getLogger(__name__)

CONF_KEYS = ("inicio", "fim", "tabelas")


def mirror(settings: Settings) -> Mirror:
    """Return the mirror of the six tables between the two connections."""
    return Mirror(
        connections.source(settings.timeout),
        connections.warehouse(settings.cluster),
        TABLES,
        SQL,
        grace=settings.grace,
    )


def plan_windows(
    mirror: Mirror,
    settings: Settings,
    conf: Mapping[str, Any],
    data_interval: tuple[datetime | None, datetime | None],
) -> list[Batch]:
    """Return everything that is owed, in batches; raise before anything is loaded when something is wrong."""
    # Where a run's tasks wait is none of the mirror's business.
    if unknown := [key for key in conf if key not in (*CONF_KEYS, queues.KEY)]:
        raise RequestError(
            f"unknown conf key {', '.join(map(repr, unknown))}; there are {', '.join(CONF_KEYS)}"
        )
    request = resolve(conf, data_interval, tuple(mirror.tables))
    with mirror.source.connect() as source, mirror.warehouse.client() as warehouse:
        pg.check_server(source)
        if not request.fill_gaps:
            pg.refuse_future(source, request.interval.fim)
        for spec in mirror.tables.values():
            pg.check_columns(source, spec)
            pg.check_watermark(source, spec)
        cluster = mirror.warehouse.cluster
        if cluster is not None:
            cluster.check(warehouse)
        ch.create(
            warehouse, [*CREATE_FIRST, *(spec.create_table for spec in mirror.tables.values())], cluster
        )
        if cluster is not None:
            cluster.check_replicas(warehouse, mirror.warehouse.database, (LEDGER, *mirror.tables))
        for spec in mirror.tables.values():
            ch.check_table(warehouse, mirror.warehouse.database, spec)
        for spec in mirror.tables.values():
            ch.create_view(warehouse, mirror.warehouse.views, mirror.warehouse.database, spec, cluster)
        # Twice the limit: an attempt that Airflow gave up on may take a moment to end.
        ch.drop_old_stages(warehouse, mirror.warehouse.database, 2 * settings.timeout)
        oldest = _oldest(mirror, source, mirror.tables)
        # The ledger first: a transaction that ends between the two is then found gone, not overlooked.
        state = mirror.ledger(warehouse).state()
        _report_lag(state.coverage, oldest, mirror.tables, pg.clock(source))
        reads = plan(state, pg.open_transactions(source), request, oldest, tuple(mirror.tables))

        def split(window: Window) -> list[Window]:
            return pg.split(
                source, mirror.tables[window.tabela], window, mirror.source.zone, settings.max_rows
            )

        planned = batches.group(reads, split, uuid4(), settings.tasks)
    for read in reads:
        log.info("%s %s", "re-read" if read.reread else "window", read.window)
    return planned


def move_batch(mirror: Mirror, batch: Batch, run_id: str, try_number: int) -> dict[str, int]:
    """Move a batch, pass by pass, leaving out what an earlier try has done; return rows moved per table."""
    attempt = Attempt(batch.plan, run_id, try_number)
    moved: dict[str, int] = {}
    with mirror.open() as mover:
        ledger = mirror.ledger(mover.client)
        done = ledger.done(batch.plan)
        for reads in batch.passes:
            remaining = [read for read in reads if _identity(read) not in done]
            if len(remaining) < len(reads):
                log.info("%d windows were moved by an earlier try of this plan", len(reads) - len(remaining))
            if remaining:
                for entry in mover.move(remaining, attempt):
                    name = entry.read.window.tabela
                    moved[name] = moved.get(name, 0) + entry.rows
        tables = {read.window.tabela for read in batch.reads}
        oldest = _oldest(mirror, mover.connection, tables)
        _report_lag(ledger.coverage(), oldest, tables, pg.clock(mover.connection))
    return moved


def check(mirror: Mirror, planned: Iterable[Batch]) -> int:
    """Raise VerificationError for any planned window without its ledger row; return how many there are."""
    count = 0
    with mirror.warehouse.client() as client:
        ledger = mirror.ledger(client)
        for batch in planned:
            done = ledger.done(batch.plan)
            if missing := [read for read in batch.reads if _identity(read) not in done]:
                raise VerificationError(
                    f"{len(missing)} planned windows have no ledger row, the first {missing[0].window}"
                )
            count += len(batch.reads)
    return count


def _oldest(mirror: Mirror, source: psycopg.Connection[Any], tables: Iterable[str]) -> dict[str, datetime]:
    """Return the instant of the oldest row of each table that has rows."""
    return {
        name: instant
        for name in tables
        if (instant := pg.oldest(source, mirror.tables[name], mirror.source.zone)) is not None
    }


def _report_lag(
    coverage: Collection[Window], oldest: Mapping[str, datetime], tables: Iterable[str], now: datetime
) -> None:
    for name in tables:
        until = covered_until(coverage, name, oldest.get(name), now)
        if until is not None:
            telemetry.covered(name, until, now)


def _identity(read: Read) -> tuple[Window, bool]:
    return read.window, read.reread is not None
