"""Moves the planned reads: extract, stage, verify, publish, verify again, then write the ledger row.

A pass is the reads that share one snapshot. All of them are staged and verified before the first is published.

A crash after any step is harmless:

| crash after       | left behind                   | what happens next                                           |
|-------------------|-------------------------------|-------------------------------------------------------------|
| noting, snapshot  | nothing                       | PostgreSQL ends the sessions; the read is planned again     |
| extract, stage    | a stage nobody reads          | planned again; a later run drops the stage                  |
| some partitions   | correct rows of this snapshot | planned again; rows of the next snapshot replace them       |
| all partitions    | the same                      | the same                                                    |
| the ledger row    | a stage nobody reads          | the read is done; a later run drops the stage               |

The partitions of one read are attached in one statement, which does one after the other. The pieces of a large window go
through two passes at once in one task. If the task is killed, each of both leaves what a single pass leaves.

Passes may run at the same time, for the same windows or others, and end in any order. The version of a row is the order of
its snapshot, so the row from the newest snapshot wins, whichever is published first. Each ledger row is true by itself. If a
window may have missed a transaction, its ledger row notes that transaction. If a scan may have missed one, the next scan
reads from an id that is not after it.

A copy publishes only the rows that differ from the warehouse. So two copies of one table must not overlap: the second would
compare with rows that the first is about to change. Each copy holds an advisory lock in the source from before its snapshot
until its ledger row is written.

Each pass holds a second such lock, so that no rebuild exchanges one of its tables meanwhile. Losing that lock does no harm
(docs/decisions/0022-a-table-is-rebuilt-under-a-new-name.md).

A table that is sorted by other columns than its key has a third lock, from the search for the old places of its rows until
they are published (docs/decisions/0029-a-sorting-key-of-ones-own.md).
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from itertools import chain
from time import monotonic
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import numpy as np
import psycopg

from include.conventions.errors import TaskError
from include.mirror import names, telemetry
from include.mirror.checksums import put_keys
from include.mirror.deletes import detached
from include.mirror.engine import Engine
from include.mirror.errors import SchemaError, SourceError, SourceUnavailableError
from include.mirror.idle import idle, is_continuous
from include.mirror.ledger import Answers, Attempt, Entry, Ledger
from include.mirror.origin import check_source
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
from include.mirror.source.transactions import LISTS, Identity, open_transactions, read_lists
from include.mirror.spec import Column, TableSpec
from include.mirror.turns import Turn
from include.mirror.warehouse import parts
from include.mirror.warehouse.parts import Part
from include.mirror.warehouse.table import Stage, WarehouseTable
from include.mirror.window import ceil_time

if TYPE_CHECKING:
    import pyarrow as pa
    from clickhouse_connect.driver.client import Client

    from include.mirror.verify import Digest, Tally

log = logging.getLogger(__name__)

BATCHES_AT_ONCE = 3
"""How many batches one request inserts. Each request makes a part, and fewer parts are merged less often."""

COPY_LOCK = 0x6D697272
"""First half of the key of a copy's advisory lock; the second half is the table's oid."""

PLACE_LOCK = 0x706C6163
"""First half of the key of the lock that every pass holds, shared: while it is held, no rebuild exchanges the table."""

SORT_LOCK = 0x736F7274
"""First half of the key of the lock under which rows are published into a table that is not sorted by its key."""

SEEN_AT_MOST = 500
"""A scan notes at most this many transactions as read already. It notes them only while an older transaction is open."""


@dataclass
class _Lock:
    """An advisory lock on each of some tables: its first half is `key`, the second a table's oid."""

    key: int
    specs: Sequence[TableSpec]
    shared: bool = False
    held: bool = False

    def take(self) -> str:
        """Return the statement that takes it."""
        return self._call("pg_advisory_lock")

    def free(self) -> str:
        """Return the statement that gives it back, which is to be run."""
        self.held = False
        return self._call("pg_advisory_unlock")

    def _call(self, function: str) -> str:
        # An oid is unsigned, and the function takes an integer.
        oids = sorted({spec.oid - (1 << 32 if spec.oid >= 1 << 31 else 0) for spec in self.specs})
        listed = ",".join(map(str, oids))
        kind = "_shared" if self.shared else ""
        return f"SELECT {function}{kind}({self.key}, oid) FROM unnest('{{{listed}}}'::int[]) AS oid"  # noqa: S608 - numbers


