"""Reads the tables of a declaration from both servers' catalogs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import psycopg

from include.mirror.declaration import Mirror, Table, split_name
from include.mirror.names import ch_text, pg

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

Source = psycopg.Connection[Any]
"""A connection with placeholders such as `$1`, so that a `%` in a name needs no escape."""


@dataclass(frozen=True)
class SourceType:
    """A PostgreSQL column's type with its domains unwrapped.

    `printed` is what `format_type` prints. `name` is PostgreSQL's short name, such as `int4`; it is empty for a type outside
    of pg_catalog. `scale` is the scale of a numeric that has one. `element` is the type of an array's elements.
    """

    printed: str
    name: str
    scale: int | None = None
    element: SourceType | None = None


@dataclass(frozen=True)
class SourceTable:
    """A declared table in PostgreSQL.

    `name` is its name in the warehouse. `columns` are the mirrored columns; there are none if the table was not `found`.
    `left_out` are the other columns. `keys` are sets of columns that each identify a row, the best one first.
    """

    name: str
    schema: str
    relation: str
    only: bool
    found: bool
    columns: dict[str, SourceType]
    left_out: dict[str, SourceType]
    keys: tuple[tuple[str, ...], ...]

    @property
    def label(self) -> str:
        """Schema and name, for messages."""
        return f"{self.schema}.{self.relation}"

    @property
    def sql(self) -> str:
        """The table in a FROM clause."""
        return f"{'ONLY ' if self.only else ''}{pg(self.schema, self.relation)}"


def source_tables(source: Source, mirror: Mirror) -> list[SourceTable]:
    """Return the tables of a declaration in its order, and those of a schema in the order of their names."""
    wanted = {mirror.qualified(table): table for table in mirror.declared}
    if (schema := mirror.schema) is not None:
        left_out = {_qualified(name, schema.name) for name in schema.leave_out} - set(wanted)
        of_schema = {(schema.name, name): Table(name) for name in _tables_of(source, schema.name)}
        wanted = {name: table for name, table in {**of_schema, **wanted}.items() if name not in left_out}
    oids = _oids(source, list(wanted))
    columns, keys = _columns(source, list(oids.values())), _keys(source, list(oids.values()))
    tables = []
    for (in_schema, name), table in wanted.items():
        oid = oids.get((in_schema, name), 0)
        declared_key = [] if table.key_columns is None else [table.key_columns]
        tables.append(
            SourceTable(
                name=mirror.name_in_warehouse(in_schema, name, table.to),
                schema=in_schema,
                relation=name,
                only=table.only,
                found=oid != 0,
                columns={
                    column: kind for column, kind in columns[oid].items() if column not in table.leave_out
                },
                left_out={column: kind for column, kind in columns[oid].items() if column in table.leave_out},
                keys=(*declared_key, *keys[oid]),
            )
        )
    return tables


def warehouse_columns(warehouse: Client, database: str) -> dict[str, dict[str, str]]:
    """Return, for each view in `database`, its columns with their ClickHouse types."""
    rows = warehouse.query(
        f"SELECT table, name, type FROM system.columns WHERE database = {ch_text(database)} ORDER BY table, position"  # noqa: S608
    ).result_rows
    views: dict[str, dict[str, str]] = defaultdict(dict)
    for view, name, kind in rows:
        views[view][name] = kind
    return dict(views)


def _qualified(name: str, home: str) -> tuple[str, str]:
    schema, bare = split_name(name) or (None, name)
    return schema or home, bare


def _tables_of(source: Source, schema: str) -> list[str]:
    rows = source.execute(
        b"""
        SELECT c.relname::text
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = $1::text AND c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence <> 't'
        ORDER BY 1
        """,
        (schema,),
    ).fetchall()
    return [name for (name,) in rows]


def _oids(source: Source, names: Sequence[tuple[str, str]]) -> dict[tuple[str, str], int]:
    rows = source.execute(
        b"""
        SELECT n.nspname::text, c.relname::text, c.oid::bigint
        FROM unnest($1::text[], $2::text[]) AS wanted (schema, name)
        JOIN pg_namespace n ON n.nspname = wanted.schema
        JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = wanted.name
        WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')
        """,
        ([schema for schema, _ in names], [name for _, name in names]),
    ).fetchall()
    return {(schema, name): oid for schema, name, oid in rows}


def _columns(source: Source, oids: Sequence[int]) -> defaultdict[int, dict[str, SourceType]]:
    types = _Types(source)
    rows = source.execute(
        b"""
        SELECT attrelid::bigint, attname::text, atttypid::bigint, atttypmod, format_type(atttypid, atttypmod)
        FROM pg_attribute
        WHERE attrelid = ANY ($1::bigint[]::oid[]) AND attnum > 0 AND NOT attisdropped
        ORDER BY attrelid, attnum
        """,
        (list(oids),),
    ).fetchall()
    columns: defaultdict[int, dict[str, SourceType]] = defaultdict(dict)
    for relation, name, oid, modifier, printed in rows:
        columns[relation][name] = replace(types.resolve(oid, modifier), printed=printed)
    return columns


def _keys(source: Source, oids: Sequence[int]) -> defaultdict[int, list[tuple[str, ...]]]:
    rows = source.execute(
        b"""
        SELECT i.indrelid::bigint, array_agg(a.attname::text ORDER BY k.place)
        FROM pg_index i
        CROSS JOIN unnest(i.indkey) WITH ORDINALITY AS k (number, place)
        JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.number
        WHERE i.indrelid = ANY ($1::bigint[]::oid[]) AND i.indisunique AND i.indisvalid
          AND i.indpred IS NULL AND i.indexprs IS NULL AND k.place <= i.indnkeyatts
        GROUP BY i.indrelid, i.indexrelid, i.indisprimary
        HAVING bool_and(a.attnotnull)
        ORDER BY i.indrelid, i.indisprimary DESC, count(*), i.indexrelid
        """,
        (list(oids),),
    ).fetchall()
    keys: defaultdict[int, list[tuple[str, ...]]] = defaultdict(list)
    for relation, columns in rows:
        keys[relation].append(tuple(columns))
    return keys


class _Types:
    """All types of a database, with the base types of domains and the element types of arrays."""

    def __init__(self, source: Source) -> None:
        rows = source.execute(
            b"""
            SELECT
                t.oid::bigint,
                CASE n.nspname WHEN 'pg_catalog' THEN t.typname::text ELSE '' END,
                CASE t.typtype WHEN 'd' THEN t.typbasetype::bigint END,
                t.typtypmod,
                CASE WHEN t.typcategory = 'A' AND t.typlen = -1 AND t.typtype <> 'd' THEN t.typelem::bigint END,
                format_type(t.oid, NULL)
            FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
            """
        ).fetchall()
        self._rows = {oid: rest for oid, *rest in rows}

    def resolve(self, oid: int, modifier: int) -> SourceType:
        """Return the type with this oid and modifier. A domain's modifier is used if the column has none."""
        name, base, own_modifier, element, printed = self._rows[oid]
        if base is not None:
            return self.resolve(base, own_modifier if modifier == -1 else modifier)
        return SourceType(
            printed=printed,
            name=name,
            scale=_scale(modifier) if name == "numeric" else None,
            element=None if element is None else self.resolve(element, modifier),
        )


def _scale(modifier: int) -> int | None:
    """Return the scale of a numeric from its modifier. It has 11 bits, and a sign since PostgreSQL 15."""
    return None if modifier == -1 else (((modifier - 4) & 0x7FF) ^ 0x400) - 0x400
