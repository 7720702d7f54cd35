"""Deleting from a log of deleted keys what every mirror that reads it has read.

A row may go once a snapshot of long ago has seen it: one that a mirror has read the log in, and whose lowest running
transaction came after the row's. Every later snapshot sees it too. So a mirror that has read the log since then has read
the row, and one that has not compares all keys (`delete_log.TRUSTED` is shorter than `KEPT`). Nobody has to know how many
mirrors there are. What is deleted twice, or not at all, does no harm: a key is looked up in its table each time.
"""

from __future__ import annotations

import logging

import psycopg

from include.mirror import names
from include.mirror.plan import Logged
from include.mirror.source import changes
from include.mirror.source.session import Connection, one, run
from include.mirror.source.snapshot import XID_WRAP_MARGIN
from include.mirror.spec import TableSpec

log = logging.getLogger(__name__)

AT_ONCE = 10_000
"""How many rows one transaction deletes."""


def prune(connection: Connection, spec: TableSpec, last: Logged) -> int:
    """Delete what transactions before those of `last` have written; return how many rows.

    What can't be deleted is told in the log, and stays.
    """
    place = names.pg(spec.of_log.schema, spec.of_log.relation)
    now, system = one(
        connection,
        "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint,"
        " (SELECT system_identifier FROM pg_control_system())",
    )
    if system != last.system or not 0 <= now - last.xmin <= XID_WRAP_MARGIN:
        return 0
    written = changes.since(last.xmin)
    deleted = 0
    try:
        run(connection, *changes.binding(written.values))
        while True:
            # The role of the mirror may read only, unless it says otherwise.
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
            "the log of deleted keys of %s grows, as nothing can be deleted from it: %s (GRANT DELETE ON %s TO %s)",
            spec.label,
            " ".join(str(error).split()),
            place,
            names.pg(connection.info.user),
        )
        return deleted
