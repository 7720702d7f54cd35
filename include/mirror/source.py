"""The PostgreSQL side: which transactions are open, one snapshot, and the stream of changed rows.

Time here is the database's own. The worker's clock decides nothing, and a session's `TimeZone` is set, not
inherited.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from include.mirror.errors import (
    RequestError,
    SchemaError,
    SourceError,
    ValueNotHeldError,
    VersionError,
)
from include.mirror.plan import OpenTransactions, Prepared, Read, Session
from include.mirror.table import WATERMARK, Column, TableSpec
from include.mirror.window import MICROSECOND, Window, wall_bounds

if TYPE_CHECKING:
    import pyarrow as pa

log = logging.getLogger(__name__)

APPLICATION_NAME = "etl_vendas mirror"
"""What the mirror's own sessions call themselves: they only read, so nobody has to wait for them."""

LOCK_KEY = 0x657476656E646173
"""Key of the advisory lock under which snapshots are taken: one at a time per database."""

XID_WRAP_MARGIN = 2**31 - 2**24
"""Beyond this many transaction ids, comparing a row's 32-bit `xmin` with an older one means nothing."""

BATCH_BYTES = 16 << 20

# The window's predicate, by what it selects. The values come from settings of the session, which are bound
# parameters where they are set: COPY itself takes none. PostgreSQL plans with the settings' values, so the
# index on updated_at is used.
IN_TIME = (
    f"{WATERMARK} >= current_setting('mirror.inicio')::timestamp"
    f" AND {WATERMARK} < current_setting('mirror.fim')::timestamp"
)
FROM_KEY = " AND {key} >= current_setting('mirror.key_from')::bigint"
TO_KEY = " AND {key} < current_setting('mirror.key_to')::bigint"
# xmin is the low half of the writer's transaction id: compared modulo 2^32, as PostgreSQL itself does.
SINCE_XMIN = (
    " AND ((xmin::text::bigint - current_setting('mirror.xmin_from')::bigint) & 4294967295) < 2147483648"
)


@dataclass(frozen=True)
class Source:
    """Where the source is: a libpq connection string, and the zone of its timestamps without zone.

    `timeout` bounds each statement; a task hands in its own execution timeout, so that PostgreSQL stops
    working for a task that Airflow has given up.
    """

    conninfo: str
    zone: ZoneInfo
    timeout: timedelta = timedelta(hours=1)

    @property
    def address(self) -> str:
        """Host, port and database, for messages; nothing secret."""
        parts = conninfo_to_dict(self.conninfo)
        return f"{parts.get('host', 'localhost')}:{parts.get('port', 5432)}/{parts.get('dbname', '')}"

    @property
    def session_conninfo(self) -> str:
        """The connection string of the mirror's own sessions.

        The session that holds a snapshot open is idle while others stream in it, so no idle limit may end it;
        what bounds the whole is `timeout`, per statement, and the time that a lock is waited for.
        """
        options = conninfo_to_dict(self.conninfo).get("options") or ""
        for name, value in (
            ("TimeZone", "UTC"),
            ("DateStyle", "ISO"),
            ("idle_in_transaction_session_timeout", "0"),
            ("lock_timeout", "60s"),
            ("statement_timeout", f"{self.timeout.total_seconds():.0f}s"),
        ):
            options = f"{options} -c {name}={value}".strip()
        return make_conninfo(
            self.conninfo, application_name=APPLICATION_NAME, client_encoding="UTF8", options=options
        )

    @contextmanager
    def connect(self) -> Iterator[psycopg.Connection[Any]]:
        """Open a session in autocommit mode; raise SourceError naming the server when it is refused."""
        try:
            connection = psycopg.connect(self.session_conninfo, autocommit=True, connect_timeout=10)
        except psycopg.OperationalError as error:
            reason = str(error).strip().splitlines()[-1]
            raise SourceError(f"PostgreSQL at {self.address} refused the connection: {reason}") from None
        with connection:
            yield connection


def _one(
    connection: psycopg.Connection[Any], query: Any, parameters: Sequence[object] = ()
) -> tuple[Any, ...]:
    """Return the one row of a query that always has one."""
    row = connection.execute(query, parameters).fetchone()
    if row is None:
        raise SourceError("PostgreSQL returned no row where there always is one")
    return tuple(row)


