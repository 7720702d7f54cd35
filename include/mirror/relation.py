"""Tables as PostgreSQL's catalog describes them. `catalog` reads these values; `spec` decides how to mirror them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from include.mirror.meaning import NOTHING, Meaning


class KeyRange(NamedTuple):
    """The lowest and highest value of an integer key, and about how many rows the table has."""

    lowest: int
    highest: int
    rows: int


@dataclass(frozen=True)
class SourceType:
    """A column's type with its domains unwrapped.

    `declared` is what `format_type` prints: `numeric(10,2)`, `moeda`, `text[]`. The other fields describe the base type:
    `name` and `schema` are from `pg_type` (`numeric`, `_text`). `modifier` is the type modifier, the domain's if the column
    has none. `kind` is `typtype`: b base, e enum, c composite, r range, m multirange. `element` is the type of an array's
    elements. `labels` are an enum's values in order.
    """

    declared: str
    name: str
    schema: str = "pg_catalog"
    modifier: int = -1
    kind: str = "b"
    element: SourceType | None = None
    labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class SourceColumn:
    """One column. `number` is its attribute number; renaming the column does not change it.

    `default` is the default's SQL text. `generated` is `s` (stored) or `v` (virtual), else empty. `identity` is `a` (always)
    or `d` (by default), else empty. `missing_value` is True if `attmissingval` gives a value to rows that are older than the
    column. `meaning` is what decides, besides the type, how stored values print.
    """

    name: str
    number: int
    type: SourceType
    not_null: bool
    default: str | None = None
    generated: str = ""
    identity: str = ""
    missing_value: bool = False
    meaning: Meaning = NOTHING


@dataclass(frozen=True)
class Index:
    """One valid index. `columns` are its key columns in order, without INCLUDE columns; None stands for an expression."""

    name: str
    columns: tuple[str | None, ...]
    unique: bool
    primary: bool
    partial: bool
    method: str = "btree"


@dataclass(frozen=True)
class Trigger:
    """One enabled trigger. `columns` are those of `UPDATE OF`. `conditional` is True if it has a WHEN.

    `function` is the name of its function, `body` the function's source, `arguments` the trigger's arguments to it.
    """

    name: str
    before: bool
    row: bool
    insert: bool
    update: bool
    conditional: bool
    columns: tuple[str, ...]
    function: str
    body: str
    arguments: tuple[str, ...] = ()


@dataclass(frozen=True)
class DeleteLog:
    """The table in the schema `mirror` to which triggers write a table's deleted keys.

    `identity` changes whenever somebody changes the log or its triggers. `triggers` are the triggers with ENABLE ALWAYS:
    (oid of their table, name). `columns` are (name, type).
    """

    name: str
    identity: str
    triggers: frozenset[tuple[int, str]]
    columns: tuple[tuple[str, str], ...]
    readable: bool = True


@dataclass(frozen=True)
class Relation:
    """One table, view or foreign table.

    - `kind`: its `relkind`: r ordinary, p partitioned, v view, m materialized view, f foreign.
    - `rows`, `pages`: the planner's estimates, for all partitions together. `rows` is None if they were never counted.
    - `partitions`: the oids of its partitions at any depth. `foreign_partitions`: True if one of them is foreign.
    - `children`: the tables that inherit from it and are not partitions.
    - `reachable`: True if the role has USAGE on its schema. `readable`: True if the role may SELECT all of its columns.
    - `row_security`: True if policies would hide rows from the role.
    - `fed`: True if a subscription writes to it.
    - `files`: identifies the table's files, or those of its partitions; empty if it has none.
    - `xmin`: the lowest transaction id that was running when the catalog was read.
    - `delete_log`: the log of its deleted keys, None if it has none.
    """

    oid: int
    schema: str
    name: str
    kind: str
    columns: tuple[SourceColumn, ...]
    indexes: tuple[Index, ...] = ()
    triggers: tuple[Trigger, ...] = ()
    rows: int | None = None
    pages: int = 0
    partitions: tuple[int, ...] = ()
    foreign_partitions: bool = False
    children: tuple[str, ...] = ()
    is_partition: bool = False
    readable: bool = True
    reachable: bool = True
    row_security: bool = False
    fed: bool = False
    files: str = ""
    xmin: int = 0
    delete_log: DeleteLog | None = None
