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
SYSTEM = 7


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


class Model:
    """The source's transactions and the mirror's reads, moved one step at a time."""

    def __init__(self, rereads: bool = True) -> None:
        self.rereads = rereads
        self.tick = 10
        self.next_xid = 100
        self.next_pid = 1
        self.open: list[Transaction] = []
        self.rows: list[Row] = []
        self.mirrored: set[int] = set()
        self.running: list[Running] = []
        self.ledger = Ledger()

    # The application.

    def begin(self, *, writes: bool = True) -> Transaction:
        self.tick += 1
        transaction = Transaction(self.next_pid, self.tick, self.tick)
        self.next_pid += 1
        self.open.append(transaction)
        if writes:
            self.write(transaction)
        return transaction

    def write(self, transaction: Transaction) -> None:
        self.tick += 1
        transaction.statement = self.tick
        if transaction.xid is None:
            transaction.xid = self.next_xid
            self.next_xid += 1

    def prepare(self, transaction: Transaction) -> None:
        transaction.gid = f"gid-{transaction.xid}"

    def commit(self, transaction: Transaction) -> None:
        self.open.remove(transaction)
        if transaction.xid is not None:
            self.rows.append(Row(transaction.start, transaction.xid))

    def begin_in_same_message(self, previous: Transaction) -> Transaction:
        """Begin the second transaction of one message: it carries the message's time, not the present."""
        following = Transaction(previous.pid, previous.statement, previous.statement)
        self.open.append(following)
        following.xid = self.next_xid
        self.next_xid += 1
        return following

    # The mirror.

    def now(self) -> OpenTransactions:
        return OpenTransactions(
            frozenset(Session(t.pid, EPOCH, instant(t.start)) for t in self.open if t.gid is None),
            frozenset(Prepared(t.xid or 0, t.gid) for t in self.open if t.gid is not None),
        )

    def plan_run(self, *, back: int = 1, scheduled: bool = True) -> list[Running]:
        self.tick += 1
        end = self.tick - 1
        request = Request(Interval(instant(end - back), instant(end)), (TABLE,), fill_gaps=scheduled)
        first = min((row.updated_at for row in self.rows), default=None)
        oldest = {} if first is None else {TABLE: instant(first)}
        state = self.ledger.state()
        if not self.rereads:
            state = replace(state, pending=())
        planned = [Running(read) for read in plan(state, self.now(), request, oldest, (TABLE,))]
        self.running += planned
        return planned

    def step(self, run: Running) -> None:
        window = run.read.window
        if run.notes is None:
            run.notes = run.read.notes(self.now())
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
                row = Pending(uuid4(), window, run.xmin, SYSTEM, run.notes)
                self.ledger.pending[row.id] = row
            self.running.remove(run)

    def die(self, run: Running, *, published: bool) -> None:
        if run.seen is not None and published:
            self.mirrored |= run.seen
        self.running.remove(run)

    def finish(self) -> None:
        while self.running:
            self.step(self.running[0])

    def run(self, back: int = 1) -> None:
        """Plan a scheduled run and see it through."""
        self.plan_run(back=back)
        self.finish()

    def assert_converges(self) -> None:
        """End every transaction, let two runs and what they still owe pass, and look for lost rows."""
        self.finish()
        while self.open:
            self.commit(self.open[-1])
        runs = 0
        while runs < 2 or (self.rereads and self.ledger.state().pending):
            runs += 1
            assert runs < 10, "re-reads of ended transactions never come to an end"
            self.tick += 2
            self.run()
        lost = [row for row in self.rows if row.xid not in self.mirrored]
        assert not lost, f"rows never read: {lost}"