@dataclass(frozen=True)
class Load:
    """The result of one read: its tally and its verified stage. `stage` is None if there are no rows to publish.

    `rows` is the number of rows to publish. `finished_at` is when they were staged and verified, `seconds` after the read
    began. `seen` are the transactions, from the snapshot's lowest running id on, whose rows a scan has read. `log` is the
    identity of the delete log from which the next run can go on, empty for none. `partitions` are those of the stage, None
    if they are not known.
    """

    work: Work
    tally: Tally
    rows: int
    stage: Stage | None
    finished_at: datetime
    seconds: float
    seen: tuple[int, ...] = ()
    log: str = ""
    partitions: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Mover:
    """A mirror with its connections open: `connection` holds the snapshots, `inserting` opens one with a thread of its own.

    `tables` are the mirrored tables as they were when the task began, by name. `before` is the source in the ledger at that
    time, None for none; `timeline` is the timeline at planning, 0 for any. If no rows are `expected`, the session that reads
    rows is opened only when it is needed. With a `turn`, another mover works in the same task, and only one of both reads.
    """

    engine: Engine
    connection: Connection
    client: Client
    inserting: Callable[[], Client]
    tables: Mapping[str, WarehouseTable]
    before: Identity | None = None
    timeline: int = 0
    expected: bool = True
    turn: Turn | None = None

    @property
    def ledger(self) -> Ledger:
        """The ledger."""
        built = {name: table.built for name, table in self.tables.items() if table.built}
        return Ledger(self.engine.warehouse, self.client, built=built)

    @telemetry.step("pass")
    def move(self, works: Sequence[Work], attempt: Attempt) -> list[Entry]:
        """Move one pass: reads that share a snapshot. Return its ledger rows after writing them."""
        started_at = datetime.now(UTC)
        specs = list({work.tabela: self.tables[work.tabela].spec for work in works}.values())
        with ExitStack() as stack:
            if self.turn is not None:
                stack.enter_context(self.turn.taken())
            for name in dict.fromkeys(work.tabela for work in works if isinstance(work, Copy)):
                stack.enter_context(self._locked(COPY_LOCK, [self.tables[name].spec]))
            place = _Lock(PLACE_LOCK, specs, shared=True)
            stack.callback(self._free, place)
            now, noted_at = self._note(works, place)
            current = stack.enter_context(
                snapshot(
                    self.engine.source,
                    self.connection,
                    specs,
                    self.ledger.newest_version,
                    sessions=any(spec.way == "window" for spec in specs),
                    expected=self.expected,
                    closing=place.free(),
                )
            )
            self.check(current)
            self._observe("snapshot", works)
            # The snapshot holds locks: from here on nobody can alter the tables.
            refused = self.engine.changed(
                self.connection, self.client, [self.tables[spec.name] for spec in specs]
            )
            loads = self._stage_all(works, current, noted_at, attempt, stack, refused)
            refused |= self.engine.changed_types(self._spec(load.work) for load in loads)
            # If one read of a table is refused, none of its reads is published: its plan stays undone as a whole.
            loads = [load for load in loads if load.work.tabela not in refused]
            if refused:
                self.set_aside(attempt, refused)
            with self._settled(loads, current, attempt, stack) as loads:
                noted = self._publish(loads, current.version)
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

    def check(self, current: Snapshot) -> None:
        """Raise SourceError unless a snapshot is of the source that was planned for, and that the ledger goes on from."""
        if self.timeline not in (0, current.identity.timeline):
            raise SourceError(
                f"{current.identity} was promoted or restored since the run was planned: the next run plans anew, because "
                "transaction ids may have been given twice"
            )
        check_source(self.engine.warehouse, self.before, current.identity)

    def _note(self, works: Sequence[Work], place: _Lock | None = None) -> tuple[OpenTransactions, datetime]:
        """Take a lock, if one is given; return the open transactions, and the source's time before they were listed.

        Waits first until all windows are over. A window's end is rounded up to the precision of its change column.
        """
        with telemetry.step("note"):
            ends = [
                ceil_time(work.window.fim, self._spec(work).precision)
                for work in works
                if isinstance(work, Read)
            ]
            last = max(ends) + self.engine.options.grace if ends else EPOCH
            windows = any(isinstance(work, Read | Sweep) for work in works)
            now = OpenTransactions()
            asked = ["SELECT clock_timestamp()", *(LISTS if windows else ())]
            # In this order, in one message: most windows are over by now.
            cursor = self._take(place, asked) if place else run(self.connection, "; ".join(asked))
            (noted_at,) = cursor.fetchone() or (EPOCH,)
            noted_at = noted_at.astimezone(UTC)
            if windows and noted_at >= last:
                cursor.nextset()
                now = read_lists(cursor)
            elif noted_at < last:
                noted_at = wait_until(self.connection, last)
                now = open_transactions(self.connection) if windows else now
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
        """Return the ledger row of a load. `noted` is the result of `_note`; `standing` are the table's parts."""
        now, noted_at = noted
        table = self.tables[load.work.tabela]
        left = detached(table.spec, table.rows, self.engine.options.compare_keys)
        # Transactions that are still open may yet write rows with any time from the start of the oldest one on.
        behind = min((session.start for session in now.sessions), default=noted_at)
        return Entry(
            id=uuid4(),
            work=load.work,
            attempt=attempt,
            version=current.version,
            snapshot_xmin=current.xmin,
            source=current.identity,
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

    def _notes(self, work: Work, now: OpenTransactions) -> Notes:
        return work.notes(now, self._spec(work).precision) if isinstance(work, Read) else Notes()

    @contextmanager
    def _locked(self, key: int, specs: Iterable[TableSpec]) -> Iterator[None]:
        """Hold an advisory lock on each of these tables while the block runs."""
        lock = _Lock(key, list(specs))
        self._take(lock)
        try:
            yield
        finally:
            self._free(lock)

    def _take(self, lock: _Lock, then: Sequence[str] = ()) -> psycopg.Cursor[Any]:
        """Take a lock, and run other statements in the same message; return a cursor that stands at the first of theirs."""
        # An error of a later statement leaves the lock taken.
        lock.held = True
        try:
            cursor = run(self.connection, "; ".join([lock.take(), *then]))
        except psycopg.errors.LockNotAvailable:
            lock.held = False
            what = "copied" if lock.key == COPY_LOCK else "built anew" if lock.shared else "moved"
            labels = ", ".join(spec.label for spec in lock.specs)
            raise SourceUnavailableError(
                f"{labels} is being {what} by another run, which has to end first: run this one again"
            ) from None
        cursor.nextset()
        return cursor

    def _free(self, lock: _Lock) -> None:
        """Give a lock back, unless its session or what ended the snapshot has done so."""
        if not lock.held or self.connection.closed:
            return
        run(self.connection, lock.free())

    def _spec(self, work: Work) -> TableSpec:
        return self.tables[work.tabela].spec

    def _observe(self, step: str, works: Iterable[Work]) -> None:
        for work in works:
            self.engine.observe(step, work)

    def set_aside(self, attempt: Attempt, reasons: Mapping[str, str]) -> None:
        """Write to the ledger why tables are not moved. The run's last task raises these reasons."""
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
        """Stage all reads. A table whose read fails is added to `refused`; the others go on in the same snapshot.

        Raises errors that heal by themselves: they say nothing about the table.
        """
        works = [work for work in works if work.tabela not in refused]

        def wanted(work: Work, refer: changes.Refer) -> Changes:
            return self.wanted(work, current, noted_at, current.table(self._spec(work)), refer)

        nothing: set[int] = set()
        # One piece of a large window has rows.
        if len(works) > 1 or not self.expected:
            with telemetry.step("ask"):
                nothing = idle(works, current, self.client, self.tables, wanted)
        loads: list[Load] = []
        for place, work in enumerate(works):
            if work.tabela in refused:
                continue
            try:
                loads.append(
                    self._idle(work, current)
                    if place in nothing
                    else self._stage(work, current, noted_at, attempt, stack)
                )
            except TaskError as error:
                if error.heals:
                    raise
                refused[work.tabela] = str(error)
                current.renew()
        return loads

    def _idle(self, work: Work, current: Snapshot) -> Load:
        """Return what a read brought that has nothing to move."""
        from include.mirror import verify

        with telemetry.step("stage", work) as span:
            span.set_attribute("rows", 0)
            if isinstance(work, Keys | Log):
                return self._deleted(work, 0, None, monotonic())
            source = current.table(self._spec(work))
            if isinstance(work, Read):
                source.warn_of_sequential_scan()
            seen = _Writers(work, current).seen if isinstance(work, Scan) else ()
            return Load(work, verify.Tally(source.spec), 0, None, datetime.now(UTC), 0.0, seen)

    def _stage(
        self, work: Work, current: Snapshot, noted_at: datetime, attempt: Attempt, stack: ExitStack
    ) -> Load:
        """Load one read into its own stage and verify it there. Readers can't see it yet."""
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
            if self.turn is not None:
                current.renew()
                self.turn.release()
            partitions: tuple[str, ...] | None = self._verify(stage, tally, source)
            self.engine.observe("verified", work)
            rows = tally.rows
            if isinstance(work, Sweep):
                _warn_of_times(table.spec, tally, source)
            if isinstance(work, Copy):
                everything, stage, partitions = stage, table.stage(attempt.label, stack), None
                rows = stage.keep_changes(everything, current.version)
            span.set_attribute("rows", rows)
            seen = writers.seen if writers else ()
            return Load(
                work,
                tally,
                rows,
                stage,
                datetime.now(UTC),
                monotonic() - began,
                seen,
                partitions=partitions,
            )

    def _stage_log(self, work: Log, current: Snapshot, attempt: Attempt, stack: ExitStack) -> Load:
        """Stage a tombstone for each key in the delete log that is not in the snapshot.

        Compares all keys instead if there is no earlier reading of this log to go on from, or if it holds a TRUNCATE since.
        """
        table = self.tables[work.tabela]
        spec = table.spec
        log, began = current.table(spec.of_log), monotonic()
        if work.xmin is None or not is_continuous(work, spec, current):
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
        """Compare all keys. If another pass is under way for the table, the next run has to compare them again.

        The other pass may hold an older snapshot. Then it can still publish a row that is deleted by now and in no log.
        Passes that begin after the count below have a newer snapshot, so they can't.
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
        """Stage a tombstone for each key in the warehouse that is not in the snapshot."""

        table = self.tables[work.tabela]
        began, keys = monotonic(), table.of_keys
        source = current.table(keys.spec)
        found = partial(self._deleted, work, began=began)

        with telemetry.step("stage", work) as span:
            loaded = keys.stage(attempt.label, stack)
            batches = current.stream(source, changes.EVERYTHING)
            tally = self._load(loaded, work, batches, current.version, source)
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
        """Stage the rows with these keys, and a tombstone for each of the keys that is in the warehouse but not in the
        snapshot."""
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
    def wanted(
        work: Work,
        current: Snapshot,
        noted_at: datetime,
        source: SourceTable,
        refer: changes.Refer = changes.setting,
    ) -> Changes:
        """Return what a read asks for; of a log that goes on from an earlier reading, which of its rows are new."""
        if isinstance(work, Log) and work.xmin is not None and current.comparable(work.xmin, work.system):
            return changes.since(work.xmin, refer=refer)
        if isinstance(work, Copy | Rebuild | Keys | Log | Repair):
            return changes.EVERYTHING
        if isinstance(work, Scan):
            if work.xmin is None or not current.comparable(work.xmin, work.system):
                return changes.EVERYTHING
            return changes.since(work.xmin, work.seen, refer)
        if isinstance(work, Sweep):
            known = work.xmin is not None and current.comparable(work.xmin, work.system)
            written = changes.since(work.xmin, refer=refer) if known and work.xmin is not None else None
            return changes.outside(source.spec, noted_at, source.zone, work.behind, written, refer)
        window, again = source.in_window(work.window, refer), work.reread
        if again is not None and current.comparable(again.xmin_from, again.system):
            return changes.both(window, changes.since(again.xmin_from, refer=refer))
        return window

    def _verify(
        self, stage: Stage, tally: Tally, source: SourceTable, *, unique: bool = True
    ) -> tuple[str, ...]:
        """Return the partitions of what is staged.

        Raises VerificationError unless it is what was read, SchemaError unless each key is there once.
        """
        from include.mirror import verify

        spec, sample = stage.table.spec, tally.sampled
        ours = source.texts(sample) if sample else {}
        arrived = stage.verify(list(ours))
        verify.compare(spec, tally.digest, arrived.digest, "the stage")
        if unique and arrived.keys != arrived.digest.rows:
            doubled = "; ".join(", ".join(key) for key in stage.doubled_keys())
            raise SchemaError(
                f"{spec.label}: {arrived.digest.rows} rows have only {arrived.keys} different keys ({', '.join(spec.key)}), "
                f"such as {doubled}: the key does not tell the table's rows apart"
            )
        if sample:
            verify.compare_rows(spec, sample, ours, arrived.sample, "the stage")
        return arrived.partitions

    @contextmanager
    def _settled(
        self, loads: list[Load], current: Snapshot, attempt: Attempt, stack: ExitStack
    ) -> Iterator[list[Load]]:
        """Yield the loads as they are to be published in the block, and see to it afterwards that no row is in two places.

        Concerns tables that are sorted by other columns than their key, so that a row's place can change. Each stage gets
        a tombstone for the old place of each of its rows, and loses the rows that have a newer version in the warehouse. A
        lock keeps others from publishing between that look into the warehouse and the end of the block.
        """
        moving = [load for load in loads if load.stage is not None and self._spec(load.work).moves]
        if not moving:
            yield loads
            return
        lock = _Lock(SORT_LOCK, list({load.work.tabela: self._spec(load.work) for load in moving}.values()))
        # In a snapshot, the session waits for a shorter time.
        run(self.connection, "SET LOCAL lock_timeout = '1min'")
        self._take(lock)
        try:
            settled = [self._settle(load, current.version, attempt, stack) for load in loads]
            # Raises if the session is gone, and the lock with it.
            run(self.connection, "SELECT 1")
            yield settled
            for load in settled:
                self._mend_places(load, attempt, stack)
        finally:
            if not self.connection.closed:
                current.roll_back()
            self._free(lock)

    def _settle(self, load: Load, version: int, attempt: Attempt, stack: ExitStack) -> Load:
        stage = load.stage
        if stage is None or not self._spec(load.work).moves:
            return load
        partitions = stage.partitions() if load.partitions is None else load.partitions
        if partitions and stage.outdated(version, partitions):
            loaded, stage = stage, stage.table.stage(attempt.label, stack)
            stage.keep_current(loaded, version, partitions)
            partitions = stage.partitions()
        if partitions:
            stage.leave_places(version, partitions)
        self.engine.observe("settled", load.work)
        return replace(load, stage=stage, partitions=tuple(partitions))

    def _mend_places(self, load: Load, attempt: Attempt, stack: ExitStack) -> None:
        """End older places of published rows. There are none, unless the lock was lost and another run has published too."""
        stage = load.stage
        if stage is None or not load.partitions or not self._spec(load.work).moves:
            return
        if doubled := stage.doubled(load.partitions):
            log.warning(
                "%d rows of %s were in two places of the warehouse's table: another run has published them at the same "
                "time, though this one had a lock. Their older places are ended now",
                doubled,
                self._spec(load.work).label,
            )
            ending = stage.table.stage(attempt.label, stack)
            ending.end_older_places(stage, load.partitions)
            ending.publish(ending.partitions())

    def _publish(self, loads: Sequence[Load], version: int) -> Mapping[str, Sequence[Part]]:
        """Attach what has been staged, check that it stands in the tables that people read, and return their parts to note.

        These are the present parts. But if one of the parts noted before is gone or changed, somebody has changed the table
        since this run was planned. Then the parts noted before are returned, so that the next planning notices the change.
        """
        from include.mirror import verify

        staged = [(load, load.stage) for load in loads if load.stage is not None]
        if not staged:
            return {}
        expected: dict[str, Digest] = {}
        for load, stage in staged:
            work = load.work
            with telemetry.step("publish", work):
                partitions = stage.partitions() if load.partitions is None else load.partitions
                stage.publish(partitions)
                for _ in partitions:
                    self.engine.observe("published", work)
            if not isinstance(work, Copy | Keys | Log):
                before = expected.get(work.tabela)
                expected[work.tabela] = load.tally.digest if before is None else before + load.tally.digest
        published = {load.work.tabela: stage.table for load, stage in staged}
        answers = self.ledger.ask(
            *("noted_parts", "parts"),
            more={f"digest of {name}": published[name].of_version() for name in expected},
            tables=[*published],
            version=version,
        )
        arrived = {
            name: verify.read_digest(published[name].spec, answers.rows[f"digest of {name}"][0][0])
            for name in expected
        }
        for load, stage in staged:
            work = load.work
            if isinstance(work, Copy):
                self._check_copy(stage.table, load.tally, version)
            elif not isinstance(work, Keys | Log) and arrived[work.tabela] != expected[work.tabela]:
                stage.check_published(version)
            if isinstance(work, Keys | Log | Repair):
                stage.check_deleted(version)
            self.engine.observe("confirmed", work)
            log.info("%s: %d rows, version %d", work, load.rows, version)
        return self._parts_to_note(answers, published)

    def _parts_to_note(self, answers: Answers, published: Collection[str]) -> Mapping[str, Sequence[Part]]:
        before, now = answers.noted_parts, parts.by_table(answers.rows["parts"])
        if any(parts.lost(before.get(name, ()), now.get(name, ())) for name in published):
            # Another run may have published and noted parts in between: read the parts again, after its note.
            now = parts.read(self.engine.warehouse, self.client, published)
        return {
            name: before[name] if parts.lost(before.get(name, ()), now.get(name, ())) else now.get(name, ())
            for name in published
        }

    @staticmethod
    def _check_copy(table: WarehouseTable, tally: Tally, version: int) -> None:
        """Raise VerificationError if the table's current rows differ from the rows that were read."""
        from include.mirror import verify

        current, newest = table.current()
        # If a newer snapshot has published since, its rows are there too, and there is nothing to compare.
        if newest <= version:
            verify.compare(table.spec, tally.digest, current, "the warehouse")

    def _load(
        self, stage: Stage, work: Work, batches: Iterator[pa.RecordBatch], version: int, source: SourceTable
    ) -> Tally:
        """Check and insert batches while the next are being read. At most two requests' worth of them is in memory."""
        from include.mirror import arrow, verify

        spec, own = stage.table.spec, stage.table.own
        tally = verify.Tally(spec)

        def describe(column: Column, key: arrow.Key) -> str:
            return source.value(column, key)

        def check(batch: pa.RecordBatch) -> pa.RecordBatch:
            rows = arrow.read_batch(spec, batch, describe)
            tally.add(rows)
            return arrow.convert(rows, version, own.version)

        inserts = self.inserting()

        def insert(checked: Sequence[Future[pa.RecordBatch]]) -> None:
            stage.insert(inserts, [one.result() for one in checked])

        # Reading, checking and inserting run at the same time, in a thread each that mostly runs outside of Python.
        with ThreadPoolExecutor(1, "check") as checking, ThreadPoolExecutor(1, "insert") as inserting:
            waiting: list[Future[pa.RecordBatch]] = []
            under_way: Future[None] | None = None
            for batch in batches:
                if self.turn is not None:
                    self.turn.check()
                if not batch.num_rows:
                    continue
                waiting.append(checking.submit(check, batch))
                if len(waiting) == BATCHES_AT_ONCE:
                    if under_way is not None:
                        under_way.result()
                    under_way, waiting = inserting.submit(insert, waiting), []
                self.engine.observe("extracted", work)
            if waiting:
                inserting.submit(insert, waiting).result()
            if under_way is not None:
                under_way.result()
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
        "written: %s. They are read all the same. Look for a session in another time zone, an application that "
        "uses its own clock, or a wrong source_timezone (now %s)",
        tally.rows,
        spec.label,
        spec.change_column,
        found,
        source.zone.key,
    )


class _Writers:
    """Collects which transactions' rows a scan has read, from its snapshot's lowest running id on.

    A transaction that stays open holds that id back, so the next scan would read again all rows that others have written
    since. All rows of a transaction become visible at once, so rows of a transaction that this scan has read can be left out
    next time. Leaving out fewer is correct too, so only the transactions with the most rows are kept.
    """

    def __init__(self, scan: Scan, current: Snapshot) -> None:
        self.xmin = current.xmin
        self.asked = current.xmin < current.xmax
        comparable = scan.xmin is not None and current.comparable(scan.xmin, scan.system)
        before = np.array(scan.seen if comparable else (), dtype=np.int64)
        # This scan left out the transactions that earlier scans had read. Keep them first: their number of rows is unknown.
        self.rows = {int(xid): sys.maxsize for xid in before[changes.at_least(before, self.xmin)]}

    def watch(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Yield the batches without their last column, the writers' transaction ids, and count the rows of each id."""
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
        """The transactions' ids: at most `SEEN_AT_MOST`, those with the most rows."""
        most = sorted(self.rows, key=lambda xid: self.rows[xid], reverse=True)
        return tuple(sorted(most[:SEEN_AT_MOST]))
