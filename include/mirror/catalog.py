"""Reads PostgreSQL's catalog: everything about the tables of a mirror, in one statement for all tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.rows import tuple_row

from include.mirror import meaning, names
from include.mirror.relation import DeleteLog, Index, KeyRange, Relation, SourceColumn, SourceType, Trigger
from include.mirror.templates import render

# Bits of pg_trigger.tgtype.
ROW, BEFORE, INSERT, UPDATE = 1, 2, 4, 16


@dataclass(frozen=True)
class Server:
    """The source's server. `version` is the major version, `block` the page size in bytes.

    `sees_sessions` is True if the role may see the transactions of other sessions.
    """

    version: int
    role: str
    standby: bool
    sees_sessions: bool
    block: int


def read(
    connection: psycopg.Connection[Any], wanted: Sequence[tuple[str, str]] | None, schema: str | None = None
) -> dict[tuple[str, str], Relation]:
    """Return the tables `wanted`, given as (schema, name), and all tables of `schema`, by (schema, name).

    All tables of a schema are its ordinary and partitioned tables, without partitions and temporary tables. Views and
    foreign tables are returned only if `wanted` names them. A name that does not exist is absent from the result. The role
    needs no privilege on a table for this.
    """
    schemas, tables = [name for name, _ in wanted or ()], [name for _, name in wanted or ()]
    document = _one(connection, render("read_catalog"), (schemas, tables, schema))
    types = document["types"] or {}
    relations = (_relation(found, types) for found in document["relations"] or ())
    return {(relation.schema, relation.name): relation for relation in relations}


def key_ranges(
    connection: psycopg.Connection[Any], keys: Iterable[tuple[Relation, str]]
) -> dict[tuple[str, str], KeyRange]:
    """Return the range of each table's integer key, by (schema, name). Empty and unreadable tables are left out.

    `keys` are tables, each with the single column of its key. All ranges are read in one statement, from both ends of the
    key's index. If the planner has no estimate of the rows, it is computed from the distance of the first and last keys.
    """
    readable = [
        (relation, key)
        for relation, key in keys
        if relation.reachable and relation.readable and not relation.row_security
    ]
    if not readable:
        return {}
    query = render(
        "read_key_ranges",
        tables=[
            {
                "key": names.pg(key),
                # ONLY: the index doesn't cover the rows of inheriting tables.
                "relation": ("ONLY " if relation.kind == "r" else "")
                + names.pg(relation.schema, relation.name),
                "counted": bool(relation.rows),
            }
            for relation, key in readable
        ],
    )
    found = {}
    for number, lowest, highest, rows in _execute(connection, query):
        if lowest is not None:
            relation, _ = readable[number]
            found[relation.schema, relation.name] = KeyRange(lowest, highest, rows or relation.rows or 1)
    return found


def relation_names(connection: psycopg.Connection[Any]) -> list[tuple[str, str, str]]:
    """Return (schema, name, relkind) of every relation in the database that could be mirrored, without partitions."""
    return [
        (schema, name, kind) for schema, name, kind in _execute(connection, render("read_relation_names"))
    ]


def server(connection: psycopg.Connection[Any]) -> Server:
    """Return the server's and the role's properties."""
    ((version, role, standby, sees_sessions, block),) = _execute(connection, render("read_server"))
    return Server(version, role, standby, sees_sessions, block)


def declared_name(schema: str, name: str) -> str:
    """Return `schema.name` as a declaration writes it. A part with a dot or a quote is quoted."""
    return ".".join(names.pg(part) if set(part) & set('."') else part for part in (schema, name))


def _execute(
    connection: psycopg.Connection[Any], query: str, values: Sequence[object] = ()
) -> list[tuple[Any, ...]]:
    # Its own cursor, because the caller's connection may have another row factory or placeholder style. Not prepared:
    # the query runs once, and some poolers refuse prepared statements.
    with psycopg.RawCursor(connection, row_factory=tuple_row) as cursor:
        return cursor.execute(query.encode(), values, prepare=False).fetchall()


def _one(connection: psycopg.Connection[Any], query: str, values: Sequence[object]) -> Any:
    ((document,),) = _execute(connection, query, values)
    return document


def _relation(found: Mapping[str, Any], types: Mapping[str, Any]) -> Relation:
    return Relation(
        oid=found["oid"],
        schema=found["schema"],
        name=found["name"],
        kind=found["kind"],
        columns=tuple(_column(column, types) for column in found["columns"] or ()),
        indexes=tuple(
            Index(
                name=index["name"],
                columns=tuple(index["columns"]),
                unique=index["unique"],
                primary=index["primary"],
                partial=index["partial"],
                method=index["method"],
            )
            for index in found["indexes"] or ()
        ),
        triggers=tuple(_trigger(trigger) for trigger in found["triggers"] or ()),
        rows=None if found["rows"] is None else int(found["rows"]),
        pages=int(found["pages"]),
        partitions=tuple(found["partitions"] or ()),
        foreign_partitions=found["foreign_partitions"],
        children=tuple(declared_name(*child) for child in found["children"] or ()),
        is_partition=found["is_partition"],
        readable=found["readable"],
        reachable=found["reachable"],
        row_security=found["row_security"],
        fed=found["fed"],
        files=found["files"] or "",
        xmin=found["xmin"],
        delete_log=_delete_log(found["delete_log"]),
    )


def _delete_log(found: Mapping[str, Any] | None) -> DeleteLog | None:
    if found is None:
        return None
    return DeleteLog(
        name=found["name"],
        identity=found["identity"],
        triggers=frozenset((oid, name) for oid, name, enabled in found["triggers"] if enabled == "A"),
        columns=tuple((name, declared) for name, declared in found["columns"] or ()),
        readable=found["readable"],
    )


def _column(found: Mapping[str, Any], types: Mapping[str, Any]) -> SourceColumn:
    return SourceColumn(
        name=found["name"],
        number=found["number"],
        type=_type(found["type"], found["modifier"], found["declared"], types),
        not_null=found["not_null"],
        default=found["default"],
        generated=found["generated"],
        identity=found["identity"],
        missing_value=found["missing_value"],
        meaning=meaning.of_column(found["type"], found["expression"], types),
    )


def _type(oid: int, modifier: int, declared: str | None, types: Mapping[str, Any]) -> SourceType:
    """Return the base type of `oid`, through any domains. A domain's modifier counts if the column gives none."""
    found = types[str(oid)]
    declared = declared or found["declared"]
    while found["kind"] == "d":
        modifier = found["modifier"] if modifier == -1 else modifier
        found = types[str(found["base"])]
    return SourceType(
        declared=declared,
        name=found["name"],
        schema=found["schema"],
        modifier=modifier,
        kind=found["kind"],
        # An array's modifier belongs to its elements: numeric(10,2)[].
        element=None if found["element"] is None else _type(found["element"], modifier, None, types),
        labels=tuple(label for _, label in found["labels"] or ()),
    )


def _trigger(found: Mapping[str, Any]) -> Trigger:
    bits = found["type"]
    return Trigger(
        name=found["name"],
        before=bool(bits & BEFORE),
        row=bool(bits & ROW),
        insert=bool(bits & INSERT),
        update=bool(bits & UPDATE),
        conditional=found["conditional"],
        columns=tuple(found["columns"] or ()),
        function=found["function"],
        body=found["body"],
        # Each argument ends with a zero byte.
        arguments=tuple(
            part.decode("utf-8", "replace") for part in bytes.fromhex(found["arguments"]).split(b"\0")[:-1]
        ),
    )
