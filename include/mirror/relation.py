"""What PostgreSQL's catalog says of a table, as values: read by `catalog`, understood by `spec`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from include.mirror.meaning import NOTHING, Meaning


class KeyRange(NamedTuple):
    """The lowest and highest value of an integer key, and about how many rows lie between."""

    lowest: int
    highest: int
    rows: int


@dataclass(frozen=True)
class SourceType:
    """A column's type with its domains unwrapped.

    `declared` is what `format_type` prints of the column: `numeric(10,2)`, `moeda`, `text[]`. `name` and `schema` are
    those in `pg_type` of the type behind the domains (`numeric`, `_text`), `modifier` is its type modifier (the
    domain's own where the column has none), `kind` its `typtype`: b base, e enum, c composite, r range, m multirange.
    `element` is the type of an array's elements, `labels` an enum's values in order.
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
    """One column. `number` is its attribute number, which stays the same when it is renamed.

    `default` is the default's SQL text; `generated` is `s` (stored) or `v` (virtual), else empty; `identity` is `a`
    (always) or `d` (by default), else empty. `missing_value` is True where `attmissingval` gives rows that are
    older than the column a value. `meaning` is what else decides how stored values print.
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
    """One valid index; `columns` are its key columns in order, None for an expression, without INCLUDE columns."""

    name: str
    columns: tuple[str | None, ...]
    unique: bool
    primary: bool
    partial: bool
    method: str = "btree"


@dataclass(frozen=True)
class Trigger:
    """One enabled trigger; `columns` are those of `UPDATE OF`, `conditional` is whether it has a WHEN.

    `function` is its function's name, `body` the function's source, `arguments` what the trigger hands to it.
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
    """The table of the schema `mirror` that triggers write deleted keys to.

    `identity` changes with whatever somebody changes of it. `triggers` are the enabled ones that fire whoever writes, each
    with the oid of the table that it is on; `columns` are names and types.
    """

    name: str
    identity: str
    triggers: frozenset[tuple[int, str]]
    columns: tuple[tuple[str, str], ...]
    readable: bool = True


@dataclass(frozen=True)
class Relation:
    """One table, view or foreign table.

    `kind` is its `relkind`: r ordinary, p partitioned, v view, m materialized view, f foreign. `rows` and `pages` are
    the planner's estimates, those of all partitions together; `rows` is None where nothing was ever counted.
    `partitions` are the oids of its partitions at any depth, `foreign_partitions` is whether one of them is foreign;
    `children` are the tables that inherit from it and are no partitions. `readable` is whether the role may SELECT
    all of its columns, `row_security` whether policies would hide rows from the role. `fed` is whether a subscription
    writes it. `reachable` is whether the role has USAGE on its schema. `files` names the files that it is in, or stands for
    those of its partitions, empty where there are none; `xmin` is the lowest transaction id that ran when this was read.
    `delete_log` is where triggers write deleted keys to, None where none do.
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
