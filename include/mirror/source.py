"""The PostgreSQL side: which transactions are open, one snapshot, and the stream of changed rows.

Time here is the database's own. The worker's clock decides nothing, and a session's `TimeZone` is set, not
inherited.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
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

DDL_PATIENCE = timedelta(seconds=10)
"""How long a snapshot waits for a table that somebody is altering; others wait for their snapshots meanwhile."""

BATCH_BYTES = 8 << 20

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

    conninfo: str = field(repr=False)
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
            # A policy that hides rows is an error, not a smaller table.
            ("row_security", "off"),
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
            reason = " ".join(str(error).split())
            raise SourceError(
                f"PostgreSQL at {self.address} (connection postgres_vendas) refused: {reason}"
            ) from None
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
          AND NOT (application_name = %s AND usename = current_user)
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
    _check_key(connection, spec)
    if extra:
        log.warning(
            "source table %s has columns that are not mirrored: %s", spec.source_name, ", ".join(extra)
        )


def _check_key(connection: psycopg.Connection[Any], spec: TableSpec) -> None:
    readable, unique = _one(
        connection,
        """
        SELECT has_table_privilege(c.oid, 'SELECT'), EXISTS (
            SELECT FROM pg_index i JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = i.indkey[0]
            WHERE i.indrelid = c.oid AND i.indisunique AND i.indisvalid AND i.indpred IS NULL
              AND i.indnkeyatts = 1 AND a.attname = %s
        )
        FROM pg_class c WHERE c.oid = to_regclass(%s)
        """,
        (spec.key, spec.source_name),
    )
    if not readable:
        raise SourceError(
            f"the role may not read {spec.source_name}: run GRANT SELECT ON {spec.source_name} TO it"
        )
    if not unique:
        raise SchemaError(
            f"source table {spec.source_name} has no unique index on {spec.key} alone, so two rows could share a key "
            "and become one: restore the primary key"
        )


def check_watermark(connection: psycopg.Connection[Any], spec: TableSpec) -> None:
    """Raise ValueNotHeldError, with a count and keys, for rows with an `updated_at` that no window can match.

    That is NULL, infinity, or a year that the warehouse's timestamps can't hold.
    """
    query = sql.SQL(
        "SELECT count(*), (array_agg({key} ORDER BY {key}))[1:5] FROM {table} WHERE {watermark} IS NULL"
        " OR {watermark} < '1900-01-01' OR {watermark} >= '2300-01-01'"
    ).format(
        key=sql.Identifier(spec.key),
        table=sql.Identifier(spec.schema, spec.name),
        watermark=sql.Identifier(WATERMARK),
    )
    count, keys = _one(connection, query)
    if count:
        raise ValueNotHeldError(
            f"{count} rows of {spec.source_name} have an {WATERMARK} that is NULL or outside the years 1900 to "
            f"2299, so no window would ever read them: {spec.key} {', '.join(map(str, keys))}"
            f"{' …' if count > len(keys) else ''}. Give them one, such as {WATERMARK} = DEFAULT"
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
    entries. A window that is small enough comes back alone. The search goes along the wall clock, which only
    rises; where the zone repeats an hour, some cuts have no instant of their own and are left out.
    """
    pieces: list[Window] = []
    start = window.inicio
    position, end = wall_bounds(window.inicio, window.fim, zone)
    while (cut := _nth_wall_time(connection, spec, window, (position, end), max_rows)) is not None:
        instant = max(start, earliest_instant(cut, zone))
        if instant >= window.fim:
            break
        if instant > start:
            pieces.append(_with_time(window, start, instant))
            start = instant
        if cut == position:
            after = min(start + MICROSECOND, window.fim)
            cuts = _key_cuts(connection, spec, window, (cut, cut + MICROSECOND), max_rows)
            bounds = [window.key_from, *cuts, window.key_to]
            pieces += [Window(window.tabela, start, after, low, high) for low, high in pairwise(bounds)]
            start = after
            position = cut + MICROSECOND
        else:
            position = cut
    return [*pieces, _with_time(window, start, window.fim)] if start < window.fim else pieces


def _with_time(window: Window, inicio: datetime, fim: datetime) -> Window:
    return Window(window.tabela, inicio, fim, window.key_from, window.key_to)


def _nth_wall_time(
    connection: psycopg.Connection[Any],
    spec: TableSpec,
    window: Window,
    wall: tuple[datetime, datetime],
    n: int,
) -> datetime | None:
    """Return the watermark of row number `n` (from 0) within the range of wall-clock times, None beyond the last."""
    _set_values(connection.execute, _values(window, wall))
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
    return None if row is None else row[0]


def _key_cuts(
    connection: psycopg.Connection[Any],
    spec: TableSpec,
    window: Window,
    wall: tuple[datetime, datetime],
    n: int,
) -> list[int]:
    """Return the keys that begin a new piece when rows of one instant are counted off by `n`, in order of key."""
    _set_values(connection.execute, _values(window, wall))
    found = connection.execute(
        sql.SQL(
            "SELECT key FROM (SELECT {key} AS key, row_number() OVER (ORDER BY {key}) - 1 AS place"
            " FROM {table} WHERE {changed}) AS numbered WHERE place > 0 AND place %% %s = 0 ORDER BY key"
        ).format(
            key=sql.Identifier(spec.key),
            table=sql.Identifier(spec.schema, spec.name),
            changed=_changed(spec, window),
        ),
        (n,),
    ).fetchall()
    return [key for (key,) in found]


