"""The ClickHouse side: stage, publish by partition, read back.

Rows are never inserted where people read. They go into a plain MergeTree stage of the same shape; what has
been verified there is attached to the table partition by partition, which is one atomic metadata operation
each. Readers see current rows through views with FINAL, so that rows that stand there twice, with two
versions, count once.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING, Any

from include.mirror.arrow import VERSION
from include.mirror.cluster import PUBLISH_SETTINGS, Cluster
from include.mirror.errors import SchemaError, VerificationError
from include.mirror.table import TableSpec
from include.mirror.verify import Digest, digest_expressions, read_digest

if TYPE_CHECKING:
    import pyarrow as pa
    from clickhouse_connect.driver.client import Client

log = logging.getLogger(__name__)

STAGE_PREFIX = "stage__"

SETTINGS = {
    # An insert answers when its rows are in a part, not when they are in a queue.
    "async_insert": 0,
    # NULL for a column that can't hold it is an error, not the type's default.
    "input_format_null_as_default": 0,
    "date_time_overflow_behavior": "throw",
    # An old window can touch every key range of a table.
    "max_partitions_per_insert_block": 0,
}

# Every mirrored table carries these beside its own columns.
_BOOKKEEPING = {VERSION: "UInt64", "is_deleted": "UInt8"}


@dataclass(frozen=True)
class Warehouse:
    """A ClickHouse server (or an engine inside this process), the database that holds the tables, and that of
    the views that people query.

    `connect` returns a new client at each call: a client's session runs one query at a time. With a `cluster`, all
    of them reach the same replica: a stage is on that one alone.
    """

    connect: Callable[[], Client]
    database: str = "vendas_raw"
    views: str = "vendas_dw"
    cluster: Cluster | None = None

    @contextmanager
    def client(self) -> Iterator[Client]:
        """Open a client and close it when the block ends."""
        client = self.connect()
        try:
            yield client
        finally:
            client.close()


def run_file(client: Client, path: Path, cluster: Cluster | None = None) -> None:
    """Run the one CREATE statement that a SQL file holds, on every replica of the cluster if there is one."""
    statement = path.read_text()
    client.command(statement if cluster is None else cluster.render(statement), settings=SETTINGS)


def create(client: Client, files: Iterable[Path], cluster: Cluster | None = None) -> None:
    """Create what is missing, one statement per file, in order; what exists stays as it is."""
    for path in files:
        # A statement for all replicas takes its time on each of them, and a run comes every two minutes.
        if cluster is None or not cluster.has(client, path.read_text()):
            run_file(client, path, cluster)


def check_table(client: Client, database: str, spec: TableSpec) -> None:
    """Raise SchemaError, naming what differs, unless the warehouse's table is what its spec and the mirror need.

    Another engine would keep the wrong one of two versions, another sorting key would not know them as one row,
    and a partition by anything but the key would part them.
    """
    table = f"{database}.{spec.name}"
    _check_columns(client, database, spec)
    engine, sorting_key, partition_key = client.query(
        "SELECT engine_full, sorting_key, partition_key FROM system.tables"
        " WHERE database = {database:String} AND name = {table:String}",
        parameters={"database": database, "table": spec.name},
    ).result_rows[0]
    if not re.match(rf"\w*ReplacingMergeTree\((.*, )?{VERSION}, is_deleted\)", engine):
        raise SchemaError(
            f"warehouse table {table} has engine {engine.split(' ')[0]}, expected ReplacingMergeTree({VERSION}, is_deleted)"
        )
    if sorting_key != spec.key:
        raise SchemaError(
            f"warehouse table {table} is ordered by {sorting_key or 'nothing'}, expected {spec.key}"
        )
    others = [column.name for column in spec.columns if column.name != spec.key] + list(_BOOKKEEPING)
    if wrong := [name for name in others if re.search(rf"\b{re.escape(name)}\b", partition_key)]:
        raise SchemaError(
            f"warehouse table {table} is partitioned by {partition_key}, which changes with {wrong[0]}: the versions of "
            f"one row would stand in several partitions; partition by a range of {spec.key}"
        )


def _check_columns(client: Client, database: str, spec: TableSpec) -> None:
    expected = {column.name: column.warehouse_type for column in spec.columns} | _BOOKKEEPING
    found = _columns(client, database, spec.name)
    for name, kind in expected.items():
        if name not in found:
            raise SchemaError(f"warehouse column {database}.{spec.name}.{name} is missing, expected {kind}")
        if found[name] != kind:
            raise SchemaError(
                f"warehouse column {database}.{spec.name}.{name} is {found[name]}, expected {kind}"
            )
    if unknown := set(found) - set(expected):
        raise SchemaError(
            f"warehouse table {database}.{spec.name} has columns that its TableSpec does not: {', '.join(sorted(unknown))}"
        )


def _columns(client: Client, database: str, table: str) -> dict[str, str]:
    return dict(
        client.query(
            "SELECT name, type FROM system.columns WHERE database = {database:String} AND table = {table:String}",
            parameters={"database": database, "table": table},
        ).result_rows
    )


def create_view(
    client: Client, views: str, database: str, spec: TableSpec, cluster: Cluster | None = None
) -> None:
    """Create the view that people query, or bring it in line with its spec.

    Raises SchemaError when something else has its name: a table there would hide that nothing arrives in it,
    and replacing it would destroy what it holds.
    """
    there = client.query(
        "SELECT engine, as_select FROM system.tables WHERE database = {database:String} AND name = {table:String}",
        parameters={"database": views, "table": spec.name},
    ).result_rows
    if there:
        engine, definition = there[0]
        if engine != "View" or f"{database}.{spec.name} FINAL" not in definition:
            raise SchemaError(
                f"{views}.{spec.name} is already there and is not the mirror's view (engine {engine}): make room for it, "
                f"such as RENAME TABLE {views}.{spec.name} TO {views}.{spec.name}_old"
            )
        if _columns(client, views, spec.name) == {
            column.name: column.warehouse_type for column in spec.columns
        }:
            return
    run_file(client, spec.create_view, cluster)


@dataclass(frozen=True)
class Stage:
    """One attempt's private copy of a table's shape, not visible to readers."""

    warehouse: Warehouse
    client: Client
    spec: TableSpec
    name: str

    def insert(self, client: Client, batch: pa.RecordBatch) -> None:
        """Insert one Arrow batch, as one request."""
        import pyarrow as pa

        client.insert_arrow(
            self.name, pa.Table.from_batches([batch]), database=self.warehouse.database, settings=SETTINGS
        )

    def digest(self) -> Digest:
        """Return the digest of the staged rows."""
        return digest(self.client, self.warehouse.database, self.name, self.spec)

    def rows(self, keys: Sequence[int]) -> dict[int, tuple[Any, ...]]:
        """Return the staged rows with these keys, by key, in the spec's column order."""
        columns = ", ".join(f"`{column.name}`" for column in self.spec.columns)
        position = [column.name for column in self.spec.columns].index(self.spec.key)
        result = self.client.query(
            f"SELECT {columns} FROM {self.warehouse.database}.`{self.name}`"  # noqa: S608 - identifiers only
            f" WHERE `{self.spec.key}` IN {{keys:Array(Int64)}}",
            parameters={"keys": list(keys)},
        ).result_rows
        return {row[position]: tuple(row) for row in result}

    def partitions(self) -> list[str]:
        """Return the ids of the partitions that hold staged rows."""
        rows = self.client.query(
            "SELECT DISTINCT partition_id FROM system.parts WHERE active AND rows > 0"
            " AND database = {database:String} AND table = {table:String} ORDER BY partition_id",
            parameters={"database": self.warehouse.database, "table": self.name},
        ).result_rows
        return [row[0] for row in rows]

    def publish(self, partition: str) -> None:
        """Attach one staged partition to the table that people read: atomic, and nothing is copied."""
        if not re.fullmatch(r"[0-9A-Za-z_-]+", partition):
            raise SchemaError(
                f"partition id {partition!r} of {self.spec.name} is not one that ClickHouse makes"
            )
        self.client.command(
            f"ALTER TABLE {self.warehouse.database}.`{self.spec.name}`"
            f" ATTACH PARTITION ID '{partition}' FROM {self.warehouse.database}.`{self.name}`",
            settings=SETTINGS if self.warehouse.cluster is None else SETTINGS | PUBLISH_SETTINGS,
        )

    def check_published(self, version: int, expected: Digest) -> None:
        """Raise VerificationError unless every staged row is published, or superseded by a newer version.

        `expected` is the digest of all that should stand in the table with this version.
        """
        if digest(self.client, self.warehouse.database, self.spec.name, self.spec, version) == expected:
            return
        # A run that read later may have published the same keys meanwhile, and a merge have dropped ours.
        columns = ", ".join(f"`{column.name}`" for column in self.spec.columns)
        table, key = f"{self.warehouse.database}.`{self.spec.name}`", f"`{self.spec.key}`"
        missing = self.client.query(
            f"SELECT count(), min({key}) FROM {self.warehouse.database}.`{self.name}`"  # noqa: S608 - identifiers only
            f" WHERE cityHash64(tuple({columns})) NOT IN"
            f" (SELECT cityHash64(tuple({columns})) FROM {table} WHERE {VERSION} = {{version:UInt64}})"
            f" AND {key} NOT IN (SELECT {key} FROM {table} WHERE {VERSION} > {{version:UInt64}})",
            parameters={"version": version},
        ).result_rows[0]
        if missing[0]:
            raise VerificationError(
                f"{self.spec.name}: {missing[0]} verified rows are not in the published table, "
                f"the first with {self.spec.key} = {missing[1]}"
            )


