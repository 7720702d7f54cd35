"""Random histories with deletes: after each run of the schedule, and at the end, both sides are equal.

Every step happens to tables of every way, with every way of finding deleted rows. Rows are written, deleted, given other
keys and truncated: at once, late, in prepared transactions, or undone to a savepoint. Runs are repeated, replayed by range,
broken off, or overlap. Sometimes the application's clocks are put forward or back, as at the change to or from summer time.
"""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import permutations
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from include.mirror.declaration import Table
from include.mirror.errors import RefusedError
from include.mirror.ledger import Attempt
from include.mirror.plan import Scan, Work
from include.mirror.reconcile import Limits, ReconcileOptions, reconcile
from include.mirror.reports import Report
from local.servers.clickhouse import ClickHouse
from local.servers.postgres import Postgres
from tests.conftest import empty_warehouse, new_source
from tests.integration.test_crashes import STEPS as MOVING
from tests.lab import Lab

KEYS = 6
"""The number of keys in each table. It is small, so that each key is deleted and inserted often."""

BLOCKED = (psycopg.errors.LockNotAvailable, psycopg.errors.UniqueViolation)
"""The errors of an application that writes a row which another transaction is writing. It gives up then."""

STEPS = ("planned", *MOVING)


class Clock(ZoneInfo):
    """A time zone that is equal to UTC until `turn`, and whose clocks are then put forward by `shift`."""

    turn: datetime | None = None
    shift: timedelta = timedelta()

    def set(self, turn: datetime, shift: timedelta) -> None:
        """Set when clocks are put forward and by how much; a negative value puts them back."""
        self.turn, self.shift = turn.replace(tzinfo=None), shift

    def offset_at(self, instant: datetime) -> timedelta:
        """Return how far clocks are ahead of UTC at an instant."""
        turned = self.turn is not None and instant.replace(tzinfo=None) >= self.turn
        return self.shift if turned else timedelta()

    def utcoffset(self, dt: datetime | None, /) -> timedelta:
        """Return how far clocks are ahead of UTC at a local time. Some local times come twice, others never."""
        assert dt is not None
        if self.turn is None:
            return timedelta()
        wall = dt.replace(tzinfo=None, fold=0)
        first, last = sorted((self.turn, self.turn + self.shift))
        turned = dt.fold == 1 if first <= wall < last else wall >= last
        return self.shift if turned else timedelta()

    def fromutc(self, dt: datetime, /) -> datetime:
        """Return the local time of an instant."""
        wall = dt.replace(tzinfo=None) + self.offset_at(dt)
        again = self.turn is not None and dt.replace(tzinfo=None) >= self.turn > wall
        return wall.replace(tzinfo=self, fold=int(again))


@dataclass(frozen=True)
class Kind:
    """A table: the way in which it is read, and how its deleted rows are found."""

    way: str
    deletes: str

    @property
    def name(self) -> str:
        return f"{self.way}_{self.deletes}"

    @property
    def key(self) -> str:
        # For windows, a key of one column, by which they can be split.
        return "n" if self.way == "window" else "n, c"

    @property
    def declared(self) -> Table:
        return Table(
            self.name,
            change_column="updated_at" if self.way == "window" else None,
            way=None if self.way == "window" else self.way,
            deletes="keys" if self.deletes == "keys" else None,
        )

    def create(self) -> str:
        # Clocks that are put back have no effect on a column with a zone.
        time = "timestamptz" if self.name == "window_nightly" else "timestamp"
        text = (
            f"CREATE TABLE {self.name} (n int, c text, v int,"
            f" updated_at {time} NOT NULL DEFAULT CURRENT_TIMESTAMP, PRIMARY KEY ({self.key}));"
            f"INSERT INTO {self.name} SELECT n, 'k' || n, 0 FROM generate_series(1, 4) AS n;"
        )
        if self.way == "window":
            text += (
                f"CREATE TRIGGER touch BEFORE UPDATE ON {self.name} FOR EACH ROW EXECUTE FUNCTION touch();"
                f"CREATE INDEX ON {self.name} (updated_at);"
            )
        return text


KINDS = [Kind(way, deletes) for way in ("window", "scan") for deletes in ("log", "keys", "nightly")]
KINDS.append(Kind("copy", "copy"))
NOT_COPIED = [kind.name for kind in KINDS if kind.way != "copy"]

