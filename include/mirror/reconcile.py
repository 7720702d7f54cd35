"""Reconciliation: compares a warehouse table with its source table, row by row, and repairs wrong rows.

1. In one snapshot of the source, both sides compute the count of rows and the sum of their hashes for each bucket. Buckets
   that differ are split into finer ones. From the last ones, the rows' keys and hashes are fetched (`checksums.py`).
2. A row that differs may still be on its way. So reconciliation waits until the ledger owes nothing that the snapshot saw.
   Then it compares these rows again, in a new snapshot. A row is wrong if it is unchanged in the source and the warehouse
   has nothing newer than the first snapshot. A row that has changed meanwhile is compared again after the next wait. If the
   mirror is not done in time, rows that its next run would read are on their way, and all others are wrong.
3. Wrong rows are read again by their keys, in a new snapshot. They are moved like any other read: staged, verified,
   published with that snapshot's version, noted in the ledger. A key that is not in the source becomes a tombstone.
4. The wrong rows are compared once more. Only rows that are equal then count as repaired.

Nothing is written before step 3, and step 3 is a pass like any other (`move.py`): a crash leaves what a pass leaves, and the
next reconciliation starts from the beginning. Two reconciliations at once only do the work twice. Runs that publish
meanwhile have newer versions, and win.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from heapq import nsmallest
from itertools import islice, zip_longest
from typing import TYPE_CHECKING, Any

from include.conventions.conf import flag, refuse_unknown
from include.conventions.errors import RequestError, TaskError
from include.mirror import contract, names, reports, telemetry
from include.mirror.checksums import (
    ABSENT,
    FANOUT,
    Bucket,
    Key,
    Row,
    SourceRows,
    Throttle,
    WarehouseRows,
    differing,
    put_keys,
)
from include.mirror.deletes import delete_method
from include.mirror.engine import Engine
from include.mirror.errors import SchemaError, WarehouseError, WrongRowsError
from include.mirror.ledger import TABLE as LEDGER
from include.mirror.ledger import Attempt, Ledger
from include.mirror.move import Mover
from include.mirror.origin import check_source
from include.mirror.plan import EPOCH, LedgerState, Read, Repair, Work, gaps, instant, rereads, scan
from include.mirror.reports import Report, Word
from include.mirror.source.clock import clock
from include.mirror.source.look import look
from include.mirror.source.session import Connection
from include.mirror.source.snapshot import Snapshot, snapshot
from include.mirror.source.table import SourceTable
from include.mirror.source.transactions import Identity, check_server, open_transactions
from include.mirror.spec import TableSpec
from include.mirror.warehouse import parts
from include.mirror.warehouse.table import WarehouseTable
from include.mirror.window import MICROSECOND, ceil_time, choose

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

log = logging.getLogger(__name__)

CONF_KEYS = ("tabelas", "somente_relatorio", "confirmar")

ONLY_REPORT = "only a report was asked for"

FEW = 10_000
"""If differing buckets have at most this many rows, the rows are fetched; otherwise the buckets are split again."""

MOST = 500_000
"""With more differing rows than this, a table has to be rebuilt and is not repaired."""

ROUNDS = 4
"""How often rows that keep changing are compared again."""

AT_ONCE = 5_000
"""How many rows one pass repairs."""

SAMPLES = 5
LONGEST_VALUE = 60


@dataclass(frozen=True)
class Limits:
    """The limits of reconciliation.

    `share`, from 0 to 1, is how much of the time it may read in the source. `patience` is how long it waits for the mirror.
    `deleted`, from 0 to 1, is the share of a table's rows that it may delete in the warehouse without `confirmed`.
    """

    share: float = 0.5
    patience: timedelta = timedelta(minutes=15)
    deleted: float = 0.2


@dataclass(frozen=True)
class ReconcileOptions:
    """The options that conf gives: whether to report only, and whether many deletions are confirmed."""

    only_report: bool = False
    confirmed: bool = False


def reconcile_options(conf: Mapping[str, Any]) -> ReconcileOptions:
    """Return the options in a valid conf."""
    return ReconcileOptions(conf.get("somente_relatorio", False), conf.get("confirmar", False))


def plan_reconciliation(engine: Engine, conf: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of the tables to reconcile. Raise RequestError for an invalid conf."""
    if given := [key for key in ("inicio", "fim") if key in conf]:
        raise RequestError(
            f"reconciliation takes no {' and no '.join(given)}: tables are compared whole. To read a range again, run "
            f"etl_{engine.declaration.label} with it"
        )
    refuse_unknown(conf, CONF_KEYS)
    wanted = conf.get("tabelas")
    if wanted is not None and not (
        isinstance(wanted, list) and wanted and all(isinstance(one, str) for one in wanted)
    ):
        raise RequestError(f'tabelas is {wanted!r}; it must be a list of tables, such as ["venda"]')
    for key in ("somente_relatorio", "confirmar"):
        flag(conf, key)
    with engine.source.connect() as source:
        resolved = engine.specs(source)
    return choose(wanted, (*resolved.specs, *resolved.refused))