@contextmanager
def stage(warehouse: Warehouse, client: Client, spec: TableSpec, label: str) -> Iterator[Stage]:
    """Create a stage for one table and drop it when the block ends.

    `label` tells whose it is: the run and the try. A random suffix keeps two attempts apart in any case.

    On a cluster it is on one replica and is not replicated: attaching takes what the replica that runs it has of the
    stage at that moment, which of a replicated one may be a part.
    """
    safe = re.sub(r"[^0-9A-Za-z]+", "_", label)[:80]
    name = f"{STAGE_PREFIX}{spec.name}__{safe}__{token_hex(4)}"
    keys = client.query(
        "SELECT partition_key, sorting_key FROM system.tables"
        " WHERE database = {database:String} AND name = {table:String}",
        parameters={"database": warehouse.database, "table": spec.name},
    ).result_rows
    if not keys:
        raise SchemaError(f"warehouse table {warehouse.database}.{spec.name} does not exist")
    partition_key, sorting_key = keys[0]
    client.command(
        f"CREATE TABLE {warehouse.database}.`{name}` AS {warehouse.database}.`{spec.name}`"
        f" ENGINE = MergeTree PARTITION BY {partition_key or 'tuple()'} ORDER BY ({sorting_key})",
        settings=SETTINGS,
    )
    try:
        yield Stage(warehouse, client, spec, name)
    finally:
        # SYNC: the disk space is free when the block ends. A stage whose dropping fails is found later.
        try:
            client.command(f"DROP TABLE IF EXISTS {warehouse.database}.`{name}` SYNC")
        except Exception:
            log.warning("stage %s could not be dropped; a later run will", name, exc_info=True)


def drop_old_stages(client: Client, database: str, age: timedelta) -> list[str]:
    """Drop the stages that no living attempt can own any more, being older than `age`; return their names."""
    rows = client.query(
        "SELECT name FROM system.tables WHERE database = {database:String} AND startsWith(name, {prefix:String})"
        " AND metadata_modification_time < now() - toIntervalSecond({age:UInt32})",
        parameters={"database": database, "prefix": STAGE_PREFIX, "age": int(age.total_seconds())},
    ).result_rows
    for (name,) in rows:
        log.warning("dropping stage %s, left behind by an attempt that was killed", name)
        client.command(f"DROP TABLE IF EXISTS {database}.`{name}` SYNC")
    return [name for (name,) in rows]


def digest(client: Client, database: str, table: str, spec: TableSpec, version: int | None = None) -> Digest:
    """Return the digest of a table's rows, or of those with one version."""
    condition = "" if version is None else f" WHERE {VERSION} = {{version:UInt64}}"
    row = client.query(
        f"SELECT {', '.join(digest_expressions(spec))} FROM {database}.`{table}`{condition}",  # noqa: S608 - identifiers
        parameters=None if version is None else {"version": version},
    ).result_rows[0]
    return read_digest(spec, row)
