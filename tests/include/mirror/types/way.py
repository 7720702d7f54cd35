"""Moves one column from PostgreSQL to ClickHouse with its Carrier, on real servers."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import psycopg
import pyarrow as pa

from include.mirror import catalog
from include.mirror.names import ch, pg
from include.mirror.relation import SourceType
from include.mirror.types import carrier
from include.mirror.types.carrier import Carrier

OPTIONS = " ".join(
    f"-c {name}={value}"
    for name, value in {
        "TimeZone": "UTC",
        "DateStyle": "ISO",
        "IntervalStyle": "postgres",
        "extra_float_digits": "1",
        "bytea_output": "hex",
    }.items()
)
"""The settings that the mirror's sessions pin."""

SETTINGS = {
    "async_insert": 0,
    "input_format_null_as_default": 0,
    "date_time_overflow_behavior": "throw",
    "enable_time_time64_type": 1,
}

NASTY = 'i "w" `x` {a:String} %(b)s $1 \\ \''
"""A column's name that breaks SQL which is not quoted correctly."""

_numbers = itertools.count(1)


@dataclass(frozen=True)
class Arrived:
    """The result of moving one column. `refused` are the places of the rows that were refused.

    The other fields are lists in the order of the rows that arrived.
    """

    carrier: Carrier
    refused: list[int]
    numbers: list[int]
    texts: list[str | None]
    values: list[Any]


@dataclass
class Way:
    """Both servers: a psycopg connection, an ADBC connection in autocommit mode, a ClickHouse client."""

    postgres: psycopg.Connection[Any]
    adbc: Any
    clickhouse: Any

    def table(self, declared: str, values: Sequence[str]) -> str:
        """Create a table of one column with these values, which are SQL expressions; return its name."""
        name = f"t{next(_numbers)}"
        self.postgres.execute(f"CREATE TABLE {name} (k int, {pg(NASTY)} {declared})".encode())
        if values:
            rows = ", ".join(f"({k}, ({value})::{declared})" for k, value in enumerate(values))
            self.postgres.execute(f"INSERT INTO {name} VALUES {rows}".encode())
        return name

    def source_type(self, table: str) -> SourceType:
        """Return the type of the table's column from the catalog."""
        relation = catalog.read(self.postgres, [("public", table)])["public", table]
        return relation.columns[1].type

    def read(self, table: str, how: Carrier) -> tuple[pa.Array, list[bool]]:
        """Return the column as the extraction reads it, and a mask of the values that would arrive changed."""
        name = pg(NASTY)
        altered = f"({how.altered(name)}) IS TRUE" if how.altered else "false"
        with self.adbc.cursor() as cursor:
            cursor.execute(f"SELECT {how.read(name)} AS c, {altered} AS a FROM {table} ORDER BY k")
            found = cursor.fetch_arrow_table().combine_chunks()
        column = found["c"]
        array = column.chunk(0) if column.num_chunks else pa.array([], column.type)
        return array, found["a"].to_pylist()

    def carry(self, declared: str, values: Sequence[str], **wanted: Any) -> Arrived:
        """Move values, which are SQL expressions, and check the digests. Refused values are left out."""
        table = self.table(declared, values)
        how = carrier(self.source_type(table), **{"not_null": False, **wanted})
        array, altered = self.read(table, how)
        assert how.accepts(array.type), (declared, array.type)
        numbers = how.numbers(array)
        assert numbers.dtype == np.int64
        assert len(numbers) == len(array)
        null = array.is_null().to_numpy(zero_copy_only=False)
        assert not numbers[null].any()
        held = how.not_held(array, numbers)
        assert held is None or (held.any() and not (held & null).any())
        refused = np.array(altered, dtype=bool) | (False if held is None else held)
        if not how.nullable:
            refused |= null
        keys = np.flatnonzero(~refused)
        kept = array.filter(pa.array(~refused))
        self._insert(table, how, keys, kept)
        return self._compare(table, how, keys, kept, np.flatnonzero(refused).tolist())

    def _insert(self, table: str, how: Carrier, keys: Any, array: pa.Array) -> None:
        self.clickhouse.command(
            f"CREATE TABLE {table} (k UInt32, {ch(NASTY)} {how.warehouse_type}) ENGINE = Memory",
            settings=SETTINGS,
        )
        converted = how.convert(array, how.numbers(array))
        batch = pa.RecordBatch.from_arrays([pa.array(keys, pa.uint32()), converted], names=["k", NASTY])
        self.clickhouse.insert_arrow(table, pa.Table.from_batches([batch]), settings=SETTINGS)

    def _compare(self, table: str, how: Carrier, keys: Any, array: pa.Array, refused: list[int]) -> Arrived:
        name = ch(NASTY)
        rows = self.clickhouse.query(
            f"SELECT {name}, {how.digest(name)} AS digest, {how.warehouse_text(name)}, isNull({name}),"
            f" sum(digest) OVER (), sum(digest * toUInt64(k)) OVER (), toTypeName({name}) FROM {table} ORDER BY k"
        ).result_rows
        numbers = how.numbers(array).view(np.uint64)
        values, digests, texts, nulls, totals, weighted, kinds = (
            zip(*rows, strict=True) if rows else ((),) * 7
        )
        assert set(kinds) <= {how.warehouse_type}
        assert list(digests) == numbers.tolist()
        assert set(totals) <= {int(numbers.sum())}
        assert set(weighted) <= {int(np.dot(numbers, keys.astype(np.uint64)))}
        assert sum(nulls) == array.null_count
        travelled = ", ".join(map(str, [-1, *keys]))
        source = self.postgres.execute(
            f"SELECT {how.source_text(pg(NASTY))} FROM {table} WHERE k IN ({travelled}) ORDER BY k".encode()
        ).fetchall()
        assert list(texts) == [text for (text,) in source]
        return Arrived(how, refused, numbers.tolist(), list(texts), list(values))
