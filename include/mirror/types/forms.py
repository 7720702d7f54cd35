"""The forms in which values travel: one function for each kind of ClickHouse type, without NULL and LowCardinality.

`numbers`, `not_held` and `convert` work on whole Arrow arrays and copy little: if the bits stay the same, the result is a
view.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from include.mirror.types.carrier import Mask, Numbers
from include.mirror.types.digest import buffers, content, content_sql

Sql = Callable[[str], str]
"""Returns an SQL expression for another one, mostly a quoted name."""

LOWEST = -(2**63)
"""The result of `units` for a text that is not a number. No decimal of 18 digits has this value."""

REFUSED = "refused"
"""The text that is read instead of a number that the warehouse's Decimal would round or can't hold."""


def as_is(name: str) -> str:
    """Return the expression unchanged: the value as the driver reads it or as ClickHouse stores it."""
    return name


def as_text(name: str) -> str:
    """Return the expression of the text that PostgreSQL prints."""
    return f"{name}::text"


@dataclass(frozen=True)
class Form:
    """A Carrier for columns with and without NULL. The second argument of `digest` is whether the column is nullable.

    `base` is the ClickHouse type without Nullable and LowCardinality. `nullable` and `low_cardinality` are True if it can
    have them. `how`, `refuses` and `why` are texts for people: how values are read, which values are refused, and what would
    happen to these otherwise.

    The other fields are for arrays of such values. An array is cast to an array of `elements` before it is read; None if
    arrays travel as text. `element_text` is the ClickHouse expression of an element as PostgreSQL prints it in an array,
    before quoting; None if both sides print it differently. Then `element_bytes` is the expression of the element as
    PostgreSQL sends it, in hexadecimal, and `element_type` and `element_size` are the type's oid and length in bytes.
    """

    base: str
    how: str
    read: Sql
    source_text: Sql
    warehouse_text: Sql
    digest: Callable[[str, bool], str]
    accepts: Callable[[Any], bool]
    numbers: Callable[[pa.Array], Numbers]
    convert: Callable[[pa.Array, Numbers], pa.Array]
    not_held: Callable[[pa.Array, Numbers], Mask | None] = lambda _array, _numbers: None
    altered: Sql | None = None
    scale: int | None = None
    nullable: bool = True
    low_cardinality: bool = False
    refuses: str = ""
    why: str = ""
    elements: str | None = None
    element_text: Sql | None = None
    element_bytes: Sql = as_is
    element_type: int = 0
    element_size: int = 0


def valid(array: pa.Array) -> Mask:
    """Return a mask of the values that are not NULL."""
    mask: Mask = array.is_valid().to_numpy(zero_copy_only=False)
    return mask


def integers(array: pa.Array) -> Numbers:
    """Return values of up to 64 bits as integers: days, microseconds, 0 and 1 for booleans, bits for floats."""
    kind = array.type
    if pa.types.is_boolean(kind):
        array = array.cast(pa.uint8())
    elif not pa.types.is_integer(kind):
        array = array.view(pa.int64() if kind.bit_width == 64 else pa.int32())
    if array.null_count:
        array = array.fill_null(0)
    values: Numbers = array.to_numpy(zero_copy_only=False).astype(np.int64, copy=False)
    return values


def _unchanged(array: pa.Array, _numbers: Numbers) -> pa.Array:
    return array


def _number_sql(expression: Sql) -> Callable[[str, bool], str]:
    """Return the digest of a value that is a number in ClickHouse. NULL becomes 0."""
    return lambda name, nullable: (
        f"ifNull(toUInt64({expression(name)}), 0)" if nullable else f"toUInt64({expression(name)})"
    )


def _text_sql(text: Sql) -> Callable[[str, bool], str]:
    """Return the digest of a value by its text. NULL becomes 0."""
    return lambda name, nullable: (
        f"ifNull({content_sql(text(name))}, 0)" if nullable else content_sql(text(name))
    )


def _outside(lowest: int, highest: int) -> Callable[[pa.Array, Numbers], Mask | None]:
    def not_held(array: pa.Array, numbers: Numbers) -> Mask | None:
        if not len(numbers) or (np.min(numbers) >= lowest and np.max(numbers) <= highest):
            return None
        mask: Mask = (numbers < lowest) | (numbers > highest)
        if array.null_count:
            mask &= valid(array)
        return mask if mask.any() else None

    return not_held


# Integers and booleans

INTEGERS = {
    f"{sign}Int{bits}": (0, 2**bits - 1) if sign else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    for sign in ("", "U")
    for bits in (8, 16, 32, 64)
}
"""The lowest and highest values of ClickHouse's integers. ClickHouse would wrap values outside of them."""


