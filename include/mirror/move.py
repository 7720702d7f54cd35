"""Moving windows: extract, stage, verify, publish, verify again, and only then the ledger row.

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
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from include.mirror import source as pg
from include.mirror import warehouse as ch
from include.mirror.ledger import Attempt, Entry, Ledger
from include.mirror.plan import Read
from include.mirror.table import Column, TableSpec
from include.mirror.window import Window

if TYPE_CHECKING:
    import pyarrow as pa
    from clickhouse_connect.driver.client import Client

    from include.mirror.verify import Tally

log = logging.getLogger(__name__)

Observe = Callable[[str, Window], None]
"""Told of each step as it is done: noted, snapshot, extracted, staged, verified, published, confirmed, recorded."""

INSERTS_IN_FLIGHT = 2


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
        return Ledger(client, self.warehouse.database, self.queries)

    def move(self, reads: Sequence[Read], attempt: Attempt) -> list[Entry]:
        """Move windows that share one snapshot; return their ledger rows once they are written."""
        started_at = datetime.now(UTC)
        with self.source.connect() as connection, self.warehouse.client() as client:
            ledger = self.ledger(client)
            pg.check_server(connection)
            for spec in {read.window.tabela: self.tables[read.window.tabela] for read in reads}.values():
                pg.check_columns(connection, spec)
                ch.check_columns(client, self.warehouse.database, spec)
            pg.wait_until(connection, max(read.window.fim for read in reads) + self.grace)
            noted_at = pg.clock(connection)
            now = pg.open_transactions(connection)
            self._observe("noted", reads)
            with pg.snapshot(self.source, connection, ledger.newest_version) as snapshot:
                self._observe("snapshot", reads)
                entries = []
                for read in reads:
                    tally = self._move_one(read, snapshot, client, attempt)
                    entries.append(
                        Entry(
                            id=uuid4(),
                            read=read,
                            attempt=attempt,
                            version=snapshot.version,
                            snapshot_xmin=snapshot.xmin,
                            notes=read.notes(now),
                            rows=tally.rows,
                            money=_money(self.tables[read.window.tabela], tally),
                            noted_at=noted_at,
                            started_at=started_at,
                            finished_at=datetime.now(UTC),
                        )
                    )
                ledger.write(entries)
                self._observe("recorded", reads)
        return entries

    def _observe(self, step: str, reads: Iterable[Read]) -> None:
        for read in reads:
            self.observe(step, read.window)

    def _move_one(self, read: Read, snapshot: pg.Snapshot, client: Client, attempt: Attempt) -> Tally:
        from include.mirror import verify

        spec, window = self.tables[read.window.tabela], read.window
        batches = snapshot.stream(spec, read)
        first = next(batches, None)
        if first is None:
            log.info("%s: no rows", window)
            return verify.Tally(spec)
        with ch.stage(self.warehouse, client, spec, attempt.label) as stage:
            tally = self._load(stage, window, chain([first], batches), snapshot)
            self.observe("staged", window)
            staged = stage.digest()
            verify.compare(spec, tally.digest, staged, "the stage")
            database = self.warehouse.database
            verify.compare_rows(
                spec,
                snapshot.rows(spec, tally.sample),
                ch.rows(client, database, stage.name, spec, tally.sample),
                "the stage",
            )
            self.observe("verified", window)
            for partition in stage.partitions():
                stage.publish(partition)
                self.observe("published", window)
            stage.check_published(snapshot.version, staged)
            self.observe("confirmed", window)
        log.info("%s: %d rows, version %d", window, tally.rows, snapshot.version)
        return tally

    def _load(
        self, stage: ch.Stage, window: Window, batches: Iterator[pa.RecordBatch], snapshot: pg.Snapshot
    ) -> Tally:
        """Insert the batches while the next are being read; at most `INSERTS_IN_FLIGHT` are held."""
        from include.mirror import arrow, verify

        spec = stage.spec
        tally = verify.Tally(spec)

        def describe(column: Column, key: int) -> str:
            return snapshot.value(spec, column, key)

        with self.warehouse.client() as inserting, ThreadPoolExecutor(1, "insert") as pool:
            in_flight: deque[Future[None]] = deque()
            for batch in batches:
                arrow.check_batch(spec, batch)
                values = [arrow.integers(array) for array in batch.columns]
                tally.add(batch, values)
                converted = arrow.convert(spec, batch, values, snapshot.version, describe)
                if len(in_flight) == INSERTS_IN_FLIGHT:
                    in_flight.popleft().result()
                in_flight.append(pool.submit(stage.insert, inserting, converted))
                self.observe("extracted", window)
            for insert in in_flight:
                insert.result()
        return tally


def _money(spec: TableSpec, tally: Tally) -> dict[str, Decimal]:
    scales = {column.name: column.decimal[1] for column in spec.columns if column.decimal}
    return {name: Decimal(total).scaleb(-scales[name]) for name, total in tally.money.items()}