def check_server(connection: psycopg.Connection[Any]) -> None:
    """Raise SourceError unless this server and role can show every open transaction.

    A standby knows nothing of its primary's transactions, and a role without pg_read_all_stats sees the
    sessions of others as NULLs: with either, rows committed late would be lost in silence.
    """
    standby, sees_sessions, role = _one(
        connection,
        "SELECT pg_is_in_recovery(), pg_has_role(current_user, 'pg_read_all_stats', 'usage'), current_user::text",
    )
    if standby:
        raise SourceError(
            "the source is a standby, which does not show the primary's open transactions: read the primary"
        )
    if not sees_sessions:
        raise SourceError(
            f"role {role} can't see the transactions of other sessions: run "
            f'GRANT pg_read_all_stats TO "{role}" on the source'
        )
    # A subscription's worker keeps the publisher's timestamps, which no open transaction here explains.
    if fed := connection.execute(
        "SELECT DISTINCT srrelid::regclass::text FROM pg_subscription_rel ORDER BY 1"
    ).fetchall():
        log.warning(
            "fed by a subscription: %s. Their updated_at was set on another server, so rows that commit late are "
            "found only by reconciliation",
            ", ".join(name for (name,) in fed),
        )


def open_transactions(connection: psycopg.Connection[Any]) -> OpenTransactions:
    """Return every transaction of this database that may still commit rows.

    Sessions are read before prepared transactions, each in a transaction of its own: the other order would
    miss one that prepares in between.
    """
    sessions = connection.execute(
        """
        SELECT pid, backend_start, coalesce(xact_start, query_start), state, usename::text, application_name
        FROM pg_stat_activity
        WHERE datid = (SELECT oid FROM pg_database WHERE datname = current_database())
          AND pid <> pg_backend_pid()
          AND backend_type NOT IN ('autovacuum worker', 'parallel worker', 'walsender')
          AND application_name <> %s
          AND (state IS DISTINCT FROM 'idle' OR xact_start IS NOT NULL)
        """,
        (APPLICATION_NAME,),
    ).fetchall()
    prepared = connection.execute(
        "SELECT transaction::text::bigint, gid FROM pg_prepared_xacts WHERE database = current_database()"
    ).fetchall()
    found = set()
    for pid, connected_at, start, state, user, application in sessions:
        if state == "disabled":
            raise SourceError(
                f"session {pid} of user {user} ({application or 'no application name'}) hides its transactions: "
                "track_activities is off there; turn it on (it is by default)"
            )
        # Without a start there is neither a transaction nor a statement: a worker between two of them.
        if start is not None:
            found.add(Session(pid, connected_at, start))
    return OpenTransactions(frozenset(found), frozenset(Prepared(xid, gid) for xid, gid in prepared))


def clock(connection: psycopg.Connection[Any]) -> datetime:
    """Return the database's own time, in UTC."""
    now: datetime = _one(connection, "SELECT clock_timestamp()")[0]
    return now.astimezone(UTC)


