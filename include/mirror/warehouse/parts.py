"""Detects whether somebody has removed or changed rows of a warehouse table since the mirror published them.

ClickHouse numbers the blocks of rows that it adds to a table. A merged part keeps the range of its blocks' numbers. So a
block that was there once stays in some part for ever, unless somebody has emptied or dropped the table or a partition,
detached a part, or restored a backup. DELETE and UPDATE leave the number of their mutation in the part.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from include.mirror.templates import render
from include.mirror.warehouse.client import Warehouse

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client


class Part(NamedTuple):
    """A part: the blocks `low` to `high` of one partition. `mutation` is the number of the last mutation, 0 for none."""

    partition: str
    low: int
    high: int
    mutation: int


def read(warehouse: Warehouse, client: Client, tables: Collection[str]) -> dict[str, list[Part]]:
    """Return the active parts of these tables, in one statement."""
    if not tables:
        return {}
    rows = client.query(
        render("read_parts"), parameters={"storage": warehouse.storage, "tables": list(tables)}
    ).result_rows
    return {name: [] for name in tables} | by_table(rows)


def by_table(rows: Iterable[Sequence[Any]]) -> dict[str, list[Part]]:
    """Return the parts of each table from the rows of the query `read_parts`."""
    found: dict[str, list[Part]] = {}
    for name, *part in rows:
        found.setdefault(name, []).append(Part(*part))
    return found


def lost(noted: Iterable[Part], now: Iterable[Part]) -> str | None:
    """Return what is wrong with a table that had the `noted` parts and has the parts `now`, None if nothing is."""
    by_partition: dict[str, list[Part]] = {}
    for part in now:
        by_partition.setdefault(part.partition, []).append(part)
    for before in noted:
        holding = [
            part
            for part in by_partition.get(before.partition, ())
            if part.low <= before.low and part.high >= before.high
        ]
        if not holding:
            return f"rows of partition {before.partition} are gone that were in the warehouse's table"
        if min(part.mutation for part in holding) > before.mutation:
            return f"somebody has changed or deleted rows in partition {before.partition} of the warehouse's table"
    return None
