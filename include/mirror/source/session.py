"""Opens the mirror's sessions in the source, and sets and checks their settings."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from secrets import token_hex
from typing import Any
from zoneinfo import ZoneInfo

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from include.conventions.heals import login_heals
from include.mirror.errors import SourceError, SourceUnavailableError

APPLICATION_NAME = "postgres to clickhouse mirror"
"""The application name of the mirror's own sessions. They only read, so windows don't wait for their transactions."""

Connection = psycopg.Connection[Any]
"""A session with placeholders such as `$1`, so that a `%` in a name needs no escape."""

_SETTINGS = {
    "TimeZone": "UTC",
    # How values are printed that travel as PostgreSQL's own text.
    "DateStyle": "ISO, YMD",
    "IntervalStyle": "postgres",
    "extra_float_digits": "1",
    "bytea_output": "hex",
    "xmlbinary": "base64",
    # A policy that would hide rows raises an error.
    "row_security": "off",
    # Types and operators are those of pg_catalog, whatever the role's own path is, and types always print the same name.
    "search_path": "pg_catalog",
    # JIT compilation would take longer than the catalog's queries: their cost estimates are too high.
    "jit": "off",
    # The session that holds a snapshot open is idle while another session reads in it.
    "idle_in_transaction_session_timeout": "0",
    "idle_session_timeout": "0",
    "lock_timeout": "1min",
    "client_encoding": "UTF8",
}

_SINCE = {"transaction_timeout": (170000, "0")}
"""Settings that older servers do not have: the first version with it, and the value."""

TOKEN = "mirror.session"  # noqa: S105 - a name
"""The mirror's own setting. If a session has lost it, a pooler has replaced the session."""


@dataclass(frozen=True)
class Source:
    """The source: a libpq connection string, and the time zone of its timestamps without zone.

    `timeout` limits each statement. A task passes its own execution timeout, so that PostgreSQL stops working for a task
    that Airflow has given up on. `name` is the connection's name in messages.
    """

    conninfo: str = field(repr=False)
    zone: ZoneInfo
    timeout: timedelta = timedelta(hours=1)
    name: str = "source"

    @property
    def address(self) -> str:
        """Host, port and database, for messages. It holds no secret."""
        parts = conninfo_to_dict(self.conninfo)
        return f"{parts.get('host', 'localhost')}:{parts.get('port', 5432)}/{parts.get('dbname', '')}"

    @property
    def session_conninfo(self) -> str:
        """The connection string of the mirror's own sessions."""
        # These settings must hold for the very first statement. The others are set once the session is open.
        given = conninfo_to_dict(self.conninfo).get("options") or ""
        options = f"{given} -c row_security=off -c statement_timeout=0".strip()
        return make_conninfo(self.conninfo, application_name=APPLICATION_NAME, options=options)

    def settings(self, version: int) -> dict[str, str]:
        """Return the settings of a session on a server of this version, such as 180004."""
        later = {name: value for name, (since, value) in _SINCE.items() if version >= since}
        return {**_SETTINGS, **later, "statement_timeout": f"{round(self.timeout.total_seconds() * 1000)}ms"}

    @contextmanager
    def connect(self) -> Iterator[Connection]:
        """Open a session in autocommit mode and set its settings.

        Raises SourceError naming the server if it refuses, SourceUnavailableError if trying again may help.
        """
        try:
            connection = psycopg.connect(
                self.session_conninfo,
                autocommit=True,
                connect_timeout=10,
                cursor_factory=psycopg.RawCursor,
                # No statement is worth being kept by the server, and some poolers would refuse it.
                prepare_threshold=None,
            )
        except psycopg.OperationalError as error:
            reason = " ".join(str(error).split())
            kind = SourceUnavailableError if login_heals(reason) else SourceError
            raise kind(f"PostgreSQL at {self.address} (connection {self.name}) refused: {reason}") from None
        with connection:
            settings = self.settings(connection.info.server_version)
            run(connection, *assign({**settings, TOKEN: token_hex(8)}))
            yield connection

    def check_session(self, version: int, found: Sequence[object]) -> None:
        """Raise SourceError unless a session's settings, in the order of `settings`, are those that the mirror has set."""
        for (name, wanted), value in zip(self.settings(version).items(), found, strict=True):
            if _normal(name, str(value)) != _normal(name, wanted):
                raise SourceError(
                    f"a session at {self.address} (connection {self.name}) has {name} = {value!r}, though the mirror set "
                    f"{wanted!r}: something between them, such as a connection pooler, drops settings or moves sessions; "
                    "connect to the server itself, or to a pool of whole sessions"
                )


def assign(settings: Mapping[str, str]) -> tuple[str, list[str]]:
    """Return the statement that sets these settings in a session, and its parameters."""
    calls = ", ".join(f"set_config(${2 * n + 1}, ${2 * n + 2}, false)" for n in range(len(settings)))
    return f"SELECT {calls}", [text for pair in settings.items() for text in pair]


def read_back(settings: Iterable[str]) -> str:
    """Return the expressions that read back a session's token, its process id and these settings."""
    current = ", ".join(f"current_setting('{name}')" for name in settings)
    return f"current_setting('{TOKEN}', true), pg_backend_pid(), {current}"


_UNITS = {"ms": 1, "s": 1000, "min": 60_000, "h": 3_600_000, "d": 86_400_000}


def _normal(name: str, value: str) -> str:
    """Return a setting's value in one form, because PostgreSQL prints a time in the largest unit that fits."""
    if not name.endswith("_timeout"):
        return value
    match = re.fullmatch(r"(\d+)(ms|s|min|h|d)?", value)
    return value if match is None else str(int(match[1]) * _UNITS[match[2] or "ms"])


def run(
    connection: Connection, query: str, parameters: Sequence[object] | None = None
) -> psycopg.Cursor[Any]:
    """Run one statement, which may be built only from constants and quoted identifiers."""
    return connection.execute(query.encode(), parameters)


def one(connection: Connection, query: str, parameters: Sequence[object] | None = None) -> tuple[Any, ...]:
    """Return the single row of a query that always returns one."""
    row = run(connection, query, parameters).fetchone()
    if row is None:
        raise SourceError("PostgreSQL returned no row where there always is one")
    return tuple(row)