def wait_until(
    connection: psycopg.Connection[Any],
    instant: datetime,
    *,
    limit: timedelta = timedelta(minutes=2),
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Wait until the database's clock has passed `instant`; raise SourceError if that takes more than `limit`."""
    remaining = instant - clock(connection)
    if remaining > limit:
        raise SourceError(
            f"the source's clock is {remaining.total_seconds():.0f} s short of {instant.isoformat()}, more than the "
            f"{limit.total_seconds():.0f} s that a run waits: compare the clocks of the source and the scheduler"
        )
    while remaining > timedelta():
        sleep(min(remaining.total_seconds(), 1.0))
        remaining = instant - clock(connection)


def refuse_future(connection: psycopg.Connection[Any], fim: datetime) -> None:
    """Raise RequestError when `fim` has not passed yet by the database's clock."""
    now = clock(connection)
    if fim > now:
        raise RequestError(
            f"fim {fim.isoformat()} is in the future (the source's clock shows {now.isoformat()}); "
            "give an interval that is over"
        )


def check_columns(connection: psycopg.Connection[Any], spec: TableSpec) -> None:
    """Raise SchemaError naming the column when the source's table differs from its spec.

    A column that the spec does not know is only warned about: nothing that is mirrored depends on it.
    """
    found = dict(
        connection.execute(
            """
            SELECT attname::text, format_type(atttypid, atttypmod)
            FROM pg_attribute
            WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped
            ORDER BY attnum
            """,
            (spec.source_name,),
        ).fetchall()
    )
    if not found:
        raise SchemaError(
            f"source table {spec.source_name} does not exist, or the role has no USAGE on its schema"
        )
    extra = [name for name in found if name not in {column.name for column in spec.columns}]
    for column in spec.columns:
        if column.name not in found:
            hint = f"; new there: {', '.join(extra)} (renamed?)" if extra else ""
            raise SchemaError(f"source column {spec.source_name}.{column.name} is missing{hint}")
        if found[column.name] != column.source_type:
            raise SchemaError(
                f"source column {spec.source_name}.{column.name} is {found[column.name]}, "
                f"expected {column.source_type}: change the TableSpec and the warehouse's column first"
            )
    if extra:
        log.warning(
            "source table %s has columns that are not mirrored: %s", spec.source_name, ", ".join(extra)
        )


def check_watermark(connection: psycopg.Connection[Any], spec: TableSpec) -> None:
    """Raise ValueNotHeldError, with a count and keys, when rows have an `updated_at` that no window matches."""
    query = sql.SQL(
        "SELECT count(*), (array_agg({key} ORDER BY {key}))[1:5] FROM {table}"
        " WHERE {watermark} IS NULL OR {watermark} IN ('infinity', '-infinity')"
    ).format(
        key=sql.Identifier(spec.key),
        table=sql.Identifier(spec.schema, spec.name),
        watermark=sql.Identifier(WATERMARK),
    )
    count, keys = _one(connection, query)
    if count:
        raise ValueNotHeldError(
            f"{count} rows of {spec.source_name} have an {WATERMARK} that is NULL or infinite, so no window would "
            f"ever read them: {spec.key} {', '.join(map(str, keys))}{' …' if count > len(keys) else ''}. "
            f"Give them one, such as {WATERMARK} = DEFAULT"
        )


def oldest(connection: psycopg.Connection[Any], spec: TableSpec, zone: ZoneInfo) -> datetime | None:
    """Return the instant of the table's oldest row, None when it is empty."""
    query = sql.SQL("SELECT min({}) FROM {}").format(
        sql.Identifier(WATERMARK), sql.Identifier(spec.schema, spec.name)
    )
    (wall,) = _one(connection, query)
    return None if wall is None else earliest_instant(wall, zone)


def earliest_instant(wall: datetime, zone: ZoneInfo) -> datetime:
    """Return the first instant at which clocks in `zone` showed `wall`."""
    return min(wall.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))


def split(
    connection: psycopg.Connection[Any], spec: TableSpec, window: Window, zone: ZoneInfo, max_rows: int
) -> list[Window]:
    """Cut `window` into windows of about `max_rows` rows, by time, and by key where one instant holds more.

    Each cut is one index-only scan forward from the last, so the whole costs one pass over the window's index
    entries. A window that is small enough comes back alone.
    """
    pieces: list[Window] = []
    start = window.inicio
    while True:
        cut = _nth_instant(
            connection,
            spec,
            Window(spec.name, start, window.fim, window.key_from, window.key_to),
            zone,
            max_rows,
        )
        if cut is None or cut >= window.fim:
            break
        if cut <= start:
            end = min(start + MICROSECOND, window.fim)
            pieces += _split_keys(connection, spec, _with_time(window, start, end), zone, max_rows)
            start = end
        else:
            pieces.append(_with_time(window, start, cut))
            start = cut
        if start >= window.fim:
            return pieces
    return [*pieces, _with_time(window, start, window.fim)]


def _with_time(window: Window, inicio: datetime, fim: datetime) -> Window:
    return Window(window.tabela, inicio, fim, window.key_from, window.key_to)


def _nth_instant(
    connection: psycopg.Connection[Any], spec: TableSpec, window: Window, zone: ZoneInfo, n: int
) -> datetime | None:
    _select_window(connection.execute, window, zone)
    row = connection.execute(
        sql.SQL(
            "SELECT {watermark} FROM {table} WHERE {changed} ORDER BY {watermark} OFFSET %s LIMIT 1"
        ).format(
            watermark=sql.Identifier(WATERMARK),
            table=sql.Identifier(spec.schema, spec.name),
            changed=_changed(spec, window),
        ),
        (n,),
    ).fetchone()
    return None if row is None else earliest_instant(row[0], zone)


def _split_keys(
    connection: psycopg.Connection[Any], spec: TableSpec, instant: Window, zone: ZoneInfo, max_rows: int
) -> list[Window]:
    _select_window(connection.execute, instant, zone)
    cuts = [
        key
        for (key,) in connection.execute(
            sql.SQL(
                "SELECT key FROM (SELECT {key} AS key, row_number() OVER (ORDER BY {key}) - 1 AS place"
                " FROM {table} WHERE {changed}) AS numbered WHERE place > 0 AND place %% %s = 0 ORDER BY key"
            ).format(
                key=sql.Identifier(spec.key),
                table=sql.Identifier(spec.schema, spec.name),
                changed=_changed(spec, instant),
            ),
            (max_rows,),
        ).fetchall()
    ]
    bounds = [instant.key_from, *cuts, instant.key_to]
    return [Window(instant.tabela, instant.inicio, instant.fim, low, high) for low, high in pairwise(bounds)]