def integer(base: str, source: str, cast: str | None = None) -> Form:
    """Return the form of PostgreSQL's integer type `source` in ClickHouse's `base`, which may be wider or narrower.

    `cast` is a type that the driver reads correctly, if it doesn't for `source`.
    """
    target = getattr(pa, base.lower())()
    lowest, highest = INTEGERS[base]
    bits = {"int2": 16, "int4": 32}.get(source, 64)
    given = (0, 2**32 - 1) if source == "oid" else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    held = lowest <= given[0] and given[1] <= highest

    def convert(array: pa.Array, _numbers: Numbers) -> pa.Array:
        if array.type.bit_width == target.bit_width:
            return array.view(target)
        # Unchecked: values were checked before, and the bits under a NULL may be anything.
        return array.cast(target, safe=False)

    def printed(name: str) -> str:
        return f"toString({name})"

    return Form(
        base,
        f"`c::{cast}`" if cast else "as it is",
        (lambda name: f"{name}::{cast}") if cast else as_is,
        as_text,
        printed,
        _number_sql(as_is),
        lambda kind: pa.types.is_signed_integer(kind) and kind.bit_width == bits,
        integers,
        convert,
        _outside(lowest, min(highest, 2**63 - 1)),
        refuses="" if held else f"values outside {lowest} to {highest}",
        why="ClickHouse would wrap them",
        elements=cast or source,
        element_text=printed,
    )


BOOLEAN = Form(
    "Bool",
    "as it is",
    as_is,
    # As an integer: a session may have other words for true and false.
    lambda name: f"{name}::int::text",
    # toInt16 and not toUInt8: ClickHouse's index still takes toUInt8 of a key for a Bool, and then finds neither 0 nor 1.
    lambda name: f"toString(toInt16({name}))",
    _number_sql(as_is),
    pa.types.is_boolean,
    integers,
    _unchanged,
    elements="bool",
    element_text=lambda name: f"if({name}, 't', 'f')",
)


def floating(bits: int) -> Form:
    """Return the form of a float of 32 or 64 bits. It is compared by its bits, because both servers print it differently."""
    number = "int" if bits == 32 else "bigint"
    unsigned = "reinterpretAsUInt32" if bits == 32 else "reinterpretAsUInt64"
    return Form(
        f"Float{bits}",
        "as it is",
        as_is,
        lambda name: f"('x' || encode(float{bits // 8}send({name}), 'hex'))::bit({bits})::{number}::text",
        lambda name: f"toString(reinterpretAsInt{bits}({name}))",
        _number_sql(lambda name: f"reinterpretAsInt{bits}({name})"),
        pa.types.is_float32 if bits == 32 else pa.types.is_float64,
        integers,
        _unchanged,
        elements=f"float{bits // 8}",
        element_bytes=lambda name: f"leftPad(lower(hex({unsigned}({name}))), {bits // 4}, '0')",
        element_type=700 if bits == 32 else 701,
        element_size=bits // 8,
    )


# Decimals travel as text. For a million rows, PostgreSQL needs 0.12 s to print a number, and 0.17 s to cast it to an
# integer. A cast of NaN to an integer would also end the COPY without naming the row.


def decimal(precision: int, scale: int, target: tuple[int, int]) -> Form:
    """Return the form of a `numeric(precision, scale)` of up to 76 digits in a Decimal of the same scale.

    `target` is the Decimal's precision and scale.
    """
    return _decimal(
        precision, scale, target, as_text, as_text, "`c::text`", "NaN", "ClickHouse would store NULL"
    )


