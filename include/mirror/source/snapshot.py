"""One REPEATABLE READ view of the source, its order among all snapshots, and the stream of rows in it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, fields
from datetime import timedelta
from secrets import token_hex
from typing import TYPE_CHECKING, Any

import psycopg

from include.conventions.heals import state_heals
from include.mirror.errors import SourceAwayError, SourceError, VersionError
from include.mirror.source import changes
from include.mirror.source.changes import Changes
from include.mirror.source.position import EXPRESSIONS, Position
from include.mirror.source.session import TOKEN, Connection, Source, assign, one, read_back, run
from include.mirror.source.table import SourceTable
from include.mirror.spec import TableSpec

if TYPE_CHECKING:
    import pyarrow as pa

LOCK_KEY = 0x657476656E646173
"""Key of the advisory lock under which snapshots are taken: one at a time per database."""

XID_WRAP_MARGIN = 2**31 - 2**24
"""Beyond this many transaction ids, comparing a row's 32-bit `xmin` with an older one means nothing."""

DDL_PATIENCE = timedelta(seconds=10)
"""How long a snapshot waits for a table that somebody is altering; others wait for their snapshots meanwhile."""

BATCH_BYTES = 8 << 20

PLACES = len(fields(Position))

_LOCKABLE = "rpv"
"""The kinds of relations that LOCK TABLE takes."""


class Reading:
    """The session of the Arrow driver that reads in a snapshot: `cursor` runs one statement at a time."""

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
        """Read in the snapshot that was exported under this name; raise SourceError where settings were lost."""
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
    """Raise SourceError unless a session is still the one that was set up, and set as it was."""
    if not token or found[0] != token or found[1] != pid:
        raise SourceError(
            f"a session at {source.address} (connection {source.name}) was moved to another one between two "
            "transactions, as a connection pooler in transaction mode does: connect to the server itself, or to a pool "
            "of whole sessions"
        )
    # The lock's own limit is another one within a snapshot.
    settings = source.settings(version)
    values = [
        settings["lock_timeout"] if name == "lock_timeout" else value
        for name, value in zip(settings, found[2:], strict=True)
    ]
    source.check_session(version, values)


@dataclass(frozen=True)
class Snapshot:
    """One REPEATABLE READ view of the source: its order among all snapshots, and what can be read in it.

    `version` is the database's time when it was taken, in microseconds since 1970, unique and rising per database;
    `xmin` is the lowest transaction id that was still running then, `xmax` the first not yet given, and `system` the
    cluster that these ids belong to, which had come to `position` by then. `control` holds the snapshot open, `reading` is a
    session of the Arrow driver in the same one, which is called `name`.
    """

    source: Source
    version: int
    xmin: int
    xmax: int
    system: int
    position: Position
    control: Connection
    name: str
    opening: Sequence[str]
    _readings: list[Reading]

    @property
    def arrow(self) -> Any:
        """The cursor that reads."""
        return self._readings[-1].cursor

    def renew(self) -> None:
        """Read on in a new session of the same snapshot: one that was broken off in the middle takes no statement."""
        self._readings.pop().close()
        reading = Reading(self.source, self.control.info.server_version, self.opening)
        self._readings.append(reading)
        reading.enter(self.name)

    def table(self, spec: TableSpec) -> SourceTable:
        """Return a table as this snapshot sees it."""
        return SourceTable(self.control, spec, self.source.zone)

    def comparable(self, xmin: int, system: int) -> bool:
        """Return whether a row's `xmin` can be held against that of an older snapshot of cluster `system`."""
        return system == self.system and 0 <= self.xmax - xmin <= XID_WRAP_MARGIN

    def stream(
        self, table: SourceTable, wanted: Changes, *, with_writers: bool = False
    ) -> Iterator[pa.RecordBatch]:
        """Yield the rows of a table that `wanted` selects in Arrow batches of about 8 MB, in no particular order."""
        import adbc_driver_manager

        try:
            self.arrow.adbc_statement.set_options(
                **{"adbc.postgresql.batch_size_hint_bytes": str(BATCH_BYTES)}
            )
            if wanted.values:
                self.arrow.execute(*changes.binding(wanted.values))
            self.arrow.execute(table.extraction(wanted, with_writers=with_writers))
            yield from self.arrow.fetch_record_batch()
        except (adbc_driver_manager.Error, OSError) as error:  # OSError: Arrow's, once rows are flowing
            state = getattr(error, "sqlstate", None)
            kind = SourceAwayError if state_heals(state) else SourceError
            raise kind(f"reading {table.spec.label} failed: {str(error).splitlines()[0]}") from error


@contextmanager
def snapshot(
    source: Source,
    connection: Connection,
    specs: Iterable[TableSpec],
    newest_version: Callable[[], int],
) -> Iterator[Snapshot]:
    """Open a snapshot of these tables on `connection` (in autocommit mode) and keep it until the block ends.

    It is taken, and the database's clock read right after it, under one advisory lock, so that versions order
    snapshots. `newest_version` returns the ledger's highest: a version that is not above it would lose against
    older rows, and raises VersionError.

    Both sessions lock the tables first, as any reader does: an ALTER TABLE that rewrites one would leave it
    empty for a snapshot taken before. One that holds a table longer than `DDL_PATIENCE` raises SourceError.
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
            token, pid = one(connection, f"SELECT current_setting('{TOKEN}', true), pg_backend_pid()")
            readings.append(Reading(source, server, opening))
            one(connection, "SELECT pg_advisory_lock($1)", (LOCK_KEY,))
            for statement in opening:
                run(connection, statement)
            xmin, xmax, name, version, system, *rest = one(
                connection,
                "SELECT pg_snapshot_xmin(s)::text::bigint, pg_snapshot_xmax(s)::text::bigint, pg_export_snapshot(),"  # noqa: S608 - constants
                " (extract(epoch FROM clock_timestamp()) * 1000000)::bigint,"
                f" (SELECT system_identifier FROM pg_control_system()), {EXPRESSIONS},"
                f" {read_back(source.settings(server))} FROM pg_current_snapshot() AS s",
            )
            position, session = Position(*rest[:PLACES]), rest[PLACES:]
            check(source, server, token, pid, session)
            highest = newest_version()
            one(connection, "SELECT pg_advisory_unlock($1)", (LOCK_KEY,))
            readings[-1].enter(name)
        except BaseException as error:
            # The session's end frees the advisory lock too; a failed transaction would refuse to.
            connection.close()
            if isinstance(error, psycopg.errors.LockNotAvailable | adbc_driver_manager.Error):
                reason = str(error).splitlines()[0]
                if "statement pooling mode" in reason:
                    raise SourceError(
                        f"a connection pooler in statement mode stands before {source.address} (connection {source.name}) "
                        "and takes no transactions: connect to the server itself, or to a pool of whole sessions"
                    ) from None
                raise SourceAwayError(
                    f"no snapshot of {', '.join(spec.label for spec in specs)}: {reason}. A session that "
                    "alters a table, or another run that takes its snapshot, has to end first"
                ) from None
            raise
        if version <= highest:
            connection.close()
            raise VersionError(
                f"the source's clock gives version {version}, which is not above the ledger's newest {highest}: it "
                "stepped back, or the source failed over. Wait until it has passed, or mend the clock"
            )
        try:
            yield Snapshot(source, version, xmin, xmax, system, position, connection, name, opening, readings)
        finally:
            if not connection.broken:
                connection.rollback()
    finally:
        for reading in readings:
            reading.close()
