"""Reconciliations, and runs that look for deleted rows, are killed at each step, while a reader watches the views.

There are three tables: one with windows and several partitions, whose keys each run compares; one that is scanned and has
a delete log; and one whose deleted rows only reconciliation finds. Between kills, the source inserts, updates, deletes,
changes keys and truncates, and the warehouse is damaged by hand. Afterwards, a run and a reconciliation of each table must
report and repair exactly the differences that a comparison finds which shares no code with them.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import count
from typing import Any
from uuid import uuid4

import pytest
from clickhouse_connect.driver.client import Client

from include.mirror.declaration import Table
from include.mirror.ledger import Attempt
from include.mirror.names import ch, ch_text, pg
from include.mirror.reconcile import Limits, ReconcileOptions, reconcile
from include.mirror.reports import Report
from tests.integration.mover import Death, Movers
from tests.integration.watch import Key, Watcher
from tests.lab import Lab

KILLS = int(os.environ.get("KILLS", "120"))
SEED = int(os.environ.get("KILLS_SEED", "13"))

PASS = ("noted", "snapshot", "extracted", "staged", "verified", "published", "confirmed", "recorded")
OWN = ("waiting", "compared", "looked", "judged", "proved", "reported")


@dataclass(frozen=True)
class Kind:
    """A table of these tests. `key_of` returns the key of its nth row. `finds` is how its deleted rows are found."""

    name: str
    columns: Mapping[str, str]
    key_of: Callable[[int], Key]
    finds: str
    declared: Table

    @property
    def key(self) -> tuple[str, ...]:
        return tuple(self.columns)

    @property
    def view(self) -> str:
        return ch("vendas_dw", self.name)

    @property
    def storage(self) -> str:
        return ch("vendas_raw", self.name)

    @property
    def all_columns(self) -> tuple[str, ...]:
        return (*self.key, "texto", "em", "valor")

    def create(self) -> str:
        columns = ", ".join(f"{name} {kind}" for name, kind in self.columns.items())
        return (
            f"CREATE TABLE {pg(self.name)} ({columns}, texto text, em timestamptz DEFAULT now(),"
            f" valor bigint DEFAULT nextval('relogio'), PRIMARY KEY ({', '.join(self.key)}))"
        )

    @property
    def having_key(self) -> str:
        return " AND ".join(f"{name} = %s" for name in self.key)

    def among(self, keys: list[Key]) -> str:
        """Return the ClickHouse condition for rows with one of these keys."""
        wanted = ["(" + ", ".join(map(literal, key)) + ")" for key in keys]
        return f"({', '.join(self.key)}) IN ({', '.join(wanted)})"


def literal(value: object) -> str:
    """Return a part of a key as a ClickHouse literal."""
    return ch_text(value) if isinstance(value, str) else str(value)


KINDS = {
    kind.finds: kind
    for kind in (
        Kind(
            "conta",
            {"id": "bigint"},
            lambda n: (37 * n - 500,),
            "keys",
            Table("conta", change_column="em", partition_width=3000, deletes="keys"),
        ),
        Kind(
            'linha "a"',
            {"pedido": "int", "linha": "smallint"},
            lambda n: (n // 3, n % 3),
            "log",
            Table(pg('linha "a"'), deletes="log"),
        ),
        Kind(
            "etiqueta",
            {"nome": "text"},
            lambda n: (f"rótulo '{n}'",),
            "reconciliation",
            Table("etiqueta"),
        ),
    )
}
ROWS = 240
Row = tuple[Any, ...]


@dataclass(frozen=True)
class Difference:
    """The wrong keys of a table in the warehouse, by kind of error."""

    missing: set[Key]
    extra: set[Key]
    different: set[Key]

    @property
    def total(self) -> int:
        return len(self.missing) + len(self.extra) + len(self.different)


@dataclass
class Campaign:
    """The tables, the changes of both sides, and what has happened so far."""

    lab: Lab
    kinds: list[Kind]
    movers: Movers
    watcher: Watcher
    client: Client
    rng: random.Random
    kills: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    did: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._numbers = count(ROWS)

    # The rows of both sides, read without the mirror's code.

    def source(self, kind: Kind) -> dict[Key, Row]:
        with self.lab.connect() as connection:
            rows = connection.execute(
                f"SELECT {', '.join(kind.key)}, texto, valor FROM {pg(kind.name)}".encode()
            ).fetchall()
        return {tuple(row[:-2]): tuple(row[-2:]) for row in rows}

    def warehouse(self, kind: Kind) -> dict[Key, Row]:
        rows = self.client.query(f"SELECT {', '.join(kind.key)}, texto, valor FROM {kind.view}").result_rows
        return {tuple(row[:-2]): tuple(row[-2:]) for row in rows}

    def compare(self, kind: Kind) -> Difference:
        ours, theirs = self.source(kind), self.warehouse(kind)
        return Difference(
            set(ours.keys() - theirs.keys()),
            set(theirs.keys() - ours.keys()),
            {key for key in ours.keys() & theirs.keys() if ours[key] != theirs[key]},
        )

    def fresh(self, kind: Kind, many: int) -> list[Key]:
        """Return keys that have never been used."""
        return [kind.key_of(next(self._numbers)) for _ in range(many)]

    def some(self, keys: list[Key], many: int) -> list[Key]:
        return self.rng.sample(sorted(keys), min(many, len(keys)))

    # Changes in the source.

    def change(self, kind: Kind, *, truncates: bool = False) -> None:
        """Insert, update, delete and change keys. The watcher gets the keys that may disappear before that."""
        table, there = pg(kind.name), list(self.source(kind))
        chosen = self.some(there, 16)
        new = self.fresh(kind, 6)
        gone, moved, updated = chosen[:3], chosen[3:5], chosen[5:]
        if truncates:
            gone, moved, updated = there, [], []
            new += self.fresh(kind, 60)
        self.watcher.touch(kind.name, [*gone, *moved], new)
        sets = ", ".join(f"{name} = %s" for name in kind.key)
        with self.lab.connect(autocommit=False) as connection:
            if truncates:
                connection.execute(f"TRUNCATE {table}".encode())
            else:
                statement = f"DELETE FROM {table} WHERE {kind.having_key}".encode()
                connection.cursor().executemany(statement, gone)
            for key in moved:
                connection.execute(
                    f"UPDATE {table} SET {sets}, em = now(), valor = nextval('relogio') WHERE {kind.having_key}".encode(),
                    (*new.pop(), *key),
                )
            statement = (
                f"UPDATE {table} SET em = now(), valor = nextval('relogio') WHERE {kind.having_key}".encode()
            )
            connection.cursor().executemany(statement, updated)
            self._insert(connection, kind, new)
        self.did["truncated" if truncates else "changed"] += 1

    def _insert(self, connection: Any, kind: Kind, keys: list[Key]) -> None:
        marks = ", ".join(["%s"] * len(kind.key))
        connection.cursor().executemany(
            f"INSERT INTO {pg(kind.name)} ({', '.join(kind.key)}, texto) VALUES ({marks}, 'texto')".encode(),
            keys,
        )

    def fill(self, kind: Kind) -> None:
        with self.lab.connect(autocommit=False) as connection:
            self._insert(connection, kind, [kind.key_of(n) for n in range(ROWS)])

    # Damage to the warehouse by hand.

    def command(self, statement: str) -> None:
        self.client.command(statement, settings={"mutations_sync": 2})

    def damage(self, kind: Kind, many: int = 3) -> None:
        """Alter, remove, add and move rows, all with their old versions."""
        there = sorted(self.warehouse(kind).keys() & self.source(kind).keys())
        assert len(there) > 3 * many
        chosen, new = self.some(there, 3 * many), self.fresh(kind, 2 * many)
        altered, removed, moved = chosen[:many], chosen[many : 2 * many], chosen[2 * many :]
        self.watcher.touch(kind.name, chosen, new)
        columns, key = ", ".join(kind.all_columns), ", ".join(kind.key)
        into = f"INSERT INTO {kind.storage} ({columns}, version, is_deleted)"
        rest = "em, valor, version"

        def put(selected: str, keys: list[Key]) -> None:
            if keys:
                self.command(f"{into} SELECT {selected} FROM {kind.storage} FINAL WHERE {kind.among(keys)}")

        put(f"{key}, 'damaged', {rest}, 0", altered)
        put(f"{key}, texto, {rest}, 1", [*removed, *moved])
        for old, other in zip(moved or altered, new[: len(moved)], strict=False):
            # A copy of a row that still exists: the row of this key was just hidden.
            model = next(one for one in there if one not in chosen)
            put(f"{', '.join(map(literal, other))}, {ch_text(str(old))}, {rest}, 0", [model])
        for other in new[len(moved) :]:
            put(f"{', '.join(map(literal, other))}, 'added', {rest}, 0", [altered[0]])
        self.did["rows altered, removed, added and moved by hand"] += 1

    def empty(self, kind: Kind) -> None:
        """Drop a partition by hand. A run detects that."""
        self.watcher.touch(kind.name, self.warehouse(kind))
        ids = self.lab.query(f"SELECT DISTINCT _partition_id FROM {kind.storage} ORDER BY 1")
        if ids:
            (one,) = self.rng.choice(ids)
            self.command(f"ALTER TABLE {kind.storage} DROP PARTITION ID '{one}'")
            self.did["partitions emptied by hand"] += 1

    def mutate(self, kind: Kind) -> None:
        """Delete rows by hand with a mutation. A run detects that as well."""
        keys = self.some(list(self.warehouse(kind)), 4)
        if not keys:
            return
        self.watcher.touch(kind.name, keys)
        self.command(f"ALTER TABLE {kind.storage} DELETE WHERE {kind.among(keys)}")
        self.did["rows deleted by hand"] += 1

    # Kills, and the runs after them.

    def kill(
        self, what: str, kind: Kind, step: str, *, nth: int = 1, work: str | None = None, must: bool = True
    ) -> bool:
        """Start a process that kills itself when `kind` gets to `step`. Return whether it got there."""
        label = f"killed__{sum(self.kills.values())}__{uuid4().hex[:8]}"
        tables = (kind.name,) if what == "reconciliation" else ()
        code = self.movers.start(
            self.lab, Death(step, kind.name, work, nth), tables=tables, label=label
        ).wait()
        return self._was_killed(code, what, kind, f"{step} {nth}" if nth > 1 else step, label, must)

    def kill_at_random(self, what: str, kind: Kind, within: float) -> bool:
        """Kill a process at a random moment. Return False if it had ended before."""
        label = f"killed__{uuid4().hex}"
        running = self.movers.start(
            self.lab, tables=(kind.name,) if what == "reconciliation" else (), label=label
        )
        time.sleep(self.rng.uniform(0, within))
        running.kill()
        return self._was_killed(running.wait(), what, kind, "any moment", label, must=False)

    def _was_killed(self, code: int, what: str, kind: Kind, step: str, label: str, must: bool) -> bool:
        where = f"{what} of {kind.name} at {step}"
        assert code in ((-signal.SIGKILL,) if must else (-signal.SIGKILL, 0)), f"{where}: exit code {code}"
        self.watcher.check()
        if code == 0:
            return False
        self.kills[what, kind.finds, step] += 1
        if step != "any moment":
            # A process that is killed before its end has no report. If it is killed after its report, the report is true.
            reports = self.lab.query(
                "SELECT word FROM vendas_dw.reconciliacoes WHERE run_id = {label:String}", label=label
            )
            if step != "reported":
                assert reports == [], where
            else:
                assert reports in ([("repaired",)], [("equal",)]), where
                assert self.compare(kind).total == 0, where
        return True

    def converge(self) -> None:
        """Do a run and a reconciliation of each table. The reports must be exact, and both sides equal afterwards."""
        self.lab.run()
        for kind in self.kinds:
            self.reconcile(kind)
        for kind in self.kinds:
            assert self.compare(kind).total == 0, kind.name
            self.watcher.settle(kind.name, {key: row[-1] for key, row in self.source(kind).items()})
        self.watcher.check()

    def reconcile(self, kind: Kind) -> None:
        expected, before = self.compare(kind), self.warehouse(kind)
        report = self.look(kind, expected)
        refused = len(expected.extra) > 0.2 * len(before)
        if refused:
            assert (report.word, report.repaired) == ("differs", 0), report
            assert self.warehouse(kind) == before
            self.did["many deletions refused"] += 1
            report = self.look(kind, expected, confirmed=True)
        assert (report.word, report.repaired) == (
            "repaired" if expected.total else "equal",
            expected.total,
        ), report
        self.did["rows found wrong and repaired"] += expected.total

    def look(self, kind: Kind, expected: Difference, **asked: bool) -> Report:
        """Reconcile a table, and compare the report with the expected differences."""

        def wait() -> None:
            self.lab.run()

        report = reconcile(
            self.lab.engine(),
            kind.name,
            ReconcileOptions(**asked),
            Attempt(uuid4(), "converges", 1),
            Limits(share=1, patience=timedelta(seconds=60)),
            wait=wait,
        )
        assert report.missing == len(expected.missing), report
        assert report.different == len(expected.different), report
        finds = (
            (report.deleted, report.extra)
            if kind.finds == "reconciliation"
            else (report.extra, report.deleted)
        )
        assert finds == (len(expected.extra), 0), report
        assert (report.in_flight, report.undecided) == (0, 0), report
        return report

    def summary(self) -> str:
        lines = [f"{sum(self.kills.values())} kills, {self.watcher.polls} polls; {dict(self.did)}"]
        for (what, finds, step), number in sorted(self.kills.items()):
            lines.append(f"  {what:15} deletes by {finds:15} {step:12} {number}")
        return "\n".join(lines)


@contextmanager
def campaign(lab: Lab, *finds: str) -> Iterator[Campaign]:
    """A campaign with tables of these kinds, equal on both sides, a reader, and a starter of processes to kill."""
    kinds = [KINDS[one] for one in finds or KINDS]
    lab.execute("CREATE SEQUENCE relogio")
    for kind in kinds:
        lab.execute(kind.create())
    if KINDS["keys"] in kinds:
        lab.execute("CREATE INDEX ON conta (em)")
    if KINDS["log"] in kinds:
        lab.execute(lab.delete_log(pg("public") + "." + pg(KINDS["log"].name)))
    lab.mirror_only(*(kind.declared for kind in kinds))
    watcher = Watcher(
        lab.clickhouse,
        {kind.name: f"SELECT {', '.join(kind.key)}, valor FROM {kind.view}" for kind in kinds},
    )
    client = lab.clickhouse.client()
    with Movers() as movers:
        found = Campaign(lab, kinds, movers, watcher, client, random.Random(SEED))
        for kind in kinds:
            found.fill(kind)
        lab.run()
        with watcher:
            found.converge()
            yield found
            found.converge()
    client.close()
    lab.assert_equal()
    print(f"\n{found.summary()}")


STEPS = (*OWN[:4], *PASS, *OWN[4:])


@pytest.mark.campaign
def test_reconciliation_killed_at_each_step_converges(lab: Lab) -> None:
    with campaign(lab, "keys") as one:
        (kind,) = one.kinds
        for number, (step, nth) in enumerate([*((step, 1) for step in STEPS), ("published", 2)]):
            one.change(kind)
            one.damage(kind)
            one.kill("reconciliation", kind, step, nth=nth, work="repair")
            if number % 5 == 4:
                one.converge()


@pytest.mark.campaign
def test_a_run_that_looks_for_deleted_rows_killed_at_each_step_converges(lab: Lab) -> None:
    with campaign(lab, "keys", "log") as one:
        for number, step in enumerate(PASS):
            for kind in one.kinds:
                one.change(kind, truncates=number == 4)
                one.kill("run", kind, step, work=kind.finds)
            if number % 4 == 3:
                one.converge()


def moments(kinds: list[Kind]) -> list[tuple[str, Kind, str, int, str | None]]:
    """Return the moments of kills: what is killed, the table, the step, its nth time, and the kind of read.

    An empty step is a random moment.
    """
    found: list[tuple[str, Kind, str, int, str | None]] = []
    for kind in kinds:
        found += [("reconciliation", kind, step, 1, "repair") for step in STEPS]
        if kind.declared.partition_width:
            found += [("reconciliation", kind, "published", nth, "repair") for nth in (2, 3)]
        if kind.finds != "reconciliation":
            found += [("run", kind, step, 1, kind.finds) for step in PASS]
        found += [("run", kind, step, 1, None) for step in ("snapshot", "staged", "published", "recorded")]
        found += [("reconciliation", kind, "", 1, None)] * 4
        found += [("run", kind, "", 1, None)] * 4
    return found


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_a_hundred_kills_lose_and_double_nothing(lab: Lab) -> None:
    with campaign(lab) as one:
        rng, left, unsettled = one.rng, list[tuple[str, Kind, str, int, str | None]](), 0
        # After a table was emptied or truncated, a step may not be reached until both sides are equal again.
        unsure = set[str]()
        while sum(one.kills.values()) < KILLS:
            if not left:
                left = moments(one.kinds)
                rng.shuffle(left)
            what, kind, step, nth, work = left.pop()
            truncates = rng.random() < 0.08
            for other in one.kinds:
                if other is kind or rng.random() < 0.4:
                    one.change(other, truncates=truncates and other is kind)
            if truncates:
                unsure.add(kind.name)
            if rng.random() < 0.12:
                damaged = rng.choice(one.kinds)
                (one.empty if rng.random() < 0.6 else one.mutate)(damaged)
                unsure.add(damaged.name)
            is_sure = kind.name not in unsure
            if what == "reconciliation":
                if not is_sure or rng.random() < 0.5:
                    one.lab.run()
                one.damage(kind)
            if step:
                one.kill(what, kind, step, nth=nth, work=work, must=is_sure and nth < 3)
            else:
                one.kill_at_random(what, kind, 2.0)
            unsettled += 1
            if unsettled == 3 or rng.random() < 0.25:
                one.converge()
                unsettled = 0
                unsure.clear()
    assert sum(one.kills.values()) >= KILLS
