"""Snapshots: REPEATABLE READ views of the source, their order, and the stream of rows in them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, fields
from datetime import timedelta
from secrets import token_hex
from typing import TYPE_CHECKING, Any

import psycopg

from include.conventions.heals import state_heals
from include.mirror.errors import NoSnapshotError, SourceError, SourceUnavailableError, VersionError
from include.mirror.source import changes
from include.mirror.source.changes import Changes
from include.mirror.source.position import Position
from include.mirror.source.session import TOKEN, Connection, Source, assign, one, read_back, run
from include.mirror.source.table import SourceTable
from include.mirror.source.transactions import IDENTITY, Identity, identify
from include.mirror.spec import TableSpec

if TYPE_CHECKING:
    import pyarrow as pa

LOCK_KEY = 0x657476656E646173
"""Key of the advisory lock under which snapshots are taken, one at a time for each database."""

XID_WRAP_MARGIN = 2**31 - 2**24
"""If two transaction ids are further apart than this, comparing their lower 32 bits may give the wrong order."""

DDL_PATIENCE = timedelta(seconds=10)
"""How long a snapshot waits for a table that somebody is altering. Other snapshots have to wait meanwhile."""

BATCH_BYTES = 16 << 20

PLACES = 6 + len(fields(Position))
"""How many values `IDENTITY` has."""

_TAKEN = "taken"
"""The savepoint behind the snapshot: a statement that is refused does not end it."""

_LOCKABLE = "rpv"
"""The kinds of relations that LOCK TABLE accepts."""


class Reading:
    """A session of the Arrow driver that reads in a snapshot. `cursor` runs one statement at a time."""

    def __init__(self, source: Source, version: int, opening: Sequence[str]) -> None:
        from adbc_driver_postgresql import dbapi

        self.source, self.version, self.opening = source, version, opening
        self.token = token_hex(8)
        self.resources = ExitStack()
        try:
            session = self.resources.enter_context(dbapi.connect(source.session_conninfo, autocommit=True))
            self.cursor = self.resources.enter_context(session.cursor())
            self.cursor.execute(*assign({**source.settings(version), TOKEN: self.token}))
            (self.pid,) = self._row("SELECT pg_backend_pid()")
            for statement in opening:
                self.cursor.execute(statement)
        except BaseException:
            self.close()
            raise

    def enter(self, name: str) -> None:
        """Enter the snapshot that was exported under this name. Raise SourceError if the session has lost its settings."""
        self.cursor.execute(f"SET TRANSACTION SNAPSHOT '{name}'")
        settings = self.source.settings(self.version)
        check(self.source, self.version, self.token, self.pid, self._row(f"SELECT {read_back(settings)}"))

    def close(self) -> None:
        """End the session."""
        self.resources.close()

    def _row(self, query: str) -> tuple[Any, ...]:
        self.cursor.execute(query)
        return tuple(self.cursor.fetchone())


def check(source: Source, version: int, token: str, pid: int, found: Sequence[Any]) -> None:
    """Raise SourceError unless this is still the session that was set up, with the same settings."""
    if not token or found[0] != token or found[1] != pid:
        raise SourceError(
            f"a session at {source.address} (connection {source.name}) was moved to another one between two "
            "transactions, as a connection pooler in transaction mode does: connect to the server itself, or to a pool "
            "of whole sessions"
        )
    # lock_timeout is not compared: within a snapshot it has another value.
    settings = source.settings(version)
    values = [
        settings["lock_timeout"] if name == "lock_timeout" else value
        for name, value in zip(settings, found[2:], strict=True)
    ]
    source.check_session(version, values)


@dataclass(frozen=True)
class Snapshot:
    """One REPEATABLE READ view of the source.

    - `version`: the database's time when it was taken, in microseconds since 1970; unique and rising per database.
    - `xmin`: the lowest transaction id that was still running. `xmax`: the first id that was not assigned yet.
    - `identity`: the source that these ids belong to, with its position in its log.
    - `control`: the session that holds the snapshot open. If rows are read, a session of the Arrow driver enters the same
      snapshot by its `name`.
    """

    source: Source
    version: int
    xmin: int
    xmax: int
    identity: Identity
    control: Connection
    name: str
    opening: Sequence[str]
    _readings: list[Reading]

    @property
    def arrow(self) -> Any:
        """The cursor that reads."""
        if not self._readings:
            reading = Reading(self.source, self.control.info.server_version, self.opening)
            self._readings.append(reading)
            reading.enter(self.name)
        return self._readings[-1].cursor

    def renew(self) -> None:
        """Go on in a new session of the same snapshot. A session whose stream was broken off runs no more statements."""
        while self._readings:
            self._readings.pop().close()

    def roll_back(self) -> None:
        """Make `control` accept statements again after an error."""
        run(self.control, f"ROLLBACK TO SAVEPOINT {_TAKEN}")

    def table(self, spec: TableSpec) -> SourceTable:
        """Return a table, read in this snapshot."""
        return SourceTable(self.control, spec, self.source.zone)

    def comparable(self, xmin: int, system: int) -> bool:
        """Return whether rows' `xmin` can be compared with the `xmin` of an older snapshot of cluster `system`."""
        return system == self.identity.system and 0 <= self.xmax - xmin <= XID_WRAP_MARGIN

    def stream(
        self, table: SourceTable, wanted: Changes, *, with_writers: bool = False
    ) -> Iterator[pa.RecordBatch]:
        """Yield the rows that `wanted` selects, in Arrow batches of about 16 MB, in no particular order.

        `with_writers` adds the writers' transaction ids as the last column. Raises SourceError if reading fails,
        SourceUnavailableError if trying again may help.
        """
        import adbc_driver_manager

        try:
            self.arrow.adbc_statement.set_options(
                **{"adbc.postgresql.batch_size_hint_bytes": str(BATCH_BYTES)}
            )
            if wanted.values:
                self.arrow.execute(*changes.binding(wanted.values))
            self.arrow.execute(table.extraction(wanted, with_writers=with_writers))
            yield from self.arrow.fetch_record_batch()
        except (
            adbc_driver_manager.Error,
            OSError,
        ) as error:  # Arrow raises OSError in the middle of a stream
            state = getattr(error, "sqlstate", None)
            kind = SourceUnavailableError if state_heals(state) else SourceError
            raise kind(f"reading {table.spec.label} failed: {str(error).splitlines()[0]}") from error


