"""The protocol against a model: transactions of every kind, runs that die, reads that interleave.

The model knows nothing of PostgreSQL but what the protocol rests on: a row carries the start of its
transaction, becomes visible when that commits, and an open transaction shows in one of two lists. Whatever
order hypothesis finds, once all transactions have ended and runs have caught up, every committed row must
have been read.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from include.mirror.plan import LedgerState, Notes, OpenTransactions, Pending, Prepared, Read, Session, plan
from include.mirror.window import Interval, Request, Window

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
TABLE = "venda"


def instant(tick: int) -> datetime:
    return EPOCH + timedelta(seconds=tick)


@dataclass
class Transaction:
    pid: int
    start: int
    statement: int
    """When its last message arrived: what a second transaction of that message would carry."""
    xid: int | None = None
    gid: str | None = None


@dataclass
class Row:
    updated_at: int
    xid: int


@dataclass
class Running:
    """A read between its steps: noted, then snapshot taken."""

    read: Read
    notes: Notes | None = None
    seen: frozenset[int] | None = None
    xmin: int = 0


@dataclass
class Ledger:
    windows: list[Window] = field(default_factory=list)
    pending: dict[UUID, Pending] = field(default_factory=dict)
    settled: set[UUID] = field(default_factory=set)

    def state(self) -> LedgerState:
        owed = [row for key, row in self.pending.items() if key not in self.settled]
        return LedgerState(list(self.windows), owed)


class Protocol(RuleBasedStateMachine):
    rereads = True

    def __init__(self) -> None:
        super().__init__()
        self.tick = 10
        self.next_xid = 100
        self.next_pid = 1
        self.open: list[Transaction] = []
        self.rows: list[Row] = []
        self.mirrored: set[int] = set()
        self.running: list[Running] = []
        self.ledger = Ledger()

    # The application.

    @rule()
    def pass_time(self) -> None:
        self.tick += 3

    @rule(writes=st.booleans())
    def begin(self, writes: bool) -> None:
        self.tick += 1
        transaction = Transaction(self.next_pid, self.tick, self.tick)
        self.next_pid += 1
        self.open.append(transaction)
        if writes:
            self._write(transaction)

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def write(self, data: st.DataObject) -> None:
        transaction = data.draw(st.sampled_from(self.open))
        if transaction.gid is None:
            self.tick += 1
            transaction.statement = self.tick
            self._write(transaction)

    def _write(self, transaction: Transaction) -> None:
        if transaction.xid is None:
            transaction.xid = self.next_xid
            self.next_xid += 1

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def prepare(self, data: st.DataObject) -> None:
        transaction = data.draw(st.sampled_from(self.open))
        if transaction.xid is not None:
            transaction.gid = f"gid-{transaction.xid}"

    @precondition(lambda self: self.open)
    @rule(data=st.data(), commits=st.booleans(), continues=st.booleans())
    def end(self, data: st.DataObject, commits: bool, continues: bool) -> None:
        transaction = data.draw(st.sampled_from(self.open))
        self.open.remove(transaction)
        if transaction.xid is not None and commits:
            self.rows.append(Row(transaction.start, transaction.xid))
        if continues and transaction.gid is None:
            # A second transaction of the same message: it carries the message's time, not the present.
            following = Transaction(transaction.pid, transaction.statement, transaction.statement)
            self.open.append(following)
            self._write(following)

    # The mirror.

    def _now(self) -> OpenTransactions:
        return OpenTransactions(
            frozenset(Session(t.pid, EPOCH, instant(t.start)) for t in self.open if t.gid is None),
            frozenset(Prepared(t.xid or 0, t.gid) for t in self.open if t.gid is not None),
        )

    @rule(back=st.integers(1, 8), scheduled=st.booleans())
    def plan_run(self, back: int, scheduled: bool) -> None:
        self.tick += 1
        end = self.tick - 1
        request = Request(Interval(instant(end - back), instant(end)), (TABLE,), fill_gaps=scheduled)
        first = min((row.updated_at for row in self.rows), default=None)
        oldest = {} if first is None else {TABLE: instant(first)}
        state = self.ledger.state()
        if not self.rereads:
            state = replace(state, pending=())
        self.running += [Running(read) for read in plan(state, self._now(), request, oldest, (TABLE,))]

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def step(self, data: st.DataObject) -> None:
        self._step(data.draw(st.sampled_from(self.running)))

    def _step(self, run: Running) -> None:
        window = run.read.window
        if run.notes is None:
            run.notes = run.read.notes(self._now())
        elif run.seen is None:
            run.xmin = min((t.xid for t in self.open if t.xid is not None), default=self.next_xid)
            run.seen = frozenset(
                row.xid
                for row in self.rows
                if window.inicio <= instant(row.updated_at) < window.fim
                and (run.read.reread is None or row.xid >= run.read.reread.xmin_from)
            )
        else:
            self.mirrored |= run.seen
            if run.read.reread is None:
                self.ledger.windows.append(window)
            else:
                self.ledger.settled |= set(run.read.reread.settles)
            if run.notes.owed:
                row = Pending(uuid4(), window, run.xmin, run.notes)
                self.ledger.pending[row.id] = row
            self.running.remove(run)

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def die(self, data: st.DataObject) -> None:
        run = data.draw(st.sampled_from(self.running))
        if run.seen is not None and data.draw(st.booleans()):
            self.mirrored |= run.seen  # published, but no ledger row
        self.running.remove(run)

    def teardown(self) -> None:
        while self.running:
            self._step(self.running[0])
        while self.open:
            transaction = self.open.pop()
            if transaction.xid is not None:
                self.rows.append(Row(transaction.start, transaction.xid))
        runs = 0
        while runs < 2 or (self.rereads and self.ledger.state().pending):
            runs += 1
            assert runs < 10, "re-reads of ended transactions never come to an end"
            self.tick += 2
            self.plan_run(back=1, scheduled=True)
            while self.running:
                self._step(self.running[0])
        lost = [row for row in self.rows if row.xid not in self.mirrored]
        assert not lost, f"rows never read: {lost}"


def test_no_committed_row_is_lost_whatever_the_order() -> None:
    run_state_machine_as_test(
        Protocol, settings=settings(max_examples=400, stateful_step_count=30, deadline=None)
    )


def test_without_rereads_the_model_loses_rows() -> None:
    class WithoutRereads(Protocol):
        rereads = False

    with pytest.raises(AssertionError, match="rows never read"):
        run_state_machine_as_test(
            WithoutRereads,
            settings=settings(max_examples=400, stateful_step_count=30, deadline=None, database=None),
        )
