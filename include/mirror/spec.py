"""Resolves how one table is mirrored, from its declaration and PostgreSQL's catalog.

`resolve` refuses everything that could lose, double or alter a row. Each message has the statement or the declaration that
repairs it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cached_property

from include.conventions.errors import TaskError
from include.mirror import names, types
from include.mirror.catalog import declared_name
from include.mirror.declaration import Table
from include.mirror.delete_log import LOGS, find_log
from include.mirror.errors import SchemaError, SourceError
from include.mirror.keys import find_key, has_no_indexes
from include.mirror.meaning import NOTHING, Meaning
from include.mirror.phrases import KINDS, call, column_of, did_you_mean, label, listed, quoted
from include.mirror.relation import DeleteLog, KeyRange, Relation, SourceColumn, SourceType
from include.mirror.types.carrier import Carrier
from include.mirror.ways import find_way, index_on, precision

RESERVED = ("_row_exists", "_block_number", "_block_offset")
"""Column names that ClickHouse's MergeTree tables can't have."""

INTEGERS = {"int2": 1 << 16, "int4": 1 << 32, "int8": 1 << 64}
"""PostgreSQL's integer types and their numbers of values."""

PARTITION_ROWS = 10_000_000
"""About how many rows share a partition in the warehouse. It is also the narrowest partition, as a number of keys."""

WIDEST_PARTITION = 10**18
"""A table that would need wider partitions gets a single one: such numbers are near the end of 64 bits."""


@dataclass(frozen=True)
class Column:
    """One mirrored column. `number` is its attribute number; renaming the column does not change it.

    `declared_type` is the ClickHouse type from the declaration, None if it gives none. `late` is True if rows that are older
    than the column may have a value in it. `meaning` is what decides, besides the type, how stored values print.
    """

    name: str
    number: int
    source: SourceType
    not_null: bool
    carrier: Carrier
    declared_type: str | None = None
    late: bool = False
    meaning: Meaning = NOTHING

    @property
    def warehouse_type(self) -> str:
        """The column's ClickHouse type, as `system.columns` prints it."""
        return self.carrier.warehouse_type


@dataclass(frozen=True)
class TableSpec:
    """One mirrored table.

    - `name`: its name in the warehouse and in the ledger. `schema`, `relation`: its name in PostgreSQL.
    - `kind`: its `relkind`. `only`: True to leave out the rows of inheriting tables.
    - `columns`: the mirrored columns, in the source's order. `not_mirrored`: names of the others.
    - `way`: how changes are found. `reason`: why that way, in one sentence.
    - `change_column`: the column that windows select by. `precision`: its smallest step. `zoned`: True for a `timestamptz`.
      `indexed`: True if an index finds a window.
    - `partition_width`: how many values of the key share a partition in the warehouse, 0 for a single partition.
    - `fed`: True if a subscription writes to the table.
    - `attributes`: the highest attribute number of its columns.
    - `rows`: about how many rows it has, None if unknown.
    - `partitions`: the oids of its partitions. `detached`: the oids of partitions that are gone; their rows may still be in
      the warehouse.
    - `files`: identifies the files of a table with windows, when `since` was the lowest running transaction id. Other files
      may hold rows that an ALTER TABLE has rewritten.
    - `deletes`: how the declaration asks for deleted rows to be handled, None if it doesn't.
    - `order_by`: the columns by which the warehouse's table is sorted, empty if that is the key.
    - `log`: the log of deleted keys, None if there is none that is complete. `log_unused`: why an existing log is not used.
    """

    name: str
    schema: str
    relation: str
    kind: str
    oid: int
    only: bool
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    way: str
    reason: str
    change_column: str | None = None
    precision: timedelta = timedelta(microseconds=1)
    zoned: bool = False
    indexed: bool = False
    not_mirrored: tuple[str, ...] = ()
    partition_width: int = 0
    fed: bool = False
    attributes: int = 0
    rows: int | None = None
    partitions: tuple[int, ...] = ()
    files: str = ""
    since: int = 0
    detached: tuple[int, ...] = ()
    deletes: str | None = None
    log: DeleteLog | None = None
    log_unused: str = ""
    order_by: tuple[str, ...] = ()

    @property
    def order(self) -> tuple[str, ...]:
        """The columns by which the warehouse's table is sorted."""
        return self.order_by or self.key

    @property
    def moves(self) -> bool:
        """Whether a row's place in the warehouse's table can change while its key does not."""
        return not set(self.order_by) <= set(self.key)

    @property
    def unused_name(self) -> str:
        """A name that no column has, nor one that begins with it."""
        return "k" * (1 + max(len(column.name) for column in self.columns))

    @cached_property
    def order_columns(self) -> tuple[Column, ...]:
        """The columns by which the warehouse's table is sorted, in that order."""
        found = {column.name: column for column in self.columns}
        return tuple(found[name] for name in self.order)

    @cached_property
    def key_columns(self) -> tuple[Column, ...]:
        """The columns of the key, in the key's order."""
        found = {column.name: column for column in self.columns}
        return tuple(found[name] for name in self.key)

    @cached_property
    def key_places(self) -> tuple[int, ...]:
        """The positions of the key's columns in `columns`."""
        places = [column.name for column in self.columns]
        return tuple(places.index(name) for name in self.key)

    @cached_property
    def change_number(self) -> int:
        """The attribute number of the change column, 0 for none."""
        return next((column.number for column in self.columns if column.name == self.change_column), 0)

    @cached_property
    def integer_key(self) -> str | None:
        """The key's column if the key is a single smallint, integer or bigint, else None."""
        return self.key[0] if len(self.key) == 1 and self.key_columns[0].source.name in INTEGERS else None

    @property
    def of_keys(self) -> TableSpec:
        """The same table with its key columns only."""
        return replace(self, columns=self.key_columns)

    @property
    def of_log(self) -> TableSpec:
        """The log of deleted keys as a table of its own, with the key's columns."""
        name = self.log.name if self.log else ""
        return replace(self.of_keys, schema=LOGS, relation=name, only=False, partition_width=0)

    @property
    def source_name(self) -> str:
        """The table's name in PostgreSQL, quoted."""
        return names.pg(self.schema, self.relation)

    @property
    def label(self) -> str:
        """The table's name in PostgreSQL, for messages."""
        return f"{self.schema}.{self.relation}"


