"""Random tables with random histories: whatever is written, deleted, read again or committed late, both sides end equal."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass, replace

import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from local.servers.clickhouse import ClickHouse
from local.servers.postgres import Postgres
from tests.conftest import empty_warehouse, new_source
from tests.integration.mixed import CHANGE_TYPES, KEYS, TYPES_OF_THEIR_OWN, VALUES, Shape
from tests.lab import Lab

BYTES = 63
"""PostgreSQL's limit for names, in bytes."""

OF_THE_SYSTEM = {"tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"}
"""System columns, which every table of PostgreSQL has."""

WORDS = [
    *("some", "select", "user", "order", "from", "table", "null", "case", "any", "all", "interval", "array", "end"),
    *("version", "is_deleted", "_version", "mirror_version", "cargas", "stage__x", "_part", "_table", "count()"),
    *("id", "Id", "ID", "código", "margem_%", 'a"b', "a`b", "a'b", "a\\b", "%s", "$1", "?", "{x:String}", "*", " "),
    *("n", "e", "x", "c0", "k0", "writer", "altered0", "wanted", "bad", "stored"),
]  # fmt: skip

NAMES = st.sampled_from(WORDS) | st.text(
    st.characters(exclude_characters="\0.", exclude_categories=["Cs"]), min_size=1, max_size=BYTES
).map(lambda text: text.encode()[:BYTES].decode(errors="ignore") or "x").filter(
    # ClickHouse can't have a key named `not`; see test_inputs.
    lambda name: name not in OF_THE_SYSTEM and name.lower() != "not"
)
TYPES = st.sampled_from(list(VALUES))


@st.composite
def shapes(draw: st.DrawFn, name: str) -> Shape:
    """A table with any key, columns, names and way."""
    kind = draw(st.sampled_from(list(KEYS)))
    way = draw(st.sampled_from(["window", "scan", "scan of a root", "copy", "copy of a view"]))
    if way == "scan of a root":
        kind = "of a partition"
    key = KEYS[kind]
    types = draw(st.lists(TYPES, min_size=1, max_size=6))
    count = len(key.types) + len(types) + 1
    *names, change = draw(st.lists(NAMES, min_size=count, max_size=count, unique=True))
    return Shape(
        name,
        names[: len(key.types)],
        key,
        dict(zip(names[len(key.types) :], types, strict=True)),
        change=(change, draw(st.sampled_from(CHANGE_TYPES))) if way == "window" else None,
        way="copy" if way.startswith("copy") else None,
        partitioned=way == "scan of a root",
        view=way == "copy of a view",
    )


@dataclass(frozen=True)
class Step:
    """One step of a history: on the table number `table`, on `rows` rows, with the values of `turn`."""

    what: str
    table: int
    rows: int
    turn: int


STEPS = st.builds(
    Step,
    st.sampled_from(
        ["insert", "update", "update", "delete", "back", "key", "begin", "commit", "run", "run", "replay"]
    ),
    st.integers(0, 99),
    st.integers(1, 4),
    st.integers(0, 5),
)


@dataclass(frozen=True)
class History:
    """Tables, and the steps that happen to them."""

    shapes: list[Shape]
    steps: list[Step]


@st.composite
def histories(draw: st.DrawFn) -> History:
    """Some tables with different names, and steps."""
    names = draw(st.lists(NAMES, min_size=4, max_size=5, unique=True))
    return History([draw(shapes(name)) for name in names], draw(st.lists(STEPS, min_size=6, max_size=12)))


@pytest.fixture(scope="module")
def any_lab(postgres: Postgres, clickhouse: ClickHouse) -> Lab:
    """A lab. Each example creates its own tables in it."""
    lab = Lab(new_source(postgres), clickhouse)
    lab.options = replace(lab.options, compare_keys=1_000)
    lab.execute(TYPES_OF_THEIR_OWN)
    return lab