def decimal_of_any(target: tuple[int, int], value: Sql = as_is, how: str = "c") -> Form:
    """Return the form of numbers of any size in a Decimal. Values that it would round or can't hold are refused.

    `target` is the Decimal's precision and scale. `value` returns the column's expression as a `numeric`.
    """
    precision, scale = target

    def printed(name: str) -> str:
        return f"round({value(name)}, {scale})::text"

    def read(name: str) -> str:
        given = value(name)
        # Also False for NaN and the infinities.
        held = f"abs({given}) < {10 ** (precision - scale)} AND {given} = round({given}, {scale})"
        return f"CASE WHEN {held} THEN {printed(name)} WHEN {given} IS NOT NULL THEN '{REFUSED}' END"

    form = _decimal(
        precision,
        scale,
        target,
        read,
        printed,
        f"`round({how}, {scale})::text`",
        f"NaN, infinities, more than {scale} decimals or {precision} digits",
        "ClickHouse would store NULL, or cut decimals off",
    )
    # Arrays travel as text: this expression can't round each element of an array.
    return replace(form, elements=None)


def _decimal(
    precision: int,
    scale: int,
    target: tuple[int, int],
    read: Sql,
    source_text: Sql,
    how: str,
    refuses: str,
    why: str,
) -> Form:
    base = f"Decimal({target[0]}, {target[1]})"

    def printed(name: str) -> str:
        return f"toDecimalString({name}, {scale})"

    if precision > 18:
        return Form(
            base,
            how,
            read,
            source_text,
            printed,
            _text_sql(printed),
            pa.types.is_string,
            content,
            _unchanged,
            _not_a_number,
            refuses=refuses,
            why=why,
            elements="text",
            element_text=printed,
        )
    highest = 10**precision - 1
    return Form(
        base,
        f"{how}, as a count of smallest units",
        read,
        source_text,
        printed,
        _number_sql(lambda name: f"reinterpretAsInt{_bits(target[0])}({name})"),
        pa.types.is_string,
        units,
        lambda array, numbers: decimals(array, numbers, *target),
        _outside(-highest, highest),
        scale=scale,
        refuses=refuses,
        why=why,
        elements="text",
        element_text=printed,
    )


def _bits(precision: int) -> int:
    return next(bits for bits, digits in ((32, 9), (64, 18), (128, 38), (256, 76)) if precision <= digits)


def units(array: pa.Array) -> Numbers:
    """Return numbers of smallest units from texts of at most 18 digits, all with the same number of decimals.

    0 for NULL, `LOWEST` for texts that are not numbers.
    """
    try:
        return integers(_without_points(array).cast(pa.int64()))
    except pa.ArrowInvalid:
        # Some text is NaN or REFUSED.
        wrong = _ends_with_letter(array)
        numbers = integers(_without_points(pc.if_else(pa.array(~wrong), array, None)).cast(pa.int64()))
        numbers = numbers.copy()
        numbers[wrong] = LOWEST
        return numbers


def _without_points(array: pa.Array) -> pa.Array:
    """Return the texts without their decimal points, three times as fast as Arrow's replace_substring."""
    offsets, data = buffers(array)
    data = data[offsets[0] : offsets[-1]]
    point = data == ord(".")
    count = int(np.count_nonzero(point))
    if not count:
        return array
    if count != len(array) - array.null_count:
        return pc.replace_substring(array, ".", "")
    before = np.arange(len(array) + 1, dtype=np.int64)
    validity = None
    if array.null_count:
        filled = valid(array)
        before[1:] = np.cumsum(filled)
        validity = pa.array(filled).buffers()[1]
    places = (offsets - offsets[0] - before).astype(np.int32)
    return pa.Array.from_buffers(
        pa.string(),
        len(array),
        [validity, pa.py_buffer(places), pa.py_buffer(data[~point])],
        null_count=array.null_count,
    )


def decimals(array: pa.Array, numbers: Numbers, precision: int, scale: int) -> pa.Array:
    """Return numbers of smallest units as decimals: little-endian words. All words but the first hold the sign."""
    words = np.empty((len(numbers), 2 if precision <= 38 else 4), dtype=np.int64)
    words[:, 0] = numbers
    words[:, 1:] = (numbers >> 63)[:, np.newaxis]
    kind = pa.decimal128(precision, scale) if precision <= 38 else pa.decimal256(precision, scale)
    validity = pa.array(valid(array)).buffers()[1] if array.null_count else None
    return pa.Array.from_buffers(
        kind, len(numbers), [validity, pa.py_buffer(words)], null_count=array.null_count
    )


def _ends_with_letter(array: pa.Array) -> Mask:
    """Return a mask of the texts that are not numbers: NaN, Infinity and REFUSED."""
    mask: Mask = pc.match_substring_regex(array, "[a-zA-Z]$").fill_null(False).to_numpy(zero_copy_only=False)
    return mask


