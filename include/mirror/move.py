"""Moving windows: extract, stage, verify, publish, verify again, and only then the ledger row.

Windows that share a snapshot are all staged and verified before any of them is published.

What a crash leaves after each step, and why that is harmless:

| dies after        | left behind                   | what happens next                                         |
|-------------------|-------------------------------|-----------------------------------------------------------|
| noting, snapshot  | nothing                       | PostgreSQL ends the sessions; the window is planned again |
| extract, stage    | a stage nobody reads          | planned again; a later run drops the stage                |
| some partitions   | correct rows of this snapshot | planned again; the next snapshot's versions replace them  |
| all partitions    | the same                      | the same                                                  |
| the ledger row    | a stage nobody reads          | the window is done                                        |

Two of these at once, for the same window or for others, in any order: rows carry the order of their snapshots
as version, so the newest snapshot's state of a row wins wherever it is published first, and every ledger row
is true by itself. A transaction that one of them may have missed stands in its row's notes.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import chain
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from include.mirror import source as pg
from include.mirror import telemetry
from include.mirror import warehouse as ch
from include.mirror.ledger import Attempt, Entry, Ledger
from include.mirror.plan import Read
from include.mirror.table import Column, TableSpec
from include.mirror.window import Window

if TYPE_CHECKING:
    import psycopg
    import pyarrow as pa
    from clickhouse_connect.driver.client import Client

    from include.mirror.verify import Digest, Tally

log = logging.getLogger(__name__)

Observe = Callable[[str, Window], None]
"""Told of each step as it is done: noted, snapshot, extracted, staged, verified, published, confirmed, recorded."""

INSERTS_IN_FLIGHT = 3


def _silent(_step: str, _window: Window) -> None:
    return None


@dataclass(frozen=True)
class Mirror:
    """Where from, where to, and which tables; `grace` is how long past a window's end the source's clock must be.

    A session reports its transaction's start a moment after it took it, hence the grace. `queries` is the
    folder with the ledger's SQL.
    """

    source: pg.Source
    warehouse: ch.Warehouse
    tables: Mapping[str, TableSpec]
    queries: Path
    grace: timedelta = timedelta(seconds=2)
    observe: Observe = _silent

    def ledger(self, client: Client) -> Ledger:
        """Return the ledger, read and written through `client`."""
        return Ledger(client, self.warehouse.database, self.queries, self.warehouse.cluster)

    @contextmanager
    def open(self) -> Iterator[Mover]:
        """Connect both ends; raise SourceError or WarehouseError naming the one that refuses."""
        with (
            self.source.connect() as connection,
            self.warehouse.client() as client,
            self.warehouse.client() as inserting,
        ):
            pg.check_server(connection)
            yield Mover(self, connection, client, inserting)


@dataclass(frozen=True)
class Load:
    """What one read brought: its tally, and the verified stage that holds it; no stage where there are no rows.

    `finished_at` is when all of it stood there, verified, `seconds` after it was begun.
    """

    read: Read
    tally: Tally
    stage: ch.Stage | None
    finished_at: datetime
    seconds: float


@dataclass(frozen=True)
class Mover:
    """A mirror with its connections open: `connection` holds the snapshots, `inserting` has a thread of its own."""

    mirror: Mirror
    connection: psycopg.Connection[Any]
    client: Client
    inserting: Client

    @telemetry.step("pass")
    def move(self, reads: Sequence[Read], attempt: Attempt) -> list[Entry]:
        """Move windows that share one snapshot; return their ledger rows once they are written."""
        mirror, connection = self.mirror, self.connection
        started_at = datetime.now(UTC)
        specs = list({read.window.tabela: mirror.tables[read.window.tabela] for read in reads}.values())
        for spec in specs:
            pg.check_columns(connection, spec)
        with telemetry.step("note"):
            pg.wait_until(connection, max(read.window.fim for read in reads) + mirror.grace)
            noted_at = pg.clock(connection)
            now = pg.open_transactions(connection)
        self._observe("noted", reads)
        ledger = mirror.ledger(self.client)
        with (
            ExitStack() as stages,
            pg.snapshot(mirror.source, connection, specs, ledger.newest_version) as snapshot,
        ):
            self._observe("snapshot", reads)
            for spec in specs:
                pg.check_columns(connection, spec)  # once more: now nobody can alter the table
                ch.check_table(self.client, mirror.warehouse.database, spec)
            loads = [self._stage(read, snapshot, attempt, stages) for read in reads]
            self._publish(loads, snapshot.version)
            entries = [
                Entry(
                    id=uuid4(),
                    read=load.read,
                    attempt=attempt,
                    version=snapshot.version,
                    snapshot_xmin=snapshot.xmin,
                    source_system=snapshot.system,
                    notes=load.read.notes(now),
                    rows=load.tally.rows,
                    money=_money(mirror.tables[load.read.window.tabela], load.tally),
                    noted_at=noted_at,
                    started_at=started_at,
                    finished_at=load.finished_at,
                )
                for load in loads
            ]
            with telemetry.step("record"):
                ledger.write(entries)
            self._observe("recorded", reads)
        for load in loads:
            telemetry.moved(load.read, load.tally.rows, load.seconds)
        return entries

    def _observe(self, step: str, reads: Iterable[Read]) -> None:
        for read in reads:
            self.mirror.observe(step, read.window)

    def _stage(self, read: Read, snapshot: pg.Snapshot, attempt: Attempt, stages: ExitStack) -> Load:
        """Load one window into a stage of its own and verify it there; nobody can see it yet."""
        from include.mirror import verify

        spec, window = self.mirror.tables[read.window.tabela], read.window
        began = monotonic()
        with telemetry.step("stage", read) as span:
            batches = snapshot.stream(spec, read)
            first = next(batches, None)
            if first is None:
                return Load(read, verify.Tally(spec), None, datetime.now(UTC), monotonic() - began)
            stage = stages.enter_context(ch.stage(self.mirror.warehouse, self.client, spec, attempt.label))
            tally = self._load(stage, window, chain([first], batches), snapshot)
            self.mirror.observe("staged", window)
            verify.compare(spec, tally.digest, stage.digest(), "the stage")
            verify.compare_rows(
                spec, tally.sample, snapshot.rows(spec, tally.sample), stage.rows(tally.sample), "the stage"
            )
            self.mirror.observe("verified", window)
            span.set_attribute("rows", tally.rows)
            return Load(read, tally, stage, datetime.now(UTC), monotonic() - began)

    def _publish(self, loads: Sequence[Load], version: int) -> None:
        """Attach what has been staged, and check that it stands in the tables that people read."""
        published: dict[str, Digest] = {}
        for load in loads:
            stage, window = load.stage, load.read.window
            if stage is None:
                continue
            with telemetry.step("publish", load.read):
                for partition in stage.partitions():
                    stage.publish(partition)
                    self.mirror.observe("published", window)
                before = published.get(window.tabela)
                published[window.tabela] = load.tally.digest if before is None else before + load.tally.digest
                stage.check_published(version, published[window.tabela])
            self.mirror.observe("confirmed", window)
            log.info("%s: %d rows, version %d", window, load.tally.rows, version)

    def _load(
        self, stage: ch.Stage, window: Window, batches: Iterator[pa.RecordBatch], snapshot: pg.Snapshot
    ) -> Tally:
        """Insert the batches while the next are being read; at most `INSERTS_IN_FLIGHT` are held."""
        from include.mirror import arrow, verify

        spec = stage.spec
        tally = verify.Tally(spec)

        def describe(column: Column, key: int) -> str:
            return snapshot.value(spec, column, key)

        with ThreadPoolExecutor(1, "insert") as pool:
            in_flight: deque[Future[None]] = deque()
            for batch in batches:
                arrow.check_batch(spec, batch)
                values = [arrow.integers(array) for array in batch.columns]
                tally.add(batch, values)
                converted = arrow.convert(spec, batch, values, snapshot.version, describe)
                if len(in_flight) == INSERTS_IN_FLIGHT:
                    in_flight.popleft().result()
                in_flight.append(pool.submit(stage.insert, self.inserting, converted))
                self.mirror.observe("extracted", window)
            for insert in in_flight:
                insert.result()
        return tally


def _money(spec: TableSpec, tally: Tally) -> dict[str, Decimal]:
    scales = {column.name: column.decimal[1] for column in spec.columns if column.decimal}
    return {name: Decimal(total).scaleb(-scales[name]) for name, total in tally.money.items()}
