"""Compares a source table with its warehouse table: what is created, what is altered, and what is refused.

The table in the warehouse is the contract. Its columns keep their types as long as these can hold the source's values. The
table's comment notes the oid of its source table. A column's comment notes the attribute number and type of its source
column. New columns are added. If a column has the same name but is another column, the table is read again. Any other
difference raises SchemaError, which sets the table aside.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from include.mirror import names
from include.mirror.declaration import STAGE_PREFIX
from include.mirror.errors import SchemaError
from include.mirror.spec import Column, TableSpec
from include.mirror.templates import render
from include.mirror.types import carrier
from include.mirror.warehouse.client import DROP, SETTINGS, Warehouse
from include.mirror.warehouse.ddl import (
    Bookkeeping,
    TableIdentity,
    built,
    comment,
    is_mirrored,
    left_out_comment,
    read_comment,
    read_table_comment,
    storage_ddl,
    table_comment,
    view_ddl,
    with_built,
)
from include.mirror.warehouse.table import WarehouseTable

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

log = logging.getLogger(__name__)

# A replicated engine has two texts in front. What follows the arguments, such as ORDER BY, may look like more of them.
_ENGINE = re.compile(
    r"(?P<family>\w*)MergeTree\((?:'(?:[^'\\]|\\.)*', )*(?P<version>\w+), (?P<deleted>\w+)\)"
)

XID_HALF = 2**30
"""Transaction ids that are at most this far apart can be compared by their lower 32 bits, with a margin."""

_ESCAPED = str.maketrans({"\b": "b", "\f": "f", "\n": "n", "\r": "r", "\t": "t"})


@dataclass(frozen=True)
class StoredColumn:
    """A column of the warehouse: its type as ClickHouse prints it, and its comment."""

    type: str
    comment: str


@dataclass
class Stored:
    """A table or view of the warehouse, from `system.tables` and `system.columns`.

    `rows` counts all versions of rows. `age` is in seconds.
    """

    engine: str
    engine_full: str
    partition_key: str
    sorting_key: str
    as_select: str
    comment: str
    rows: int
    age: int
    columns: dict[str, StoredColumn] = field(default_factory=dict)


@dataclass
class Contents:
    """The tables and views in the mirror's two databases, by name."""

    storage: dict[str, Stored] = field(default_factory=dict)
    views: dict[str, Stored] = field(default_factory=dict)


def read(warehouse: Warehouse, client: Client) -> Contents:
    """Return what is in the warehouse, in one statement however many tables there are."""
    parameters = {"storage": warehouse.storage, "views": warehouse.views}
    return from_rows(warehouse, client.query(render("read_warehouse"), parameters=parameters).result_rows)


def from_rows(warehouse: Warehouse, rows: Iterable[Sequence[Any]]) -> Contents:
    """Return what is in the warehouse from the rows of the query `read_warehouse`."""
    contents = Contents()
    databases = {warehouse.storage: contents.storage, warehouse.views: contents.views}
    for database, name, *rest, columns in rows:
        described = {column: StoredColumn(kind, text) for column, kind, text in columns}
        databases[database][name] = replace(Stored(*rest), columns=described)
    return contents


def builds(contents: Contents) -> dict[str, int]:
    """Return the version of the snapshot that each rebuilt table was rebuilt from, by name."""
    return {name: since for name, stored in contents.storage.items() if (since := built(stored.comment))}


def drop_old_stages(warehouse: Warehouse, client: Client, contents: Contents, age: timedelta) -> list[str]:
    """Drop the stages older than `age`: the attempts that created them have ended. Return their names.

    A stage that a view reads from is kept: a rebuild that was killed has left it as the view's bridge.
    """
    old = [
        name
        for name, stored in contents.storage.items()
        if name.startswith(STAGE_PREFIX)
        and stored.age > age.total_seconds()
        and not any(name in view.as_select for view in contents.views.values())
    ]
    for name in old:
        log.warning("dropping stage %s, left behind by an attempt that was killed", name)
        client.command(f"DROP TABLE IF EXISTS {names.ch(warehouse.storage, name)} SYNC", settings=DROP)
    return old