def reconcile(
    engine: Engine,
    tabela: str,
    request: ReconcileOptions,
    attempt: Attempt,
    limits: Limits = Limits(),
    *,
    wait: Callable[[], None] = lambda: time.sleep(5),
    rest: Callable[[float], None] = time.sleep,
) -> Report:
    """Compare one whole table, repair it unless only a report was asked for, write the report and return it.

    `wait` sleeps until the mirror may have moved on. `rest` sleeps the given seconds between two statements in the source.
    An error about the table is returned as a report. An error that may heal by itself is raised.
    """
    started_at = datetime.now(UTC)
    with engine.clients() as (source, client), engine.warehouse.client() as inserting:
        _prepare(engine, client)
        one = _Reconciliation(
            engine,
            tabela,
            request,
            attempt,
            limits,
            source,
            client,
            inserting,
            wait,
            Throttle(limits.share, rest),
        )
        try:
            report = one.run()
        except TaskError as error:
            if error.heals:
                raise
            report = Report(tabela).with_word("unknown", str(error))
        report = replace(
            report,
            only_report=request.only_report,
            statements=one.throttle.statements,
            longest=round(one.throttle.longest, 3),
        )
        reports.write(engine.warehouse, client, report, attempt, started_at)
        engine.observe("reported", Repair(tabela, ()))
    log.log(logging.WARNING if report.is_alarming else logging.INFO, "%s", report)
    telemetry.reconciled(engine.declaration.name, report)
    return report


def _prepare(engine: Engine, client: Client) -> None:
    """Bring the mirror's own tables to this version. Raise WarehouseError if there is no ledger yet."""
    contents, warehouse = contract.read(engine.warehouse, client), engine.warehouse
    if LEDGER not in contents.storage:
        raise WarehouseError(
            f"there is no ledger in {warehouse.storage} yet: etl_{engine.declaration.label} has to run once, then there is "
            "something to compare"
        )
    Ledger(warehouse, client).prepare(contents.storage)


def conclude(found: Iterable[Report], *, only_report: bool) -> None:
    """Raise WrongRowsError if a person should look at a table, even if its rows were repaired."""
    alarming = [report for report in found if report.is_alarming or (only_report and report.word != "equal")]
    if alarming:
        raise WrongRowsError("; ".join(map(str, alarming)))


