"""Compares the rows that arrived with the rows that were read: counts, sums, key-weighted sums, and whole sampled rows.

The same digest is computed from the Arrow batches read from PostgreSQL and, in SQL, from the rows in ClickHouse. For each
column it holds the number of NULLs, the sum of the values' numbers, and the same sum weighted by the key, both modulo 2^64.
A changed cent or letter changes the sum. Two values swapped between rows change the weighted sum. Sampled rows are read a
second time with another driver and other expressions, and compared as texts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import numpy as np

from include.mirror import names
from include.mirror.arrow import KEY_FACTORS, Key, Rows
from include.mirror.errors import VerificationError
from include.mirror.spec import Column, TableSpec

MODULUS = 2**64
SAMPLE_PER_BATCH = 32
SAMPLE_ROWS = 256
SAMPLE_TEXT = 16_384
"""About how many bytes of sampled keys are sent. They travel to ClickHouse in a URL, and text keys may be long."""


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
    """The digest of a set of rows. `columns` are in the spec's order."""

    rows: int
    columns: tuple[ColumnDigest, ...]

    def __add__(self, other: Digest) -> Digest:
        """Return the digest of both sets of rows together."""
        pairs = zip(self.columns, other.columns, strict=True)
        return Digest(self.rows + other.rows, tuple(ours + theirs for ours, theirs in pairs))


@dataclass
class Tally:
    """Accumulates a stream of batches: the digest, the exact sums of money, and a sample of the keys."""

    spec: TableSpec
    random: np.random.Generator = field(default_factory=np.random.default_rng)
    rows: int = 0
    sample: list[Key] = field(default_factory=list)
    _units: dict[str, int] = field(default_factory=dict)
    _sums: list[list[int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._units = {column.name: 0 for column in self.spec.columns if column.carrier.scale is not None}
        self._sums = [[0, 0, 0] for _ in self.spec.columns]

    def add(self, rows: Rows) -> None:
        """Add one batch."""
        self.rows += len(rows)
        weights = rows.weights
        for column, array, numbers, sums in zip(
            self.spec.columns, rows.arrays, rows.numbers, self._sums, strict=True
        ):
            unsigned = numbers.view(np.uint64)
            sums[0] += array.null_count
            sums[1] += int(unsigned.sum(dtype=np.uint64))
            sums[2] += int(np.dot(unsigned, weights))
            if column.carrier.scale is not None:
                # Summed in two halves. Neither can overflow: a batch holds far fewer than 2^31 rows.
                high, low = numbers >> 32, numbers & 0xFFFFFFFF
                self._units[column.name] += (int(high.sum()) << 32) + int(low.sum())
        count = min(SAMPLE_PER_BATCH, len(rows))
        self.sample += [rows.key(int(place)) for place in self.random.integers(0, len(rows), count)]
        if len(self.sample) > SAMPLE_ROWS:
            chosen = self.random.choice(len(self.sample), SAMPLE_ROWS, replace=False)
            self.sample = [self.sample[place] for place in chosen]

    @property
    def sampled(self) -> list[Key]:
        """Distinct keys of the sample, as many as fit into a URL."""
        keys: list[Key] = []
        size = 0
        for key in dict.fromkeys(self.sample):
            size += sum(len(part.encode()) + 8 for part in key)
            if keys and size > SAMPLE_TEXT:
                break
            keys.append(key)
        return keys

    @property
    def money(self) -> dict[str, Decimal]:
        """The exact sum of each decimal column whose values travel as a number of smallest units (cents)."""
        scales = {column.name: column.carrier.scale or 0 for column in self.spec.columns}
        return {name: Decimal(units).scaleb(-scales[name]) for name, units in self._units.items()}

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
    """Return the ClickHouse expressions of a digest: the count, then three for each column in the spec's order."""
    weight = weight_expression(spec)
    expressions = ["count()"]
    for column in spec.columns:
        number = _number(column)
        nulls = f"countIf(isNull({names.ch(column.name)}))" if column.carrier.nullable else "0"
        expressions += [nulls, f"sum({number})", f"sum({number} * ({weight}))"]
    return expressions


def weight_expression(spec: TableSpec) -> str:
    """Return the ClickHouse expression of `Rows.weights`: a number for each row, computed from its key."""
    return " + ".join(
        f"{_number(column)} * {KEY_FACTORS[number % len(KEY_FACTORS)]}"
        for number, column in enumerate(spec.key_columns)
    )


def _number(column: Column) -> str:
    return f"toUInt64({column.carrier.digest(names.ch(column.name))})"


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
    """Raise VerificationError naming the first difference. `place` is where the rows arrived, for the message."""
    if read.rows != arrived.rows:
        raise VerificationError(f"{spec.label}: {read.rows} rows were read, {arrived.rows} are in {place}")
    for column, ours, theirs in zip(spec.columns, read.columns, arrived.columns, strict=True):
        for what in ("nulls", "total", "weighted"):
            expected, found = getattr(ours, what), getattr(theirs, what)
            if expected != found:
                raise VerificationError(
                    f"{spec.label}.{column.name}: {_MEANING[what]} {expected} as read, {found} in {place}"
                )


_MEANING = {
    "nulls": "the number of NULLs is",
    "total": "the sum of the values' numbers is (modulo 2^64)",
    "weighted": "the sum of the values' numbers weighted by the key is (modulo 2^64)",
}


def compare_rows(
    spec: TableSpec, sample: Sequence[Key], source: Mapping[Key, Key], arrived: Mapping[Key, Key], place: str
) -> None:
    """Raise VerificationError naming key and column if a sampled row differs from the source's row.

    `source` and `arrived` map keys to rows; both are tuples of texts.
    """
    if len(source) != len(sample):
        raise VerificationError(
            f"{spec.label}: of {len(sample)} rows that were read, {len(source)} are found in the source by their keys"
        )
    for key, ours in source.items():
        where = ", ".join(f"{name} = {part}" for name, part in zip(spec.key, key, strict=True))
        theirs = arrived.get(key)
        if theirs is None:
            raise VerificationError(f"{spec.label}: the row with {where} is not in {place}")
        for column, our, their in zip(spec.columns, ours, theirs, strict=True):
            if our != their:
                raise VerificationError(
                    f"{spec.label}.{column.name} is {our!r} in the source and {their!r} in {place}, where {where}"
                )