@dataclass(frozen=True)
class Agreement:
    """The result of comparing one table on both sides.

    `spec` has the column types that the warehouse's table keeps. `stored` is that table, None if there is none. `new` are
    columns that it lacks. `attached` are partitions that the source's table has got since. `again` is why the whole table
    has to be read again, None if it has not. `exchanged` is True if the warehouse may hold rows whose keys the source's
    table no longer has. `moved` is None unless the table has other files than before; then all its rows may have been
    rewritten by transactions from this id on.
    """

    spec: TableSpec
    stored: Stored | None
    new: tuple[Column, ...] = ()
    again: str | None = None
    attached: frozenset[int] = frozenset()
    exchanged: bool = False
    moved: int | None = None


def agree(warehouse: Warehouse, spec: TableSpec, stored: Stored | None) -> Agreement:
    """Compare a table of the source with the warehouse's table.

    Raises SchemaError naming a difference that can't be resolved. With another engine, the wrong one of two versions would
    be kept. With another sorting key, two versions of a row would not be recognized as one row. With a partition by other
    columns than the key's, the versions of a row would be in different partitions.
    """
    if stored is None:
        return Agreement(spec, None, again="the warehouse has no table for it")
    table = f"{warehouse.storage}.{spec.name}"
    own = _bookkeeping(warehouse, spec, stored)
    noted = read_table_comment(stored.comment)
    replaced = noted is not None and noted.oid != spec.oid
    new = [
        column
        for column in spec.columns
        if column.name not in stored.columns
        and (noted is None or replaced or column.number > noted.attributes)
    ]
    if not replaced:
        _check_names(warehouse, spec, stored)
    columns = tuple(
        column if column in new else _agree_on_column(warehouse, spec, column, stored.columns, replaced)
        for column in spec.columns
    )
    known = {column.name for column in spec.columns} | set(spec.not_mirrored)
    expected = {own.version: "UInt64", own.deleted: "UInt8"}
    for name, kind in expected.items():
        if name in {column.name for column in spec.columns}:
            raise SchemaError(
                f"source column {spec.label}.{name} has the name of a column that the mirror keeps in {table} for "
                f"itself: leave it out of the declaration, or {_rebuild_hint(warehouse, spec)}"
            )
        if (found := stored.columns.get(name)) is None or found.type != kind:
            raise SchemaError(
                f"warehouse column {table}.{name} is {found.type if found else 'missing'}, expected {kind}: "
                f"{_rebuild_hint(warehouse, spec)}"
            )
    if unknown := [name for name in stored.columns if name not in expected and name not in known]:
        raise SchemaError(
            f"warehouse table {table} has columns that {spec.label} does not: {', '.join(sorted(unknown))}; drop them, "
            f"or {_rebuild_hint(warehouse, spec)}"
        )
    _check_keys(table, spec, stored, own, _rebuild_hint(warehouse, spec))
    again = None
    if replaced:
        again = "the source's table is another one than before"
    elif back := [name for name in stored.columns if _is_back(name, spec, stored)]:
        again = f"{', '.join(back)} had been left out, and is mirrored again"
    elif other := [how for column in spec.columns if (how := _other_than_before(column, stored))]:
        again = f"in the source, {', '.join(other)}"
    elif noted is not None and noted.change and spec.change_number not in (0, noted.change):
        again = f"its windows are by {spec.change_column} now, and were by another column"
    elif late := [column.name for column in new if column.late or noted is None]:
        again = f"older rows have values in the new column {', '.join(late)}"
    keys = [column for column in spec.key_columns if _other_than_before(column, stored)]
    partitions = frozenset(spec.partitions)
    same = TableIdentity(spec.oid, spec.attributes, partitions) if noted is None or replaced else noted
    detached = (same.partitions | same.detached) - partitions
    # A row holds only the lower half of its writer's transaction id. So an id that was noted very long ago is replaced.
    kept = same.files == spec.files and 0 <= spec.since - same.since < XID_HALF
    return Agreement(
        replace(
            spec,
            columns=columns,
            detached=tuple(sorted(detached)),
            since=same.since if kept else spec.since,
        ),
        stored,
        tuple(new),
        again,
        partitions - same.partitions,
        exchanged=replaced or bool(keys),
        moved=same.since if same.files and spec.files and same.files != spec.files else None,
    )


