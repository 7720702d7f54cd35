"""One table with everything resolved: what was declared, held against what PostgreSQL's catalog says.

`resolve` refuses what could lose, double or alter a row, each time with the statement or the declaration that mends it.
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
"""Names of columns that no table of ClickHouse's MergeTree family can have."""

INTEGERS = {"int2": 1 << 16, "int4": 1 << 32, "int8": 1 << 64}
"""PostgreSQL's integer types, each with how many values it has."""

PARTITION_ROWS = 10_000_000
"""About how many rows share a partition of the warehouse; also the narrowest one, in keys."""

WIDEST_PARTITION = 10**18
"""A wider partition than this is as good as a single one, and near the end of 64 bits."""


@dataclass(frozen=True)
class Column:
    """One mirrored column. `number` is its attribute number, which stays when it is renamed.

    `declared_type` is the ClickHouse type that the declaration gives it, None where it gives none; `late` is whether
    rows that are older than the column have a value in it all the same. `meaning` is what else decides how stored values
    print.
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
        """Its ClickHouse type, as `system.columns` prints it."""
        return self.carrier.warehouse_type


@dataclass(frozen=True)
class TableSpec:
    """One mirrored table.

    `name` is what the warehouse and the ledger call it, `schema` and `relation` are its name in PostgreSQL. `only` reads
    it without those that inherit from it. `columns` stand in the source's order. `way` is how changes are found, and
    `reason` why that way, in one sentence. `change_column` is what windows select by, `precision` its smallest step,
    `zoned` whether it is a `timestamptz`, `indexed` whether an index finds a window. `partition_width` is how many
    values of the key share a partition, 0 for a single one. `fed` is whether a subscription writes it;
    `attributes` is the highest attribute number of its columns, `rows` about how many it has, None where nobody knows.
    `partitions` are the oids of its partitions. `files` stands for the files of a table with windows as they were when
    `since` was the lowest transaction id that ran: others may hold rows that an ALTER TABLE has written. `detached` are the
    oids of partitions that are gone, whose rows may still be in the warehouse. `deletes` is what the declaration says of
    deleted rows, None for nothing. `log` is where triggers write deleted keys to, None where none can be relied on; then
    `log_unused` says why one that is there can't.
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

    @cached_property
    def key_columns(self) -> tuple[Column, ...]:
        """The columns of the key, in its order."""
        found = {column.name: column for column in self.columns}
        return tuple(found[name] for name in self.key)

    @cached_property
    def key_places(self) -> tuple[int, ...]:
        """Where the columns of the key stand among `columns`."""
        places = [column.name for column in self.columns]
        return tuple(places.index(name) for name in self.key)

    @cached_property
    def change_number(self) -> int:
        """The attribute number of the change column, 0 where there is none."""
        return next((column.number for column in self.columns if column.name == self.change_column), 0)

    @cached_property
    def integer_key(self) -> str | None:
        """The key where it is one smallint, integer or bigint column."""
        return self.key[0] if len(self.key) == 1 and self.key_columns[0].source.name in INTEGERS else None

    @property
    def of_keys(self) -> TableSpec:
        """The same table with no columns but those of its key."""
        return replace(self, columns=self.key_columns)

    @property
    def of_log(self) -> TableSpec:
        """The log of deleted keys as a table: the key's columns, in the schema of the logs."""
        name = self.log.name if self.log else ""
        return replace(self.of_keys, schema=LOGS, relation=name, only=False, partition_width=0)

    @property
    def source_name(self) -> str:
        """Its name in PostgreSQL, quoted."""
        return names.pg(self.schema, self.relation)

    @property
    def label(self) -> str:
        """Its name in PostgreSQL, for messages."""
        return f"{self.schema}.{self.relation}"


def resolve(
    table: Table,
    relation: Relation,
    name: str,
    key_range: KeyRange | None = None,
    *,
    role: str | None = None,
) -> TableSpec:
    """Return what `table` means for `relation`, which `name` stands for in the warehouse.

    `key_range` is what values an integer key has, where the width of partitions shall follow from it.
    `role` is who reads, for the text of a GRANT. Raises SourceError where a right is missing, and SchemaError for
    anything else that can't be mirrored as declared.
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
    return TableSpec(
        name=name,
        schema=relation.schema,
        relation=relation.name,
        kind=relation.kind,
        oid=relation.oid,
        only=table.only,
        columns=_carried(table, relation, columns, key, way.change_column),
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
        # A scan finds what was written anew, whoever did it.
        files=relation.files if way.way == "window" else "",
        since=relation.xmin,
        deletes=table.deletes,
        log=log,
        log_unused=log_unused,
    )


def integer_key(table: Table, relation: Relation) -> str | None:
    """Return the key where it is one integer column whose range an index knows; None for any other, or for none."""
    try:
        key = find_key(table, relation)
    except TaskError:
        return None
    if len(key) != 1 or has_no_indexes(relation):
        return None
    return key[0] if column_of(relation, key[0]).type.name in INTEGERS else None


def check_readable(relation: Relation, role: str | None = None) -> None:
    """Raise SourceError, with the GRANT, when the role can't read the table, or not all of its rows."""
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
    """Raise SchemaError when it is not clear which rows are the table's."""
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
    """Return the columns that are not left out; raise SchemaError for names that the table does not have."""
    known = [column.name for column in relation.columns]
    declared = [
        *(("columns", name) for name in table.columns),
        *(("leave_out", name) for name in table.leave_out),
        *(("key", name) for name in table.key_columns or ()),
        *(("change_column", name) for name in (table.change_column,) if name is not None),
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


def carry(
    table: Table, relation: Relation, column: SourceColumn, *, in_key: bool, is_change: bool = False
) -> Column:
    """Return one column as it travels; raise SchemaError where the type that is declared for it can't hold it."""
    # What is a key by declaration alone is never NULL by declaration too; the copy that reads one raises. A window
    # never finds a row whose change column is NULL: planning raises for one.
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
    """Raise SchemaError for an array `a.b` beside an array `a.c` or a column `a`: ClickHouse takes it for part of a table
    `a`, all of whose columns have as many elements in a row."""
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
    """Whether rows that are older than the column may have a value in it.

    `attmissingval` alone does not tell: a default that is no constant, a sequence or a stored expression has PostgreSQL
    rewrite the table instead, and VACUUM FULL moves the value into the rows.
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
        # The power of ten that is nearest to that many rows: few keys that are gone must not make it the next one.
        while 10 * (width * key_range.rows) ** 2 < (PARTITION_ROWS * span) ** 2:
            width *= 10
    elif first.identity or "nextval(" in (first.default or ""):
        width = PARTITION_ROWS
    else:
        return 0
    return 0 if width >= min(values, WIDEST_PARTITION) else width
