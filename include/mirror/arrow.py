"""Converts the Arrow batches of PostgreSQL's COPY to batches for the warehouse, without loss.

The carrier of a type (`include.mirror.types`) checks and converts the values of one column. This module splits a batch into
columns, checks them, and builds the new batch. A value that would arrive changed raises an error instead.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from include.mirror.errors import SchemaError, ValueNotHeldError
from include.mirror.spec import Column, TableSpec
from include.mirror.types.carrier import Mask, Numbers

Key = tuple[str, ...]
"""A key: the text of each of its columns, in a form that PostgreSQL reads."""

Describe = Callable[[Column, Key], str]
"""Returns the text of a column's value in the source, given the row's key. Error messages show it."""

Weights = npt.NDArray[np.uint64]

KEY_FACTORS = (1, 0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0xD6E8FEB86659FD93)
"""Factors of the key's parts, so that (1, 2) and (2, 1) have different weights. Keys with more parts repeat the factors."""


@dataclass(frozen=True)
class Rows:
    """One checked batch: an array for each column of the spec, and each column's digest numbers."""

    spec: TableSpec
    arrays: tuple[pa.Array, ...]
    numbers: tuple[Numbers, ...]

    def __len__(self) -> int:
        return len(self.arrays[0])

    @property
    def weights(self) -> Weights:
        """One number for each row, computed from its key."""
        parts = [self.numbers[place].view(np.uint64) for place in self.spec.key_places]
        weights = parts[0]
        for number, part in enumerate(parts[1:], 1):
            weights = weights + part * np.uint64(KEY_FACTORS[number % len(KEY_FACTORS)])
        return weights

    def key(self, place: int) -> Key:
        """Return the key of one row."""
        return tuple(_text(self.arrays[at][place]) for at in self.spec.key_places)


def _text(scalar: pa.Scalar) -> str:
    """Return a key's value as a text that PostgreSQL reads."""
    if not scalar.is_valid:
        return "NULL"
    if pa.types.is_time(scalar.type):
        return _clock(scalar.value)
    if pa.types.is_date32(scalar.type):
        return _moment(scalar.value, 32, 1)
    if pa.types.is_timestamp(scalar.type):
        return _moment(scalar.value, 64, _DAY, "+00" if scalar.type.tz else "")
    value = scalar.as_py()
    return "\\x" + value.hex() if isinstance(value, bytes) else str(value)


_DAY = 86_400_000_000
"""Microseconds of a day."""

_MILLENNIUM = 10_957
"""Days from 1970-01-01, Arrow's epoch, to 2000-01-01, PostgreSQL's."""


def _clock(micros: int) -> str:
    """Return a time of day as text. Python's `time` can't hold 24:00."""
    seconds, micros = divmod(micros, 1_000_000)
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}.{micros:06}"


def _moment(value: int, bits: int, day: int, zone: str = "") -> str:
    """Return a date or a timestamp as text, also those that Python's types can't hold. `day` is how many units a day has.

    PostgreSQL's infinities are the lowest and highest numbers of its own epoch. In Arrow's epoch they have wrapped around.
    """
    half = 1 << bits - 1
    since = (value - _MILLENNIUM * day + half) % (2 * half) - half
    if since in (half - 1, -half):
        return "infinity" if since > 0 else "-infinity"
    days, rest = divmod(since, day)
    year, month, number = str(np.datetime64(days + _MILLENNIUM, "D")).rsplit("-", 2)
    before_christ = int(year) < 1
    clock = f" {_clock(rest)}{zone}" if day > 1 else ""
    return f"{abs(int(year) - before_christ):04}-{month}-{number}{clock}{' BC' * before_christ}"


def read_batch(spec: TableSpec, batch: pa.RecordBatch, describe: Describe) -> Rows:
    """Check a batch from PostgreSQL and return its rows.

    Raises SchemaError if a column has another type than its carrier reads. Raises ValueNotHeldError, with table, column,
    value and key, for a value that the warehouse's type can't hold or that would arrive changed.
    """
    arrays = tuple(batch.columns[: len(spec.columns)])
    for column, array in zip(spec.columns, arrays, strict=True):
        if not column.carrier.accepts(array.type):
            raise SchemaError(
                f"{spec.label}.{column.name} ({column.source.declared}) came from PostgreSQL as {array.type}, "
                f"which can't be converted to {column.carrier.warehouse_type}"
            )
    rows = Rows(
        spec,
        arrays,
        tuple(column.carrier.numbers(array) for column, array in zip(spec.columns, arrays, strict=True)),
    )
    _check_key(rows)
    flags = iter(batch.columns[len(spec.columns) :])
    for place, column in enumerate(spec.columns):
        altered = next(flags) if column.carrier.altered else None
        wrong = _wrong(column, arrays[place], rows.numbers[place], altered)
        if wrong is not None:
            key = rows.key(int(np.flatnonzero(wrong)[0]))
            raise ValueNotHeldError(
                f"{spec.label}.{column.name} is {describe(column, key)} where {named(spec, key)}: "
                f"{column.carrier.warehouse_type} can't hold that{_text_column_hint(column)}"
            )
    return rows


def _check_key(rows: Rows) -> None:
    """Raise ValueNotHeldError if a part of the key is NULL. Only the key of a view can be."""
    for place in rows.spec.key_places:
        if rows.arrays[place].null_count:
            row = int(np.flatnonzero(rows.arrays[place].is_null().to_numpy(zero_copy_only=False))[0])
            raise ValueNotHeldError(
                f"{rows.spec.label}.{rows.spec.columns[place].name} is NULL where {named(rows.spec, rows.key(row))}: "
                "NULLs can't be told apart; choose another key"
            )


def _text_column_hint(column: Column) -> str:
    """Return the end of a message about an array: a text column can hold NULL, more dimensions and other lower bounds."""
    if not column.carrier.warehouse_type.startswith("Array("):
        return ""
    return f'; PostgreSQL\'s own text can: columns={{"{column.name}": "Nullable(String)"}}'


def named(spec: TableSpec, key: Sequence[str]) -> str:
    """Return a key as `column = value, …`, for messages."""
    return ", ".join(f"{name} = {part}" for name, part in zip(spec.key, key, strict=True))


def _wrong(column: Column, array: pa.Array, numbers: Numbers, altered: pa.Array | None) -> Mask | None:
    """Return a mask of the column's values that can't arrive unchanged, None if all can."""
    if altered is not None:
        flagged: Mask = altered.to_numpy(zero_copy_only=False).astype(np.bool_)
        if flagged.any():
            return flagged
    if array.null_count and not column.carrier.nullable:
        missing: Mask = array.is_null().to_numpy(zero_copy_only=False)
        return missing
    outside = column.carrier.not_held(array, numbers)
    return outside if outside is not None and outside.any() else None


def convert(rows: Rows, version: int, version_column: str) -> pa.RecordBatch:
    """Return the rows as a batch for the warehouse, with the snapshot's `version` as the last column."""
    arrays, fields = [], []
    for column, array, numbers in zip(rows.spec.columns, rows.arrays, rows.numbers, strict=True):
        converted = column.carrier.convert(array, numbers)
        arrays.append(converted)
        fields.append(pa.field(column.name, converted.type))
    arrays.append(pa.array(np.full(len(rows), version, dtype=np.uint64)))
    fields.append(pa.field(version_column, pa.uint64()))
    return pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields))