def prepare(warehouse: Warehouse, client: Client, one: Agreement) -> bool:
    """Create or alter a warehouse table as its agreement requires. Return whether anything was changed.

    If the table is to be read again, the ledger must have a `forget` row before this call. Then a crash in between costs a
    read and no rows.
    """
    spec, stored = one.spec, one.stored
    if stored is None:
        log.info("creating %s.%s", warehouse.storage, spec.name)
        warehouse.create(client, storage_ddl(spec, warehouse.storage))
        return True
    changes = _alterations(spec, stored, one.new)
    if changes:
        log.info("altering %s.%s: %s", warehouse.storage, spec.name, "; ".join(changes))
        client.command(
            f"ALTER TABLE {names.ch(warehouse.storage, spec.name)} {', '.join(changes)}", settings=SETTINGS
        )
    return bool(changes)


def _alterations(spec: TableSpec, stored: Stored, new: Sequence[Column]) -> list[str]:
    changes = []
    for before, column in zip((None, *spec.columns), spec.columns, strict=False):
        name, text = names.ch(column.name), names.ch_text(comment(column))
        if column in new:
            place = f"AFTER {names.ch(before.name)}" if before else "FIRST"
            changes.append(f"ADD COLUMN IF NOT EXISTS {name} {column.warehouse_type} COMMENT {text} {place}")
        elif stored.columns[column.name].comment != comment(column):
            changes.append(f"COMMENT COLUMN {name} {text}")
    for name in spec.not_mirrored:
        agreed = read_comment(stored.columns[name].comment) if name in stored.columns else None
        if agreed is not None and not agreed.left_out:
            text = names.ch_text(left_out_comment(agreed))
            changes.append(f"COMMENT COLUMN {names.ch(name)} {text}")
    if stored.comment != (text := with_built(table_comment(spec), built(stored.comment))):
        changes.append(f"MODIFY COMMENT {names.ch_text(text)}")
    return changes


def create_view(warehouse: Warehouse, client: Client, spec: TableSpec, stored: Stored | None) -> None:
    """Create or replace the view that people query, unless it already fits the spec."""
    if lacks_view(warehouse, stored, spec):
        warehouse.create(client, view_ddl(spec, warehouse.storage, warehouse.views))


def bind(warehouse: Warehouse, client: Client, agreement: Agreement) -> WarehouseTable:
    """Return the warehouse table of an agreement. Raise SchemaError if it needs a change that only planning makes."""
    spec, stored = agreement.spec, agreement.stored
    if stored is None:
        raise SchemaError(f"warehouse table {warehouse.storage}.{spec.name} does not exist")
    if agreement.again is not None and not agreement.new:
        raise SchemaError(
            f"{spec.label} has changed since the run was planned: {agreement.again}; the next run reads it from the start"
        )
    if dropped := [
        name
        for name in spec.not_mirrored
        if name in stored.columns and is_mirrored(stored.columns[name].comment)
    ]:
        raise SchemaError(
            f"{spec.label}: the declaration leaves out {', '.join(dropped)} since the run was planned: the next run does "
            "not mirror them"
        )
    known = read_table_comment(stored.comment)
    if known is not None and set(spec.detached) - known.detached:
        raise SchemaError(
            f"a partition of {spec.label} was detached or dropped since the run was planned: the next run reads the table "
            "without it"
        )
    if agreement.new:
        raise SchemaError(
            f"warehouse table {warehouse.storage}.{spec.name} lacks {', '.join(c.name for c in agreement.new)}, which "
            f"{spec.label} has got since the run was planned: the next run adds them"
        )
    return WarehouseTable(
        warehouse,
        client,
        spec,
        _bookkeeping(warehouse, spec, stored),
        stored.partition_key,
        stored.sorting_key,
        built(stored.comment),
        stored.rows,
    )


