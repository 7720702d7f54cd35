"""One mirrored table of the warehouse, and its stages: load, verify, publish, and check what was published."""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from secrets import token_hex
from typing import TYPE_CHECKING, Any, NamedTuple

from include.mirror import names
from include.mirror.arrow import Key
from include.mirror.declaration import STAGE_PREFIX
from include.mirror.errors import SchemaError, VerificationError
from include.mirror.spec import Column, TableSpec
from include.mirror.verify import Digest, digest_expressions, read_digest
from include.mirror.warehouse.client import FINAL, SETTINGS, WIDE, Warehouse
from include.mirror.warehouse.cluster import PUBLISH_SETTINGS
from include.mirror.warehouse.ddl import Bookkeeping

if TYPE_CHECKING:
    import pyarrow as pa
    from clickhouse_connect.driver.client import Client

log = logging.getLogger(__name__)

PIECE = 1 << 20
"""In bytes. What is inserted is sent in pieces of this size, because the client copies each."""


def temporary_name(table: str, label: str) -> str:
    """Return a new name at each call for a temporary table of the attempt `label`."""
    parts = [re.sub(r"[^0-9A-Za-z]+", "_", part) for part in (table, label)]
    return f"{STAGE_PREFIX}{parts[0][:60]}__{parts[1][:80]}__{token_hex(4)}"


def _compared(column: Column) -> str:
    name = names.ch(column.name)
    # 0.0 and -0.0 are one key, and so are all NaNs.
    return f"if(isNaN({name}), nan, {name} + 0.)" if "Float" in column.warehouse_type else name


def _streamed(batches: Sequence[pa.RecordBatch], compression: str) -> Iterator[memoryview]:
    """Yield the batches as a stream of Arrow's, in small pieces and without a copy of all of it."""
    import pyarrow as pa

    written = _Written()
    options = pa.ipc.IpcWriteOptions(compression=compression if compression in ("zstd", "lz4") else None)
    with pa.ipc.new_stream(written, batches[0].schema, options=options) as writer:
        for batch in batches:
            writer.write_batch(batch)
            yield from written.take()
    yield from written.take()


class _Written(io.RawIOBase):
    """A file that keeps what is written to it until it is taken."""

    def __init__(self) -> None:
        super().__init__()
        self.buffers: list[memoryview] = []

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.buffers.append(memoryview(data).cast("B"))
        return len(self.buffers[-1])

    def take(self) -> Iterator[memoryview]:
        """Yield what was written, and forget it."""
        buffers, self.buffers = self.buffers, []
        for data in buffers:
            for start in range(0, len(data), PIECE):
                yield data[start : start + PIECE]


