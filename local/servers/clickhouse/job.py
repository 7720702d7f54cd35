"""One statement of one request, and how the engine runs it."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import IO

from local.servers.clickhouse.engine import Handle, Result, quote_name
from local.servers.clickhouse.errors import ClickHouseError
from local.servers.clickhouse.request import Parameters
from local.servers.clickhouse.statement import RESERVED, Kind, Statement, guard

# Up to this size, the values of an INSERT may be expressions, and are checked for calls that read files.
_LARGEST_EXPRESSIONS = 1 << 20


@dataclass
class ExternalTable:
    """An uploaded file that is a table for one statement."""

    name: str
    structure: str
    format: str
    file: IO[bytes]


@dataclass
class Job:
    """One statement on one handle. Call `run` in a thread."""

    handle: Handle
    release: Callable[[], None]
    """Releases the handle; a second call does nothing. Call it before the answer's last byte: the client's next request
    may use the same session."""
    parameters: Parameters
    statement: Statement
    text: bytes
    data: IO[bytes] | None = None
    external: list[ExternalTable] = field(default_factory=list)
    output: int | None = None
    """The write end of the pipe for a QUERY's result."""
    cancelled: bool = False

    def run(self) -> Result:
        """Run the statement, and close the output, so that its reader sees the end. Raises ClickHouseError."""
        try:
            if self.cancelled:
                raise ClickHouseError(394, "QUERY_WAS_CANCELLED", "Query was cancelled.")
            return self._run(self._sql())
        finally:
            if self.output is not None:
                os.close(self.output)

    def _sql(self) -> bytes:
        statement, text = self.statement, self.text
        if statement.kind is Kind.OTHER:
            return text[: statement.end]
        before, after = text[: statement.clause], text[statement.clause : statement.end]
        if statement.kind is Kind.QUERY:
            if statement.format is None:
                after += f"\nFORMAT {self.parameters.default_format}".encode()
            return before + f"\nINTO OUTFILE '/dev/fd/{self.output}' APPEND\n".encode() + after
        if self.data is None or statement.format is None:
            raise ClickHouseError(108, "NO_DATA_TO_INSERT", "The INSERT has no data")
        infile = f"\nFROM INFILE '/dev/fd/{self.data.fileno()}'\n".encode()
        return before + infile + after + f"\nFORMAT {statement.format}".encode()

    def _run(self, sql: bytes) -> Result:
        handle = self.handle
        settings = self.parameters.settings(
            frozenset(key for table in self.external for key in form_keys(table.name))
        )
        inserted = [(table.format, table.file) for table in self.external]
        if self.data is not None and self.statement.format is not None:
            inserted.append((self.statement.format, self.data))
        for name, data in inserted:
            # The engine ignores the case of a format's name.
            if name.lower() == "values":
                settings |= _settings_for_values(data)
        if self.statement.verb in ("SET", "USE"):
            handle.bare()
            settings = {}
        handle.prepare(None if self.statement.verb == "USE" else self.parameters.database, settings)
        try:
            for table in self.external:
                handle.query(f"CREATE TEMPORARY TABLE {quote_name(table.name)} ({table.structure})")
                handle.query(
                    f"INSERT INTO {quote_name(table.name)} FROM INFILE '/dev/fd/{table.file.fileno()}' "
                    f"FORMAT {table.format}"
                )
            result = handle.query(sql, self.parameters.default_format, self.parameters.query_parameters)
        finally:
            for table in self.external:
                handle.query(f"DROP TEMPORARY TABLE IF EXISTS {quote_name(table.name)}")
        if self.statement.verb == "USE":
            handle.changed_database()
        return result


def _settings_for_values(data: IO[bytes]) -> dict[str, str]:
    """Prevent expressions in an INSERT's values from reading the machine's files.

    Returns settings for the statement. Raises ClickHouseError if an expression calls file().
    """
    size = os.fstat(data.fileno()).st_size
    if size <= _LARGEST_EXPRESSIONS:
        try:
            guard(os.pread(data.fileno(), size, 0))
        except ClickHouseError as error:
            if error.name != "SYNTAX_ERROR":
                raise
        else:
            return {}
    # Too large to check, or not readable as tokens: then the engine accepts plain values only.
    return {name.decode(): "0" for name in RESERVED}


def form_keys(name: str) -> tuple[str, str, str]:
    return f"{name}_structure", f"{name}_types", f"{name}_format"