def check_replaceable(warehouse: Warehouse, spec: TableSpec, contents: Contents) -> None:
    """Raise SchemaError unless a rebuild may replace the table and the view that have the spec's name."""
    stored = contents.storage[spec.name]
    if read_table_comment(stored.comment) is None:
        # Perhaps a table of the mirror's first version, which wrote no comments.
        _bookkeeping(warehouse, spec, stored)
    lacks_view(warehouse, contents.views.get(spec.name), spec)


def _rebuild_hint(warehouse: Warehouse, spec: TableSpec) -> str:
    """Return how to rebuild a table that no longer fits, for the end of a message."""
    if warehouse.cluster is not None:
        drop = (
            f"DROP TABLE {names.ch(warehouse.storage, spec.name)} ON CLUSTER `{warehouse.cluster.name}` SYNC"
        )
        return f"to build the warehouse's table anew, run {drop}: the next run creates it and reads all of it"
    conf = json.dumps({"reconstruir": [spec.name]}, ensure_ascii=False)
    return f"to build the warehouse's table anew, trigger a run with conf {conf}"


def _check_names(warehouse: Warehouse, spec: TableSpec, stored: Stored) -> None:
    """Raise SchemaError if a column of the source was renamed or is gone."""
    now = {column.number: column.name for column in spec.columns}
    for name, column in stored.columns.items():
        agreed = read_comment(column.comment)
        if agreed is None or name in now.values() or name in spec.not_mirrored:
            continue
        renamed = now.get(agreed.number)
        what = f"is called {renamed} now; rename it back" if renamed else "is gone; bring it back"
        raise SchemaError(f"source column {spec.label}.{name} {what}, or, {_rebuild_hint(warehouse, spec)}")


def _other_than_before(column: Column, stored: Stored) -> str | None:
    """Return how a column of the source differs from the one that the warehouse's column was made for, None if it doesn't.

    The name is the same, so this looks at the attribute number, the type and the meaning. They differ if columns were
    renamed, or dropped and added, or if a type was changed to one that ClickHouse stores in the same way.
    """
    found = stored.columns.get(column.name)
    agreed = read_comment(found.comment) if found else None
    if agreed is None:
        return None
    if agreed.number != column.number:
        return f"{column.name} is another column than before (attribute {column.number}, was {agreed.number})"
    if agreed.type != column.source.declared:
        return f"{column.name} is {column.source.declared} and was {agreed.type}"
    if agreed.meaning is not None and not column.meaning.continues(agreed.meaning):
        return (
            f"stored values of {column.name} mean something else than before (a label of an enum was renamed, or attributes "
            "of a composite type or the expression of a generated column have changed)"
        )
    return None


def _inner(kind: str) -> str:
    """Return a ClickHouse type without Nullable and LowCardinality."""
    while match := re.fullmatch(r"(?:Nullable|LowCardinality)\((.*)\)", kind):
        kind = match[1]
    return kind


def _is_back(name: str, spec: TableSpec, stored: Stored) -> bool:
    agreed = read_comment(stored.columns[name].comment)
    return agreed is not None and agreed.left_out and name in {column.name for column in spec.columns}


def _agree_on_column(
    warehouse: Warehouse, spec: TableSpec, column: Column, stored: Mapping[str, StoredColumn], replaced: bool
) -> Column:
    table, anew = f"{warehouse.storage}.{spec.name}", _rebuild_hint(warehouse, spec)
    found = stored.get(column.name)
    if found is None:
        raise SchemaError(
            f"warehouse column {table}.{column.name} is missing, expected {column.warehouse_type}: {anew}"
        )
    agreed = read_comment(found.comment)
    if agreed is not None and agreed.type != column.source.declared:
        plain = carrier(column.source, not_null=column.not_null, key=column.name in spec.key)
        if _inner(plain.warehouse_type) != _inner(found.type):
            raise SchemaError(
                f"source column {spec.label}.{column.name} is {column.source.declared}, expected {agreed.type}: its type "
                f"has changed since the warehouse's table was made; change it back, or, {anew}"
            )
    if found.type == column.warehouse_type:
        return column
    wrong = f"warehouse column {table}.{column.name} is {found.type}, expected {column.warehouse_type}"
    if column.declared_type is not None:
        raise SchemaError(f"{wrong}; change the declaration, or, {anew}")
    try:
        adopted = carrier(
            column.source, not_null=column.not_null, key=column.name in spec.key, wanted=found.type
        )
    except SchemaError as error:
        raise SchemaError(f"{wrong}: {error}; or, {anew}") from None
    return replace(column, carrier=adopted)


