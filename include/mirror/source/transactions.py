"""Lists open transactions, and checks that this server and role can show all of them."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from include.mirror import names
from include.mirror.errors import SourceError
from include.mirror.plan import OpenTransactions, Prepared, Session
from include.mirror.source.position import EXPRESSIONS, Position
from include.mirror.source.session import APPLICATION_NAME, Connection, one
from include.mirror.spec import TableSpec

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Identity:
    """Which database of which cluster a source is. A standby that is promoted keeps both.

    `oid` is the database's oid, 0 if it was not noted. A database that was restored beside the old one and then renamed has
    another oid. `position` is the cluster's position in its log.
    """

    system: int
    database: str
    oid: int = 0
    position: Position = field(default=Position(), compare=False)

    @property
    def timeline(self) -> int:
        """The cluster's timeline. A promotion or a restore to a point in time starts a new one, which may give the same
        transaction ids again."""
        return self.position.timeline

    def __str__(self) -> str:
        return f"database {self.database} (oid {self.oid or 'not noted'}) of cluster {self.system}"

    def is_of(self, before: Identity) -> bool:
        """Return whether this is the source that was read `before`. Fields that were not noted of that one are ignored."""
        return (
            self.system == before.system
            and before.database in ("", self.database)
            and before.oid in (0, self.oid)
        )


def check_server(connection: Connection, *, sessions: bool) -> Identity:
    """Return the source's identity. Raise SourceError unless server and role can show what the guarantees need.

    A standby does not show its primary's transactions. A role without pg_read_all_stats sees NULLs instead of other
    sessions' data. In both cases, rows that are committed late would be lost silently. Only windows need to see `sessions`.
    """
    standby, sees_sessions, role, system, database, oid, *position = one(
        connection,
        "SELECT pg_is_in_recovery(), pg_has_role(current_user, 'pg_read_all_stats', 'usage'), current_user::text,"  # noqa: S608 - constants
        " (SELECT system_identifier FROM pg_control_system()), current_database()::text,"
        f" (SELECT oid::bigint FROM pg_database WHERE datname = current_database()), {EXPRESSIONS}",
    )
    if standby:
        raise SourceError(
            "the source is a standby, which does not show the primary's open transactions: read the primary"
        )
    if sessions and not sees_sessions:
        raise SourceError(
            f"role {role} can't see the transactions of other sessions: run "
            f"GRANT pg_read_all_stats TO {names.pg(role)} on the source"
        )
    return Identity(system, database, oid, Position(*position))


def position(connection: Connection) -> Position:
    """Return the source's position in its log now."""
    return Position(*one(connection, f"SELECT {EXPRESSIONS}"))


def warn_of_subscriptions(specs: Iterable[TableSpec]) -> None:
    """Log a warning for tables whose change column another server sets, because its open transactions don't show here."""
    if fed := [spec.label for spec in specs if spec.fed and spec.way == "window"]:
        log.warning(
            "fed by a subscription: %s. Their change columns were set on another server, so rows that commit late are "
            "found only by reconciliation; way='scan' in the declaration finds them here",
            ", ".join(fed),
        )


_SESSIONS = b"""
    FROM pg_stat_activity
    WHERE datid = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND pid <> pg_backend_pid()
      AND backend_type NOT IN ('autovacuum worker', 'parallel worker', 'walsender')
      AND NOT (application_name = $1 AND usename = current_user)
      AND (state IS DISTINCT FROM 'idle' OR xact_start IS NOT NULL)
"""


def oldest_begin(connection: Connection) -> datetime | None:
    """Return when the oldest open transaction of this database began, at most now.

    None if a transaction is prepared, because PostgreSQL does not show when it began.
    """
    row = connection.execute(
        b"SELECT least(clock_timestamp(), (SELECT min(coalesce(xact_start, query_start))" + _SESSIONS + b"))"
        b" WHERE NOT EXISTS (SELECT FROM pg_prepared_xacts WHERE database = current_database())",
        (APPLICATION_NAME,),
    ).fetchone()
    return row[0] if row else None


def open_transactions(connection: Connection) -> OpenTransactions:
    """Return every transaction of this database that may still commit rows.

    Sessions are read before prepared transactions, each in its own transaction. The other order would miss a transaction
    that is prepared in between.
    """
    sessions = connection.execute(
        b"SELECT pid, backend_start, coalesce(xact_start, query_start), state, usename::text, application_name"
        + _SESSIONS,
        (APPLICATION_NAME,),
    ).fetchall()
    prepared = connection.execute(
        b"SELECT transaction::text::bigint, gid FROM pg_prepared_xacts WHERE database = current_database()"
    ).fetchall()
    found = set()
    for pid, connected_at, start, state, user, application in sessions:
        if state == "disabled":
            raise SourceError(
                f"session {pid} of user {user} ({application or 'no application name'}) hides its transactions: "
                "track_activities is off there; turn it on (it is by default)"
            )
        # Without a start, there is neither a transaction nor a statement: it is a background worker that is idle.
        if start is not None:
            found.add(Session(pid, connected_at, start))
    return OpenTransactions(frozenset(found), frozenset(Prepared(xid, gid) for xid, gid in prepared))
