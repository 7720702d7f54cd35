"""Moving what was planned: extract, stage, verify, publish, verify again, and only then the ledger row.

What shares a snapshot is all staged and verified before any of it is published.

What a crash leaves after each step, and why that is harmless:

| dies after        | left behind                   | what happens next                                         |
|-------------------|-------------------------------|-----------------------------------------------------------|
| noting, snapshot  | nothing                       | PostgreSQL ends the sessions; it is planned again         |
| extract, stage    | a stage nobody reads          | planned again; a later run drops the stage                |
| some partitions   | correct rows of this snapshot | planned again; the next snapshot's versions replace them  |
| all partitions    | the same                      | the same                                                  |
| the ledger row    | a stage nobody reads          | done                                                      |

Two of these at once, for the same window or for others, in any order: rows carry the order of their snapshots as
version, so the newest snapshot's state of a row wins wherever it is published first, and every ledger row is true by
itself. A transaction that a window may have missed stands in its row's notes; one that a scan has missed holds back the
transaction id from which the next scan reads.

A copy publishes only what differs from what the warehouse has, so two copies of one table must not overlap: the second
would compare with what the first is about to change. Each holds an advisory lock of the source from before its snapshot
until its ledger row is written.

While a pass runs, none of its tables is exchanged for one that was built anew: that is prevented by another such lock, and
does no harm where the lock is lost (docs/decisions/0022-a-table-is-rebuilt-under-a-new-name.md).
"""

from __future__ import annotations

import logging
import sys
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from itertools import chain, islice
from time import monotonic
from typing import TYPE_CHECKING
from uuid import uuid4

import numpy as np
import psycopg

from include.conventions.errors import TaskError
from include.mirror import names, telemetry
from include.mirror.checksums import put_keys
from include.mirror.deletes import detached
from include.mirror.engine import Engine
from include.mirror.errors import SchemaError, SourceAwayError
from include.mirror.ledger import Attempt, Entry, Ledger
from include.mirror.plan import (
    EPOCH,
    Copy,
    Keys,
    Log,
    Notes,
    OpenTransactions,
    Read,
    Rebuild,
    Repair,
    Scan,
    Sweep,
    Work,
)
from include.mirror.source import changes
from include.mirror.source.changes import Changes
from include.mirror.source.clock import wait_until
from include.mirror.source.session import Connection, run
from include.mirror.source.snapshot import Snapshot, snapshot
from include.mirror.source.table import SourceTable
from include.mirror.source.transactions import Identity, open_transactions
from include.mirror.spec import Column, TableSpec
from include.mirror.types.digest import mixed
from include.mirror.warehouse import parts
from include.mirror.warehouse.parts import Part
from include.mirror.warehouse.table import Stage, WarehouseTable
from include.mirror.window import ceil_time

if TYPE_CHECKING:
    import pyarrow as pa
    from clickhouse_connect.driver.client import Client

    from include.mirror.verify import Digest, Tally

log = logging.getLogger(__name__)

BATCHES_IN_FLIGHT = 4

COPY_LOCK = 0x6D697272
"""First half of the advisory lock that a copy holds; the second is the table's oid."""

PLACE_LOCK = 0x706C6163
"""The same of the lock that every pass holds, shared, while it relies on which table has the name in the warehouse."""

SEEN_AT_MOST = 500
"""How many transaction ids a scan remembers whose rows it had read while an older transaction was open."""


@dataclass(frozen=True)
class Load:
    """What one read brought: its tally, and the verified stage that holds it; no stage where there are no rows.

    `rows` is how many are published. `finished_at` is when all of it stood there, verified, `seconds` after it was
    begun. `seen` are the transactions from the snapshot's lowest id on of which a scan has read rows. `log` is the identity
    of a log of deleted keys from which the next run can go on, empty for none.
    """

    work: Work
    tally: Tally
    rows: int
    stage: Stage | None
    finished_at: datetime
    seconds: float
    seen: tuple[int, ...] = ()
    log: str = ""


