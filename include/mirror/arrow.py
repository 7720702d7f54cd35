"""From the Arrow batches that PostgreSQL's COPY gives to those that the warehouse takes, without loss.

Money travels as an integer count of its smallest unit and becomes a decimal over the same numbers. A value
that the warehouse's type would clamp, wrap or zero raises instead.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from include.mirror.errors import SchemaError, ValueNotHeldError
from include.mirror.table import Column, TableSpec

VERSION = "version"
"""The column of the warehouse's tables that orders the states of a row."""

Describe = Callable[[Column, int], str]
"""Returns the text of a column's value in the source, by key: what an error shows."""

_EPOCH = date(1970, 1, 1)


def _days(day: date) -> int:
    return (day - _EPOCH).days


def _microseconds(instant: datetime) -> int:
    return int((instant - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds()) * 1_000_000 + instant.microsecond


# What each type of the warehouse holds, in the integers of `integers`. ClickHouse would clamp dates and times
# to these ends, and wrap numbers.
_RANGES = {
    "UInt8": (0, 2**8 - 1),
    "UInt16": (0, 2**16 - 1),
    "UInt32": (0, 2**32 - 1),
    "UInt64": (0, 2**63 - 1),
    "Int16": (-(2**15), 2**15 - 1),
    "Int32": (-(2**31), 2**31 - 1),
    "Int64": (-(2**63), 2**63 - 1),
    "Date32": (_days(date(1900, 1, 1)), _days(date(2299, 12, 31))),
    "DateTime64(6, 'UTC')": (
        _microseconds(datetime(1900, 1, 1, tzinfo=UTC)),
        _microseconds(datetime(2299, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)),
    ),
}

_ARROW_TYPES = {
    "UInt8": pa.uint8(),
    "UInt16": pa.uint16(),
    "UInt32": pa.uint32(),
    "UInt64": pa.uint64(),
    "Int16": pa.int16(),
    "Int32": pa.int32(),
    "Int64": pa.int64(),
    "Date32": pa.date32(),
    "DateTime64(6, 'UTC')": pa.timestamp("us", "UTC"),
    "Bool": pa.bool_(),
    "String": pa.string(),
}

Integers = npt.NDArray[np.int64]


def integers(array: pa.Array) -> Integers:
    """Return one 64-bit integer per value: what checks, digests and decimals are made of. NULL is 0.

    Days for dates, microseconds for timestamps, the length in bytes for texts.
    """
    if pa.types.is_string(array.type) or pa.types.is_large_string(array.type):
        array = pc.binary_length(array)
    elif pa.types.is_date32(array.type):
        array = array.view(pa.int32())
    elif pa.types.is_timestamp(array.type):
        array = array.view(pa.int64())
    elif pa.types.is_boolean(array.type):
        array = array.cast(pa.uint8())
    if array.null_count:
        array = array.fill_null(0)
    values: Integers = array.to_numpy(zero_copy_only=False).astype(np.int64, copy=False)
    return values


def check_batch(spec: TableSpec, batch: pa.RecordBatch) -> None:
    """Raise SchemaError unless the extraction's SQL gives exactly the spec's columns, in types it can take."""
    wanted = [column.name for column in spec.columns]
    if batch.schema.names != wanted:
        raise SchemaError(
            f"{spec.extract.name} selects {', '.join(batch.schema.names)}; the TableSpec of {spec.name} has "
            f"{', '.join(wanted)}"
        )
    for column in spec.columns:
        kind = batch.schema.field(column.name).type
        if column.decimal and not pa.types.is_int64(kind):
            raise SchemaError(
                f"{spec.extract.name} gives {column.name} as {kind}: money is read as a bigint count of its "
                f"smallest unit, such as ({column.name} * {10 ** column.decimal[1]})::bigint"
            )
        if not column.decimal and column.base_type not in _ARROW_TYPES:
            raise SchemaError(
                f"{spec.name}.{column.name}: the mirror can't carry {column.warehouse_type}; it knows "
                f"{', '.join(_ARROW_TYPES)} and Decimal"
            )


def convert(
    spec: TableSpec, batch: pa.RecordBatch, values: list[Integers], version: int, describe: Describe
) -> pa.RecordBatch:
    """Return the batch as the warehouse takes it, with the snapshot's `version` as its last column.

    `values` are the `integers` of each column. Raises ValueNotHeldError naming table, column, value and key.
    """
    keys = values[[column.name for column in spec.columns].index(spec.key)]
    arrays, fields = [], []
    for column, array, numbers in zip(spec.columns, batch.columns, values, strict=True):
        _check_range(spec, column, array, numbers, keys, describe)
        if column.decimal:
            converted = _decimals(array, numbers, *column.decimal)
        else:
            converted = _retype(array, _ARROW_TYPES[column.base_type])
        arrays.append(converted)
        fields.append(pa.field(column.name, converted.type))
    arrays.append(pa.array(np.full(len(keys), version, dtype=np.uint64)))
    fields.append(pa.field(VERSION, pa.uint64()))
    return pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields))


def _check_range(
    spec: TableSpec, column: Column, array: pa.Array, numbers: Integers, keys: Integers, describe: Describe
) -> None:
    if array.null_count and not column.nullable:
        key = int(keys[np.flatnonzero(array.is_null().to_numpy(zero_copy_only=False))[0]])
        raise ValueNotHeldError(
            f"{spec.source_name}.{column.name} is NULL where {spec.key} = {key}: "
            f"{column.warehouse_type} can't hold that"
        )
    if column.decimal:
        highest = 10 ** column.decimal[0] - 1
        lowest = -highest
    elif column.base_type in _RANGES:
        lowest, highest = _RANGES[column.base_type]
    else:
        return
    if len(numbers) and (numbers.min() < lowest or numbers.max() > highest):
        key = int(keys[np.flatnonzero((numbers < lowest) | (numbers > highest))[0]])
        raise ValueNotHeldError(
            f"{spec.source_name}.{column.name} is {describe(column, key)} where {spec.key} = {key}: "
            f"{column.warehouse_type} can't hold that"
        )


def _decimals(array: pa.Array, numbers: Integers, precision: int, scale: int) -> pa.Array:
    """Return the counts of smallest units as decimals: 128-bit little-endian words, the upper one the sign."""
    words = np.empty((len(numbers), 2), dtype=np.int64)
    words[:, 0] = numbers
    words[:, 1] = numbers >> 63
    validity = None
    if array.null_count:
        validity = pa.array(array.is_valid().to_numpy(zero_copy_only=False)).buffers()[1]
    return pa.Array.from_buffers(
        pa.decimal128(precision, scale),
        len(numbers),
        [validity, pa.py_buffer(words)],
        null_count=array.null_count,
    )


def _retype(array: pa.Array, target: Any) -> pa.Array:
    if array.type == target:
        return array
    if pa.types.is_timestamp(array.type) or (
        pa.types.is_integer(array.type) and array.type.bit_width == target.bit_width
    ):
        return array.view(target)
    return array.cast(target)
