"""Partitions that came with rows in them."""

from __future__ import annotations

from collections.abc import Iterable

from include.mirror import names
from include.mirror.source.session import Connection, run
from include.mirror.templates import render


def attached_with_rows(connection: Connection, partitions: Iterable[int]) -> list[str]:
    """Return the names of those partitions, by oid, that hold rows which are older than their being partitions.

    Such rows lie in time that is covered already, and their transactions before the last snapshot. Rows that a partition
    got since are found like any others.
    """
    leaves = run(
        connection,
        "SELECT n.nspname::text, c.relname::text, c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE c.oid = ANY($1::oid[]) AND c.relkind = 'r'",
        (list(partitions),),
    ).fetchall()
    return [
        f"{schema}.{name}"
        for schema, name, oid in leaves
        if run(connection, render("find_older_row", partition=names.pg(schema, name)), (oid,)).fetchone()
    ]
