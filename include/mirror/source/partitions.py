"""Looks for old rows that no read would find: in partitions that were attached with rows, and in rewritten tables."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from zoneinfo import ZoneInfo

from include.mirror import names
from include.mirror.source import changes
from include.mirror.source.session import Connection, run
from include.mirror.spec import TableSpec
from include.mirror.templates import render
from include.mirror.window import MICROSECOND


def attached_with_rows(connection: Connection, partitions: Iterable[int]) -> list[str]:
    """Return the names of the partitions, given by oid, with rows that are older than the ATTACH PARTITION.

    Such rows have times that are covered already, and were written before the last snapshot. Rows that a partition has got
    since are found like any others.
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


def written_anew(
    connection: Connection, spec: TableSpec, since: int, behind: datetime | None, zone: ZoneInfo
) -> bool:
    """Return whether a table has rows, and all of them were written by transactions from the id `since` on.

    With `behind`, at least one of them must have a time before it. `zone` is the zone of times without zone.
    """
    written = changes.since(since)
    run(connection, *changes.binding(written.values))
    relation = f"ONLY {spec.source_name}" if spec.only else spec.source_name
    rows, older = (
        run(connection, f"SELECT 1 FROM {relation} WHERE {condition} LIMIT 1").fetchone()  # noqa: S608
        for condition in ("TRUE", f"NOT ({written.condition})")
    )
    if rows is None or older is not None or behind is None:
        return rows is not None and older is None
    until = changes.wall_range(spec, behind - MICROSECOND, behind, zone)[1]
    early = f"{names.pg(spec.change_column or '')} < $1::{'timestamptz' if spec.zoned else 'timestamp'}"
    found = run(connection, f"SELECT 1 FROM {relation} WHERE {early} LIMIT 1", (until.isoformat(),))  # noqa: S608
    return found.fetchone() is not None