def _changed(spec: TableSpec, window: Window, *, since_xmin: bool = False) -> sql.Composed:
    """Return the window's predicate; the values are in the session's settings (see `_select_window`)."""
    text = IN_TIME
    if window.key_from is not None:
        text += FROM_KEY
    if window.key_to is not None:
        text += TO_KEY
    if since_xmin:
        text += SINCE_XMIN
    return sql.SQL(text).format(key=sql.Identifier(spec.key))


def _select_window(
    execute: Callable[[str, Sequence[str]], object],
    window: Window,
    zone: ZoneInfo,
    xmin_from: int | None = None,
    placeholders: str = "%s, %s",
) -> None:
    """Set the session's window: the values that the predicate of `_changed` reads, as bound parameters."""
    lower, upper = wall_bounds(window.inicio, window.fim, zone)
    values = {"inicio": lower.isoformat(), "fim": upper.isoformat()}
    for name, number in (("key_from", window.key_from), ("key_to", window.key_to), ("xmin_from", xmin_from)):
        if number is not None:
            values[name] = str(number)
    for name, text in values.items():
        execute(f"SELECT set_config({placeholders}, false)", (f"mirror.{name}", text))


@dataclass
class Snapshot:
    """One REPEATABLE READ view of the source: its order among all snapshots, and what can be read in it.

    `version` is the database's time when it was taken, in microseconds since 1970, unique and rising per
    database; `xmin` is the lowest transaction id that was still running then, `xmax` the first not yet given.
    `control` holds it open.
    """

    source: Source
    name: str
    version: int
    xmin: int
    xmax: int
    control: psycopg.Connection[Any]
    resources: ExitStack

    @cached_property
    def _arrow(self) -> Any:
        """A cursor of the Arrow driver, in a session of its own, in this snapshot."""
        from adbc_driver_postgresql import dbapi

        connection = self.resources.enter_context(
            dbapi.connect(self.source.session_conninfo, autocommit=True)
        )
        cursor = self.resources.enter_context(connection.cursor())
        cursor.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        cursor.execute(sql.SQL("SET TRANSACTION SNAPSHOT {}").format(self.name).as_string(self.control))
        return cursor

    def stream(self, spec: TableSpec, read: Read) -> Iterator[pa.RecordBatch]:
        """Yield the rows of `read` in Arrow batches of about 16 MB, in no particular order.

        Raises ValueNotHeldError naming table, column and key where PostgreSQL can't turn a value into what the
        extraction's SQL asks for.
        """
        import adbc_driver_manager

        xmin_from = self._usable_xmin(read)
        predicate = _changed(spec, read.window, since_xmin=xmin_from is not None).as_string(self.control)
        query = spec.extract.read_text().replace("{{ changed }}", predicate)
        self._warn_of_sequential_scan(spec, read.window, xmin_from, query)
        try:
            cursor = self._arrow
            cursor.adbc_statement.set_options(**{"adbc.postgresql.batch_size_hint_bytes": str(BATCH_BYTES)})
            _select_window(cursor.execute, read.window, self.source.zone, xmin_from, placeholders="$1, $2")
            cursor.execute(query)
            yield from cursor.fetch_record_batch()
        except (adbc_driver_manager.Error, OSError) as error:  # OSError: Arrow's, once rows are flowing
            self._explain(spec, read, error)

    def _usable_xmin(self, read: Read) -> int | None:
        if read.reread is None or self.xmax - read.reread.xmin_from > XID_WRAP_MARGIN:
            return None
        return read.reread.xmin_from

    def _warn_of_sequential_scan(
        self, spec: TableSpec, window: Window, xmin_from: int | None, query: str
    ) -> None:
        _select_window(self.control.execute, window, self.source.zone, xmin_from)
        plan = "\n".join(line for (line,) in self.control.execute(f"EXPLAIN {query}".encode()))
        if "Seq Scan" not in plan:
            return
        row = self.control.execute(
            """
            SELECT c.relpages, EXISTS (
                SELECT FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
                WHERE i.indrelid = c.oid AND i.indisvalid AND a.attname = %s
            )
            FROM pg_class c WHERE c.oid = to_regclass(%s)
            """,
            (WATERMARK, spec.source_name),
        ).fetchone()
        pages, indexed = row or (0, False)
        # With the index there, PostgreSQL scans a table that is small or that the window holds most of.
        if not indexed:
            log.warning(
                "the extraction of %s scans the whole table (%d pages) because nothing indexes %s: run "
                "include/sql/source/create_indexes.sql on the source\n%s",
                spec.source_name,
                pages,
                WATERMARK,
                plan,
            )

    def _explain(self, spec: TableSpec, read: Read, error: Exception) -> None:
        """Raise what a failed extraction means to the person who has to mend it."""
        text = str(error)
        if "NaN" in text or "out of range" in text:
            for column in spec.columns:
                if column.decimal is None:
                    continue
                precision, scale = column.decimal
                _select_window(self.control.execute, read.window, self.source.zone)
                row = self.control.execute(
                    sql.SQL(
                        "SELECT {key}, {column}::text FROM {table} WHERE {changed} AND"
                        " ({column} IN ('NaN', 'Infinity', '-Infinity') OR abs({column}) >= 10::numeric ^ {digits})"
                        " ORDER BY {key} LIMIT 1"
                    ).format(
                        key=sql.Identifier(spec.key),
                        column=sql.Identifier(column.name),
                        table=sql.Identifier(spec.schema, spec.name),
                        changed=_changed(spec, read.window),
                        digits=sql.Literal(precision - scale),
                    )
                ).fetchone()
                if row:
                    raise ValueNotHeldError(
                        f"{spec.source_name}.{column.name} is {row[1]} where {spec.key} = {row[0]}: "
                        f"{column.warehouse_type} can't hold that"
                    ) from None
        raise SourceError(f"reading {read.window} failed: {text.splitlines()[0]}") from error

    def value(self, spec: TableSpec, column: Column, key: int) -> str:
        """Return the text of one value, as PostgreSQL prints it."""
        query = sql.SQL("SELECT {column}::text FROM {table} WHERE {key} = %s").format(
            column=sql.Identifier(column.name),
            table=sql.Identifier(spec.schema, spec.name),
            key=sql.Identifier(spec.key),
        )
        return str(_one(self.control, query, (key,))[0])

    def rows(self, spec: TableSpec, keys: Sequence[int]) -> dict[int, tuple[Any, ...]]:
        """Return the rows with these keys, as this snapshot sees them, by key, in the spec's column order.

        This goes through another driver and other types than `stream`, so that the two can be held against
        each other.
        """
        query = sql.SQL("SELECT {columns} FROM {table} WHERE {key} = ANY(%s)").format(
            columns=sql.SQL(", ").join(sql.Identifier(column.name) for column in spec.columns),
            table=sql.Identifier(spec.schema, spec.name),
            key=sql.Identifier(spec.key),
        )
        position = [column.name for column in spec.columns].index(spec.key)
        return {row[position]: row for row in self.control.execute(query, (list(keys),))}