def resolve(
    table: Table,
    relation: Relation,
    name: str,
    key_range: KeyRange | None = None,
    *,
    role: str | None = None,
) -> TableSpec:
    """Return how to mirror `relation` as declared by `table`. `name` is its name in the warehouse.

    `key_range` is the range of an integer key; with it, the width of partitions is computed. `role` is the reading role, for
    the text of a GRANT. Raises SourceError if a privilege is missing, and SchemaError for anything else that can't be
    mirrored as declared.
    """
    check_readable(relation, role)
    check_rows(table, relation)
    columns = mirrored_columns(table, relation)
    key = find_key(table, relation)
    if misread := [name for name in key if names.is_misread(name)]:
        raise SchemaError(
            f"{label(relation)}: ClickHouse can't order a table by a column called {misread[0]}, which it takes for the "
            "operator; rename the column, or name another key: key=[…]"
        )
    way = find_way(table, relation)
    log, log_unused = find_log(table, relation, key, role)
    found = {column.name: column for column in columns}
    change = found[way.change_column].type if way.change_column else None
    carried = _carried(table, relation, columns, key, way.change_column)
    return TableSpec(
        name=name,
        schema=relation.schema,
        relation=relation.name,
        kind=relation.kind,
        oid=relation.oid,
        only=table.only,
        columns=carried,
        key=key,
        way=way.way,
        reason=way.reason,
        change_column=way.change_column,
        precision=precision(way.change_column, relation),
        zoned=change is not None and change.name == "timestamptz",
        indexed=way.change_column is not None and index_on(relation, way.change_column) is not None,
        not_mirrored=tuple(column.name for column in relation.columns if column.name not in found),
        partition_width=_partition_width(table, relation, found[key[0]], len(key), key_range),
        fed=relation.fed,
        attributes=max(column.number for column in relation.columns),
        rows=relation.rows,
        partitions=tuple(sorted(relation.partitions)),
        # A scan needs no files: it finds all rewritten rows by their transaction ids.
        files=relation.files if way.way == "window" else "",
        since=relation.xmin,
        deletes=table.deletes,
        log=log,
        log_unused=log_unused,
        order_by=find_order(table, relation, key, carried),
    )


