"""Whether what arrived is what was read: counts, exact sums, key-weighted sums, and whole rows by sample.

The same digest is taken of the Arrow batches that left PostgreSQL and, in SQL, of the rows in ClickHouse.
Per column it holds the number of NULLs, the sum, and the sum weighted by the key, both modulo 2^64: a changed
cent changes the sum, two values swapped between rows the weighted one. Texts count by their length; their
content is held against the source's by sampled rows, which take another way (another driver, other types).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa

from include.mirror.arrow import Integers
from include.mirror.errors import VerificationError
from include.mirror.table import Column, TableSpec

MODULUS = 2**64
SAMPLE_PER_BATCH = 32
SAMPLE_ROWS = 256


@dataclass(frozen=True)
class ColumnDigest:
    """One column: its NULLs, and its plain and key-weighted sums modulo 2^64."""

    nulls: int
    total: int
    weighted: int

    def __add__(self, other: ColumnDigest) -> ColumnDigest:
        return ColumnDigest(
            self.nulls + other.nulls,
            (self.total + other.total) % MODULUS,
            (self.weighted + other.weighted) % MODULUS,
        )


@dataclass(frozen=True)
class Digest:
    """What is compared of a set of rows; `columns` in the spec's order."""

    rows: int
    columns: tuple[ColumnDigest, ...]

    def __add__(self, other: Digest) -> Digest:
        """Return the digest of both sets of rows together."""
        pairs = zip(self.columns, other.columns, strict=True)
        return Digest(self.rows + other.rows, tuple(ours + theirs for ours, theirs in pairs))


@dataclass
class Tally:
    """Sums up a stream of batches: its digest, its exact sums of money, and a sample of its keys."""

    spec: TableSpec
    random: np.random.Generator = field(default_factory=np.random.default_rng)
    rows: int = 0
    money: dict[str, int] = field(default_factory=dict)
    sample: list[int] = field(default_factory=list)
    _sums: list[list[int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.money = dict.fromkeys(self.spec.money, 0)
        self._sums = [[0, 0, 0] for _ in self.spec.columns]
        self._key = [column.name for column in self.spec.columns].index(self.spec.key)

    def add(self, batch: pa.RecordBatch, values: Sequence[Integers]) -> None:
        """Count one batch in; `values` are the integers of its columns."""
        self.rows += batch.num_rows
        keys = values[self._key].view(np.uint64)
        for column, array, numbers, sums in zip(
            self.spec.columns, batch.columns, values, self._sums, strict=True
        ):
            unsigned = numbers.view(np.uint64)
            sums[0] += array.null_count
            sums[1] += int(unsigned.sum(dtype=np.uint64))
            sums[2] += int(np.dot(unsigned, keys))
            if column.decimal:
                # Never wraps: a batch of 8 MB holds far fewer rows than 2^63 / 10^precision.
                self.money[column.name] += int(numbers.sum(dtype=np.int64))
        chosen = self.random.integers(0, batch.num_rows, min(SAMPLE_PER_BATCH, batch.num_rows))
        self.sample += [int(values[self._key][place]) for place in chosen]
        if len(self.sample) > SAMPLE_ROWS:
            self.sample = [int(key) for key in self.random.choice(self.sample, SAMPLE_ROWS, replace=False)]

    @property
    def digest(self) -> Digest:
        """The digest of all batches so far."""
        return Digest(
            self.rows,
            tuple(
                ColumnDigest(nulls, total % MODULUS, weighted % MODULUS)
                for nulls, total, weighted in self._sums
            ),
        )


def digest_expressions(spec: TableSpec) -> list[str]:
    """Return the ClickHouse expressions of a digest: the count, then three per column in the spec's order."""
    key = f"toUInt64(`{spec.key}`)"
    expressions = ["count()"]
    for column in spec.columns:
        number = f"ifNull({_integer_sql(column)}, 0)" if column.nullable else _integer_sql(column)
        expressions += [
            f"countIf(isNull(`{column.name}`))",
            f"sum(toUInt64({number}))",
            f"sum(toUInt64({number}) * {key})",
        ]
    return expressions


def _integer_sql(column: Column) -> str:
    name = f"`{column.name}`"
    if column.decimal:
        # The integer inside: of 32 bits up to nine digits, else of 64.
        return f"toInt64(reinterpretAsInt{32 if column.decimal[0] <= 9 else 64}({name}))"
    if column.base_type == "String":
        return f"length({name})"
    if column.base_type == "Date32":
        return f"toInt32({name})"
    if column.base_type.startswith("DateTime64(6"):
        return f"toUnixTimestamp64Micro({name})"
    return f"toInt64({name})"


def read_digest(spec: TableSpec, row: Sequence[Any]) -> Digest:
    """Return the digest from one result row of `digest_expressions`."""
    sums = [int(value) for value in row]
    return Digest(
        sums[0],
        tuple(
            ColumnDigest(sums[at], sums[at + 1], sums[at + 2])
            for at in range(1, 3 * len(spec.columns) + 1, 3)
        ),
    )


def compare(spec: TableSpec, read: Digest, arrived: Digest, place: str) -> None:
    """Raise VerificationError naming the first thing that differs; `place` says where the rows arrived."""
    if read.rows != arrived.rows:
        raise VerificationError(f"{spec.name}: {read.rows} rows were read, {arrived.rows} are in {place}")
    for column, ours, theirs in zip(spec.columns, read.columns, arrived.columns, strict=True):
        for what in ("nulls", "total", "weighted"):
            expected, found = getattr(ours, what), getattr(theirs, what)
            if expected != found:
                raise VerificationError(
                    f"{spec.name}.{column.name}: {_MEANING[what]} {expected} as read, {found} in {place}"
                )


_MEANING = {
    "nulls": "the number of NULLs is",
    "total": "the sum is (in smallest units, modulo 2^64)",
    "weighted": "the sum weighted by the key is (modulo 2^64)",
}


def compare_rows(
    spec: TableSpec,
    keys: Iterable[int],
    source: Mapping[int, tuple[Any, ...]],
    arrived: Mapping[int, tuple[Any, ...]],
    place: str,
) -> None:
    """Raise VerificationError naming key and column when a sampled row differs from the source's."""
    for key in keys:
        for rows, where in ((source, "the source"), (arrived, place)):
            if key not in rows:
                raise VerificationError(f"{spec.name}: the row with {spec.key} = {key} is not in {where}")
        for column, ours, theirs in zip(spec.columns, source[key], arrived[key], strict=True):
            if ours != _without_zone(theirs):
                raise VerificationError(
                    f"{spec.name}.{column.name} is {ours!r} in the source and {theirs!r} in {place}, "
                    f"where {spec.key} = {key}"
                )


def _without_zone(value: Any) -> Any:
    # The source's wall-clock time is stored unchanged under the label UTC.
    return value.replace(tzinfo=None) if isinstance(value, datetime) else value