def _not_a_number(array: pa.Array, _numbers: Numbers) -> Mask | None:
    # A quick check first: nearly all batches hold only numbers, and no number has a letter.
    offsets, data = buffers(array)
    if not (data[offsets[0] : offsets[-1]] > ord("9")).any():
        return None
    mask = _ends_with_letter(array)
    return mask if mask.any() else None


# Dates and times

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_YEARS = "years outside 1900 to 2299, infinity"
_CLAMPED = "ClickHouse would clamp them"


def _days(day: date) -> int:
    return (day - _EPOCH.date()).days


def _microseconds(instant: datetime) -> int:
    return int((instant - _EPOCH).total_seconds()) * 1_000_000 + instant.microsecond


DATE = Form(
    "Date32",
    "as it is",
    as_is,
    as_text,
    lambda name: f"toString({name})",
    _number_sql(lambda name: f"toInt32({name})"),
    pa.types.is_date32,
    integers,
    _unchanged,
    # ClickHouse clamps values outside of this range. Infinity and years before Christ are outside too.
    _outside(_days(date(1900, 1, 1)), _days(date(2299, 12, 31))),
    refuses=_YEARS,
    why=_CLAMPED,
    elements="date",
    element_text=lambda name: f"toString({name})",
)


def timestamp(source: str) -> Form:
    """Return the form of `timestamptz`, or of `timestamp`, whose local time is stored with the label UTC."""
    zone = "+00" if source == "timestamptz" else ""
    target = pa.timestamp("us", "UTC")

    def printed(name: str) -> str:
        # PostgreSQL leaves out zeros at the end. toString does so depending on a setting; formatDateTime ignores it.
        text = f"trimRight(trimRight(formatDateTime({name}, '%F %T.%f'), '0'), '.')"
        return f"concat({text}, '{zone}')" if zone else text

    return Form(
        "DateTime64(6, 'UTC')",
        "as it is",
        as_is,
        as_text,
        printed,
        _number_sql(lambda name: f"toUnixTimestamp64Micro({name})"),
        lambda kind: kind in (target, pa.timestamp("us")),
        integers,
        lambda array, _numbers: array if array.type == target else array.view(target),
        _outside(
            _microseconds(datetime(1900, 1, 1, tzinfo=UTC)),
            _microseconds(datetime(2299, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)),
        ),
        refuses=_YEARS,
        why=_CLAMPED,
        elements=source,
        element_text=printed,
    )


def _time_number(name: str) -> str:
    return f"reinterpretAsInt64(toDecimal64({name}, 6))"


TIME = Form(
    "Time64(6)",
    "as it is",
    as_is,
    lambda name: f"('x' || encode(time_send({name}), 'hex'))::bit(64)::bigint::text",
    lambda name: f"toString({_time_number(name)})",
    _number_sql(_time_number),
    lambda kind: kind == pa.time64("us"),
    integers,
    _unchanged,
    elements="time",
    element_bytes=lambda name: f"leftPad(lower(hex(toUInt64({_time_number(name)}))), 16, '0')",
    element_type=1083,
    element_size=8,
)


# Texts and bytes


def text(read: Sql = as_text, source_text: Sql = as_text, elements: str = "text") -> Form:
    """Return the form of a text. Its UTF-8 bytes are stored unchanged."""
    return Form(
        "String",
        "as it is" if read is as_is else "`c::text`",
        read,
        source_text,
        as_is,
        _text_sql(as_is),
        pa.types.is_string,
        content,
        _unchanged,
        low_cardinality=True,
        elements=elements,
        element_text=as_is,
    )


BYTES = Form(
    "String",
    "as it is",
    as_is,
    lambda name: f"encode({name}, 'hex')",
    lambda name: f"lower(hex({name}))",
    _text_sql(as_is),
    pa.types.is_binary,
    content,
    _unchanged,
    low_cardinality=True,
    elements="bytea",
    element_text=lambda name: f"concat('\\\\x', lower(hex({name})))",
)

UUID = Form(
    "UUID",
    "`c::text`",
    as_text,
    as_text,
    lambda name: f"toString({name})",
    _text_sql(lambda name: f"toString({name})"),
    pa.types.is_string,
    content,
    _unchanged,
    elements="text",
    element_text=lambda name: f"toString({name})",
)