@dataclass(frozen=True)
class Mover:
    """A mirror with its connections open: `connection` holds the snapshots, `inserting` has a thread of its own.

    `tables` are the mirrored tables as they stood when the task began, by name; `identity` is which source it is.
    """

    engine: Engine
    connection: Connection
    client: Client
    inserting: Client
    tables: Mapping[str, WarehouseTable]
    identity: Identity

    @property
    def ledger(self) -> Ledger:
        """The ledger."""
        built = {name: table.built for name, table in self.tables.items() if table.built}
        return Ledger(self.engine.warehouse, self.client, built=built)

    @telemetry.step("pass")
    def move(self, works: Sequence[Work], attempt: Attempt) -> list[Entry]:
        """Move what shares one snapshot; return its ledger rows once they are written."""
        started_at = datetime.now(UTC)
        specs = list({work.tabela: self.tables[work.tabela].spec for work in works}.values())
        with ExitStack() as stack:
            stack.enter_context(self._locked(PLACE_LOCK, specs, shared=True))
            for name in dict.fromkeys(work.tabela for work in works if isinstance(work, Copy)):
                stack.enter_context(self._locked(COPY_LOCK, [self.tables[name].spec]))
            now, noted_at = self._note(works)
            current = stack.enter_context(
                snapshot(self.engine.source, self.connection, specs, self.ledger.newest_version)
            )
            self._observe("snapshot", works)
            # Now nobody can alter them.
            refused = self.engine.changed(
                self.connection, self.client, [self.tables[spec.name] for spec in specs]
            )
            loads = self._stage_all(works, current, noted_at, attempt, stack, refused)
            refused |= self.engine.changed_types(self._spec(load.work) for load in loads)
            # One read of a table is not published without the others: the run's plan stays undone as a whole.
            loads = [load for load in loads if load.work.tabela not in refused]
            if refused:
                self.set_aside(attempt, refused)
            self._publish(loads, current.version)
            published = {load.work.tabela for load in loads if load.stage is not None}
            noted = self._parts_to_note(published)
            entries = [
                self._entry(
                    load, current, (now, noted_at), attempt, started_at, noted.get(load.work.tabela, ())
                )
                for load in loads
            ]
            if entries:
                with telemetry.step("record"):
                    self.ledger.write(entries)
            self._observe("recorded", [load.work for load in loads])
        for load in loads:
            telemetry.moved(self.engine.declaration.name, load.work, load.rows, load.seconds)
        return entries

    def _note(self, works: Sequence[Work]) -> tuple[OpenTransactions, datetime]:
        """Return the open transactions, and the source's time before they were looked for.

        Windows have to be over by then, to the last time that their change columns can round.
        """
        with telemetry.step("note"):
            ends = [
                ceil_time(work.window.fim, self._spec(work).precision)
                for work in works
                if isinstance(work, Read)
            ]
            last = max(ends) + self.engine.options.grace if ends else EPOCH
            noted_at = wait_until(self.connection, last)
            windows = any(isinstance(work, Read | Sweep) for work in works)
            now = open_transactions(self.connection) if windows else OpenTransactions()
        self._observe("noted", works)
        return now, noted_at

    def _entry(
        self,
        load: Load,
        current: Snapshot,
        noted: tuple[OpenTransactions, datetime],
        attempt: Attempt,
        started_at: datetime,
        standing: Iterable[Part],
    ) -> Entry:
        """Return the ledger row of what was loaded. `noted` is what `_note` returned; `standing` are the table's parts."""
        now, noted_at = noted
        table = self.tables[load.work.tabela]
        left = detached(table.spec, table.rows, self.engine.options.compare_keys)
        # What began before this and has not ended may still write rows with times from then on.
        behind = min((session.start for session in now.sessions), default=noted_at)
        return Entry(
            id=uuid4(),
            work=load.work,
            attempt=attempt,
            version=current.version,
            snapshot_xmin=current.xmin,
            source=replace(self.identity, system=current.system, position=current.position),
            notes=self._notes(load.work, now),
            rows=load.rows,
            money=load.tally.money,
            noted_at=noted_at,
            started_at=started_at,
            finished_at=load.finished_at,
            reason="; ".join(filter(None, (table.spec.reason, left))),
            seen=load.seen,
            behind=min(behind, noted_at),
            parts=tuple(standing),
            built=table.built,
            log=load.log,
        )

    def _parts_to_note(self, published: Collection[str]) -> Mapping[str, Sequence[Part]]:
        """Return the parts of tables of which rows were published: those of now, or those that were noted before where one
        of them is gone or changed. Somebody has done that since this run was planned, and the next planning has to see it.
        """
        if not published:
            return {}
        # The ledger first: what another run publishes meanwhile is then no loss.
        before = self.ledger.noted_parts()
        now = parts.read(self.engine.warehouse, self.client, published)
        return {
            name: before[name] if parts.lost(before.get(name, ()), standing) else standing
            for name, standing in now.items()
        }

    def _notes(self, work: Work, now: OpenTransactions) -> Notes:
        return work.notes(now, self._spec(work).precision) if isinstance(work, Read) else Notes()

    @contextmanager
    def _locked(self, key: int, specs: Iterable[TableSpec], *, shared: bool = False) -> Iterator[None]:
        """Hold an advisory lock on each of these tables while the block runs."""
        labels = {spec.oid: spec.label for spec in specs}
        # An oid is unsigned, and the function takes an integer.
        oids = [oid - (1 << 32 if oid >= 1 << 31 else 0) for oid in labels]
        one_each, kind = " FROM unnest($2::int[]) AS oid", "_shared" if shared else ""
        try:
            run(self.connection, f"SELECT pg_advisory_lock{kind}($1::int, oid){one_each}", (key, oids))
        except psycopg.errors.LockNotAvailable:
            what = "copied" if key == COPY_LOCK else "built anew" if shared else "moved"
            raise SourceAwayError(
                f"{', '.join(labels.values())} is being {what} by another run, which has to end first: run this one again"
            ) from None
        try:
            yield
        finally:
            if not self.connection.closed:
                run(self.connection, f"SELECT pg_advisory_unlock{kind}($1::int, oid){one_each}", (key, oids))

    def _spec(self, work: Work) -> TableSpec:
        return self.tables[work.tabela].spec

    def _observe(self, step: str, works: Iterable[Work]) -> None:
        for work in works:
            self.engine.observe(step, work)

    def set_aside(self, attempt: Attempt, reasons: Mapping[str, str]) -> None:
        """Note why tables are not moved; the check of the run raises it."""
        for name, reason in reasons.items():
            log.error("%s is set aside: %s", name, reason)
        self.ledger.refuse(attempt, reasons)

    def _stage_all(
        self,
        works: Sequence[Work],
        current: Snapshot,
        noted_at: datetime,
        attempt: Attempt,
        stack: ExitStack,
        refused: dict[str, str],
    ) -> list[Load]:
        """Load what can be loaded. What is wrong with a table refuses it, and the others go on in the same snapshot."""
        loads: list[Load] = []
        for work in works:
            if work.tabela in refused:
                continue
            try:
                loads.append(self._stage(work, current, noted_at, attempt, stack))
            except TaskError as error:
                if error.heals:
                    raise
                refused[work.tabela] = str(error)
                current.renew()
        return loads

    def _stage(
        self, work: Work, current: Snapshot, noted_at: datetime, attempt: Attempt, stack: ExitStack
    ) -> Load:
        """Load one read into a stage of its own and verify it there; nobody can see it yet."""
        from include.mirror import verify

        table = self.tables[work.tabela]
        if isinstance(work, Keys):
            return self._stage_deleted(work, current, attempt, stack)
        if isinstance(work, Log):
            return self._stage_log(work, current, attempt, stack)
        if isinstance(work, Repair):
            return self._stage_repair(work, current, attempt, stack)
        source = current.table(table.spec)
        began = monotonic()
        with telemetry.step("stage", work) as span:
            wanted = self.wanted(work, current, noted_at, source)
            if isinstance(work, Read):
                source.warn_of_sequential_scan(wanted)
            whole = isinstance(work, Copy | Rebuild)
            scan = Scan(work.tabela) if isinstance(work, Rebuild) and table.spec.way == "scan" else work
            writers = _Writers(scan, current) if isinstance(scan, Scan) else None
            batches = current.stream(source, wanted, with_writers=writers is not None and writers.asked)
            first = next(batches, None)
            if first is None and not whole:
                return Load(
                    work,
                    verify.Tally(table.spec),
                    0,
                    None,
                    datetime.now(UTC),
                    monotonic() - began,
                    writers.seen if writers else (),
                )
            stage = table.stage(attempt.label, stack)
            batches = chain([first] if first is not None else [], batches)
            if writers is not None:
                batches = writers.watch(batches)
            tally = self._load(stage, work, batches, current.version, source)
            self.engine.observe("staged", work)
            self._verify(stage, tally, source)
            self.engine.observe("verified", work)
            rows = tally.rows
            if isinstance(work, Sweep):
                _warn_of_times(table.spec, tally, source)
            if isinstance(work, Copy):
                everything, stage = stage, table.stage(attempt.label, stack)
                rows = stage.keep_changes(everything, current.version)
            span.set_attribute("rows", rows)
            seen = writers.seen if writers else ()
            return Load(work, tally, rows, stage, datetime.now(UTC), monotonic() - began, seen)

    def _stage_log(self, work: Log, current: Snapshot, attempt: Attempt, stack: ExitStack) -> Load:
        """Stage a tombstone for each key of the log that the snapshot has not; all keys are compared where it can't tell."""
        table = self.tables[work.tabela]
        spec = table.spec
        log, began = current.table(spec.of_log), monotonic()
        is_known = work.xmin is not None and spec.log is not None and work.log == spec.log.identity
        if not is_known or work.xmin is None or not current.comparable(work.xmin, work.system):
            return self._stage_all_deleted(work, current, attempt, stack)
        written = changes.since(work.xmin)
        first = names.pg(spec.key[0])
        run(self.connection, *changes.binding(written.values))
        ((truncated,),) = run(
            self.connection,
            f"SELECT EXISTS (SELECT FROM {log.relation} WHERE {first} IS NULL AND {written.condition})",  # noqa: S608
        ).fetchall()
        if truncated:
            return self._stage_all_deleted(work, current, attempt, stack)
        gone = changes.Changes(
            f"{first} IS NOT NULL AND {written.condition} AND {current.table(spec).gone(spec.of_log)}",
            written.values,
        )
        with telemetry.step("stage", work) as span:
            batches = current.stream(log, gone)
            head = next((batch for batch in batches if batch.num_rows), None)
            if head is None:
                return self._deleted(work, 0, None, began)
            loaded = table.of_keys.stage(attempt.label, stack)
            tally = self._load(loaded, work, chain([head], batches), current.version, log)
            self._verify(loaded, tally, log, unique=False)
            stage = table.stage(attempt.label, stack)
            self.engine.observe("staged", work)
            rows = stage.keep_keys(loaded, current.version)
            self.engine.observe("verified", work)
            span.set_attribute("rows", rows)
            return self._deleted(work, rows, stage, began)

    def _stage_all_deleted(self, work: Log, current: Snapshot, attempt: Attempt, stack: ExitStack) -> Load:
        """Compare all keys, and let the next run compare them again if another pass is under way.

        That one may hold an older snapshot, and bring a row after this that is gone by now and in no log. One that begins
        after this was asked has a newer snapshot.
        """
        spec = self._spec(work)
        oid = spec.oid - (1 << 32 if spec.oid >= 1 << 31 else 0)
        ((others,),) = run(
            self.connection,
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND classid = $1::int::oid AND objid = $2::int::oid"
            " AND objsubid = 2 AND pid <> pg_backend_pid()"
            " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
            (PLACE_LOCK, oid),
        ).fetchall()
        load = self._stage_deleted(work, current, attempt, stack)
        return replace(load, log="") if others else load

    def _deleted(self, work: Keys | Log, rows: int, stage: Stage | None, began: float) -> Load:
        from include.mirror import verify

        spec = self._spec(work)
        log = spec.log.identity if isinstance(work, Log) and spec.log else ""
        nothing = verify.Tally(spec)
        return Load(work, nothing, rows, stage, datetime.now(UTC), monotonic() - began, log=log)

    def _stage_deleted(self, work: Keys | Log, current: Snapshot, attempt: Attempt, stack: ExitStack) -> Load:
        """Stage a tombstone for each key of the warehouse that the snapshot has not."""
        from include.mirror import arrow, verify

        table = self.tables[work.tabela]
        began, keys = monotonic(), table.of_keys
        source = current.table(keys.spec)
        found = partial(self._deleted, work, began=began)

        with telemetry.step("stage", work) as span:
            batches = current.stream(source, changes.EVERYTHING)
            first = list(islice(batches, BATCHES_IN_FLIGHT))
            if len(first) < BATCHES_IN_FLIGHT:
                # Most tables change rarely: where both sides have the same keys, nothing has to be loaded.
                rows = [arrow.read_batch(keys.spec, batch, source.value) for batch in first if batch.num_rows]
                total = sum(int(mixed(one.weights).sum(dtype=np.uint64)) for one in rows) % verify.MODULUS
                if (sum(map(len, rows)), total) == keys.key_sum():
                    return found(0, None)
            loaded = keys.stage(attempt.label, stack)
            tally = self._load(loaded, work, chain(first, batches), current.version, source)
            self._verify(loaded, tally, source)
            if not table.lacks(loaded, current.version):
                return found(0, None)
            stage = table.stage(attempt.label, stack)
            self.engine.observe("staged", work)
            deleted = stage.keep_missing(loaded, current.version)
            self.engine.observe("verified", work)
            span.set_attribute("rows", deleted)
            return found(deleted, stage)

    def _stage_repair(self, work: Repair, current: Snapshot, attempt: Attempt, stack: ExitStack) -> Load:
        """Stage the rows with these keys, and a tombstone for each key of the warehouse that the snapshot has not."""
        table, began = self.tables[work.tabela], monotonic()
        source = current.table(table.spec)
        with telemetry.step("stage", work) as span:
            stage = table.stage(attempt.label, stack)
            batches = current.stream(source, changes.with_keys(table.spec, work.keys))
            tally = self._load(stage, work, batches, current.version, source)
            self.engine.observe("staged", work)
            self._verify(stage, tally, source)
            keys = put_keys(table, attempt.label, work.keys, stack)
            rows = stage.keep_missing(stage, current.version, keys.condition)
            self.engine.observe("verified", work)
            span.set_attribute("rows", rows)
            return Load(work, tally, rows, stage, datetime.now(UTC), monotonic() - began)

    @staticmethod
    def wanted(work: Work, current: Snapshot, noted_at: datetime, source: SourceTable) -> Changes:
        """Return what a read asks for."""
        if isinstance(work, Copy | Rebuild | Keys | Log | Repair):
            return changes.EVERYTHING
        if isinstance(work, Scan):
            if work.xmin is None or not current.comparable(work.xmin, work.system):
                return changes.EVERYTHING
            return changes.since(work.xmin, work.seen)
        if isinstance(work, Sweep):
            known = work.xmin is not None and current.comparable(work.xmin, work.system)
            written = changes.since(work.xmin) if known and work.xmin is not None else None
            return changes.outside(source.spec, noted_at, source.zone, work.behind, written)
        window, again = source.in_window(work.window), work.reread
        if again is not None and current.comparable(again.xmin_from, again.system):
            return changes.both(window, changes.since(again.xmin_from))
        return window

    def _verify(self, stage: Stage, tally: Tally, source: SourceTable, *, unique: bool = True) -> None:
        """Raise VerificationError unless what is staged is what was read, SchemaError unless each key is there once."""
        from include.mirror import verify

        spec = stage.table.spec
        arrived, keys = stage.verify()
        verify.compare(spec, tally.digest, arrived, "the stage")
        if unique and keys != arrived.rows:
            doubled = "; ".join(", ".join(key) for key in stage.doubled_keys())
            raise SchemaError(
                f"{spec.label}: {arrived.rows} rows have only {keys} different keys ({', '.join(spec.key)}), such as "
                f"{doubled}: the key does not tell the table's rows apart"
            )
        sample = tally.sampled
        if sample:
            ours = source.texts(sample)
            verify.compare_rows(spec, sample, ours, stage.texts(list(ours)), "the stage")

    def _publish(self, loads: Sequence[Load], version: int) -> None:
        """Attach what has been staged, and check that it stands in the tables that people read."""
        published: dict[str, Digest] = {}
        for load in loads:
            stage, work = load.stage, load.work
            if stage is None:
                continue
            with telemetry.step("publish", work):
                for partition in stage.partitions():
                    stage.publish(partition)
                    self.engine.observe("published", work)
                if isinstance(work, Copy):
                    self._check_copy(stage.table, load.tally, version)
                elif isinstance(work, Keys | Log):
                    stage.check_deleted(version)
                else:
                    before = published.get(work.tabela)
                    both = load.tally.digest if before is None else before + load.tally.digest
                    published[work.tabela] = both
                    stage.check_published(version, both)
                    if isinstance(work, Repair):
                        stage.check_deleted(version)
            self.engine.observe("confirmed", work)
            log.info("%s: %d rows, version %d", work, load.rows, version)

    @staticmethod
    def _check_copy(table: WarehouseTable, tally: Tally, version: int) -> None:
        """Raise VerificationError unless the current rows are those that were read."""
        from include.mirror import verify

        current, newest = table.current()
        # Of what another snapshot has published since, this one can say nothing.
        if newest <= version:
            verify.compare(table.spec, tally.digest, current, "the warehouse")

    def _load(
        self, stage: Stage, work: Work, batches: Iterator[pa.RecordBatch], version: int, source: SourceTable
    ) -> Tally:
        """Check, then insert the batches while the next are being read; at most `BATCHES_IN_FLIGHT` are held."""
        from include.mirror import arrow, verify

        spec, own = stage.table.spec, stage.table.own
        tally = verify.Tally(spec)

        def describe(column: Column, key: arrow.Key) -> str:
            return source.value(column, key)

        def check(batch: pa.RecordBatch) -> pa.RecordBatch:
            rows = arrow.read_batch(spec, batch, describe)
            tally.add(rows)
            return arrow.convert(rows, version, own.version)

        def insert(checked: Future[pa.RecordBatch]) -> None:
            stage.insert(self.inserting, checked.result())

        # PostgreSQL, the checks and ClickHouse work at the same time: each has a thread that mostly runs outside of Python.
        with ThreadPoolExecutor(1, "check") as checking, ThreadPoolExecutor(1, "insert") as inserting:
            in_flight: deque[Future[None]] = deque()
            for batch in batches:
                if not batch.num_rows:
                    continue
                if len(in_flight) == BATCHES_IN_FLIGHT:
                    in_flight.popleft().result()
                in_flight.append(inserting.submit(insert, checking.submit(check, batch)))
                self.engine.observe("extracted", work)
            for done in in_flight:
                done.result()
        return tally


