"""Whether a table still has every part that the mirror has given it, unchanged.

ClickHouse numbers the blocks of rows that it adds to a table, and a merge keeps the numbers of what it has merged. So
blocks that were there once are there for ever, in some part, unless somebody has emptied or dropped the table or a
partition, detached a part, or restored a backup. DELETE and UPDATE leave the number of their mutation.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, NamedTuple

from include.mirror.templates import render
from include.mirror.warehouse.client import Warehouse

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client


class Part(NamedTuple):
    """Blocks of one partition, from `low` to `high`, last changed by `mutation`, 0 for none."""

    partition: str
    low: int
    high: int
    mutation: int


def read(warehouse: Warehouse, client: Client, tables: Collection[str]) -> dict[str, list[Part]]:
    """Return the active parts of these tables, in one statement."""
    found: dict[str, list[Part]] = {name: [] for name in tables}
    if not found:
        return found
    for name, *part in client.query(
        render("read_parts"), parameters={"storage": warehouse.storage, "tables": list(found)}
    ).result_rows:
        found[name].append(Part(*part))
    return found


def lost(noted: Iterable[Part], now: Iterable[Part]) -> str | None:
    """Return what is wrong with a table that had the noted parts and has these now, None where nothing is."""
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
