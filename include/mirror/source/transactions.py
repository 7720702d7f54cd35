"""Lists open transactions, and checks that this server and role can show all of them."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import psycopg

from include.mirror import names
from include.mirror.errors import SourceError
from include.mirror.plan import OpenTransactions, Prepared, Session
from include.mirror.source.position import EXPRESSIONS, Position
from include.mirror.source.session import APPLICATION_NAME, Connection, one, run
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

    def is_same(self, before: Identity) -> bool:
        """Return whether this is the source that was read `before`. Fields that were not noted of that one are ignored."""
        return (
            self.system == before.system
            and before.database in ("", self.database)
            and before.oid in (0, self.oid)
        )


IDENTITY = (
    "pg_is_in_recovery(), pg_has_role(current_user, 'pg_read_all_stats', 'usage'), current_user::text,"  # noqa: S608 - constants
    " (SELECT system_identifier FROM pg_control_system()), current_database()::text,"
    " (SELECT oid::bigint FROM pg_database WHERE datname = current_database()), " + EXPRESSIONS
)
"""The SQL expressions of the values that `identify` takes."""


def identify(found: Sequence[Any], *, sessions: bool) -> Identity:
    """Return the source's identity. Raise SourceError unless server and role can show what the guarantees need.

    A standby does not show its primary's transactions. A role without pg_read_all_stats sees NULLs instead of other
    sessions' data. In both cases, rows that are committed late would be lost silently. Only windows need to see `sessions`.
    """
    standby, sees_sessions, role, system, database, oid, *position = found
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


def check_server(connection: Connection, *, sessions: bool) -> Identity:
    """Ask which source this is; raise SourceError as `identify` does."""
    return identify(one(connection, f"SELECT {IDENTITY}"), sessions=sessions)


def warn_of_subscriptions(specs: Iterable[TableSpec]) -> None:
    """Log a warning for tables whose change column another server sets, because its open transactions don't show here."""
    if fed := [spec.label for spec in specs if spec.fed and spec.way == "window"]:
        log.warning(
            "fed by a subscription: %s. Their change columns were set on another server, so rows that commit late are "
            "found only by reconciliation; way='scan' in the declaration finds them here",
            ", ".join(fed),
        )


_SESSIONS = f"""
    FROM pg_stat_activity
    WHERE datid = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND pid <> pg_backend_pid()
      AND backend_type NOT IN ('autovacuum worker', 'parallel worker', 'walsender')
      AND NOT (application_name = '{APPLICATION_NAME}' AND usename = current_user)
      AND (state IS DISTINCT FROM 'idle' OR xact_start IS NOT NULL)
"""  # noqa: S608 - constants

OLDEST_BEGIN = (
    f"SELECT least(clock_timestamp(), (SELECT min(coalesce(xact_start, query_start)){_SESSIONS}))"  # noqa: S608 - constants
    " WHERE NOT EXISTS (SELECT FROM pg_prepared_xacts WHERE database = current_database())"
)
"""The start of the oldest open transaction of this database, or the present time. NULL if one is prepared, because its start
is unknown."""


LISTS = (
    "SELECT pid, backend_start, coalesce(xact_start, query_start), state, usename::text, application_name"
    f"{_SESSIONS}",
    "SELECT transaction::text::bigint, gid FROM pg_prepared_xacts WHERE database = current_database()",
)
"""Sessions, and then prepared transactions: the other order would miss one that prepares in between."""


def open_transactions(connection: Connection) -> OpenTransactions:
    """Return every transaction of this database that may still commit rows."""
    return read_lists(run(connection, "; ".join(LISTS)))


def read_lists(cursor: psycopg.Cursor[Any]) -> OpenTransactions:
    """Return the transactions of `LISTS`, whose first result a cursor stands at.

    Both are asked for in one message, outside of a snapshot: each statement sees what is there when it begins.
    """
    sessions = cursor.fetchall()
    cursor.nextset()
    prepared = cursor.fetchall()
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
