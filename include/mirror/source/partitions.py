"""What only the rows themselves tell: of a partition that came with some, and of a table whose rows were written anew."""

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


def written_anew(
    connection: Connection, spec: TableSpec, since: int, behind: datetime | None, zone: ZoneInfo
) -> bool:
    """Return whether a table has rows, and transactions from the id `since` on have written all of them.

    With `behind`, one of them has to have a time before it. `zone` is that of times without zone.
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
