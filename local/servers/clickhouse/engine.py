"""The chDB engine of this process: opened on a data folder, used through handles, closed at the end.

A handle is a connection to the engine. It has its own current database, settings and temporary tables, and runs one
statement at a time; handles run in parallel. The engine has one user. The configuration written here grants it what a client
of ClickHouse needs, but no access to the machine's files or programs.
"""

from __future__ import annotations

import contextlib
import fcntl
import re
import threading
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from local.servers.clickhouse.allowed import GRANTS, constraints, fixed, known
from local.servers.clickhouse.chdb_import import chdb
from local.servers.clickhouse.errors import ClickHouseError, DataFolderError
from local.servers.clickhouse.reach import take_folder

_SERVER_XML = """<clickhouse>
  <users_config>{users}</users_config>
  <user_files_path>{data}/user_files/</user_files_path>
  <custom_local_disks_base_directory>{data}/disks/</custom_local_disks_base_directory>
  <access_control_improvements>
    <table_engines_require_grant>true</table_engines_require_grant>
  </access_control_improvements>
</clickhouse>
"""

# implicit_select would run a misspelt statement as an expression; it is off in a server. With async_insert, an INSERT would
# wait in memory; here each INSERT is acknowledged when its parts are written. python() reads objects of this process.
_USERS_XML = """<clickhouse>
  <profiles><default>
    <fsync_metadata>{lasting:d}</fsync_metadata>
    <compile_expressions>{lasting:d}</compile_expressions>
    <compile_aggregate_expressions>{lasting:d}</compile_aggregate_expressions>
    <compile_sort_description>{lasting:d}</compile_sort_description>
    <implicit_select>0</implicit_select>
    <async_insert>0</async_insert>
    <allow_python_table_function>0</allow_python_table_function>
    <constraints>{constraints}</constraints>
  </default></profiles>
  <users><default>
    <password></password>
    <networks><ip>127.0.0.1</ip><ip>::1</ip></networks>
    <profile>default</profile>
    <quota>default</quota>
    <grants>{grants}</grants>
  </default></users>
  <quotas><default/></quotas>
</clickhouse>
"""

_SETTING_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


@dataclass(frozen=True)
class Result:
    """A statement's output (empty if it was written to a file), and its counts."""

    output: bytes
    read_rows: int
    read_bytes: int
    written_rows: int
    written_bytes: int
    result_rows: int
    result_bytes: int
    elapsed_ns: int


def quote(text: str) -> str:
    """Return `text` as a ClickHouse string literal."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def quote_name(name: str) -> str:
    """Return `name` as a quoted ClickHouse identifier."""
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"


def _pairs(text: str) -> list[tuple[str, str]]:
    return [(name, value) for name, value in (line.split("\t") for line in text.splitlines())]


class Handle:
    """One connection to the engine. Two threads must not use it at the same time."""

    def __init__(self, location: str, lasting: bool) -> None:
        """Open a handle. If it is not `lasting`, it serves one request and is then closed."""
        self._lasting = lasting
        self.tag = uuid.uuid4().hex
        self._database = "default"
        self._base_database = "default"
        self._overlay: dict[str, str] = {}
        self._own: dict[str, str] | None = None
        try:
            # The tag is in the settings of all queries of the handle: `Engine.kill` finds them by it.
            self._connection: Any = chdb.connect(
                f"{location}&log_comment={self.tag}&storage_file_read_method=pread"
            )
        except RuntimeError as error:
            raise ClickHouseError.from_engine(str(error)) from None

    def query(
        self, sql: str | bytes, output_format: str = "TabSeparated", params: Mapping[str, str] | None = None
    ) -> Result:
        """Run one statement, which may contain any bytes. Raises ClickHouseError with the engine's own code and message."""
        try:
            result = self._connection.query(sql, output_format, params=dict(params or {}))
        except (chdb.ChdbError, RuntimeError) as error:
            raise ClickHouseError.from_engine(str(error)) from None
        except UnicodeDecodeError as error:
            # The engine's message quotes bytes of the statement or of a column.
            raise ClickHouseError.from_engine(error.object.decode(errors="replace")) from None
        return Result(
            output=result.bytes() or b"",
            read_rows=result.storage_rows_read(),
            read_bytes=result.storage_bytes_read(),
            written_rows=result.rows_written(),
            written_bytes=result.bytes_written(),
            result_rows=result.rows_read(),
            result_bytes=result.bytes_read(),
            elapsed_ns=int(result.elapsed() * 1e9),
        )

    def prepare(self, database: str | None, settings: Mapping[str, str]) -> None:
        """Apply a request's database and settings over the handle's own, and remove those of the previous request."""
        wanted_database = database or self._base_database
        if wanted_database != self._database:
            self.query(f"USE {quote_name(wanted_database)}")
            self._database = wanted_database
        self._restore([name for name in self._overlay if name not in settings])
        changed = {name: value for name, value in settings.items() if self._overlay.get(name) != value}
        if not changed:
            return
        for name in changed:
            if not _SETTING_NAME.match(name):
                raise ClickHouseError(115, "UNKNOWN_SETTING", f"Unknown setting {name!r}")
        if self._lasting and self._own is None:
            self._own = self._changed()
        try:
            self.query("SET " + ", ".join(f"{name} = {quote(value)}" for name, value in changed.items()))
        except ClickHouseError:
            # The settings before the wrong one may be set already.
            for name in changed:
                self._overlay.pop(name, None)
                with contextlib.suppress(ClickHouseError):
                    self.query(f"SET {name} = {self._value(name)}")
            raise
        self._overlay.update(changed)

    def _changed(self) -> dict[str, str]:
        """Return the handle's own settings that differ from the defaults, as literals. Call it before any overlay."""
        listed = self.query("SELECT name, hex(value) FROM system.settings WHERE changed")
        return {name: quote(bytes.fromhex(value).decode()) for name, value in _pairs(listed.output.decode())}

    def bare(self) -> None:
        """Remove the last request's settings, so that a SET or USE changes the handle's own."""
        self._restore(list(self._overlay))
        self._own = None

    def _value(self, name: str) -> str:
        return (self._own or {}).get(name, "DEFAULT")

    def changed_database(self) -> None:
        """Store the current database after a USE statement, for later requests without a database."""
        name = self.query("SELECT currentDatabase() FORMAT TabSeparatedRaw").output.decode()
        self._database = self._base_database = name.removesuffix("\n")

    def _restore(self, names: list[str]) -> None:
        if names:
            self.query("SET " + ", ".join(f"{name} = {self._value(name)}" for name in names))
            for name in names:
                del self._overlay[name]

    def close(self) -> None:
        """Close the connection; the handle's temporary tables are dropped."""
        self._connection.close()


