"""SHOW CREATE TABLE for tables of the database `system`, of which the embedded engine keeps no statements.

A server builds these statements from the tables themselves: columns, engine, comment. Here they are built from what
`system.columns` and `system.tables` show.
"""

from __future__ import annotations

import json
import re

from local.servers.clickhouse.engine import Handle, Result, quote, quote_name
from local.servers.clickhouse.errors import ClickHouseError

_NO_STATEMENT = re.compile(r"There is no metadata of table (.+) in database system\.?\Z", re.DOTALL)
_TABLE = "SELECT engine, comment FROM system.tables WHERE database = 'system' AND name = "
_COLUMNS = (
    "SELECT name, type, default_kind, default_expression FROM system.columns "
    "WHERE database = 'system' AND table = "
)


def show_create(handle: Handle, error: ClickHouseError, output_format: str) -> Result | None:
    """Return the result of a SHOW CREATE that failed with `error`; None if the error has another reason."""
    if error.code != 60 or (found := _NO_STATEMENT.match(error.message)) is None:
        return None
    name = found[1]
    tables = _rows(handle, _TABLE + quote(name))
    if not tables:
        return None
    engine, comment = tables[0]
    columns = [
        " ".join(filter(None, [quote_name(column), *kind]))
        for column, *kind in _rows(handle, _COLUMNS + quote(name) + " ORDER BY position")
    ]
    statement = f"CREATE TABLE system.{quote_name(name)} ({', '.join(columns)}) ENGINE = {engine}"
    if comment:
        statement += f" COMMENT {quote(comment)}"
    return handle.query(f"SELECT formatQuery({quote(statement)}) AS statement", output_format)


def _rows(handle: Handle, sql: str) -> list[list[str]]:
    return [json.loads(line) for line in handle.query(sql, "JSONCompactEachRow").output.splitlines()]