@contextmanager
def snapshot(
    source: Source, connection: psycopg.Connection[Any], newest_version: Callable[[], int]
) -> Iterator[Snapshot]:
    """Open a snapshot on `connection` (in autocommit mode) and keep it until the block ends.

    It is taken, and the database's clock read right after it, under one advisory lock, so that versions order
    snapshots. `newest_version` returns the ledger's highest: a version that is not above it would lose against
    older rows, and raises VersionError.
    """
    _one(connection, "SELECT pg_advisory_lock(%s)", (LOCK_KEY,))
    try:
        connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        xmin, xmax, name, version = _one(
            connection,
            "SELECT pg_snapshot_xmin(s)::text::bigint, pg_snapshot_xmax(s)::text::bigint, pg_export_snapshot(),"
            " (extract(epoch FROM clock_timestamp()) * 1000000)::bigint FROM pg_current_snapshot() AS s",
        )
        highest = newest_version()
    except BaseException:
        # The session's end frees the lock too; a failed transaction would refuse to.
        connection.close()
        raise
    _one(connection, "SELECT pg_advisory_unlock(%s)", (LOCK_KEY,))
    if version <= highest:
        raise VersionError(
            f"the source's clock gives version {version}, which is not above the ledger's newest {highest}: it "
            "stepped back, or the source failed over. Wait until it has passed, or mend the clock"
        )
    try:
        with ExitStack() as resources:
            yield Snapshot(source, name, version, xmin, xmax, connection, resources)
    finally:
        if not connection.broken:
            connection.rollback()