class Protocol(RuleBasedStateMachine):
    rereads = True

    def __init__(self) -> None:
        super().__init__()
        self.model = Model(self.rereads)

    @rule()
    def pass_time(self) -> None:
        self.model.tick += 3

    @rule(writes=st.booleans())
    def begin(self, writes: bool) -> None:
        self.model.begin(writes=writes)

    @precondition(lambda self: any(t.gid is None for t in self.model.open))
    @rule(data=st.data())
    def write(self, data: st.DataObject) -> None:
        self.model.write(data.draw(st.sampled_from([t for t in self.model.open if t.gid is None])))

    @precondition(lambda self: any(t.xid is not None for t in self.model.open))
    @rule(data=st.data())
    def prepare(self, data: st.DataObject) -> None:
        self.model.prepare(data.draw(st.sampled_from([t for t in self.model.open if t.xid is not None])))

    @precondition(lambda self: self.model.open)
    @rule(data=st.data(), how=st.sampled_from(["commit", "commit", "roll back", "continue"]))
    def end(self, data: st.DataObject, how: str) -> None:
        transaction = data.draw(st.sampled_from(self.model.open))
        if how == "roll back":
            self.model.open.remove(transaction)
            return
        self.model.commit(transaction)
        if how == "continue" and transaction.gid is None:
            self.model.begin_in_same_message(transaction)

    @rule(back=st.integers(1, 8), scheduled=st.booleans(), at_once=st.booleans())
    def plan_run(self, back: int, scheduled: bool, at_once: bool) -> None:
        self.model.plan_run(back=back, scheduled=scheduled)
        if at_once:
            self.model.finish()

    @precondition(lambda self: self.model.running)
    @rule(data=st.data())
    def step(self, data: st.DataObject) -> None:
        self.model.step(data.draw(st.sampled_from(self.model.running)))

    @precondition(lambda self: self.model.running)
    @rule(data=st.data(), published=st.booleans())
    def die(self, data: st.DataObject, published: bool) -> None:
        self.model.die(data.draw(st.sampled_from(self.model.running)), published=published)

    def teardown(self) -> None:
        self.model.assert_converges()


def test_no_committed_row_is_lost_whatever_the_order() -> None:
    run_state_machine_as_test(Protocol, settings=settings(max_examples=500, stateful_step_count=30))


def test_without_rereads_the_model_loses_rows() -> None:
    class WithoutRereads(Protocol):
        rereads = False

    with pytest.raises(AssertionError, match="rows never read"):
        run_state_machine_as_test(
            WithoutRereads,
            settings=settings(max_examples=400, stateful_step_count=30, database=None),
        )


# Orders that random search meets too rarely.


def test_a_noted_session_that_prepares_before_its_reread_is_read_once_it_commits() -> None:
    model = Model()
    writer = model.begin()
    model.run(back=5)
    model.prepare(writer)
    model.run()
    assert model.ledger.state().pending, "the re-read must note what the session may have become"
    model.run()
    model.assert_converges()


def test_a_prepared_transaction_is_carried_through_the_reread_of_another() -> None:
    model = Model()
    prepared, session = model.begin(), model.begin()
    model.prepare(prepared)
    model.run(back=8)
    model.commit(session)
    model.run()
    model.assert_converges()


def test_a_session_that_prepares_between_the_two_lists_is_in_one_of_them() -> None:
    model = Model()
    writer = model.begin()
    (read,) = model.plan_run(back=5)
    before = model.now()
    model.prepare(writer)
    both = OpenTransactions(before.sessions, model.now().prepared)
    read.notes = read.read.notes(both)
    model.finish()
    model.run()
    model.assert_converges()


def test_merged_rereads_reach_back_to_the_lowest_transaction_id_of_both() -> None:
    model = Model()
    early = model.begin()
    model.run(back=4)
    late = model.begin()
    model.tick += 1
    model.run(back=2)
    model.commit(early)
    model.commit(late)
    model.run()
    model.assert_converges()


def test_a_session_that_a_later_window_notes_as_prepared_is_still_read_from_its_start() -> None:
    model = Model()
    writer, reader = model.begin(), model.begin(writes=False)
    model.tick += 1
    (first,) = model.plan_run(back=3, scheduled=False)
    model.finish()
    (second,) = model.plan_run(back=1, scheduled=False)
    model.prepare(writer)
    model.finish()
    assert first.read.window.inicio == instant(writer.start)
    assert second.read.window.inicio == first.read.window.fim
    model.commit(reader)
    rereads = [run for run in model.plan_run(scheduled=False) if run.read.reread]
    assert len(rereads) == 1, "the re-reads of both windows are merged"
    model.assert_converges()


def test_a_steady_stream_of_prepared_transactions_does_not_keep_rereads_alive() -> None:
    model = Model()
    model.begin()
    model.run(back=4)
    for _ in range(6):
        for transaction in list(model.open):
            if transaction.gid is None:
                model.prepare(transaction)
        newcomer = model.begin()
        model.prepare(newcomer)
        model.run()
        for transaction in [t for t in model.open if t is not newcomer]:
            model.commit(transaction)
    oldest = min(row.window.inicio for row in model.ledger.state().pending)
    assert oldest > instant(model.tick - 20), "windows of long ago are still owed"
    model.assert_converges()


def test_a_long_reader_costs_one_merged_reread_when_it_ends() -> None:
    model = Model()
    reader = model.begin(writes=False)
    for _ in range(5):
        model.tick += 3
        model.run(back=4)
    model.commit(reader)
    rereads = [run for run in model.plan_run() if run.read.reread]
    assert len(rereads) == 1
    assert rereads[0].read.window.inicio == instant(reader.start)