class Engine:
    """The engine on one data folder, from construction until `close`."""

    def __init__(self, data: Path, short_lived: bool = False) -> None:
        """Open the engine. A table's definition is on the disk when its statement ends, unless the engine is `short_lived`.

        Raises DataFolderError if the folder can't be used, or is in use."""
        self.data = take_folder(data)
        self._lasting = not short_lived
        service = self.data / "service"
        try:
            (self.data / "user_files").mkdir(exist_ok=True)
            self.spool = service / "spool"
            self._lock = (service / "lock").open("w")
            self._configure(service, "")
        except OSError as error:
            raise DataFolderError(f"cannot use the data folder {data}: {error.strerror or error}") from None
        self._claim()
        if set("?&%#") & set(str(self.data)):
            raise DataFolderError(f"the path of the data folder must hold none of ? & % #: {self.data}")
        self._location = f"{self.data}?config-file={service / 'server.xml'}"
        try:
            self._configure(service, self._constraints())
            self._admin = Handle(self._location, lasting=True)
            self._plain_default_database()
            answer = self._admin.query("SELECT version(), timezone() FORMAT TabSeparatedRaw").output.decode()
        except ClickHouseError as error:
            raise DataFolderError(f"the engine cannot open {self.data}: {error.message}") from None
        self._admin_use = threading.Lock()
        self.version, self.timezone = answer.split()

    def _configure(self, service: Path, constraints: str) -> None:
        users = service / "users.xml"
        grants = "".join(f"<query>{escape(grant)}</query>" for grant in GRANTS)
        users.write_text(_USERS_XML.format(lasting=self._lasting, grants=grants, constraints=constraints))
        (service / "server.xml").write_text(
            _SERVER_XML.format(users=escape(str(users)), data=escape(str(self.data)))
        )

    def _constraints(self) -> str:
        """Return the constraints of settings.

        Only an engine knows all settings, and it reads its constraints when it is opened. So an engine of an unknown version
        is opened twice.
        """
        if (names := known(version("chdb"))) is not None:
            return constraints(names)
        handle = Handle(self._location, lasting=False)
        try:
            query = handle.query("SELECT name, type FROM system.settings").output.decode()
            table = handle.query("SELECT name, type FROM system.merge_tree_settings").output.decode()
        finally:
            handle.close()
        return constraints(fixed(_pairs(query), _pairs(table)))

    def _claim(self) -> None:
        """Check that no other process uses the folder. The engine itself would fail without naming the reason."""
        status = self.data / "status"
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if status.exists():
                # Another program's engine, without this service, holds only this lock.
                with status.open("rb") as held:
                    fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DataFolderError(
                f"the data folder {self.data} is in use by another process; stop that one, or give another --data"
            ) from None

    def _plain_default_database(self) -> None:
        """Make `default` an ordinary database.

        In the embedded engine, `default` also contains the machine's files: `FROM "/any/file"` reads a file, and an unknown
        table raises an error about the right to read files instead of "unknown table".
        """
        metadata = self.data / "metadata"
        self._admin.query("DETACH DATABASE default")
        if (metadata / "default").exists():
            self._admin.query("ATTACH DATABASE default")
        else:
            # The database never had a table. Then DETACH removes the database, but not its file.
            (metadata / "default.sql").unlink(missing_ok=True)
            self._admin.query("CREATE DATABASE default ENGINE = Atomic")

    def handle(self, lasting: bool) -> Handle:
        """Open a handle for one request, or (`lasting`) for a session. Takes about 0.2 ms."""
        return Handle(self._location, lasting)

    def kill(self, tag: str) -> None:
        """Cancel the statement that the handle with this tag runs, if any."""
        with self._admin_use:
            self._admin.query(f"KILL QUERY WHERE Settings['log_comment'] = {quote(tag)} ASYNC")

    def close(self) -> None:
        """Close the engine. All other handles must be closed already."""
        self._admin.close()
        self._lock.close()