def integer_key(table: Table, relation: Relation) -> str | None:
    """Return the key if it is a single integer column with an index, from which its range can be read; else None."""
    try:
        key = find_key(table, relation)
    except TaskError:
        return None
    if len(key) != 1 or has_no_indexes(relation):
        return None
    return key[0] if column_of(relation, key[0]).type.name in INTEGERS else None


def check_readable(relation: Relation, role: str | None = None) -> None:
    """Raise SourceError, with the statement to run, if the role can't read all rows of the table."""
    to = names.pg(role) if role else "the role"
    if not relation.reachable:
        raise SourceError(
            f"{label(relation)}: {role or 'the role'} may not use the schema; run "
            f"GRANT USAGE ON SCHEMA {names.pg(relation.schema)} TO {to}"
        )
    if not relation.readable:
        raise SourceError(
            f"{label(relation)}: {role or 'the role'} may not read the table; run "
            f"GRANT SELECT ON {quoted(relation)} TO {to}"
        )
    if relation.row_security:
        raise SourceError(
            f"{label(relation)}: row-level security would hide rows from {role or 'the role'}; run "
            f"ALTER ROLE {to} BYPASSRLS, or connect as a role that has it"
        )


def check_rows(table: Table, relation: Relation) -> None:
    """Raise SchemaError if it is not clear which rows belong to the table, or if only another session can read them."""
    if relation.schema.startswith("pg_temp"):
        raise SchemaError(
            f"{label(relation)} is a temporary table, which only its own session can read; leave it out"
        )
    if table.only and relation.kind not in "rf":
        raise SchemaError(
            f"{label(relation)}: only=True reads a table without those that inherit from it, and this is "
            f"{KINDS[relation.kind]}; leave only=True out"
        )
    if relation.children and not table.only:
        parent = call(declared_name(relation.schema, relation.name), only=True)
        tables = ", ".join([parent, *(call(child) for child in relation.children)])
        raise SchemaError(
            f"{label(relation)}: {listed(relation.children)} inherit from it, and one key can stand in several of "
            f"them; declare each as a table of its own: {tables}"
        )


def mirrored_columns(table: Table, relation: Relation) -> list[SourceColumn]:
    """Return the columns that are not left out. Raise SchemaError for declared names that the table does not have."""
    known = [column.name for column in relation.columns]
    declared = [
        *(("columns", name) for name in table.columns),
        *(("leave_out", name) for name in table.leave_out),
        *(("key", name) for name in table.key_columns or ()),
        *(("change_column", name) for name in (table.change_column,) if name is not None),
        *(("order_by", name) for name in table.order_columns or ()),
    ]
    for what, name in declared:
        if name not in known:
            raise SchemaError(
                f"{label(relation)} has no column {name!r}, which {what} names{did_you_mean(name, known)}"
            )
    if not known:
        raise SchemaError(f"{label(relation)} has no columns, so there is nothing to mirror; leave it out")
    columns = [column for column in relation.columns if column.name not in table.leave_out]
    if not columns:
        raise SchemaError(
            f"{label(relation)}: leave_out names all of its columns; leave the table out instead"
        )
    if reserved := [column.name for column in columns if column.name in RESERVED]:
        raise SchemaError(
            f"{label(relation)}: ClickHouse keeps the name {reserved[0]} for itself; rename the column, or leave it out: "
            f"leave_out={reserved}"
        )
    return columns


def find_order(
    table: Table, relation: Relation, key: tuple[str, ...], columns: Sequence[Column]
) -> tuple[str, ...]:
    """Return the declared columns to sort the warehouse's table by, empty if that is the key.

    Raises SchemaError unless they hold the key, and have a value and one place in each row.
    """
    order = table.order_columns or key
    if order == key:
        return ()
    if missing := [name for name in key if name not in order]:
        raise SchemaError(
            f"{label(relation)}: order_by lacks {listed(missing)} of the key ({listed(key)}), without which two rows could "
            f"become one; write order_by={(*order, *missing)!r}"
        )
    if misread := [name for name in order if names.is_misread(name)]:
        raise SchemaError(
            f"{label(relation)}: ClickHouse can't order a table by a column called {misread[0]}, which it takes for the "
            "operator; take it out of order_by"
        )
    found = {column.name: column for column in columns}
    if nullable := [name for name in order if not found[name].not_null or found[name].carrier.nullable]:
        known = relation.kind in "rp" and not any(found[name].not_null for name in nullable)
        changes = ", ".join(f"ALTER COLUMN {names.pg(name)} SET NOT NULL" for name in nullable)
        mend = f"run ALTER TABLE {quoted(relation)} {changes}" if known else "sort by other columns"
        raise SchemaError(
            f"{label(relation)}: {listed(nullable)} of order_by ({listed(order)}) can be NULL, and ClickHouse sorts by "
            f"columns that always have a value; {mend}, or leave order_by out"
        )
    if arrays := [name for name in order if found[name].warehouse_type.startswith("Array")]:
        raise SchemaError(
            f"{label(relation)}: {listed(arrays)} of order_by ({listed(order)}) is an array; sort by other columns"
        )
    return order


