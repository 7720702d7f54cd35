"""No key that was deleted in the source stays in the warehouse: planning against a model of a log, scans and versions.

The model does what move.py does at each step, with the real planning functions. If one of the two safety measures is left
out, a key stays.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from include.mirror.plan import EPOCH, LedgerState, Log, Logged, Scan, Scanned, log, scan

Reading = TypeVar("Reading", Scanned, Logged)
TABLE, SYSTEM = "coisa", 7
TRUSTED, KEPT = timedelta(seconds=20), timedelta(seconds=40)
TRUNCATED = 0
"""The log's entry for a TRUNCATE."""


def instant(tick: int) -> datetime:
    return EPOCH + timedelta(seconds=tick)


@dataclass
class Transaction:
    xid: int
    writes: dict[int, bool] = field(default_factory=dict)
    """For each key that it has written, whether the key is there afterwards."""
    left: list[int] = field(default_factory=list)
    """The keys that it has deleted, for the log."""


@dataclass
class Pass:
    """Reads that share a snapshot, between two steps: snapshot taken, staged, published, recorded."""

    works: tuple[Scan | Log, ...]
    version: int = 0
    xmin: int = 0
    rows: dict[int, int] = field(default_factory=dict)
    log: list[tuple[int, int]] = field(default_factory=list)
    staged: dict[int, bool] | None = None
    seen: tuple[int, ...] = ()
    identity: str = ""
    published: bool = False


@dataclass
class Model:
    """The source's transactions, its log, and the mirror's passes, moved one step at a time.

    `rows` are the source's keys with their writers, `log` the deleted keys with theirs. `versions` are the warehouse's rows
    of each key: by version, whether the key is there. The safety measures: with `careful`, a pass that compares all keys
    looks for other passes; with `always`, a deleted key gets its tombstone even if the warehouse lacks the key.
    """

    careful: bool = True
    always: bool = True
    tick: int = 10
    next_xid: int = 100
    rows: dict[int, int] = field(default_factory=dict)
    log: list[tuple[int, int]] = field(default_factory=list)
    identity: int = 1
    open: list[Transaction] = field(default_factory=list)
    passes: list[Pass] = field(default_factory=list)
    versions: dict[int, dict[int, bool]] = field(default_factory=dict)
    scans: list[Scanned] = field(default_factory=list)
    logs: list[Logged] = field(default_factory=list)

    # The application.

    def begin(self) -> Transaction:
        self.open.append(Transaction(self.next_xid))
        self.next_xid += 1
        return self.open[-1]

    def write(self, one: Transaction, key: int, *, there: bool) -> None:
        if any(key in other.writes for other in self.open if other is not one):
            return  # the writer would have to wait
        if not there and one.writes.get(key, key in self.rows):
            one.left.append(key)
        one.writes[key] = there

    def commit(self, one: Transaction) -> None:
        self.open.remove(one)
        for key, there in one.writes.items():
            if there:
                self.rows[key] = one.xid
            else:
                self.rows.pop(key, None)
        self.log += [(key, one.xid) for key in one.left]

    def truncate(self) -> None:
        """Delete all rows of the table. Nobody may hold it at that moment."""
        if any(one.writes for one in self.open) or any(one.version for one in self.passes):
            return
        self.rows.clear()
        self.log.append((TRUNCATED, self.begin().xid))
        self.open.pop()

    def lose_log(self) -> None:
        """Empty the log by hand. That gives it another identity."""
        self.log.clear()
        self.identity += 1

    # The mirror.

    def plan(self, *, together: bool) -> None:
        self.tick += 1
        now, identity = instant(self.tick), str(self.identity)
        old = self._newest(self.logs, now - KEPT)
        if old and old[0].log == identity:
            self.log = [(key, xid) for key, xid in self.log if xid >= old[0].xmin]
        works = (
            scan(LedgerState(scans=self._newest(self.scans, now)), TABLE),
            log(self._newest(self.logs, now), TABLE, identity, now, TRUSTED),
        )
        self.passes += [Pass(works)] if together else [Pass((work,)) for work in works]

    def replay(self, before: int) -> None:
        """Read a range again that begins there: everything since the newest scan before it."""
        self.passes.append(Pass((scan(LedgerState(scans=self._newest(self.scans, instant(before))), TABLE),)))

    @staticmethod
    def _newest(readings: list[Reading], before: datetime) -> list[Reading]:
        found = [one for one in readings if one.taken_at <= before]
        return [max(found, key=lambda one: one.taken_at)] if found else []

    def step(self, one: Pass) -> None:
        if not one.version:
            self.tick += 1
            one.version = self.tick
            one.xmin = min((other.xid for other in self.open), default=self.next_xid)
            one.rows, one.log = dict(self.rows), list(self.log)
        elif one.staged is None:
            one.staged = {}
            for work in one.works:
                one.staged |= self._scanned(one, work) if isinstance(work, Scan) else self._deleted(one, work)
        elif not one.published:
            for key, there in one.staged.items():
                self.versions.setdefault(key, {})[one.version] = there
            one.published = True
        else:
            taken_at = instant(one.version)
            for work in one.works:
                if isinstance(work, Scan):
                    self.scans.append(Scanned(TABLE, taken_at, one.xmin, SYSTEM, one.seen))
                else:
                    self.logs.append(Logged(TABLE, taken_at, one.xmin, SYSTEM, one.identity))
            self.passes.remove(one)

    @staticmethod
    def _scanned(one: Pass, work: Scan) -> dict[int, bool]:
        found = {
            key: xid
            for key, xid in one.rows.items()
            if work.xmin is None or (xid >= work.xmin and xid not in work.seen)
        }
        one.seen = tuple({xid for xid in (*found.values(), *work.seen) if xid >= one.xmin})
        return dict.fromkeys(found, True)

    def _deleted(self, one: Pass, work: Log) -> dict[int, bool]:
        one.identity = str(self.identity)
        keys = {key for key, xid in one.log if work.xmin is not None and xid >= work.xmin}
        if work.xmin is not None and work.log == one.identity and TRUNCATED not in keys:
            return {key: False for key in keys - one.rows.keys() if self.always or self.current(key)}
        if self.careful and any(other is not one and other.version for other in self.passes):
            one.identity = ""
        return {
            key: False
            for key in self.versions.keys() - one.rows.keys()
            if self.current(key) and max(self.versions[key]) <= one.version
        }

    def current(self, key: int) -> bool:
        """Return whether the warehouse's view shows a key."""
        versions = self.versions.get(key)
        return versions is not None and versions[max(versions)]

    def finish(self) -> None:
        while self.passes:
            self.step(self.passes[0])

    def run(self) -> None:
        """Do a whole run of the schedule, while other passes may be under way."""
        self.plan(together=True)
        one = self.passes[-1]
        while one in self.passes:
            self.step(one)

    def assert_equal(self) -> None:
        shown = {key for key in self.versions if self.current(key)}
        assert shown == self.rows.keys(), "keys differ"

    def assert_converges(self) -> None:
        """End all passes that are under way. Then the next run of the schedule must make both sides equal."""
        self.finish()
        while self.open:
            self.commit(self.open[0])
        self.run()
        self.assert_equal()


