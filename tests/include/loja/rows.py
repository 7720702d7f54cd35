"""Short ways to write to and read from the store's database in tests."""

from __future__ import annotations

from typing import Any

from pymysql.connections import Connection


def execute(connection: Connection[Any], statement: str, *values: Any) -> int:
    """Execute and return how many rows it touched."""
    with connection.cursor() as cursor:
        return cursor.execute(statement, values or None)


def read(connection: Connection[Any], statement: str, *values: Any) -> list[tuple[Any, ...]]:
    """Return the rows as tuples."""
    with connection.cursor() as cursor:
        cursor.execute(statement, values or None)
        return [tuple(row.values()) for row in cursor.fetchall()]