@dataclass
class _Reconciliation:
    engine: Engine
    tabela: str
    request: ReconcileOptions
    attempt: Attempt
    limits: Limits
    source: Connection
    client: Client
    inserting: Client
    wait: Callable[[], None]
    throttle: Throttle
    moved: int = 0
    rows: tuple[int, int] = (0, 0)
    identity: Identity = field(init=False)
    table: WarehouseTable = field(init=False)

    @property
    def spec(self) -> TableSpec:
        return self.table.spec

    def run(self) -> Report:
        report = Report(self.tabela)
        tables, refused = self.engine.tables(self.source, self.client, [self.tabela])
        if self.tabela in refused:
            return report.with_word("unknown", refused[self.tabela])
        self.table = tables[self.tabela]
        before = Ledger(self.engine.warehouse, self.client).source()
        self.identity = check_server(self.source, sessions=self.spec.way == "window")
        check_source(self.engine.warehouse, before, self.identity)
        if why := self._wait_until(self._is_loading):
            return report.with_word("unknown", f"it is not known yet: {why}")
        version, differs = self._compare()
        self._observe("compared", differs)
        report = replace(
            report, version=version, rows_source=self.rows[0], rows_warehouse=self.rows[1], moved=self.moved
        )
        if not differs:
            return replace(report, word="equal")
        return self._judge(report, differs)

    def _compare(self) -> tuple[int, dict[Key, Row]]:
        """Return the snapshot's version, and the differing rows, by key, as the snapshot has them."""
        with snapshot(self.engine.source, self.source, [self.spec], self._ledger.newest_version) as current:
            ours = SourceRows(current.table(self.spec), self.throttle)
            theirs = WarehouseRows(self.table)
            buckets, here, there = FANOUT, ours.buckets(FANOUT), theirs.buckets(FANOUT)
            self.rows = _count(here.values()), _count(there.values())
            self.moved += len(here) + len(there)
            wanted = differing(here, there)
            while (
                rows := _count(side[one] for side in (here, there) for one in wanted if one in side)
            ) > FEW:
                finer = buckets * FANOUT
                if finer > 2 * max(self.rows):
                    break
                within = (buckets, wanted)
                buckets, here, there = finer, ours.buckets(finer, within), theirs.buckets(finer, within)
                self.moved += len(here) + len(there)
                wanted = differing(here, there)
            if rows > 2 * MOST:
                raise SchemaError(
                    f"about {rows // 2:,} rows of {self.spec.label} may differ, more than are compared one by one: build "
                    f'the table anew with etl_{self.engine.declaration.label} and {{"reconstruir": ["{self.tabela}"]}}'
                )
            if not wanted:
                return current.version, {}
            mine, yours = ours.rows(buckets, wanted), theirs.rows(buckets, wanted)
            self.moved += len(mine) + len(yours)
            return current.version, {
                key: mine.get(key, ABSENT)
                for key in mine.keys() | yours.keys()
                if mine.get(key, ABSENT).hash != yours.get(key, ABSENT).hash
            }

    def _judge(self, report: Report, differs: dict[Key, Row]) -> Report:
        """Sort the differing rows into wrong ones and ones on their way. Repair the wrong rows."""
        pending, version = differs, report.version
        wrong: dict[Key, tuple[Row, Row]] = {}
        why: str | None = None
        arrived = 0
        for _ in range(ROUNDS):
            if not pending or (why := self._wait_until(partial(self._is_owed, version))):
                break
            later, now = self._again(list(pending))
            still: dict[Key, Row] = {}
            for key, (ours, theirs) in later.items():
                if ours.hash == theirs.hash:
                    arrived += 1
                elif ours != pending[key] or theirs.mark > version:
                    still[key] = ours
                else:
                    wrong[key] = (ours, theirs)
            pending, version = still, now
        last = self._split(list(pending)) if pending else _Split()
        wrong |= last.wrong
        coming, undecided = len(last.coming), len(last.undecided)
        self._observe("judged", wrong)
        gone = [key for key, (ours, _) in wrong.items() if ours.hash is None]
        if self.spec.deletes == "keep":
            wrong = {key: found for key, found in wrong.items() if found[0].hash is not None}
            gone = []
        by = self._deletes_by
        report = replace(
            report,
            moved=self.moved,
            in_flight=arrived + last.arrived,
            coming=coming,
            undecided=undecided,
            missing=sum(theirs.hash is None for _, theirs in wrong.values()),
            extra=0 if by == "reconciliation" else len(gone),
            deleted=len(gone) if by == "reconciliation" else 0,
            different=sum(None not in (ours.hash, theirs.hash) for ours, theirs in wrong.values()),
            samples=self._samples(_some(wrong or last.undecided)),
        )
        if wrong:
            report = self._repair(report, list(wrong), len(gone))
        elif not coming and not undecided:
            report = replace(report, word="equal")
        if not coming and not undecided:
            return report
        word: Word = "differs" if report.word == "differs" else "unknown" if undecided else "follows"
        why = why or "rows went on changing while they were compared"
        return report.with_word(word, "; ".join(filter(None, (report.reason, why))))

    @property
    def _deletes_by(self) -> str:
        return delete_method(self.spec, self.table.rows, self.engine.options.compare_keys).by

    def _split(self, keys: Sequence[Key]) -> _Split:
        """Sort differing rows, without waiting, into those that the mirror's next run would read and wrong ones.

        The ledger is read before the snapshot and the warehouse: rows that it lists as moved are there by then, and rows
        that are written later do not count as moved. Two kinds of rows are undecided until the next run: rows of copied
        tables, and rows that are gone from the source, if runs look for deleted rows.
        """
        spec = self.spec
        state = self._ledger.state(ways={spec.way})
        found = _Split()
        with ExitStack() as stack:
            current, pairs = self._pairs(keys, stack)
            here = SourceRows(current.table(spec), self.throttle)
            wrong: dict[Key, tuple[Row, Row]] = {}
            for key, (ours, theirs) in pairs.items():
                if ours.hash == theirs.hash:
                    found.arrived += 1
                elif (
                    theirs.mark > current.version
                    or spec.way == "copy"
                    or (ours.hash is None and self._deletes_by in ("keys", "log"))
                ):
                    found.undecided[key] = (ours, theirs)
                else:
                    wrong[key] = (ours, theirs)
            for work in self._next_reads(state, current.version):
                wanted = Mover.wanted(work, current, EPOCH, current.table(spec))
                found.coming |= here.of_keys([*wrong], wanted).keys()
            found.wrong = {key: pair for key, pair in wrong.items() if key not in found.coming}
        return found

    def _next_reads(self, state: LedgerState, version: int) -> list[Work]:
        """Return what the next run would read, as far as rows committed before a snapshot are concerned."""
        spec, name = self.spec, self.tabela
        if spec.way == "scan":
            return [scan(state, name)]
        end = ceil_time(instant(version), spec.precision)
        # Asked after the snapshot: transactions that ended before it, and whose rows it sees, are then found gone.
        with self.engine.source.connect() as other:
            now = open_transactions(other)
        oldest = look(self.source, [spec], self.engine.source.zone).oldest
        covered = [window for window in state.coverage if window.tabela == name]
        first = min(oldest.get(name, end), end)
        holes = gaps(covered, name, first, end + MICROSECOND)
        return [*map(Read, holes), *rereads(state.pending, now, name)]

    def _again(self, keys: Sequence[Key]) -> tuple[dict[Key, tuple[Row, Row]], int]:
        """Return both sides' rows of now for these keys, and the version of the snapshot."""
        with ExitStack() as stack:
            current, pairs = self._pairs(keys, stack)
            return pairs, current.version

    def _pairs(self, keys: Sequence[Key], stack: ExitStack) -> tuple[Snapshot, dict[Key, tuple[Row, Row]]]:
        """Return both sides' rows of now for these keys, in a snapshot that is held until `stack` ends.

        Raises SchemaError if rows of the warehouse have versions in the future, so that no read could replace them.
        """
        current = stack.enter_context(
            snapshot(self.engine.source, self.source, [self.spec], self._ledger.newest_version)
        )
        there = WarehouseRows(self.table).of_keys(put_keys(self.table, self.attempt.label, keys, stack))
        here = SourceRows(current.table(self.spec), self.throttle).of_keys(keys)
        self.moved += len(here) + len(there)
        clock_now = (clock(self.source) - EPOCH) // MICROSECOND
        if ahead := [theirs.mark for theirs in there.values() if theirs.mark > clock_now]:
            made = f"{self.table.name} WHERE {names.ch(self.table.own.version)} > {clock_now}"
            raise SchemaError(
                f"{len(ahead)} rows of {self.spec.label} have versions in the warehouse that the source's clock has "  # noqa: S608
                f"not reached, up to {max(ahead)}: somebody has written them, and no read can replace them. "
                f"Run DELETE FROM {made}"
            )
        self._observe("looked", keys)
        return current, {key: (here.get(key, ABSENT), there.get(key, ABSENT)) for key in keys}

    def _repair(self, report: Report, keys: Sequence[Key], deletions: int) -> Report:
        """Read rows again by their keys, and check that both sides are equal afterwards."""
        if self.request.only_report:
            return report.with_word("differs", ONLY_REPORT)
        if deletions > self.limits.deleted * report.rows_warehouse and not self.request.confirmed:
            return report.with_word(
                "differs",
                f"{deletions:,} of {report.rows_warehouse:,} rows would be deleted, more than {self.limits.deleted:.0%}: is "
                'the source what it should be? If so, run it once with {"confirmar": true}',
            )
        mover = Mover(
            self.engine, self.source, self.client, lambda: self.inserting, {self.tabela: self.table}
        )
        version = 0
        for first in range(0, len(keys), AT_ONCE):
            work = Repair(self.tabela, tuple(keys[first : first + AT_ONCE]))
            entries = mover.move([work], self.attempt)
            if not entries:
                reasons = self._ledger.refused(self.attempt.plan)
                return report.with_word("differs", reasons.get(self.tabela, "it could not be repaired"))
            version = entries[-1].version
        after, _ = self._again(keys)
        self._observe("proved", keys)
        # A row with a newer version has changed since. The next run takes care of it.
        equal = [
            key for key, (ours, theirs) in after.items() if ours.hash == theirs.hash or theirs.mark > version
        ]
        report = replace(report, repaired=len(equal), moved=self.moved)
        if len(equal) < len(keys):
            return report.with_word(
                "differs", f"{len(keys) - len(equal):,} rows still differ after they were read again"
            )
        return replace(report, word="repaired")

    def _samples(self, keys: Sequence[Key]) -> tuple[str, ...]:
        """Return a text for each of some keys: the values that differ between both sides."""
        if not keys:
            return ()
        with ExitStack() as stack:
            there = WarehouseRows(self.table).texts(put_keys(self.table, self.attempt.label, keys, stack))
        here = SourceRows(self._source_table, self.throttle).texts(keys)
        return tuple(self._sample(key, here.get(key), there.get(key)) for key in keys)

    def _sample(self, key: Key, here: Key | None, there: Key | None) -> str:
        where = ", ".join(f"{name} = {_cut(part)}" for name, part in zip(self.spec.key, key, strict=True))
        if here is None or there is None:
            return f"{where}: {'not in the source' if here is None else 'not in the warehouse'}"
        values = ", ".join(
            f"{column.name} is {_cut(ours)} in the source and {_cut(theirs)} in the warehouse"
            for column, ours, theirs in zip(self.spec.columns, here, there, strict=True)
            if ours != theirs
        )
        return f"{where}: {values or 'equal by now'}"

    def _observe(self, step: str, keys: Iterable[Key]) -> None:
        self.engine.observe(step, Repair(self.tabela, tuple(keys)))

    @property
    def _source_table(self) -> SourceTable:
        return SourceTable(self.source, self.spec, self.engine.source.zone)

    @property
    def _ledger(self) -> Ledger:
        built = {self.tabela: self.table.built} if self.table.built else {}
        return Ledger(self.engine.warehouse, self.client, self.identity.timeline, built)

    def _wait_until(self, reason: Callable[[], str | None]) -> str | None:
        """Wait until `reason` returns None. If patience ends before, return the last reason."""
        deadline = time.monotonic() + self.limits.patience.total_seconds()
        while why := reason():
            if time.monotonic() > deadline:
                return why
            log.info("%s: waiting, %s", self.tabela, why)
            self.wait()
        return None

    def _is_loading(self) -> str | None:
        """Return why older rows of the table are not in the warehouse yet, None if they should all be there."""
        spec, ledger = self.spec, self._ledger
        if lost := parts.lost(
            ledger.noted_parts().get(self.tabela, ()),
            parts.read(self.engine.warehouse, self.client, [self.tabela])[self.tabela],
        ):
            return f"{lost}, and the next run reads all of it again"
        if spec.way == "scan":
            known = any(one.tabela == self.tabela for one in ledger.ask("scans").scans)
            return None if known else "no run has read all of it yet"
        if spec.way == "copy":
            return (
                None
                if (self.tabela, "copy") in ledger.ask("newest_reads").newest_reads
                else "no run has read all of it yet"
            )
        now = clock(self.source)
        oldest = look(self.source, [spec], self.engine.source.zone).oldest
        holes = gaps(
            [window for window in ledger.ask("coverage").coverage if window.tabela == self.tabela],
            self.tabela,
            oldest.get(self.tabela, now),
            now + MICROSECOND,
        )
        if len(holes) > 1 or any(hole.fim <= now for hole in holes):
            return f"{holes[0]} is not in the warehouse yet"
        return None

    def _is_owed(self, version: int) -> str | None:
        """Return what the mirror has not moved yet of the rows that a snapshot saw, None if it has moved all of them."""
        spec, ledger = self.spec, self._ledger
        seen = instant(version)
        by = self._deletes_by
        if (
            by in ("keys", "log")
            and ledger.ask("newest_reads").newest_reads.get((self.tabela, by), 0) < version
        ):
            return f"no run has looked for its deleted rows since {seen:%T}"
        if spec.way == "scan":
            known = any(
                one.tabela == self.tabela and one.taken_at >= seen for one in ledger.ask("scans").scans
            )
            return None if known else f"no run has read it since {seen:%T}"
        if spec.way == "copy":
            known = ledger.ask("newest_reads").newest_reads.get((self.tabela, "copy"), 0) >= version
            return None if known else f"no run has read it since {seen:%T}"
        there = look(self.source, [spec], self.engine.source.zone)
        oldest, wrong = there.oldest, there.wrong
        if wrong:
            return "; ".join(wrong.values())
        state = ledger.state(ways={"window"})
        # Read the ledger before the open transactions, as planning does: a transaction that ends in between is found gone.
        now = open_transactions(self.source)
        end = ceil_time(seen, spec.precision)
        first = min(oldest.get(self.tabela, end), end)
        covered = [window for window in state.coverage if window.tabela == self.tabela]
        if holes := first < end and gaps(covered, self.tabela, first, end):
            return f"{holes[0]} is not in the warehouse yet"
        # Ignore rows that only later transactions may have written. Otherwise the wait would never end.
        pending = [one for one in state.pending if one.notes.first_touched(one.window) < end]
        if again := rereads(pending, now, self.tabela):
            return f"{again[0]} has to be read again"
        return None