class Protocol(RuleBasedStateMachine):
    careful = True
    always = True

    def __init__(self) -> None:
        super().__init__()
        self.model = Model(self.careful, self.always)
        self.model.rows = {1: 10, 2: 20}
        self.model.run()

    @rule(ticks=st.sampled_from([1, 1, 15, 30, 50]))
    def pass_time(self, ticks: int) -> None:
        self.model.tick += ticks

    @rule(key=st.integers(1, 3), there=st.booleans())
    def write_at_once(self, key: int, there: bool) -> None:
        one = self.model.begin()
        self.model.write(one, key, there=there)
        self.model.commit(one)

    @precondition(lambda self: len(self.model.open) < 3)
    @rule()
    def begin(self) -> None:
        self.model.begin()

    @precondition(lambda self: self.model.open)
    @rule(data=st.data(), key=st.integers(1, 3), there=st.booleans())
    def write(self, data: st.DataObject, key: int, there: bool) -> None:
        self.model.write(data.draw(st.sampled_from(self.model.open)), key, there=there)

    @precondition(lambda self: self.model.open)
    @rule(data=st.data(), commits=st.booleans())
    def end(self, data: st.DataObject, commits: bool) -> None:
        one = data.draw(st.sampled_from(self.model.open))
        if commits:
            self.model.commit(one)
        else:
            self.model.open.remove(one)

    @rule()
    def truncate(self) -> None:
        self.model.truncate()

    @rule()
    def lose_log(self) -> None:
        self.model.lose_log()

    @rule(together=st.booleans())
    def plan(self, together: bool) -> None:
        self.model.plan(together=together)

    @rule(before=st.integers(0, 100))
    def replay(self, before: int) -> None:
        self.model.replay(before)

    @precondition(lambda self: self.model.passes)
    @rule(data=st.data(), steps=st.integers(1, 4))
    def step(self, data: st.DataObject, steps: int) -> None:
        one = data.draw(st.sampled_from(self.model.passes))
        for _ in range(steps):
            if one in self.model.passes:
                self.model.step(one)

    @precondition(lambda self: self.model.passes)
    @rule(data=st.data())
    def die(self, data: st.DataObject) -> None:
        self.model.passes.remove(data.draw(st.sampled_from(self.model.passes)))

    @rule()
    def run(self) -> None:
        """Do a whole run. If nothing else is under way, it must find everything that was committed."""
        alone = not self.model.passes
        self.model.run()
        if alone:
            self.model.assert_equal()

    def teardown(self) -> None:
        self.model.assert_converges()


def test_no_deleted_key_stays_whatever_the_order() -> None:
    run_state_machine_as_test(Protocol, settings=settings(max_examples=200, stateful_step_count=30))


@pytest.mark.parametrize("log_is_lost", [False, True])
def test_a_key_that_is_published_after_its_deletion_was_read(log_is_lost: bool) -> None:
    def keys_differ(model: Model) -> bool:
        model.rows = {1: 10}
        model.run()
        model.replay(0)
        older = model.passes[0]
        model.write(one := model.begin(), 2, there=True)
        model.commit(one)
        model.step(older)
        model.step(older)
        model.write(one := model.begin(), 2, there=False)
        model.commit(one)
        if log_is_lost:
            model.lose_log()
        model.run()
        model.finish()
        model.run()
        return {key for key in model.versions if model.current(key)} != model.rows.keys()

    assert not keys_differ(Model())
    assert keys_differ(Model(careful=not log_is_lost, always=log_is_lost))