CREATE = """
DROP SCHEMA public CASCADE;
DROP SCHEMA IF EXISTS mirror CASCADE;
CREATE SCHEMA public;
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN NEW.updated_at = CURRENT_TIMESTAMP; RETURN NEW; END $$;
"""
CREATE += "".join(kind.create() for kind in KINDS)
CREATE += f"ANALYZE {', '.join(kind.name for kind in KINDS)};"
"""Small tables are all read in one snapshot."""


@dataclass(frozen=True)
class Write:
    """A write to rows `n` and `m`, in the open transaction number `place`, or in its own transaction for 0.

    With `undone`, it is done in a savepoint that is rolled back.
    """

    what: str
    n: int
    m: int
    place: int
    undone: bool

    def statement(self, kind: Kind, value: int) -> str:
        """Return the statement for one table."""
        t, n, m = kind.name, self.n, self.m
        put = (
            f"INSERT INTO {t} (n, c, v) VALUES ({n}, 'k{n}', {value})"
            f" ON CONFLICT ({kind.key}) DO UPDATE SET v = excluded.v;"
        )
        delete = f"DELETE FROM {t} WHERE n = {n};"
        move = "UPDATE {t} SET n = {to}, c = 'k{to}', v = v + 1000 WHERE n = {n};"
        match self.what:
            case "put":
                return put
            case "delete":
                return delete
            case "delete and put":
                return delete + put
            case "put and delete":
                return put + delete
            case "key":
                return f"DELETE FROM {t} WHERE n = {m} AND n <> {n};" + move.format(t=t, n=n, to=m)
            case "exchange":
                return "".join(move.format(t=t, n=a, to=b) for a, b in ((n, 0), (m, n), (0, m)))
            case "delete all":
                return f"DELETE FROM {t};"
            case "truncate":
                return f"TRUNCATE {t};"
            case _:
                return f"TRUNCATE {t};" + put


@dataclass(frozen=True)
class Begin:
    place: int


@dataclass(frozen=True)
class End:
    """A transaction commits, rolls back or is prepared."""

    place: int
    how: str


@dataclass(frozen=True)
class EndPrepared:
    how: str


@dataclass(frozen=True)
class Run:
    """A run of the schedule. At one of its steps, at the given table, something else happens."""

    at: tuple[str, int] | None = None
    meanwhile: tuple[Write | End, ...] = ()
    another: bool = False
    dies: bool = False


@dataclass(frozen=True)
class Again:
    """Repeats an earlier run of the schedule, or replays a range that was read. `a` and `b` are from 0 to 99."""

    a: int
    b: int
    by_range: bool


@dataclass(frozen=True)
class Reconcile:
    table: int


@dataclass(frozen=True)
class Turn:
    """Clocks are put forward by this many seconds, or back for a negative number."""

    seconds: int


Step = Write | Begin | End | EndPrepared | Run | Again | Reconcile | Turn

WHAT = [
    *("put", "put", "delete", "delete", "key", "exchange", "delete and put", "put and delete"),
    *("delete all", "truncate", "truncate and put"),
]
WRITES = st.builds(
    Write,
    st.sampled_from(WHAT),
    st.integers(1, KEYS),
    st.integers(1, KEYS),
    st.integers(0, 2),
    st.sampled_from([False, False, False, True]),
)
PLACES = st.integers(1, 2)
ENDS = st.builds(End, PLACES, st.sampled_from(["commit", "commit", "roll back", "prepare"]))
STRATEGY: list[st.SearchStrategy[Step]] = [
    *(WRITES, WRITES, WRITES, st.builds(Begin, PLACES), ENDS),
    st.builds(EndPrepared, st.sampled_from(["commit", "commit", "roll back"])),
    *(st.just(Run()), st.just(Run())),
    st.builds(
        Run,
        st.tuples(st.sampled_from(STEPS), st.integers(0, len(KINDS) - 1)),
        st.lists(st.one_of(WRITES, WRITES, ENDS), min_size=1, max_size=2).map(tuple),
        st.booleans(),
        st.sampled_from([False, False, True]),
    ),
    st.builds(Again, st.integers(0, 99), st.integers(0, 99), st.booleans()),
    st.builds(Reconcile, st.integers(0, len(KINDS) - 1)),
]
HISTORIES = st.tuples(
    st.lists(st.one_of(STRATEGY), min_size=8, max_size=20),
    # When clocks are put forward or back, if at all, and by how much.
    st.none() | st.tuples(st.integers(0, 19), st.sampled_from([60, -60, 3600, -3600])),
)


class Died(ConnectionError):
    """Raised to simulate a worker that is killed."""


