"""Whether what arrived is what was read: counts, sums, key-weighted sums, distinct keys, and whole rows by sample.

The same digest is taken of the Arrow batches that left PostgreSQL and, in SQL, of the rows in ClickHouse. Per column
it holds the number of NULLs, the sum of the values' numbers, and the sum weighted by the key, both modulo 2^64: a
changed cent or letter changes the sum, two values swapped between rows the weighted one. Sampled rows take another
way (another driver, other expressions) and are compared as texts.
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
"""Keys of texts may be long, and travel to ClickHouse in an address: about so many bytes of them."""


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
    sample: list[Key] = field(default_factory=list)
    _units: dict[str, int] = field(default_factory=dict)
    _sums: list[list[int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._units = {column.name: 0 for column in self.spec.columns if column.carrier.scale is not None}
        self._sums = [[0, 0, 0] for _ in self.spec.columns]

    def add(self, rows: Rows) -> None:
        """Count one batch in."""
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
                # In two halves, neither of which can wrap: a batch holds far fewer than 2^31 rows.
                high, low = numbers >> 32, numbers & 0xFFFFFFFF
                self._units[column.name] += (int(high.sum()) << 32) + int(low.sum())
        count = min(SAMPLE_PER_BATCH, len(rows))
        self.sample += [rows.key(int(place)) for place in self.random.integers(0, len(rows), count)]
        if len(self.sample) > SAMPLE_ROWS:
            chosen = self.random.choice(len(self.sample), SAMPLE_ROWS, replace=False)
            self.sample = [self.sample[place] for place in chosen]

    @property
    def sampled(self) -> list[Key]:
        """Different keys of the sample, so many that an address holds them."""
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
        """The exact sum of each decimal column that is counted in its smallest units."""
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
    """Return the ClickHouse expressions of a digest: the count, then three per column in the spec's order."""
    weight = weight_expression(spec)
    expressions = ["count()"]
    for column in spec.columns:
        number = _number(column)
        nulls = f"countIf(isNull({names.ch(column.name)}))" if column.carrier.nullable else "0"
        expressions += [nulls, f"sum({number})", f"sum({number} * ({weight}))"]
    return expressions


def weight_expression(spec: TableSpec) -> str:
    """Return the ClickHouse expression of `Rows.weights`: one number per row that is made of its key."""
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
    """Raise VerificationError naming the first thing that differs; `place` says where the rows arrived."""
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
    """Raise VerificationError naming key and column when a sampled row differs from the source's.

    Rows are texts, by the texts of their keys.
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
