"""Finds the reads of a pass that have nothing to move: one statement on each server, for all tables of the pass.

Most tables change rarely. PostgreSQL looks for rows in the snapshot itself, by the same conditions that would read them.
Keys are compared by their number and the sum of their hashes, as reconciliation compares rows: if both sides have the same,
the warehouse has no key that the source lacks.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import psycopg

from include.conventions.heals import postgres_heals
from include.mirror import names
from include.mirror.checksums import of_source, of_warehouse
from include.mirror.plan import Copy, Keys, Log, Read, Rebuild, Repair, Work
from include.mirror.source.changes import Changes, Parameters, Refer
from include.mirror.source.session import run
from include.mirror.source.snapshot import Snapshot
from include.mirror.spec import TableSpec
from include.mirror.warehouse.client import FINAL, WIDE
from include.mirror.warehouse.table import WarehouseTable

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

log = logging.getLogger(__name__)

Wanted = Callable[[Work, Refer], Changes]
"""Returns the condition that selects a read's rows."""


class _Sum(NamedTuple):
    """How many keys there are, and the sum of their hashes."""

    rows: int
    total: int


def idle(
    works: Sequence[Work],
    current: Snapshot,
    client: Client,
    tables: Mapping[str, WarehouseTable],
    wanted: Wanted,
) -> set[int]:
    """Return the indexes in `works` of the reads that have nothing to move.

    Copies, rebuilds and repairs are never among them. If PostgreSQL refuses the statement, the result is empty: then each
    table is read by itself, and the error names the wrong one.
    """
    parameters = Parameters()
    asked: list[str] = []
    compared: dict[int, WarehouseTable] = {}
    for place, work in enumerate(works):
        table = tables[work.tabela]
        if isinstance(work, Keys):
            compared[place] = table.of_keys
            asked.append(_key_sum(place, current, table.of_keys))
        elif isinstance(work, Log) and not is_continuous(work, table.spec, current):
            continue
        elif not isinstance(work, Copy | Rebuild | Repair):
            spec = table.spec.of_log if isinstance(work, Log) else table.spec
            first = f"SELECT 1::bigint FROM {current.table(spec).relation} WHERE {wanted(work, parameters).condition}"  # noqa: S608
            if isinstance(work, Read):
                # For the index. Otherwise PostgreSQL may scan the table: it assumes that matching rows are everywhere.
                first += f" ORDER BY {names.pg(spec.change_column or '')}"
            asked.append(f"SELECT {place}, coalesce(({first} LIMIT 1), 0), NULL")
    if not asked:
        return set()
    try:
        found = run(current.control, " UNION ALL ".join(asked), parameters.values).fetchall()
    except psycopg.Error as error:
        if postgres_heals(error):
            raise
        log.info(
            "each table is read by itself, because of an error of one of them: %s",
            " ".join(str(error).split()),
        )
        current.roll_back()
        return set()
    theirs = _key_sums(client, compared)
    return {
        place
        for place, rows, total in found
        if (_Sum(rows, int(total or 0)) == theirs[place] if place in compared else not rows)
    }


def is_continuous(work: Log, spec: TableSpec, current: Snapshot) -> bool:
    """Return whether the log's rows since its last reading are all deletions since then."""
    return (
        work.xmin is not None
        and spec.log is not None
        and work.log == spec.log.identity
        and current.comparable(work.xmin, work.system)
    )


def _key_sum(place: int, current: Snapshot, keys: WarehouseTable) -> str:
    encoding = current.control.info.parameter_status("server_encoding") or "UTF8"
    hashed = of_source(keys.spec, encoding).hash
    return f"SELECT {place}, count(*), sum({hashed})::text FROM {current.table(keys.spec).relation}"  # noqa: S608


def _key_sums(client: Client, compared: Mapping[int, WarehouseTable]) -> dict[int, _Sum]:
    if not compared:
        return {}
    asked = [
        f"SELECT {place}, count(), toString(sum(toInt128({of_warehouse(keys.spec).hash}))) FROM {keys.name} FINAL"  # noqa: S608
        for place, keys in compared.items()
    ]
    found = client.query(" UNION ALL ".join(asked), settings=WIDE | FINAL).result_rows
    return {place: _Sum(rows, int(total)) for place, rows, total in found}
