"""Counts the keys on both sides, to find tables of which the warehouse lacks keys. Only tables up to a size are counted:
those whose keys are compared in each run.

Comparing keys finds the keys that only the warehouse has. A key that only the source has is usually still on its way. It is
lost only if nothing is on its way: the ledger owes nothing for the table, and no row has a time after what is covered.

The order of the three queries makes this certain: first the ledger, then the warehouse, then the source in one statement.
Every row that the source has then was published before the first query. So the warehouse must have at least as many keys. A
key that is deleted in between can hide a missing one; the next run counts again.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, NamedTuple

from include.mirror import names
from include.mirror.warehouse.client import Warehouse

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client


class Count(NamedTuple):
    """The number of keys of a table on each side, while none is on its way."""

    source: int
    warehouse: int

    @property
    def lacking(self) -> int:
        """How many keys the warehouse lacks at least."""
        return max(0, self.source - self.warehouse)


def held(warehouse: Warehouse, client: Client, tables: Collection[str]) -> dict[str, int]:
    """Return how many keys the warehouse has of each of these tables, by name, in one statement."""
    if not tables:
        return {}
    asked = [
        f"SELECT {number}, count() FROM {names.ch(warehouse.views, name)}"  # noqa: S608
        for number, name in enumerate(tables)
    ]
    found = dict(client.query(" UNION ALL ".join(asked)).result_rows)
    return {name: int(found[number]) for number, name in enumerate(tables)}