@dataclass(frozen=True)
class WarehouseTable:
    """A mirrored table of the warehouse, and the client that queries it.

    `own` are the names of its bookkeeping columns. `partition_key` and `sorting_key` are as in `system.tables`. `built` is
    the version of the snapshot that it was rebuilt from, 0 for none. `rows` is its number of rows, all versions counted,
    when the warehouse's catalog was read.
    """

    warehouse: Warehouse
    client: Client
    spec: TableSpec
    own: Bookkeeping
    partition_key: str
    sorting_key: str
    built: int = 0
    rows: int = 0

    @property
    def name(self) -> str:
        """The table's quoted name."""
        return names.ch(self.warehouse.storage, self.spec.name)

    @property
    def columns(self) -> str:
        """The quoted names of its columns, without bookkeeping columns."""
        return ", ".join(names.ch(column.name) for column in self.spec.columns)

    @property
    def key(self) -> str:
        """The quoted names of its key columns, in brackets."""
        return f"({', '.join(names.ch(name) for name in self.spec.key)})"

    @property
    def compared_key(self) -> str:
        """Its key in brackets, for IN. ClickHouse's IN compares the bits of floats; here 0.0 and -0.0 are equal, as in
        ORDER BY."""
        return f"({', '.join(map(_compared, self.spec.key_columns))})"

    @property
    def place(self) -> str:
        """The columns that it is sorted by, in brackets, for comparisons. A row replaces others in the same place only."""
        return f"({', '.join(map(_compared, self.spec.order_columns))})"

    @property
    def of_keys(self) -> WarehouseTable:
        """The same table with a spec of its key columns only."""
        return replace(self, spec=self.spec.of_keys)

    def of_version(self) -> str:
        """Return the query of the digest, as one tuple, of the rows with this `{version:UInt64}`, without tombstones."""
        condition = f"{names.ch(self.own.version)} = {{version:UInt64}} AND NOT {names.ch(self.own.deleted)}"
        return f"SELECT tuple({', '.join(digest_expressions(self.spec))}) FROM {self.name} WHERE {condition}"  # noqa: S608

    def current(self) -> tuple[Digest, int]:
        """Return the digest of the current rows, and the newest version among all rows."""
        row = self.client.query(
            f"SELECT {', '.join(digest_expressions(self.spec))}, (SELECT max({names.ch(self.own.version)})"  # noqa: S608
            f" FROM {self.name}) FROM {self.name} FINAL",
            settings=WIDE | FINAL,
        ).result_rows[0]
        return read_digest(self.spec, row[:-1]), int(row[-1])

    def lacks(self, loaded: Stage, version: int) -> int:
        """Return the number of current rows, up to a version, whose keys `loaded` lacks."""
        found = self.client.query(
            f"SELECT count() {self.lacking(loaded, version)}",
            settings=WIDE | FINAL,
        )
        return int(found.result_rows[0][0])

    def lacking(self, loaded: Stage, version: int) -> str:
        """Return FROM and WHERE of the current rows up to a version whose keys `loaded` lacks."""
        return (
            f"FROM {self.name} FINAL WHERE {names.ch(self.own.version)} <= {version}"  # noqa: S608
            f" AND {self.compared_key} NOT IN (SELECT {self.compared_key[1:-1]} FROM {loaded.name})"
        )

    def stage(self, label: str, resources: ExitStack) -> Stage:
        """Create a stage of this table, and drop it when `resources` end.

        `label` names the run and the try, for people. A random suffix makes the name unique in any case.

        On a cluster, the stage is on one replica and not replicated. An ATTACH takes the rows that its replica has of the
        stage at that moment; of a replicated stage, a replica may have only some of them.
        """
        name = temporary_name(self.spec.name, label)
        quoted = names.ch(self.warehouse.storage, name)
        # ATTACH needs exactly the same partition key on both tables, or none on both.
        partition = f" PARTITION BY {self.partition_key}" if self.partition_key else ""
        self.client.command(
            f"CREATE TABLE {quoted} AS {self.name} ENGINE = MergeTree{partition} ORDER BY ({self.sorting_key})",
            settings=SETTINGS,
        )
        resources.callback(self.drop_stage, quoted)
        return Stage(self, name)

    def drop_stage(self, quoted: str) -> None:
        """Drop a stage, by its quoted name."""
        # SYNC frees the disk space at once. If the drop fails, a later run drops the stage.
        try:
            self.client.command(f"DROP TABLE IF EXISTS {quoted} SYNC")
        except Exception:
            log.warning("stage %s could not be dropped; a later run will", quoted, exc_info=True)


class Staged(NamedTuple):
    """The content of a stage: the digest of its rows, the number of different keys, the ids of the partitions, and the
    sampled rows as texts, by the texts of their keys."""

    digest: Digest
    keys: int
    partitions: tuple[str, ...]
    sample: dict[Key, Key]