def _warn_of_times(spec: TableSpec, tally: Tally, source: SourceTable) -> None:
    keys = tally.sampled[:5]
    column = next(column for column in spec.columns if column.name == spec.change_column)
    found = "; ".join(
        f"{', '.join(f'{name} = {part}' for name, part in zip(spec.key, key, strict=True))}:"
        f" {source.value(column, key)}"
        for key in keys
    )
    log.warning(
        "%d rows of %s have a time in %s that no window finds, ahead of the source's clock or long before they were "
        "written: %s. They are read all the same. Look for a session in another time zone, a clock of an application's "
        "own, or a source_timezone (now %s) that is wrong",
        tally.rows,
        spec.label,
        spec.change_column,
        found,
        source.zone.key,
    )


class _Writers:
    """Which transactions a scan has read rows of, from its snapshot's lowest running id on.

    A transaction that stays open holds that id back, so the next scan would read again whatever others have written
    since. All rows of a transaction become visible at once: those of one that this scan has read need not be read again.
    Any part of the true set is right, so only the largest are kept.
    """

    def __init__(self, scan: Scan, current: Snapshot) -> None:
        self.xmin = current.xmin
        self.asked = current.xmin < current.xmax
        comparable = scan.xmin is not None and current.comparable(scan.xmin, scan.system)
        before = np.array(scan.seen if comparable else (), dtype=np.int64)
        # What was left out this time as seen has been read by an earlier scan, however much it was.
        self.rows = {int(xid): sys.maxsize for xid in before[changes.at_least(before, self.xmin)]}

    def watch(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Pass batches on without their last column, the writers' ids, and count those."""
        for batch in batches:
            if not self.asked:
                yield batch
                continue
            xids = batch.column(batch.num_columns - 1).to_numpy(zero_copy_only=False)
            for xid, count in zip(
                *np.unique(xids[changes.at_least(xids, self.xmin)], return_counts=True), strict=True
            ):
                self.rows[int(xid)] = self.rows.get(int(xid), 0) + int(count)
            yield batch.select(range(batch.num_columns - 1))

    @property
    def seen(self) -> tuple[int, ...]:
        """The transactions, those with the most rows if there are many."""
        most = sorted(self.rows, key=lambda xid: self.rows[xid], reverse=True)
        return tuple(sorted(most[:SEEN_AT_MOST]))