@contextmanager
def snapshot(
    source: Source,
    connection: Connection,
    specs: Iterable[TableSpec],
    newest_version: Callable[[], int],
    *,
    sessions: bool = False,
    expected: bool = True,
    closing: str = "",
) -> Iterator[Snapshot]:
    """Open a snapshot of these tables on `connection` (in autocommit mode) and hold it until the block ends.

    `closing` is a statement that is run after the snapshot has ended. Raises SourceError as `identify` does; `sessions` is
    passed to it.

    The snapshot is taken, and the database's clock read right after it, under one advisory lock, so that versions order
    snapshots. Then `newest_version` returns the ledger's highest version. A version that is not above it would lose against
    older rows, so it raises VersionError.

    The session first locks the tables, as any reader does: an ALTER TABLE that rewrites a table would leave it empty for an
    older snapshot. An ALTER TABLE that holds a table longer than `DDL_PATIENCE` raises SourceError. If rows are `expected`,
    the session that reads them is opened, and locks the tables, before the snapshot: later, it would wait behind an ALTER
    TABLE that waits for this snapshot.
    """
    import adbc_driver_manager

    specs = list(specs)
    opening = [
        "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
        f"SET LOCAL lock_timeout = {int(DDL_PATIENCE.total_seconds() * 1000)}",
    ]
    if tables := [
        f"ONLY {spec.source_name}" if spec.only else spec.source_name
        for spec in specs
        if spec.kind in _LOCKABLE
    ]:
        opening.append(f"LOCK TABLE {', '.join(tables)} IN ACCESS SHARE MODE")
    server = connection.info.server_version
    readings: list[Reading] = []
    try:
        try:
            if expected:
                readings.append(Reading(source, server, opening))
            token, pid, _ = one(
                connection,
                f"SELECT current_setting('{TOKEN}', true), pg_backend_pid(), pg_advisory_lock($1)",
                (LOCK_KEY,),
            )
            xmin, xmax, name, version, *rest = _last_row(
                connection,
                [
                    *opening,
                    "SELECT pg_snapshot_xmin(s)::text::bigint, pg_snapshot_xmax(s)::text::bigint, pg_export_snapshot(),"  # noqa: S608 - constants
                    " (extract(epoch FROM clock_timestamp()) * 1000000)::bigint,"
                    f" {IDENTITY},"
                    # Last: the values of a row are computed one after the other.
                    f" {read_back(source.settings(server))}, pg_advisory_unlock({LOCK_KEY}) FROM pg_current_snapshot() AS s",
                ],
            )
            check(source, server, token, pid, rest[PLACES:-1])
            identity = identify(rest[:PLACES], sessions=sessions)
            if readings:
                readings[-1].enter(name)
            newest = newest_version()
        except BaseException as error:
            # Ending the session also releases the advisory lock, which a failed transaction could not do.
            connection.close()
            if isinstance(error, psycopg.errors.LockNotAvailable | adbc_driver_manager.Error):
                reason = str(error).splitlines()[0]
                if "statement pooling mode" in reason:
                    raise SourceError(
                        f"a connection pooler in statement mode stands before {source.address} (connection {source.name}) "
                        "and takes no transactions: connect to the server itself, or to a pool of whole sessions"
                    ) from None
                raise NoSnapshotError(
                    f"no snapshot of {', '.join(spec.label for spec in specs)}: {reason}. A session that "
                    "alters a table, or another run that takes its snapshot, has to end first"
                ) from None
            raise
        if version <= newest:
            connection.close()
            raise VersionError(
                f"the source's clock gives version {version}, which is not above the ledger's newest {newest}: it "
                "stepped back, or the source failed over. Wait until it has passed, or correct the clock"
            )
        try:
            yield Snapshot(source, version, xmin, xmax, identity, connection, name, opening, readings)
        finally:
            if not connection.closed:
                run(connection, f"ROLLBACK; {closing}")
    finally:
        for reading in readings:
            reading.close()


def _last_row(connection: Connection, statements: Sequence[str]) -> tuple[Any, ...]:
    """Run statements in one message; return the row of the last, behind which a savepoint is left."""
    cursor = run(connection, "; ".join([*statements, f"SAVEPOINT {_TAKEN}"]))
    for _ in statements[1:]:
        cursor.nextset()
    row = cursor.fetchone()
    if row is None:
        raise SourceError("PostgreSQL returned no snapshot where there always is one")
    return tuple(row)