def _changed(spec: TableSpec, window: Window, *, since_xmin: bool = False) -> sql.Composed:
    """Return the window's predicate; its values are in the session's settings (see `_values`)."""
    text = IN_TIME
    if window.key_from is not None:
        text += FROM_KEY
    if window.key_to is not None:
        text += TO_KEY
    if since_xmin:
        text += SINCE_XMIN
    return sql.SQL(text).format(key=sql.Identifier(spec.key))


def _values(
    window: Window, wall: tuple[datetime, datetime], xmin_from: int | None = None
) -> list[tuple[str, str]]:
    """Return the settings that the predicate of `_changed` reads; `wall` is the range on the source's clock."""
    values: list[tuple[str, Any]] = [("inicio", wall[0].isoformat()), ("fim", wall[1].isoformat())]
    values += [("key_from", window.key_from), ("key_to", window.key_to), ("xmin_from", xmin_from)]
    return [(f"mirror.{name}", str(value)) for name, value in values if value is not None]


def _set_values(
    execute: Callable[[str, Sequence[str]], object],
    values: Sequence[tuple[str, str]],
    placeholders: str = "%s, %s",
) -> None:
    for pair in values:
        execute(f"SELECT set_config({placeholders}, false)", pair)


@dataclass(frozen=True)
class Snapshot:
    """One REPEATABLE READ view of the source: its order among all snapshots, and what can be read in it.

    `version` is the database's time when it was taken, in microseconds since 1970, unique and rising per
    database; `xmin` is the lowest transaction id that was still running then, `xmax` the first not yet given,
    and `system` the cluster that these ids belong to. `control` holds the snapshot open, `arrow` is a cursor
    of the Arrow driver in a session of its own, in the same snapshot.
    """

    source: Source
    version: int
    xmin: int
    xmax: int
    system: int
    control: psycopg.Connection[Any]
    arrow: Any

    def stream(self, spec: TableSpec, read: Read) -> Iterator[pa.RecordBatch]:
        """Yield the rows of `read` in Arrow batches of about 8 MB, in no particular order.

        Raises ValueNotHeldError naming table, column and key where PostgreSQL can't turn a value into what the
        extraction's SQL asks for.
        """
        import adbc_driver_manager

        xmin_from = self._usable_xmin(read)
        wall = wall_bounds(read.window.inicio, read.window.fim, self.source.zone)
        values = _values(read.window, wall, xmin_from)
        predicate = _changed(spec, read.window, since_xmin=xmin_from is not None).as_string(self.control)
        query = spec.extract.read_text().replace("{{ changed }}", predicate)
        _set_values(self.control.execute, values)
        self._warn_of_sequential_scan(spec, query)
        try:
            self.arrow.adbc_statement.set_options(
                **{"adbc.postgresql.batch_size_hint_bytes": str(BATCH_BYTES)}
            )
            _set_values(self.arrow.execute, values, placeholders="$1, $2")
            self.arrow.execute(query)
            yield from self.arrow.fetch_record_batch()
        except (adbc_driver_manager.Error, OSError) as error:  # OSError: Arrow's, once rows are flowing
            self._explain(spec, read, error)

    def _usable_xmin(self, read: Read) -> int | None:
        """Return the lowest transaction id to look for; None where ids of then can't be compared with today's."""
        if read.reread is None or read.reread.system != self.system:
            return None
        passed = self.xmax - read.reread.xmin_from
        return read.reread.xmin_from if 0 <= passed <= XID_WRAP_MARGIN else None

    def _warn_of_sequential_scan(self, spec: TableSpec, query: str) -> None:
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
    source: Source,
    connection: psycopg.Connection[Any],
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
    from adbc_driver_postgresql import dbapi

    begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
    patience = f"SET LOCAL lock_timeout = {int(DDL_PATIENCE.total_seconds() * 1000)}"
    tables = sql.SQL(", ").join(sql.Identifier(spec.schema, spec.name) for spec in specs)
    lock = sql.SQL("LOCK TABLE {} IN ACCESS SHARE MODE").format(tables).as_string(connection)
    with ExitStack() as resources:
        try:
            reading = resources.enter_context(dbapi.connect(source.session_conninfo, autocommit=True))
            arrow = resources.enter_context(reading.cursor())
            for statement in (begin, patience, lock):
                arrow.execute(statement)
            _one(connection, "SELECT pg_advisory_lock(%s)", (LOCK_KEY,))
            for statement in (begin, patience, lock):
                connection.execute(statement.encode())
            xmin, xmax, name, version, system = _one(
                connection,
                "SELECT pg_snapshot_xmin(s)::text::bigint, pg_snapshot_xmax(s)::text::bigint, pg_export_snapshot(),"
                " (extract(epoch FROM clock_timestamp()) * 1000000)::bigint,"
                " (SELECT system_identifier FROM pg_control_system()) FROM pg_current_snapshot() AS s",
            )
            highest = newest_version()
            _one(connection, "SELECT pg_advisory_unlock(%s)", (LOCK_KEY,))
            arrow.execute(sql.SQL("SET TRANSACTION SNAPSHOT {}").format(name).as_string(connection))
        except BaseException as error:
            # The session's end frees the advisory lock too; a failed transaction would refuse to.
            connection.close()
            if isinstance(error, psycopg.errors.LockNotAvailable | adbc_driver_manager.Error):
                reason = str(error).splitlines()[0]
                raise SourceError(
                    f"no snapshot of {', '.join(spec.source_name for spec in specs)}: {reason}. A session that "
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
            yield Snapshot(source, version, xmin, xmax, system, connection, arrow)
        finally:
            if not connection.broken:
                connection.rollback()
