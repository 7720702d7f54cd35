"""How far a source has come in its own log, and whether it has gone back since: what was committed may be lost there.

A server that goes on from its own files never goes back behind what it has flushed, however it ended. An older copy of the
files does, and a standby that was promoted without having received everything. Only what survives a crash is compared: after
one, ids of transactions that were rolled back just before it are given again, and `pg_snapshot_xmax` falls.
"""

from __future__ import annotations

from dataclasses import dataclass

EXPRESSIONS = (
    # Commits that a snapshot sees are flushed, unless the session did not want to wait (synchronous_commit = off).
    "CASE WHEN pg_is_in_recovery() THEN 0 ELSE (pg_current_wal_flush_lsn() - '0/0')::bigint END,"
    # The control file learns of a promotion only with the next checkpoint.
    " CASE WHEN pg_is_in_recovery() THEN 0 ELSE ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int END,"
    " (SELECT split_part(next_xid, ':', 1)::bigint * 4294967296 + split_part(next_xid, ':', 2)::bigint"
    " FROM pg_control_checkpoint()),"
    " coalesce((pg_last_wal_replay_lsn() - '0/0')::bigint, 0)"
)
"""What PostgreSQL is asked for, in the order of the fields. Any role may ask."""


@dataclass(frozen=True)
class Position:
    """A place in a source's log: how many bytes of it are `flushed`, on which `timeline`, 0 for not known.

    A promotion and a restore to a point in time count the timeline up. `next_xid` is the transaction id that was next at the
    last checkpoint. `recovered` is where the recovery ended with which the server came up, 0 where it needed none.
    """

    flushed: int = 0
    timeline: int = 0
    next_xid: int = 0
    recovered: int = 0

    def __str__(self) -> str:
        return f"{place(self.flushed)} of timeline {self.timeline}"

    def lost(self, before: Position) -> str | None:
        """Return why a source that is here now may lack what it had when it was at `before`, None where it lacks nothing."""
        if self.timeline < before.timeline:
            return f"it is on timeline {self.timeline} now"
        if self.flushed < before.flushed:
            return f"it is at {self} now"
        # One that came up as it did then is the same server; from another recovery it began where that one ended.
        if self.recovered not in (0, before.recovered) and self.recovered < before.flushed:
            return f"it came up at {place(self.recovered)} after a recovery"
        if self.next_xid < before.next_xid:
            return f"its next transaction has id {self.next_xid} now, and had {before.next_xid}"
        return None


def place(flushed: int) -> str:
    """Return a place in the log as PostgreSQL prints it."""
    return f"{flushed >> 32:X}/{flushed & 0xFFFFFFFF:X}"
