"""A source's position in its write-ahead log, and whether it has gone back since, so that commits may be lost there.

A server that continues with its own files never goes back behind what it has flushed, however it stopped. It does if its
files are an older copy, or if it is a standby that was promoted before it had received everything. Only values that survive
a crash are compared. `pg_snapshot_xmax` does not: after a crash, PostgreSQL gives the ids of transactions again that were
rolled back just before it.
"""

from __future__ import annotations

from dataclasses import dataclass

EXPRESSIONS = (
    # Commits that a snapshot sees are flushed, unless their session did not wait for it (synchronous_commit = off).
    "CASE WHEN pg_is_in_recovery() THEN 0 ELSE (pg_current_wal_flush_lsn() - '0/0')::bigint END,"
    # Taken from the name of the WAL file: the control file shows a promotion only after the next checkpoint.
    " CASE WHEN pg_is_in_recovery() THEN 0 ELSE ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int END,"
    " (SELECT split_part(next_xid, ':', 1)::bigint * 4294967296 + split_part(next_xid, ':', 2)::bigint"
    " FROM pg_control_checkpoint()),"
    " coalesce((pg_last_wal_replay_lsn() - '0/0')::bigint, 0)"
)
"""The SQL expressions of a position, in the order of the fields of `Position`. Any role may run them."""


@dataclass(frozen=True)
class Position:
    """A position in a source's log: how many bytes are `flushed`, on which `timeline`. 0 means unknown.

    A promotion and a restore to a point in time increase the timeline. `next_xid` is the next transaction id at the last
    checkpoint. `recovered` is the position at which the recovery at the server's start ended, 0 if it needed none.
    """

    flushed: int = 0
    timeline: int = 0
    next_xid: int = 0
    recovered: int = 0

    def __str__(self) -> str:
        return f"{place(self.flushed)} of timeline {self.timeline}"

    def lost(self, before: Position) -> str | None:
        """Return why a source at this position may lack commits that it had at the position `before`, None if it can't."""
        if self.timeline < before.timeline:
            return f"it is on timeline {self.timeline} now"
        if self.flushed < before.flushed:
            return f"it is at {self} now"
        # With the same `recovered`, it is the same start of the server. After another recovery, it went on where that ended.
        if self.recovered not in (0, before.recovered) and self.recovered < before.flushed:
            return f"it came up at {place(self.recovered)} after a recovery"
        if self.next_xid < before.next_xid:
            return f"its next transaction has id {self.next_xid} now, and had {before.next_xid}"
        return None


def place(flushed: int) -> str:
    """Return a position in the log as PostgreSQL prints it."""
    return f"{flushed >> 32:X}/{flushed & 0xFFFFFFFF:X}"