def _bookkeeping(warehouse: Warehouse, spec: TableSpec, stored: Stored) -> Bookkeeping:
    match = _ENGINE.match(stored.engine_full)
    if match is None or not match["family"].endswith("Replacing"):
        mend = _rebuild_hint(warehouse, spec)
        if read_table_comment(stored.comment) is None:
            name, other = (names.ch(warehouse.storage, one) for one in (spec.name, spec.name + "_old"))
            mend = f"the mirror did not make it; make room, such as RENAME TABLE {name} TO {other}"
        raise SchemaError(
            f"warehouse table {warehouse.storage}.{spec.name} has engine {stored.engine_full.split(' ')[0]}, expected "
            f"ReplacingMergeTree(version, is_deleted): {mend}"
        )
    return Bookkeeping(match["version"], match["deleted"])


def _check_keys(table: str, spec: TableSpec, stored: Stored, own: Bookkeeping, anew: str) -> None:
    if _without_quotes(stored.sorting_key) != ", ".join(map(_without_quotes, spec.order)):
        raise SchemaError(
            f"warehouse table {table} is ordered by {stored.sorting_key or 'nothing'}, expected {', '.join(spec.order)}: "
            f"the key of {spec.label}, or the declared one, or order_by has changed; change it back, or, {anew}"
        )
    partition = _without_quotes(stored.partition_key)
    if not partition or (
        spec.integer_key
        and re.fullmatch(rf"intDiv\({re.escape(_without_quotes(spec.integer_key))}, \d+\)", partition)
    ):
        return
    others = [column.name for column in spec.columns if column.name not in spec.key]
    others += [own.version, own.deleted]
    if wrong := [name for name in others if re.search(rf"\b{re.escape(_without_quotes(name))}\b", partition)]:
        raise SchemaError(
            f"warehouse table {table} is partitioned by {stored.partition_key}, which changes with {wrong[0]}: the "
            f"versions of one row would stand in several partitions; partition by a range of {', '.join(spec.key)}; "
            f"{anew}"
        )


def lacks_view(warehouse: Warehouse, stored: Stored | None, spec: TableSpec) -> bool:
    """Return whether the view that people query has to be created or replaced.

    Raises SchemaError if something else has its name: readers of a table there would not notice that no rows arrive, and
    replacing it would destroy its rows.
    """
    if stored is None:
        return True
    if is_bridged(warehouse, stored):
        return True
    if stored.engine != "View" or _without_quotes(
        f"{warehouse.storage}.{spec.name} FINAL"
    ) not in _without_quotes(stored.as_select):
        view = names.ch(warehouse.views, spec.name)
        raise SchemaError(
            f"{warehouse.views}.{spec.name} is already there and is not the mirror's view (engine {stored.engine}): make "
            f"room for it, such as RENAME TABLE {view} TO {names.ch(warehouse.views, spec.name + '_old')}"
        )
    return {name: column.type for name, column in stored.columns.items()} != {
        column.name: column.warehouse_type for column in spec.columns
    }


def is_bridged(warehouse: Warehouse, view: Stored) -> bool:
    """Return whether a view reads from a stage: a rebuild with other columns was killed and has left its bridge."""
    return view.engine == "View" and f" FROM {warehouse.storage}.{STAGE_PREFIX}" in _without_quotes(
        view.as_select
    )


def _without_quotes(text: str) -> str:
    """Return SQL without quotes around names. ClickHouse quotes only if it has to, and prints a line break as `\\n`."""
    return re.sub(r"[`\\]", "", text).translate(_ESCAPED)