@dataclass(frozen=True)
class Stage:
    """A temporary table of one attempt, with the same columns as the mirrored table. Readers don't see it."""

    table: WarehouseTable
    stage: str

    @property
    def name(self) -> str:
        """The stage's quoted name."""
        return names.ch(self.table.warehouse.storage, self.stage)

    def insert(self, client: Client, batches: Sequence[pa.RecordBatch]) -> None:
        """Insert Arrow batches in one request. ClickHouse makes one part of them in each partition, unless it is large."""
        pieces = _streamed(batches, client.write_compression or "")
        # No column list: ClickHouse takes the batches' own column names, which then need no quoting.
        client.raw_insert(
            self.name,
            # If the server has closed an idle connection, the client sends again only what it has whole.
            insert_block=b"".join(pieces) if len(batches) == 1 else pieces,
            settings=SETTINGS,
            fmt="ArrowStream",
        )

    def verify(self, sample: Sequence[Key] = ()) -> Staged:
        """Return what is staged, and the rows with the keys of a sample, in one statement."""
        spec, asked, parameters = self.table.spec, "emptyArrayString()", dict[str, object]()
        keys = f"uniqExact({', '.join(names.ch(name) for name in spec.key)})"
        if sample:
            texts, parameters = self._texts(sample)
            asked = f"(SELECT groupArray(tuple(*)) FROM ({texts}))"  # noqa: S608
        *row, distinct, partitions, rows = self.table.client.query(
            f"SELECT {', '.join(digest_expressions(spec))}, {keys}, groupUniqArray(_partition_id), {asked}"  # noqa: S608
            f" FROM {self.name}",
            parameters=parameters,
            settings=WIDE,
        ).result_rows[0]
        found = {tuple(one[place] for place in spec.key_places): tuple(one) for one in rows}
        return Staged(read_digest(spec, row), int(distinct), tuple(sorted(partitions)), found)

    def doubled_keys(self) -> list[Key]:
        """Return some keys that more than one staged row has, as texts."""
        spec = self.table.spec
        texts = ", ".join(column.carrier.warehouse_text(names.ch(column.name)) for column in spec.key_columns)
        rows = self.table.client.query(
            f"SELECT {texts} FROM {self.name} GROUP BY {self.table.key[1:-1]} HAVING count() > 1 LIMIT 5"  # noqa: S608
        ).result_rows
        return [tuple(row) for row in rows]

    def _texts(self, keys: Sequence[Key]) -> tuple[str, dict[str, object]]:
        """Return the query of the staged rows with these keys, each column as a text, and its parameters."""
        spec = self.table.spec
        texts = [column.carrier.warehouse_text(names.ch(column.name)) for column in spec.columns]
        key = ", ".join(texts[place] for place in spec.key_places)
        arrays = ", ".join(f"{{k{number}:Array(String)}}" for number in range(len(spec.key)))
        parts = ", ".join(f"wanted.{number + 1}" for number in range(len(spec.key)))
        return (
            f"SELECT {', '.join(texts)} FROM {self.name} WHERE ({key}) IN"  # noqa: S608
            f" (SELECT {parts} FROM (SELECT arrayJoin(arrayZip({arrays})) AS wanted))",
            {f"k{number}": [key[number] for key in keys] for number in range(len(spec.key))},
        )

    def partitions(self) -> list[str]:
        """Return the ids of the partitions that hold staged rows."""
        rows = self.table.client.query(
            "SELECT DISTINCT partition_id FROM system.parts WHERE active AND rows > 0"
            " AND database = {database:String} AND table = {table:String} ORDER BY partition_id",
            parameters={"database": self.table.warehouse.storage, "table": self.stage},
        ).result_rows
        return [row[0] for row in rows]

    def publish(self, partitions: Sequence[str]) -> None:
        """Attach staged partitions to the table that people read: each of them is atomic, and nothing is copied."""
        if not partitions:
            return
        for partition in partitions:
            if not re.fullmatch(r"[0-9A-Za-z_-]+", partition):
                raise SchemaError(
                    f"partition id {partition!r} of {self.table.spec.name} is not one that ClickHouse makes"
                )
        cluster = self.table.warehouse.cluster
        attached = ", ".join(
            f"ATTACH PARTITION ID '{partition}' FROM {self.name}" for partition in partitions
        )
        self.table.client.command(
            f"ALTER TABLE {self.table.name} {attached}",
            settings=SETTINGS if cluster is None else SETTINGS | PUBLISH_SETTINGS,
        )

    def outdated(self, version: int, partitions: Sequence[str]) -> int:
        """Return how many rows of the table have the key of a staged one, and a newer version than this."""
        newer = self.table.client.query(
            f"SELECT count() {self._standing(partitions)} AND {names.ch(self.table.own.version)} > {version}",
            settings=WIDE,
        )
        return int(newer.result_rows[0][0])

    def keep_current(self, loaded: Stage, version: int, partitions: Sequence[str]) -> None:
        """Fill this stage with the rows of `loaded` whose keys have no newer version in the table than this."""
        table = self.table
        columns = f"{table.columns}, {names.ch(table.own.version)}, {names.ch(table.own.deleted)}"
        newer = f"{loaded._standing(partitions)} AND {names.ch(table.own.version)} > {version}"
        table.client.command(
            f"INSERT INTO {self.name} ({columns}) SELECT {columns} FROM {loaded.name}"  # noqa: S608
            f" WHERE {table.compared_key} NOT IN (SELECT {table.compared_key[1:-1]} {newer})",
            settings=SETTINGS,
        )

    def leave_places(self, version: int, partitions: Sequence[str]) -> None:
        """Add a tombstone of this version for each other place of the table where a staged key has a row.

        It has the columns of the place and no others. Once it is staged, the place is one of the staged ones.
        """
        table, own = self.table, self.table.own
        place = table.place[1:-1]
        order = ", ".join(names.ch(name) for name in table.spec.order)
        table.client.command(
            f"INSERT INTO {self.name} ({order}, {names.ch(own.version)}, {names.ch(own.deleted)})"  # noqa: S608
            f" SELECT {place}, {version}, 1 {self._standing(partitions)}"
            f" AND {table.place} NOT IN (SELECT {place} FROM {self.name})"
            f" GROUP BY {place} HAVING NOT argMax({names.ch(own.deleted)}, {names.ch(own.version)})",
            settings=SETTINGS,
        )

    def doubled(self, partitions: Sequence[str]) -> int:
        """Return how many of the staged keys have a row in two places of the table."""
        table, own = self.table, self.table.own
        key = table.spec.unused_name
        (found,) = table.client.query(
            f"SELECT count() FROM (SELECT {key} FROM (SELECT {table.compared_key} AS {key} {self._standing(partitions)}"  # noqa: S608
            f" GROUP BY {table.place[1:-1]} HAVING NOT argMax({names.ch(own.deleted)}, {names.ch(own.version)}))"
            f" GROUP BY {key} HAVING count() > 1)",
            settings=WIDE,
        ).result_rows
        return int(found[0])

    def end_older_places(self, published: Stage, partitions: Sequence[str]) -> None:
        """Fill this stage with a tombstone for each place where a key of `published` has a row, except for the newest."""
        table, own = self.table, self.table.own
        version, place = names.ch(own.version), table.spec.unused_name
        last, newest, gone = f"{place}1", f"{place}2", f"{place}3"
        order = ", ".join(names.ch(name) for name in table.spec.order)
        parts = ", ".join(f"{place}.{number + 1}" for number in range(len(table.spec.order)))
        table.client.command(
            f"INSERT INTO {self.name} ({order}, {version}, {names.ch(own.deleted)}) SELECT {parts}, {newest}, 1"  # noqa: S608
            f" FROM (SELECT {table.place} AS {place}, max({version}) AS {last},"
            f" argMax({names.ch(own.deleted)}, {version}) AS {gone},"
            f" max(max({version})) OVER (PARTITION BY {table.compared_key[1:-1]}) AS {newest}"
            f" {published._standing(partitions)} GROUP BY {table.place[1:-1]})"
            f" WHERE NOT {gone} AND {last} < {newest}",
            settings=SETTINGS,
        )

    def _standing(self, partitions: Sequence[str]) -> str:
        """Return FROM and WHERE of the table's rows, of all versions, with the keys of the staged ones.

        They are in the same `partitions`. A table that is sorted by other columns has no index on its key.
        """
        table = self.table
        within = ""
        if table.partition_key:
            within = f"_partition_id IN ({', '.join(map(names.ch_text, partitions))}) AND "
        return (
            f"FROM {table.name} WHERE {within}"  # noqa: S608
            f"{table.compared_key} IN (SELECT {table.compared_key[1:-1]} FROM {self.name})"
        )

    def keep_changes(self, loaded: Stage, version: int) -> int:
        """Fill this stage with the differences between `loaded`, a whole source table, and the current rows.

        Rows are compared by a 128-bit hash of all columns. A current row whose key `loaded` lacks becomes a tombstone of
        this version. Returns the number of rows in the stage.
        """
        table, own = self.table, self.table.own
        row = f"sipHash128(tuple({table.columns}))"
        columns = f"{table.columns}, {names.ch(own.version)}, {names.ch(own.deleted)}"
        table.client.command(
            f"INSERT INTO {self.name} ({columns}) SELECT {table.columns}, {version}, 0 FROM {loaded.name}"  # noqa: S608
            f" WHERE {row} NOT IN (SELECT {row} FROM {table.name} FINAL)",
            settings=SETTINGS | FINAL | {"transform_null_in": 1},
        )
        return self.keep_missing(loaded, version)

    def keep_missing(self, loaded: Stage, version: int, condition: str = "1") -> int:
        """Add a tombstone of this version for each current row whose key `loaded` lacks; return the number of rows staged.

        `loaded` must hold all keys that the source had in that version's snapshot, among the rows for which `condition` is
        true. Rows of newer versions get no tombstone.
        """
        table, own = self.table, self.table.own
        columns = f"{table.columns}, {names.ch(own.version)}, {names.ch(own.deleted)}"
        table.client.command(
            f"INSERT INTO {self.name} ({columns}) SELECT {table.columns}, {version}, 1"
            f" {table.lacking(loaded, version)} AND {condition}",
            settings=SETTINGS | FINAL,
        )
        return int(table.client.query(f"SELECT count() FROM {self.name}").result_rows[0][0])  # noqa: S608

    def keep_keys(self, loaded: Stage, version: int) -> int:
        """Fill this stage with a tombstone of this version for each key of `loaded`; return their number.

        Keys that the table lacks get one too: a pass with an older snapshot may be about to publish such a row.
        """
        table, own = self.table, self.table.own
        keys = table.key[1:-1]
        table.client.command(
            f"INSERT INTO {self.name} ({keys}, {names.ch(own.version)}, {names.ch(own.deleted)})"  # noqa: S608
            f" SELECT DISTINCT {keys}, {version}, 1 FROM {loaded.name}",
            settings=SETTINGS,
        )
        return int(table.client.query(f"SELECT count() FROM {self.name}").result_rows[0][0])  # noqa: S608

    def check_deleted(self, version: int) -> None:
        """Raise VerificationError unless each staged tombstone is published or its key has a newer version."""
        table = self.table
        missing = table.client.query(
            f"SELECT count() FROM {self.name} WHERE {table.compared_key} NOT IN"  # noqa: S608
            f" (SELECT {table.compared_key[1:-1]} FROM {table.name}"
            f" WHERE {names.ch(table.own.version)} >= {{version:UInt64}})",
            parameters={"version": version},
            settings=WIDE,
        ).result_rows[0][0]
        if missing:
            raise VerificationError(f"{table.spec.label}: {missing} deletions are not in the published table")

    def check_published(self, version: int) -> None:
        """Raise VerificationError unless each staged row is published or its key has a newer version.

        It compares row by row, so it is called only if the digests differ.
        """
        table = self.table
        # A run with a newer snapshot may have published the same keys meanwhile, and a merge may have dropped our rows.
        row, column = f"cityHash64(tuple({table.columns}))", names.ch(table.own.version)
        missing = table.client.query(
            f"SELECT count(), min({table.key}) FROM {self.name}"  # noqa: S608
            f" WHERE {row} NOT IN (SELECT {row} FROM {table.name} WHERE {column} = {{version:UInt64}})"
            f" AND {table.compared_key} NOT IN (SELECT {table.compared_key[1:-1]} FROM {table.name}"
            f" WHERE {column} > {{version:UInt64}})",
            parameters={"version": version},
            settings=WIDE,
        ).result_rows[0]
        if missing[0]:
            first = missing[1] if isinstance(missing[1], tuple) else (missing[1],)
            where = ", ".join(f"{name} = {part}" for name, part in zip(table.spec.key, first, strict=False))
            raise VerificationError(
                f"{table.spec.label}: {missing[0]} verified rows are not in the published table, "
                f"the first with {where}"
            )