class Tables:
    """The tables of one history in a lab: the number of rows of each, and a transaction that is still open."""

    def __init__(self, lab: Lab, shapes: list[Shape], stack: ExitStack) -> None:
        empty_warehouse(lab.clickhouse)
        lab.reached = None
        lab.mirror_only(*(shape.declared for shape in shapes))
        self.lab, self.shapes, self.rows = lab, shapes, [2] * len(shapes)
        self.pending: set[tuple[int, int]] = set()
        """Table and number of the rows that the open transaction has inserted."""
        self.application = stack.enter_context(lab.connect())
        self.late = stack.enter_context(lab.connect(autocommit=False))
        self.execute("DROP SCHEMA public CASCADE", "CREATE SCHEMA public")
        for shape in shapes:
            self.execute(*shape.create(), shape.insert(1, 2))
        self.started = lab.now()

    def execute(self, *statements: str, late: bool = False) -> None:
        for statement in statements:
            (self.late if late else self.application).execute(statement.encode())

    def insert(self, step: Step, *, late: bool = False) -> None:
        at = step.table % len(self.shapes)
        first, self.rows[at] = self.rows[at] + 1, self.rows[at] + step.rows
        if late:
            self.pending |= {(at, number) for number in range(first, self.rows[at] + 1)}
        self.execute(self.shapes[at].insert(first, self.rows[at], step.turn), late=late)

    def update(self, step: Step) -> None:
        at = step.table % len(self.shapes)
        # The first row is only for the transactions that stay open, so that nobody waits for them.
        numbers = {2 + (step.turn + place) % (self.rows[at] - 1) for place in range(step.rows)}
        self.execute(*self.shapes[at].update(sorted(numbers), step.turn))

    def number(self, step: Step) -> int:
        """Return the number of a row other than the first. The row may have been deleted."""
        return 2 + step.turn % (self.rows[step.table % len(self.shapes)] - 1)

    def delete(self, step: Step) -> None:
        self.execute(self.shapes[step.table % len(self.shapes)].delete(self.number(step)))

    def back(self, step: Step) -> None:
        """Insert a row again if it was deleted."""
        at, number = step.table % len(self.shapes), self.number(step)
        # Not a row of the open transaction: the statement would wait for its commit.
        if (at, number) not in self.pending:
            again = self.shapes[at].insert(number, number, step.turn)
            self.execute(f"{again} ON CONFLICT DO NOTHING")

    def change_key(self, step: Step) -> None:
        at = step.table % len(self.shapes)
        self.rows[at] += 1
        self.execute(self.shapes[at].change_key(self.number(step), self.rows[at]))

    def begin(self, step: Step) -> None:
        """Write in the transaction that stays open. It begins before the others write."""
        self.insert(step, late=True)
        for shape in self.shapes:
            self.execute(*shape.update([1], step.turn), late=True)

    def commit(self) -> None:
        self.late.commit()
        self.pending.clear()

    def do(self, step: Step) -> None:
        if step.what == "insert":
            self.insert(step)
        elif step.what == "update":
            self.update(step)
        elif step.what == "delete":
            self.delete(step)
        elif step.what == "back":
            self.back(step)
        elif step.what == "key":
            self.change_key(step)
        elif step.what == "begin":
            self.begin(step)
        elif step.what == "commit":
            self.commit()
        elif step.what == "run":
            self.lab.run()
        else:
            conf = {"inicio": self.started.isoformat(), "fim": self.lab.now().isoformat()}
            self.lab.run(conf=conf)

    def finish(self) -> None:
        """Commit the open transaction and read the rest. Change columns of whole seconds may be ahead of the clock."""
        self.commit()
        time.sleep(1 - self.lab.now().microsecond / 1_000_000)
        self.lab.run()


def ends_equal(lab: Lab, history: History) -> None:
    for shape in history.shapes:
        note("; ".join(shape.create()))
    with ExitStack() as stack:
        tables = Tables(lab, history.shapes, stack)
        for step in history.steps:
            tables.do(step)
        tables.finish()
        lab.assert_equal()


FOR_EACH_DAY = settings(max_examples=3)
FOR_LONG = settings(max_examples=40, suppress_health_check=list(HealthCheck))


def test_any_tables_end_equal(any_lab: Lab) -> None:
    FOR_EACH_DAY(given(histories())(lambda history: ends_equal(any_lab, history)))()


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_many_tables_end_equal(any_lab: Lab) -> None:
    FOR_LONG(given(histories())(lambda history: ends_equal(any_lab, history)))()
