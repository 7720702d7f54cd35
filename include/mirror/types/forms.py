"""The ways in which values travel: one function per kind of ClickHouse type, NULL and LowCardinality apart.

`numbers`, `not_held` and `convert` work on whole Arrow arrays and copy little: a view where the bits stay the same.
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
"""Makes an expression of another, mostly of a quoted name."""

LOWEST = -(2**63)
"""What `units` gives for a text that is no number; no decimal of 18 digits is that."""

REFUSED = "refused"
"""What is read instead of a number that a Decimal of the warehouse would round or can't hold."""


def as_is(name: str) -> str:
    """Return the value itself: as the driver reads it, as ClickHouse stores it."""
    return name


def as_text(name: str) -> str:
    """Return the value as PostgreSQL prints it."""
    return f"{name}::text"


@dataclass(frozen=True)
class Form:
    """A Carrier before it is known whether the column takes NULL, which `digest` is told as its second argument.

    `base` is the ClickHouse type without Nullable and LowCardinality; `nullable` and `low_cardinality` are whether it can
    have them. `how`, `refuses` and `why` are for people: how values are read, which are refused, and what else would
    become of these.

    An array of such values is read after a cast to an array of `elements`; None where arrays travel as text.
    `element_text` is an element of ClickHouse as PostgreSQL prints it in an array, before it is quoted; None where both
    sides print it differently. Then `element_bytes` gives it as PostgreSQL sends it, in hexadecimal, and
    `element_type` and `element_size` are the type's oid and length.
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
    """Return which values are not NULL."""
    mask: Mask = array.is_valid().to_numpy(zero_copy_only=False)
    return mask


def integers(array: pa.Array) -> Numbers:
    """Return an array of up to 64 bits as integers: days, microseconds, 0 and 1 for booleans, bits for floats."""
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
    """Return the digest of what is a number in ClickHouse; NULL goes through its functions and ends as 0."""
    return lambda name, nullable: (
        f"ifNull(toUInt64({expression(name)}), 0)" if nullable else f"toUInt64({expression(name)})"
    )


def _text_sql(text: Sql) -> Callable[[str, bool], str]:
    """Return the digest of what counts by its text; that of NULL is NULL before it is 0."""
    return lambda name, nullable: (
        f"ifNull({content_sql(text(name))}, 0)" if nullable else content_sql(text(name))
    )


def _outside(lowest: int, highest: int) -> Callable[[pa.Array, Numbers], Mask | None]:
    def not_held(array: pa.Array, numbers: Numbers) -> Mask | None:
        if not len(numbers) or (numbers.min() >= lowest and numbers.max() <= highest):
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
"""What ClickHouse's integers hold. It would wrap what is outside."""


def integer(base: str, source: str, cast: str | None = None) -> Form:
    """Return the form of PostgreSQL's integer `source` in ClickHouse's `base`, whichever is wider.

    `cast` is the type that the driver reads right, where `source` is none.
    """
    target = getattr(pa, base.lower())()
    lowest, highest = INTEGERS[base]
    bits = {"int2": 16, "int4": 32}.get(source, 64)
    given = (0, 2**32 - 1) if source == "oid" else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    held = lowest <= given[0] and given[1] <= highest

    def convert(array: pa.Array, _numbers: Numbers) -> pa.Array:
        if array.type.bit_width == target.bit_width:
            return array.view(target)
        # Checked before; what stands under a NULL may be anything.
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
    # A session may have other words for true and false.
    lambda name: f"{name}::int::text",
    # By its index, ClickHouse takes what toUInt8 makes of a key for a Bool still, and finds neither 0 nor 1.
    lambda name: f"toString(toInt16({name}))",
    _number_sql(as_is),
    pa.types.is_boolean,
    integers,
    _unchanged,
    elements="bool",
    element_text=lambda name: f"if({name}, 't', 'f')",
)


def floating(bits: int) -> Form:
    """Return the form of a float of 32 or 64 bits: by its bits, as the two servers print it differently."""
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


# Decimals. PostgreSQL prints a number of a million rows in 0.12 s, and takes 0.17 s to make an integer of it; and a
# cast of NaN to an integer would end the COPY without telling the row.


def decimal(precision: int, scale: int, target: tuple[int, int]) -> Form:
    """Return the form of a `numeric` of up to 76 digits, `scale` of them decimals, in a Decimal of the same scale."""
    return _decimal(
        precision, scale, target, as_text, as_text, "`c::text`", "NaN", "ClickHouse would store NULL"
    )


def decimal_of_any(target: tuple[int, int], value: Sql = as_is, how: str = "c") -> Form:
    """Return the form of numbers of any size in a Decimal: what that would round or can't hold is refused.

    `value` makes a `numeric` of the column.
    """
    precision, scale = target

    def printed(name: str) -> str:
        return f"round({value(name)}, {scale})::text"

    def read(name: str) -> str:
        given = value(name)
        # False for NaN and the infinities, too.
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
    # There is no rounding element by element.
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
    """Return counts of smallest units from texts that all have the same number of decimals, `LOWEST` for other texts.

    At most 18 digits; 0 for NULL.
    """
    try:
        return integers(_without_points(array).cast(pa.int64()))
    except pa.ArrowInvalid:
        # Among them is NaN, or something that was refused.
        wrong = _ends_with_letter(array)
        numbers = integers(_without_points(pc.if_else(pa.array(~wrong), array, None)).cast(pa.int64()))
        numbers = numbers.copy()
        numbers[wrong] = LOWEST
        return numbers


def _without_points(array: pa.Array) -> pa.Array:
    """Return the texts without their decimal point; three times as fast as replace_substring of Arrow."""
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
    """Return counts of smallest units as decimals: little-endian words, of which all but the first are the sign."""
    words = np.empty((len(numbers), 2 if precision <= 38 else 4), dtype=np.int64)
    words[:, 0] = numbers
    words[:, 1:] = (numbers >> 63)[:, np.newaxis]
    kind = pa.decimal128(precision, scale) if precision <= 38 else pa.decimal256(precision, scale)
    validity = pa.array(valid(array)).buffers()[1] if array.null_count else None
    return pa.Array.from_buffers(
        kind, len(numbers), [validity, pa.py_buffer(words)], null_count=array.null_count
    )


def _ends_with_letter(array: pa.Array) -> Mask:
    """Return which texts are no numbers: NaN, Infinity, and what stands for a refused one."""
    mask: Mask = pc.match_substring_regex(array, "[a-zA-Z]$").fill_null(False).to_numpy(zero_copy_only=False)
    return mask


def _not_a_number(array: pa.Array, _numbers: Numbers) -> Mask | None:
    # The cheap question first: no number has a letter, and nearly all batches hold nothing else.
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
    # ClickHouse clamps what lies outside. Infinity and years before Christ arrive as numbers outside, too.
    _outside(_days(date(1900, 1, 1)), _days(date(2299, 12, 31))),
    refuses=_YEARS,
    why=_CLAMPED,
    elements="date",
    element_text=lambda name: f"toString({name})",
)


def timestamp(source: str) -> Form:
    """Return the form of `timestamp`, a wall clock's time stored under the label UTC, and of `timestamptz`."""
    zone = "+00" if source == "timestamptz" else ""
    target = pa.timestamp("us", "UTC")

    def printed(name: str) -> str:
        # PostgreSQL leaves out the zeros at the end. toString may do so too, by a setting, which this ignores.
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
    """Return the form of a text, stored byte by byte."""
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
