"""One statement of one request, and how the engine runs it."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import IO

from local.servers.clickhouse.engine import Handle, Result, quote_name
from local.servers.clickhouse.errors import ClickHouseError
from local.servers.clickhouse.request import Parameters
from local.servers.clickhouse.statement import RESERVED, Input, Kind, Statement, check_structure, guard
from local.servers.clickhouse.system_tables import show_create

# Up to this size, the values of an INSERT may be expressions, and are checked for calls that read files.
_LARGEST_EXPRESSIONS = 1 << 20
_MOST_BLANKS = 1024


@dataclass
class ExternalTable:
    """An uploaded file, or the data of input(), that is a table for one statement."""

    name: str
    structure: str
    format: str
    file: IO[bytes]
    engine: str = "Memory"
    settings: bytes = b""
    """The SETTINGS clause for reading the file."""


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
        if statement.kind is Kind.OTHER or statement.selection is not None:
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
        selection = self.statement.selection
        if selection is not None and selection.input is not None:
            # The rows keep the order that they have in the body.
            settings |= {"max_threads": "1"}
        elif selection is not None and self.data is not None and not _is_blank(self.data):
            raise ClickHouseError(
                477,
                "INVALID_USAGE_OF_INPUT",
                "Data after INSERT ... SELECT ... FORMAT, but the statement has no input() that reads it.",
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
        tables = list(self.external)
        try:
            if selection is not None and (call := selection.input) is not None and self.data is not None:
                tables.append(read := self._input_table(call, self.data, selection.settings))
                sql = sql[: call.start] + quote_name(read.name).encode() + sql[call.end :]
            for table in tables:
                name = quote_name(table.name)
                create = f"CREATE TEMPORARY TABLE {name} ({table.structure}) ENGINE = {table.engine}"
                handle.query(create.encode(errors="surrogateescape"))
                infile = f"INSERT INTO {name} FROM INFILE '/dev/fd/{table.file.fileno()}' ".encode()
                handle.query(infile + table.settings + f" FORMAT {table.format}".encode())
            result = self._query(sql)
        finally:
            for table in tables:
                handle.query(f"DROP TEMPORARY TABLE IF EXISTS {quote_name(table.name)}")
        if self.statement.verb == "USE":
            handle.changed_database()
        return result

    def _query(self, sql: bytes) -> Result:
        output_format = self.parameters.default_format
        try:
            return self.handle.query(sql, output_format, self.parameters.query_parameters)
        except ClickHouseError as error:
            if self.statement.verb == "SHOW":
                shown = show_create(self.handle, error, self.statement.format or output_format)
                if shown is not None:
                    return shown
            raise

    def _input_table(self, call: Input, data: IO[bytes], settings: tuple[bytes, ...]) -> ExternalTable:
        """Return the INSERT's data as a table, which stands in the statement for input().

        The engine's own input() reads nothing here, without an error. file() would be a way to all files.
        """
        structure = b""
        if call.structure:
            structure = self.handle.query(
                b"SELECT toString((" + call.structure + b")) FORMAT RawBLOB",
                params=self.parameters.query_parameters,
            ).output
        if structure in (b"", b"auto"):
            raise ClickHouseError(
                636,
                "CANNOT_EXTRACT_TABLE_STRUCTURE",
                "Table function 'input' was used without structure argument but structure could not be determined "
                "automatically. Please, provide structure manually.",
            )
        check_structure(structure)
        return ExternalTable(
            name=f"_input_{secrets.token_hex(16)}",
            structure=structure.decode(errors="surrogateescape"),
            format=self.statement.format or "",
            file=data,
            # On the disk, for a body of any size. It has no key, so it accepts all types and keeps the order.
            engine="MergeTree ORDER BY tuple()",
            settings=b"SETTINGS " + b", ".join(settings) if settings else b"",
        )


def _is_blank(data: IO[bytes]) -> bool:
    """Return whether a file has nothing but a few blanks."""
    begin = os.pread(data.fileno(), _MOST_BLANKS + 1, 0)
    return len(begin) <= _MOST_BLANKS and not begin.strip()


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