def carry(
    table: Table, relation: Relation, column: SourceColumn, *, in_key: bool, is_change: bool = False
) -> Column:
    """Return one column with its carrier. Raise SchemaError if the declared type can't hold the column's values."""
    # A key by declaration alone counts as NOT NULL too; a copy that reads a NULL there raises. The change column counts as
    # NOT NULL: no window finds a row with NULL there, and planning raises for one.
    not_null = column.not_null or in_key or is_change
    wanted = table.columns.get(column.name)
    try:
        carrier = types.carrier(column.type, not_null=not_null, key=in_key, wanted=wanted)
    except SchemaError as error:
        raise SchemaError(f"{label(relation)}.{column.name}: {error}") from None
    return Column(
        column.name, column.number, column.type, not_null, carrier, wanted, _is_late(column), column.meaning
    )


def _carried(
    table: Table,
    relation: Relation,
    columns: Sequence[SourceColumn],
    key: tuple[str, ...],
    change: str | None,
) -> tuple[Column, ...]:
    carried, refused = [], []
    for column in columns:
        try:
            carried.append(
                carry(table, relation, column, in_key=column.name in key, is_change=column.name == change)
            )
        except SchemaError as error:
            refused.append(str(error))
    if refused:
        raise SchemaError("; ".join(refused))
    _check_nested(relation, carried)
    return tuple(carried)


def _check_nested(relation: Relation, columns: Sequence[Column]) -> None:
    """Raise SchemaError for an array `a.b` beside an array `a.c` or a column `a`.

    ClickHouse takes arrays with such names for columns of one nested table `a`, in which all have the same length in a row.
    """
    taken = {column.name: column.name for column in columns}
    for column in columns:
        prefix, dot, _ = column.name.partition(".")
        if not dot or not column.warehouse_type.startswith("Array"):
            continue
        if (other := taken.setdefault(prefix, column.name)) != column.name:
            raise SchemaError(
                f"{label(relation)}: ClickHouse can't hold the array {column.name} beside {other}, because its name begins "
                f"with {prefix!r} and a dot; carry it as text: columns={{{column.name!r}: 'Nullable(String)'}}"
            )


def _is_late(column: SourceColumn) -> bool:
    """Return whether rows that are older than the column may have a value in it.

    `attmissingval` alone is not enough: for a default that is not constant, a sequence or a stored expression, PostgreSQL
    rewrites the table instead, and VACUUM FULL moves the value into the rows.
    """
    return (
        column.missing_value
        or column.not_null
        or column.default is not None
        or bool(column.generated)
        or bool(column.identity)
    )


def _partition_width(
    table: Table, relation: Relation, first: SourceColumn, parts: int, key_range: KeyRange | None
) -> int:
    values = INTEGERS.get(first.type.name) if parts == 1 else None
    if table.partition_width is not None:
        if table.partition_width and values is None:
            raise SchemaError(
                f"{label(relation)}: partition_width cuts a key that is one integer, and its key is not; leave "
                "partition_width out"
            )
        return table.partition_width
    if values is None or has_no_indexes(relation):
        return 0
    if key_range is not None:
        span = key_range.highest - key_range.lowest + 1
        width = PARTITION_ROWS
        # Take the power of ten that gives the nearest number of rows. A few missing keys must not lead to the next power.
        while 10 * (width * key_range.rows) ** 2 < (PARTITION_ROWS * span) ** 2:
            width *= 10
    elif first.identity or "nextval(" in (first.default or ""):
        width = PARTITION_ROWS
    else:
        return 0
    return 0 if width >= min(values, WIDEST_PARTITION) else width