class World:
    """The tables of one history, the open transactions, and the earlier runs."""

    def __init__(self, lab: Lab, logs: str, stack: ExitStack, kinds: Sequence[Kind] = KINDS) -> None:
        self.lab, self.stack, self.kinds = lab, stack, kinds
        empty_warehouse(lab.clickhouse)
        self.clock = Clock.no_cache("UTC")
        lab.zone, lab.reached = self.clock, None
        lab.execute(CREATE)
        lab.execute(logs)
        lab.mirror_only(*(kind.declared for kind in kinds))
        self.places = {place: self._connect(place) for place in range(3)}
        self.prepared: list[str] = []
        stack.callback(self._roll_back_prepared)
        self.value = 0
        self.moments = [lab.now()]
        self.intervals: list[tuple[datetime, datetime]] = []
        self.run(Run())

    def _connect(self, place: int) -> psycopg.Connection[Any]:
        connection = self.lab.connect(autocommit=not place, options="-c lock_timeout=15ms")
        return self.stack.enter_context(connection)

    def _roll_back_prepared(self) -> None:
        while self.prepared:
            self.end_prepared("roll back")

    # The application.

    def begin(self, place: int) -> psycopg.Connection[Any]:
        """Return a session in a new transaction, with the zone's offset at its beginning."""
        connection = self.places[place]
        if connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE:
            offset = self.clock.offset_at(self.lab.now())
            # POSIX offsets count westward.
            connection.execute(f"SET TimeZone TO '<x>{_posix(-offset)}'".encode())
        return connection

    def write(self, write: Write) -> None:
        self.value += 1
        if "truncate" in write.what and any(self.is_open(place) for place in (1, 2)):
            # A run would wait for a transaction that holds a table; one without any statement yet holds none.
            self.do(End(write.place or 1, "commit"))
        connection = self.begin(write.place)
        try:
            with connection.transaction(force_rollback=write.undone):
                connection.execute("".join(write.statement(kind, self.value) for kind in self.kinds).encode())
        except BLOCKED:
            return
        if "truncate" in write.what and write.place:
            connection.commit()

    def is_open(self, place: int) -> bool:
        return self.places[place].info.transaction_status != psycopg.pq.TransactionStatus.IDLE

    def end(self, end: End) -> None:
        connection = self.places[end.place]
        if not self.is_open(end.place):
            return
        if end.how == "commit":
            connection.commit()
        elif end.how == "roll back":
            connection.rollback()
        else:
            name = f"p{len(self.prepared)}_{uuid4().hex}"
            connection.execute(f"PREPARE TRANSACTION '{name}'".encode())
            connection.commit()
            self.prepared.append(name)

    def end_prepared(self, how: str) -> None:
        if self.prepared:
            end = "COMMIT" if how == "commit" else "ROLLBACK"
            self.lab.execute(f"{end} PREPARED '{self.prepared.pop(0)}'")

    # The mirror.

    def run(self, run: Run) -> None:
        """Do a run of the schedule. If nothing else happened during it, both sides must be equal afterwards."""
        inicio, fim = self.lab.reached, self.lab.now()
        inicio = inicio or self.moments[0]
        self.lab.reached = fim
        self.intervals.append((inicio, fim))
        happened: list[str] = []

        def meanwhile(step: str, work: Work) -> None:
            if run.at is None or happened or step != run.at[0] or work.tabela != KINDS[run.at[1]].name:
                return
            happened.append(step)
            for one in run.meanwhile:
                self.do(one)
            if run.another:
                # A second copy of the table would wait for this one.
                end = self.lab.now()
                self.lab.move(self.lab.plan((fim, end), {"tabelas": NOT_COPIED}))
            if run.dies:
                raise Died

        engine = self.lab.engine(observe=meanwhile)
        planned = self.lab.plan((inicio, fim), engine=engine)
        try:
            meanwhile("planned", Scan(KINDS[run.at[1]].name if run.at else ""))
            self.lab.move(planned, engine)
        except Died:
            return
        except RefusedError as error:
            # A table that was truncated and filled since the planning may be left to the next run.
            if not happened:
                raise AssertionError("nothing came in between") from error
        if not happened:
            self.check([kind for kind in self.kinds if kind.deletes != "nightly"])
            self.check([kind for kind in self.kinds if kind.deletes == "nightly"], deleted=False)

    def again(self, again: Again) -> None:
        if again.by_range:
            first, last = sorted(self.moments[one * len(self.moments) // 100] for one in (again.a, again.b))
            if first < last:
                self.lab.run(conf={"inicio": first.isoformat(), "fim": last.isoformat()})
            return
        interval = self.intervals[again.a * len(self.intervals) // 100]
        self.lab.move(self.lab.plan(interval))

    def reconcile(self, kind: Kind) -> Report:
        """Reconcile one table without waiting for a run. It must not find a row that the mirror has lost."""
        attempt = Attempt(uuid4(), "reconcile", 1)
        limits = Limits(share=1, patience=timedelta())
        report = reconcile(self.lab.engine(), kind.name, ReconcileOptions(confirmed=True), attempt, limits)
        assert not report.wrong, report
        if report.word in ("equal", "repaired"):
            self.check([kind])
        return report

    def do(self, step: Step) -> None:
        match step:
            case Write():
                self.write(step)
            case Begin():
                self.begin(step.place).execute("SELECT 1")
            case End():
                self.end(step)
            case EndPrepared():
                self.end_prepared(step.how)
            case Run():
                self.run(step)
            case Again():
                self.again(step)
            case Reconcile():
                self.reconcile(KINDS[step.table])
            case Turn():
                self.clock.set(self.lab.now(), timedelta(seconds=step.seconds))
        self.moments.append(self.lab.now())

    def check(self, kinds: list[Kind], *, deleted: bool = True) -> None:
        """Compare all rows of these tables. Without `deleted`, the warehouse may have keys that are not in the source."""
        if not kinds:
            return
        ours, found = both_sides(self.lab, [kind.name for kind in kinds], "n, c, v")
        theirs = set(found)
        assert len(found) == len(theirs), f"rows are doubled: {sorted(found)}"
        assert not set(ours) - theirs, f"only in the source: {sorted(set(ours) - theirs)}"
        more = theirs - set(ours)
        if not deleted:
            keys = {row[:2] for row in ours}
            more = {row for row in more if row[:2] in keys}
        assert not more, f"only in the warehouse: {sorted(more)}"

    def finish(self) -> None:
        """Commit all open transactions. Then one run and one reconciliation must make both sides equal."""
        for place in (1, 2):
            self.end(End(place, "commit"))
        while self.prepared:
            self.end_prepared("commit")
        self.run(Run())
        for kind in self.kinds:
            if kind.deletes == "nightly":
                assert self.reconcile(kind).word in ("equal", "repaired")
        self.lab.assert_equal()


def both_sides(lab: Lab, tables: Iterable[str], columns: str) -> tuple[list[Any], list[Any]]:
    """Return all rows of these tables in the source and in the warehouse, with the table's name, in order."""
    ours = " UNION ALL ".join(f"SELECT '{table}', {columns} FROM public.{table}" for table in tables)
    with lab.connect() as connection:
        here = sorted(connection.execute(ours.encode()).fetchall())
    return here, sorted(tuple(row) for row in lab.query(ours.replace("public.", "vendas_dw.")))


def _posix(offset: timedelta) -> str:
    sign = "-" if offset < timedelta() else "+"
    return f"{sign}{abs(offset)}"


def ends_equal(lab: Lab, logs: str, history: tuple[list[Step], tuple[int, int] | None]) -> None:
    steps, turn = history
    with ExitStack() as stack:
        world = World(lab, logs, stack)
        for number, step in enumerate(steps):
            if turn and number == turn[0] % len(steps):
                world.do(Turn(turn[1]))
            world.do(step)
        world.finish()


@pytest.fixture(scope="module")
def source(postgres: Postgres, clickhouse: ClickHouse) -> tuple[Lab, str]:
    """A lab in which each history creates its tables, and the statements that create their delete logs."""
    lab = Lab(new_source(postgres), clickhouse)
    lab.execute(CREATE)
    return lab, lab.delete_log(*(f"public.{kind.name}" for kind in KINDS if kind.deletes == "log"))


FOR_EACH_DAY = settings(max_examples=2)
FOR_LONG = settings(
    max_examples=int(os.environ.get("SOAK_HISTORIES", "150")),
    suppress_health_check=list(HealthCheck),
)


def test_any_history_ends_equal(source: tuple[Lab, str]) -> None:
    FOR_EACH_DAY(given(HISTORIES)(lambda history: ends_equal(*source, history)))()


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_many_histories_end_equal(source: tuple[Lab, str]) -> None:
    FOR_LONG(given(HISTORIES)(lambda history: ends_equal(*source, history)))()


@pytest.mark.campaign
def test_a_key_that_goes_comes_and_goes_again_whichever_run_ends_first(source: tuple[Lab, str]) -> None:
    """Three runs each hold a snapshot of another state, and publish in every order. Then their ranges are replayed."""
    lab, logs = source
    by_log = [kind for kind in KINDS if kind.deletes == "log"]
    kinds = [kind for kind in KINDS if kind.deletes in ("log", "keys")]
    intervals = []
    with ExitStack() as stack:
        world = World(lab, logs, stack, kinds)
        for n in range(1, KEYS + 1):
            world.write(Write("put", n, n, 0, False))
        world.run(Run())
        pool = stack.enter_context(ThreadPoolExecutor(3))
        for n, order in enumerate(permutations(range(3)), start=1):
            runs = []
            for what in ("delete", "put", "delete"):
                world.write(Write(what, n, n, 0, False))
                inicio, lab.reached = lab.reached, lab.now()
                assert inicio is not None
                intervals.append((inicio, lab.reached))
                runs.append(Held(lab, intervals[-1], [kind.name for kind in kinds], pool))
            for number in order:
                runs[number].let_go()
            # Rows of an older snapshot that are published last lose against the log's tombstones.
            world.check(by_log)
        world.run(Run())
        random.Random(13).shuffle(intervals)
        for inicio, fim in intervals[:2]:
            lab.run(conf={"inicio": inicio.isoformat(), "fim": fim.isoformat()})
            world.check(kinds)


class Held:
    """A run of the schedule that has taken its snapshot and waits until it is released."""

    def __init__(
        self,
        lab: Lab,
        interval: tuple[datetime | None, datetime],
        tables: list[str],
        pool: ThreadPoolExecutor,
    ) -> None:
        self.has_snapshot, self.may_go_on = threading.Event(), threading.Event()
        engine = lab.engine(observe=self._observe)
        planned = lab.plan(interval, {"tabelas": tables}, engine)
        self.moving = pool.submit(lab.move, planned, engine)
        assert self.has_snapshot.wait(60)

    def _observe(self, step: str, _work: Work) -> None:
        if step == "snapshot":
            self.has_snapshot.set()
            assert self.may_go_on.wait(60)

    def let_go(self) -> None:
        self.may_go_on.set()
        self.moving.result()


@pytest.mark.parametrize("turn", ["2025-11-02T06:00:00Z", "2025-03-09T07:00:00Z"], ids=["back", "forward"])
def test_deletes_in_the_nights_when_clocks_change(lab: Lab, turn: str) -> None:
    """Rows are written, deleted and written again in an hour that clocks show twice, and around an hour that they skip."""
    lab.zone, at, half = ZoneInfo("America/New_York"), datetime.fromisoformat(turn), timedelta(minutes=30)
    tables = ("noite_log", "noite_keys")
    for table in tables:
        lab.execute(f"CREATE TABLE {table} (n int PRIMARY KEY, v int, em timestamp NOT NULL)")
    lab.execute(lab.delete_log("public.noite_log"))
    lab.mirror_only(*(Table(t, change_column="em", deletes=t.removeprefix("noite_")) for t in tables))
    intervals = [(at + n * half, at + (n + 1) * half) for n in range(-3, 3)]
    with lab.connect() as now, lab.connect(autocommit=False) as late:
        for n, (inicio, fim) in enumerate(intervals):
            wall = (inicio + half / 2).astimezone(lab.zone).replace(tzinfo=None)
            for table in tables:
                # After clocks are put back, a row of an hour ago has the same local time. It is deleted, and inserted an
                # hour later.
                for key in (n, n + 100, n + 200, n - 4):
                    put = f"INSERT INTO {table} VALUES (%s, %s, %s) ON CONFLICT (n) DO UPDATE SET v = 1, em = excluded.em"
                    now.execute(put.encode(), (key, n, wall))
                now.execute(f"DELETE FROM {table} WHERE n = %s".encode(), (n - 2,))
                now.execute(f"UPDATE {table} SET n = n + 1000, em = %s WHERE n = %s".encode(), (wall, n + 99))
                if n == 2:
                    late.execute(f"DELETE FROM {table} WHERE n IN (200, 202)".encode())
            if n == 5:
                late.commit()
            lab.run(inicio, fim)
            assert_same(lab, tables)
    hour = 2 * half
    for inicio, fim in [(at, at + hour), intervals[2], (at - hour, at)]:
        lab.run(conf={"inicio": inicio.isoformat(), "fim": fim.isoformat()})
        assert_same(lab, tables)


def assert_same(lab: Lab, tables: Iterable[str]) -> None:
    ours, theirs = both_sides(lab, tables, "n, v, em")
    assert ours == theirs