@dataclass
class _Split:
    """Differing rows, sorted: how many have arrived meanwhile, the keys that the next run will read, the rows that only the
    next run can decide, and the wrong rows."""

    arrived: int = 0
    coming: set[Key] = field(default_factory=set)
    undecided: dict[Key, tuple[Row, Row]] = field(default_factory=dict)
    wrong: dict[Key, tuple[Row, Row]] = field(default_factory=dict)


def _some(rows: Mapping[Key, tuple[Row, Row]]) -> list[Key]:
    """Return a few keys, some of each kind of difference, sorted by kind and key."""
    kinds: dict[tuple[bool, bool], list[Key]] = {}
    for key, (ours, theirs) in rows.items():
        kinds.setdefault((ours.hash is None, theirs.hash is None), []).append(key)
    # Shorter texts come first, so that texts of numbers are in numeric order.
    few = [
        nsmallest(SAMPLES, keys, key=lambda key: [(len(part), part) for part in key])
        for _, keys in sorted(kinds.items())
    ]
    turns = (key for turn in zip_longest(*few) for key in turn if key is not None)
    chosen = set(islice(turns, SAMPLES))
    return [key for keys in few for key in keys if key in chosen]


def _count(buckets: Iterable[Bucket]) -> int:
    return sum(bucket.rows for bucket in buckets)


def _cut(text: str | None) -> str:
    if text is None:
        return "NULL"
    return repr(text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}…")
