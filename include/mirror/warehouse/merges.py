"""Merges the parts of partitions, so that views stay quick to read.

Each run adds a part to every partition that it publishes into. A view reads with FINAL, which compares the rows of parts
that overlap: a sum takes about four times as long as over a single part, and a count fifty times. ClickHouse merges parts
when it sees fit, which is late for a few small ones beside a large one.

A merge changes no row, and readers see the parts of before until it is done. If it is killed or refused, nothing has
happened.
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from time import monotonic
from typing import TYPE_CHECKING

from clickhouse_connect.driver.exceptions import Error as ClickHouseError

from include.mirror import names
from include.mirror.templates import render
from include.mirror.warehouse.client import Warehouse

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

log = logging.getLogger(__name__)

MOST = 8
"""A partition with more parts is merged."""

SMALL = 100_000
"""A partition with fewer rows is read quickly, and merged for nothing but its number of parts."""

RATE = 6_000_000
"""How many bytes a partition of 100,000 rows or more may cost for each second since its last merge, uncompressed. All that
could be merged counts, so merging takes a twentieth of a processor's time, however large the tables are. A partition of ten
million sales is merged every two minutes by this."""

SHARE = 10
"""It is also merged once a tenth of its rows is outside of its largest part, as after a large load."""

LARGEST = 20_000_000
"""A partition with more rows is left to ClickHouse: merging it would take minutes."""

PATIENCE = 60.0
"""After this many seconds, the rest is left to the next run."""


def merge(warehouse: Warehouse, client: Client, tables: Collection[str]) -> None:
    """Merge the partitions of these tables that have too many parts, each into one."""
    if not tables:
        return
    limits = {"most": MOST, "largest": LARGEST, "small": SMALL, "rate": RATE, "share": SHARE}
    found = client.query(
        render("read_overlapping"),
        parameters={"storage": warehouse.storage, "tables": sorted(tables), **limits},
    ).result_rows
    began = monotonic()
    for number, (table, partition) in enumerate(found):
        if monotonic() - began > PATIENCE:
            log.info("%d partitions are left for the next run to merge", len(found) - number)
            return
        try:
            client.command(
                f"OPTIMIZE TABLE {names.ch(warehouse.storage, table)} PARTITION ID {names.ch_text(partition)} FINAL"
            )
        except ClickHouseError as error:
            log.warning(
                "partition %s of %s could not be merged: %s", partition, table, " ".join(str(error).split())
            )
