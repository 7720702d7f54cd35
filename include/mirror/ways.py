"""Chooses how a table's changes are found, with the reason: by window, by scan or by copy. See docs/architecture.md."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from include.mirror import names
from include.mirror.declaration import Table
from include.mirror.errors import SchemaError
from include.mirror.phrases import KINDS, column_of, label, listed, quoted
from include.mirror.relation import Index, Relation, SourceColumn, Trigger
from include.mirror.triggers import assignments_to, is_transaction_time, may_set, sets

TIMES = ("timestamp", "timestamptz")
"""The types that windows can select by."""


NAMING = (
    *("regclass", "regcollation", "regconfig", "regdictionary", "regnamespace", "regoper", "regoperator"),
    *("regproc", "regprocedure", "regrole", "regtype", "aclitem"),
)
"""Types of pg_catalog that store an oid and print a name. They print another name once that object is renamed."""


@dataclass(frozen=True)
class Way:
    """How changes are found, with the reason. `index` is the CREATE INDEX that would make windows possible or cheap."""

    way: str
    reason: str
    change_column: str | None = None
    index: str | None = None


def find_way(table: Table, relation: Relation) -> Way:
    """Return how changes are found. Raise SchemaError if the declared way is not possible for the table."""
    obstacle = _no_xmin(relation)
    wants_window = table.way == "window" or table.change_column is not None
    if obstacle is not None:
        if table.way == "scan" or wants_window:
            what = f"way={table.way!r}" if table.way else f"change_column={table.change_column!r}"
            raise SchemaError(
                f"{label(relation)}: {what} needs the rows of ordinary tables, and {obstacle}; leave {what} out, and "
                "it is copied and compared"
            )
        return Way("copy", f"{obstacle}, so it is read whole and compared")
    if table.way != "copy" and (naming := _naming_column(table, relation)) is not None:
        obstacle = f"{naming.name} is {naming.type.declared}, whose values print names that change while no row is written"
        if table.way == "scan" or wants_window:
            raise SchemaError(
                f"{label(relation)}: {obstacle}; leave way and change_column out, and it is copied and compared, or leave "
                f"the column out: leave_out=[{naming.name!r}]"
            )
        return Way("copy", f"{obstacle}, so it is read whole and compared")
    if table.way == "copy":
        return Way("copy", "the declaration asks for it")
    if table.way == "scan":
        return Way("scan", "the declaration asks for it")
    if table.change_column is not None:
        return _declared_window(table.change_column, relation)
    kept = _kept_columns(table, relation)
    if table.way == "window":
        return _found_window(kept, relation)
    for column, trigger in kept:
        if (index := index_on(relation, column.name)) is not None:
            return Way(
                "window",
                f"{_set_by(column, trigger)}, and index {index.name} finds it",
                column.name,
            )
    if kept:
        column, trigger = kept[0]
        statement = _create_index(relation, column.name)
        return Way(
            "scan",
            f"{_set_by(column, trigger)}, but no index leads with it; {statement} would make windows possible",
            index=statement,
        )
    return Way("scan", _why_no_window(table, relation))


def index_on(relation: Relation, column: str) -> Index | None:
    """Return a btree index over all rows whose first column is `column`, None if there is none."""
    return next(
        (
            index
            for index in relation.indexes
            if index.method == "btree" and not index.partial and index.columns[:1] == (column,)
        ),
        None,
    )


def precision(name: str | None, relation: Relation) -> timedelta:
    """Return the step to which a change column's values are rounded, by its type, its default or its trigger."""
    digits = [6]
    if name is not None:
        column = column_of(relation, name)
        digits += [column.type.modifier] if column.type.modifier >= 0 else []
        expressions = [column.default or ""]
        for trigger in relation.triggers:
            expressions += [assignment[1] for assignment in assignments_to(trigger, name)]
        # now()::timestamp(0), CURRENT_TIMESTAMP(3)
        digits += [int(number) for text in expressions for number in re.findall(r"\(\s*([0-6])\s*\)", text)]
    return timedelta(microseconds=10 ** (6 - min(digits)))


def _naming_column(table: Table, relation: Relation) -> SourceColumn | None:
    """Return a mirrored column whose values print names of other objects, None if there is none."""
    for column in relation.columns:
        kind = column.type.element or column.type
        if column.name not in table.leave_out and kind.schema == "pg_catalog" and kind.name in NAMING:
            return column
    return None


def _no_xmin(relation: Relation) -> str | None:
    """Return why a row's `xmin` does not show when it changed, None if it does."""
    if relation.kind in "vmf":
        return f"{KINDS[relation.kind]} does not show which rows changed"
    if relation.foreign_partitions:
        return "foreign partitions do not show which of their rows changed"
    return None


