"""Prunes delete logs: deletes the rows that every mirror has read.

A row is deleted once a snapshot that is older than `delete_log.KEPT` has seen it: a mirror has read the log in it, and its
lowest running transaction id is higher than the row's. Every later snapshot sees the row too. So a mirror that has read the
log since then has read the row. A mirror that has not compares all keys, because `delete_log.TRUSTED` is shorter than
`KEPT`. So the number of mirrors doesn't matter. Reading a row twice does no harm either: each time, its key is looked up in
the table.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

import psycopg

from include.mirror import names
from include.mirror.plan import Logged
from include.mirror.source import changes
from include.mirror.source.session import Connection, run
from include.mirror.source.snapshot import XID_WRAP_MARGIN
from include.mirror.spec import TableSpec

log = logging.getLogger(__name__)

AT_ONCE = 10_000
"""How many rows one transaction deletes at most."""


def prune(connection: Connection, logs: Sequence[tuple[TableSpec, Logged]]) -> int:
    """Delete of each table's log what transactions before those of its old reading have written; return how many rows.

    If the role may not delete them or the log is locked, they stay, and a warning is logged.
    """
    parameters, asked = changes.Parameters(), []
    for number, (spec, last) in enumerate(logs):
        written = changes.since(last.xmin, refer=parameters)
        asked.append(
            f"SELECT {number} WHERE EXISTS (SELECT FROM {_place(spec)} WHERE NOT {written.condition})"  # noqa: S608
            f" AND (SELECT system_identifier FROM pg_control_system()) = {int(last.system)} AND"
            f" pg_snapshot_xmax(pg_current_snapshot())::text::bigint - {int(last.xmin)} BETWEEN 0 AND {XID_WRAP_MARGIN}"
        )
    if not asked:
        return 0
    try:
        found = run(connection, " UNION ALL ".join(asked), parameters.values).fetchall()
    except (
        psycopg.errors.InsufficientPrivilege,
        psycopg.errors.LockNotAvailable,
        psycopg.errors.UndefinedTable,
    ) as error:
        log.warning("no log of deleted keys is pruned in this run: %s", " ".join(str(error).split()))
        return 0
    return sum(_prune(connection, *logs[number]) for (number,) in found)


def _place(spec: TableSpec) -> str:
    return names.pg(spec.of_log.schema, spec.of_log.relation)


def _prune(connection: Connection, spec: TableSpec, last: Logged) -> int:
    place, written = _place(spec), changes.since(last.xmin)
    deleted = 0
    try:
        run(connection, *changes.binding(written.values))
        while True:
            # The role's transactions may be read-only by default.
            with connection.transaction():
                run(connection, "SET TRANSACTION READ WRITE")
                run(connection, "SET LOCAL lock_timeout = '1s'")
                rows = run(
                    connection,
                    f"DELETE FROM {place} WHERE ctid = ANY (ARRAY(SELECT ctid FROM {place}"  # noqa: S608
                    f" WHERE NOT {written.condition} LIMIT {AT_ONCE}))",
                ).rowcount
            deleted += rows
            if rows < AT_ONCE:
                return deleted
    except (psycopg.errors.InsufficientPrivilege, psycopg.errors.LockNotAvailable) as error:
        log.warning(
            "the log of deleted keys of %s grows, because nothing can be deleted from it: %s (GRANT DELETE ON %s TO %s)",
            spec.label,
            " ".join(str(error).split()),
            place,
            names.pg(connection.info.user),
        )
        return deleted
