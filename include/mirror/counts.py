"""Whether the warehouse lacks keys, where that is cheap to ask: tables of up to the size whose keys each run compares.

Comparing keys finds those that the source has no more. A key that only the source has is mostly on its way; it is lost where
nothing can be. That is so of a table with windows when the ledger owes it nothing and no row has a time after what is
covered. The order of the three looks makes it sure: the ledger, then the warehouse, then the source in one statement. All
rows that the source has then were published before the ledger said so, so the warehouse had as many keys at least. A key
that was deleted in between can hide a missing one; the next run counts again.
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
    """How many keys of a table each side has, where none is on its way."""

    source: int
    warehouse: int

    @property
    def lacking(self) -> int:
        """How many the warehouse lacks, at least."""
        return max(0, self.source - self.warehouse)


def count(
    engine: Engine, source: Connection, client: Client, specs: Mapping[TableSpec, datetime]
) -> dict[str, Count]:
    """Return the counts of those of these tables that are quiet, by name.

    `specs` are tables with windows of which nothing is owed, each with the instant until which all of it is covered; the
    ledger was asked before this.
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
        # The earliest value of an instant that is not covered, also on a night when an hour comes twice.
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
