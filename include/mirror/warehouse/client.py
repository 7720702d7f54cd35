"""Where the warehouse is, and what is set for each statement that writes to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from include.mirror.warehouse.cluster import Cluster

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

WIDE = {
    # A table of hundreds of columns has a longer query than ClickHouse takes by default. 0 stands for any length.
    "max_query_size": 0,
    "max_ast_elements": 10_000_000,
    "max_expanded_ast_elements": 10_000_000,
}

SETTINGS = {
    **WIDE,
    # An insert answers when its rows are in a part, not when they are in a queue.
    "async_insert": 0,
    # NULL for a column that can't hold it is an error, not the type's default.
    "input_format_null_as_default": 0,
    "date_time_overflow_behavior": "throw",
    # An old window can touch every key range of a table.
    "max_partitions_per_insert_block": 0,
    "enable_time_time64_type": 1,
}

DROP = {
    # The limit protects people from dropping what they meant to keep.
    "max_table_size_to_drop": 0,
}


@dataclass(frozen=True)
class Warehouse:
    """A ClickHouse server (or an engine inside this process), the database that holds the tables, and that of the
    views that people query.

    `connect` returns a new client at each call: a client's session runs one query at a time. With a `cluster`, all of
    them reach the same replica: a stage is on that one alone.
    """

    connect: Callable[[], Client]
    storage: str
    views: str
    cluster: Cluster | None = None

    @contextmanager
    def client(self) -> Iterator[Client]:
        """Open a client and close it when the block ends."""
        client = self.connect()
        try:
            yield client
        finally:
            client.close()

    def create(self, client: Client, statement: str) -> None:
        """Run one CREATE statement, on every replica of the cluster if there is one."""
        client.command(
            statement if self.cluster is None else self.cluster.render(statement), settings=SETTINGS
        )
