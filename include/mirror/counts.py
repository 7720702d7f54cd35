"""Counts the keys on both sides, to find tables of which the warehouse lacks keys. Only tables up to a size are counted:
those whose keys are compared in each run.

Comparing keys finds the keys that only the warehouse has. A key that only the source has is usually still on its way. It is
lost only if nothing is on its way: the ledger owes nothing for the table, and no row has a time after what is covered.

The order of the three queries makes this certain: first the ledger, then the warehouse, then the source in one statement.
Every row that the source has then was published before the first query. So the warehouse must have at least as many keys. A
key that is deleted in between can hide a missing one; the next run counts again.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from include.mirror import names
from include.mirror.engine import Engine
from include.mirror.source import changes
from include.mirror.source.session import Connection, run
from include.mirror.source.table import SourceTable
from include.mirror.spec import TableSpec
from include.mirror.window import MICROSECOND

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


def count(
    engine: Engine, source: Connection, client: Client, specs: Mapping[TableSpec, datetime]
) -> dict[str, Count]:
    """Return the counts of both sides, by name, for the tables that have no row after what is covered.

    `specs` are tables with windows for which nothing is owed, each with the instant until which it is covered. The ledger
    must have been read before this call.
    """
    tables = list(specs)
    if not tables:
        return {}
    held = [
        f"SELECT {number}, count() FROM {names.ch(engine.warehouse.views, spec.name)}"  # noqa: S608
        for number, spec in enumerate(tables)
    ]
    theirs = dict(client.query(" UNION ALL ".join(held)).result_rows)
    asked, bounds = [], []
    for number, (spec, until) in enumerate(specs.items()):
        place = SourceTable(source, spec, engine.source.zone).relation
        # The earliest local time that is not covered, also on a night when the clock goes back and an hour comes twice.
        bounds.append(changes.wall_range(spec, until, until + MICROSECOND, engine.source.zone)[0].isoformat())
        later = f"{names.pg(spec.change_column or '')} >= ${number + 1}::{'timestamptz' if spec.zoned else 'timestamp'}"
        asked.append(
            f"SELECT {number}, (SELECT count(*) FROM {place}), EXISTS (SELECT FROM {place} WHERE {later})"  # noqa: S608
        )
    return {
        tables[number].name: Count(rows, theirs[number])
        for number, rows, is_moving in run(source, " UNION ALL ".join(asked), bounds).fetchall()
        if not is_moving
    }