def _declared_window(name: str, relation: Relation) -> Way:
    column = column_of(relation, name)
    if column.type.name not in TIMES:
        other = [column.name for column in relation.columns if column.type.name in TIMES]
        found = f"; {listed(other)} would be possible" if other else ""
        raise SchemaError(
            f"{label(relation)}: change_column {name!r} is {column.type.declared}, and windows are of time: it must be "
            f"a timestamp or a timestamptz{found}"
        )
    index = index_on(relation, name)
    if index is not None:
        return Way("window", f"the declaration names {name}, and index {index.name} finds it", name)
    return Way(
        "window",
        f"the declaration names {name}; no index leads with it, so each window reads the whole table",
        name,
        index=_create_index(relation, name),
    )


def _found_window(kept: list[tuple[SourceColumn, Trigger]], relation: Relation) -> Way:
    if not kept:
        times = [column.name for column in relation.columns if column.type.name in TIMES]
        named = (
            f"; if {listed(times)} will do all the same, name it: change_column={times[0]!r}" if times else ""
        )
        raise SchemaError(
            f"{label(relation)}: way='window' needs a timestamp that the database itself sets, by a default such as "
            "CURRENT_TIMESTAMP and by a BEFORE UPDATE FOR EACH ROW trigger without conditions, and no column has "
            f"both{named}"
        )
    column, trigger = next((pair for pair in kept if index_on(relation, pair[0].name)), kept[0])
    why = f"the declaration asks for it; {_set_by(column, trigger)}"
    if index_on(relation, column.name) is not None:
        return Way("window", why, column.name)
    return Way(
        "window",
        f"{why}, but no index leads with it, so each window reads the whole table",
        column.name,
        index=_create_index(relation, column.name),
    )


def _kept_columns(table: Table, relation: Relation) -> list[tuple[SourceColumn, Trigger]]:
    """Return the timestamp columns that the database itself sets whenever a row is written, each with its trigger.

    Columns with an index come first; otherwise they are in the table's order.
    """
    found = []
    for column in relation.columns:
        if column.type.name not in TIMES or column.name in table.leave_out:
            continue
        writers = [
            trigger
            for trigger in relation.triggers
            if trigger.before and trigger.row and may_set(trigger, column.name)
        ]
        # If two triggers set the column, the later one decides. Such a column is not used.
        if len(writers) != 1 or not sets(writers[0], column.name):
            continue
        if is_transaction_time(column.default) or sets(writers[0], column.name, at_insert=True):
            found.append((column, writers[0]))
    return sorted(found, key=lambda pair: index_on(relation, pair[0].name) is None)


def _set_by(column: SourceColumn, trigger: Trigger) -> str:
    both = "its default and by " if is_transaction_time(column.default) else ""
    return f"{column.name} is set by {both}trigger {trigger.name}"


def _why_no_window(table: Table, relation: Relation) -> str:
    times = [
        column
        for column in relation.columns
        if column.type.name in TIMES and column.name not in table.leave_out
    ]
    if not times:
        return "it has no timestamp that windows could select by"
    # The sentence names the column that lacks least, because that is probably the one that a person has in mind.
    by_default = [column.name for column in times if is_transaction_time(column.default)]
    assigned = [
        column.name for column in times if any(may_set(trigger, column.name) for trigger in relation.triggers)
    ]
    if both := [name for name in assigned if name in by_default]:
        return (
            f"{both[0]} has a default, but its trigger may let an update pass that changes the row (a condition, or "
            "another value than the transaction's time)"
        )
    if assigned:
        return f"{assigned[0]} has a trigger, but no default that is the transaction's time"
    if by_default:
        return f"{listed(by_default)} {_have(by_default)} a default, but no trigger sets {_it(by_default)} at each update"
    return (
        f"{listed([c.name for c in times])} {_are([c.name for c in times])} set by the application, if at all"
    )


def _create_index(relation: Relation, column: str) -> str:
    # CONCURRENTLY is not possible for a partitioned table.
    concurrently = "CONCURRENTLY " if relation.kind == "r" else ""
    return f"CREATE INDEX {concurrently}ON {quoted(relation)} ({names.pg(column)})"


def _have(parts: Sequence[str]) -> str:
    return "has" if len(parts) == 1 else "have"


def _are(parts: Sequence[str]) -> str:
    return "is" if len(parts) == 1 else "are"


def _it(parts: Sequence[str]) -> str:
    return "it" if len(parts) == 1 else "them"
