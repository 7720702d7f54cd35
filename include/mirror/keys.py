"""Finds a table's key: the columns that identify a row."""

from __future__ import annotations

from collections.abc import Sequence

from include.mirror import names
from include.mirror.catalog import declared_name
from include.mirror.declaration import Table
from include.mirror.errors import SchemaError
from include.mirror.phrases import KINDS, call, column_of, label, listed, quoted, quoted_columns
from include.mirror.relation import Index, Relation


def find_key(table: Table, relation: Relation) -> tuple[str, ...]:
    """Return the columns that identify a row. Raise SchemaError, with a statement that adds a key, if there are none."""
    if table.key_columns is not None:
        return _declared_key(table.key_columns, relation)
    usable = [index for index in relation.indexes if _is_key(index, relation)]
    usable.sort(key=lambda index: (not index.primary, len(index.columns), index.name))
    whole = [index for index in usable if not set(index.columns) & set(table.leave_out)]
    if whole:
        return tuple(column for column in whole[0].columns if column is not None)
    if usable:
        raise SchemaError(
            f"{label(relation)}: leave_out names {listed(_left_out(usable[0], table))} of its key "
            f"({listed(usable[0].columns)}); mirror the whole key, or add another one: "
            f"CREATE UNIQUE INDEX ON {quoted(relation)} (…), on columns that are NOT NULL"
        )
    raise SchemaError(_no_key(relation))


def has_no_indexes(relation: Relation) -> bool:
    """Return whether PostgreSQL can have no unique index that guarantees a key of the relation."""
    return relation.kind not in "rp" or relation.foreign_partitions


def _declared_key(key: tuple[str, ...], relation: Relation) -> tuple[str, ...]:
    columns = [column_of(relation, name) for name in key]
    if len(set(key)) < len(key):
        raise SchemaError(f"{label(relation)}: key names a column twice: {listed(key)}; name each once")
    if has_no_indexes(relation):
        # Not checked here: each copy counts the distinct keys and raises if one is there twice.
        return key
    if nullable := [column.name for column in columns if not column.not_null]:
        raise SchemaError(
            f"{label(relation)}: {listed(nullable)} of key ({listed(key)}) can be NULL, and NULLs can't be told "
            f"apart; run {_set_not_null(relation, nullable)}"
        )
    if not any(_is_key(index, relation) and set(index.columns) == set(key) for index in relation.indexes):
        unique = [index.columns for index in relation.indexes if _is_key(index, relation)]
        others = f"; there is one on ({'), ('.join(listed(columns) for columns in unique)})" if unique else ""
        raise SchemaError(
            f"{label(relation)}: no unique index is on exactly key ({listed(key)}), so two rows could share one and "
            f"become one{others}; run CREATE UNIQUE INDEX ON {quoted(relation)} ({quoted_columns(key)})"
        )
    return key


def _is_key(index: Index, relation: Relation) -> bool:
    """Return whether an index identifies rows: it is unique, covers all rows, and its columns are never NULL."""
    if not index.unique or index.partial or not index.columns:
        return False
    not_null = {column.name for column in relation.columns if column.not_null}
    return all(column in not_null for column in index.columns)


def _no_key(relation: Relation) -> str:
    if has_no_indexes(relation):
        unique = [index for index in relation.indexes if index.unique and not index.partial]
        columns: Sequence[str | None] = next(
            (index.columns for index in unique if None not in index.columns), ()
        )
        example = call(
            declared_name(relation.schema, relation.name),
            key=[name for name in columns if name is not None] or ["…"],
        )
        return (
            f"{label(relation)} is {KINDS[relation.kind]}{' with foreign partitions' * relation.foreign_partitions}, "
            f"whose key PostgreSQL does not know; name the columns that tell its rows apart: {example}"
        )
    nullable = [
        index
        for index in relation.indexes
        if index.unique and not index.partial and None not in index.columns and index.columns
    ]
    if nullable:
        best = min(nullable, key=lambda index: (len(index.columns), index.name))
        not_null = {column.name for column in relation.columns if column.not_null}
        columns = [name for name in best.columns if name is not None and name not in not_null]
        return (
            f"{label(relation)} has no key: {listed(columns)} of its unique index {best.name} can be NULL; run "
            f"{_set_not_null(relation, [name for name in columns if name is not None])}"
        )
    candidates = [column.name for column in relation.columns if column.not_null and not column.generated]
    guess = next(
        (name for name in candidates if name.casefold() in ("id", f"{relation.name}_id".casefold())), None
    )
    if guess is not None:
        return (
            f"{label(relation)} has no key, neither a primary key nor a unique index on columns that are NOT NULL; run "
            f"ALTER TABLE {quoted(relation)} ADD PRIMARY KEY ({names.pg(guess)})"
        )
    new = "id" if all(column.name != "id" for column in relation.columns) else f"{relation.name}_id"
    return (
        f"{label(relation)} has no key, neither a primary key nor a unique index on columns that are NOT NULL; run "
        f"ALTER TABLE {quoted(relation)} ADD PRIMARY KEY (…) with the columns that tell its rows apart, or give it "
        f"one: ALTER TABLE {quoted(relation)} ADD COLUMN {names.pg(new)} bigint GENERATED ALWAYS AS IDENTITY "
        "PRIMARY KEY"
    )


def _left_out(index: Index, table: Table) -> list[str]:
    return [column for column in index.columns if column is not None and column in table.leave_out]


def _set_not_null(relation: Relation, columns: Sequence[str]) -> str:
    changes = ", ".join(f"ALTER COLUMN {names.pg(column)} SET NOT NULL" for column in columns)
    return f"ALTER TABLE {quoted(relation)} {changes}"
