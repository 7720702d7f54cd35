"""Expressions that give the same bytes for a value on both servers, whatever its two types are.

The bytes are PostgreSQL's binary form. `record_send` writes a row's values one after the other, each after the oid of its
type and its length; NULL has length -1. So two different rows never have the same bytes, and PostgreSQL need not print
numbers and times as text. In ClickHouse, the expressions build the same bytes.

The pair of types decides how a value is written. If both types have the same meaning (`integer` and `UInt32`, `timestamp`
and `DateTime64`), the value itself is compared. Otherwise its text is compared, as PostgreSQL prints it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from include.mirror.names import ch, ch_text, pg
from local.compare.catalog import SourceType

Sql = Callable[[str], str]

# The PostgreSQL types in which values are written: oid, and length if it is fixed.
_WIRE = {
    "bool": (16, 1),
    "bytea": (17, None),
    "int8": (20, 8),
    "text": (25, None),
    "float8": (701, 8),
    "bpchar": (1042, None),
    "date": (1082, 4),
    "time": (1083, 8),
    "timestamp": (1114, 8),
    "timestamptz": (1184, 8),
    "uuid": (2950, 16),
}
_INTEGERS = ("int2", "int4", "int8", "oid")
_FLOATS = ("float4", "float8")
_EXACT_NUMBERS = (*_INTEGERS, "numeric", "money")
_TIMES = ("timestamp", "timestamptz")
# Types whose values all fit into Int64.
_SMALL_INTEGERS = ("Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32")
_LARGE_INTEGERS = ("UInt64", "Int128", "UInt128", "Int256", "UInt256")
_DAY = 86_400_000_000
# PostgreSQL counts time from 2000-01-01, ClickHouse from 1970-01-01.
_EPOCH_DAYS = 10_957
_EPOCH = _EPOCH_DAYS * _DAY


@dataclass(frozen=True)
class _Form:
    """How the values of one pair of types are written. NULL stays NULL.

    `wire`, a key of _WIRE, is the type in which they are written. `source` converts the PostgreSQL expression of a value to
    that type; None if a cast is enough. `warehouse` converts the ClickHouse expression of a value to the type's bytes.
    """

    wire: str
    warehouse: Sql
    source: Sql | None = None

    def cast(self, value: str) -> str:
        """Return the PostgreSQL expression of type `wire`."""
        return f"{value}::{self.wire}" if self.source is None else self.source(value)


@dataclass(frozen=True)
class Pair:
    """One column on both servers.

    `source` is the PostgreSQL expression of one field of a ROW. `warehouse` is the ClickHouse expression of the bytes that
    `record_send` writes for that field; it is never NULL. `source_shown` and `warehouse_shown` print the value for people.
    For an exact decimal, `source_money` is the number in PostgreSQL, and `digits` are precision and scale in ClickHouse.
    """

    name: str
    source: str
    warehouse: str
    source_shown: str
    warehouse_shown: str
    source_money: str | None = None
    digits: tuple[int, int] | None = None


def pair(name: str, source: SourceType, warehouse_type: str) -> Pair | None:
    """Return how a column is compared, None if there is no rule for its two types."""
    plain, base, arguments = _parse(warehouse_type)
    form = _array(source, plain) if base == "Array" else _scalar(source, base, arguments)
    if form is None:
        return None
    column = pg(name)
    # Functions handle LowCardinality differently, and may then return NULL instead of a requested default.
    value = f"CAST({ch(name)}, {ch_text(plain)})" if "LowCardinality(" in warehouse_type else ch(name)
    digits = _digits(arguments) if base == "Decimal" and source.name in _EXACT_NUMBERS else None
    return Pair(
        name=name,
        source=form.cast(column),
        warehouse=_field(form, value),
        source_shown=f"{column}::text",
        warehouse_shown=f"concat('\\\\x', lower(hex({value})))"
        if form.wire == "bytea" and base == "String"
        else f"toString({value})",
        source_money=f"{column}::numeric" if digits else None,
        digits=digits,
    )


def header(fields: int) -> str:
    """Return the ClickHouse expression of the bytes before the fields of a record."""
    return f"unhex('{fields:08x}')"


def _parse(warehouse_type: str) -> tuple[str, str, str]:
    """Return a type without LowCardinality, and then its name and its arguments without Nullable."""
    plain = _without_dictionary(warehouse_type)
    match = re.fullmatch(r"(?:Nullable\()?(\w+)(?:\((.*?)\))?\)?", plain, re.DOTALL)
    return (plain, match[1], match[2] or "") if match else (plain, plain, "")


def _without_dictionary(warehouse_type: str) -> str:
    """Return a type without the LowCardinality around it or around its elements."""
    if wrapped := re.fullmatch(r"LowCardinality\((.*)\)", warehouse_type, re.DOTALL):
        return _without_dictionary(wrapped[1])
    if wrapped := re.fullmatch(r"(Array|Nullable)\((.*)\)", warehouse_type, re.DOTALL):
        return f"{wrapped[1]}({_without_dictionary(wrapped[2])})"
    return warehouse_type


def _digits(arguments: str) -> tuple[int, int]:
    """Return precision and scale of a Decimal."""
    precision, scale = arguments.split(",")
    return int(precision), int(scale)


def _scalar(source: SourceType, base: str, arguments: str) -> _Form | None:
    """Return the form of a pair of types. The warehouse's type is `base(arguments)`."""
    if base == "String":
        # As PostgreSQL prints it. char(n) keeps its type, because a cast to text would drop its blanks.
        return _Form(source.name if source.name in ("bytea", "bpchar") else "text", _itself)
    if base in ("FixedString", "Enum8", "Enum16"):
        return _text("toString({})")
    if base == "Bool" or base in _SMALL_INTEGERS or base in _LARGE_INTEGERS:
        return _integer(source, base)
    if base == "Decimal":
        return _decimal(source, _digits(arguments)[1])
    if base in ("Float32", "Float64"):
        return _float(source, base)
    if base in ("DateTime", "DateTime64", "Date", "Date32"):
        return _moment(source, base, arguments)
    if base in ("Time", "Time64") and source.name == "time":
        micros = "toTime64({}, 6)" if base == "Time" or arguments != "6" else "{}"
        return _Form("time", lambda value: _bytes(micros.format(value)))
    if base == "UUID":
        if source.name == "uuid":
            return _Form("uuid", "UUIDStringToNum(toString({}))".format)
        return _text("toString({})")
    return None


def _integer(source: SourceType, base: str) -> _Form:
    number = "toUInt8({})" if base == "Bool" else "{}"
    if source.name == "bool" and base in ("Bool", "UInt8"):
        return _Form("bool", lambda value: _bytes(number.format(value)))
    if source.name in (*_INTEGERS, "bool") and base not in _LARGE_INTEGERS:
        return _Form(
            "int8",
            lambda value: _bytes(f"toInt64({number.format(value)})"),
            "{}::int::int8".format if source.name == "bool" else None,
        )
    if source.name in (*_EXACT_NUMBERS, *_FLOATS):
        return _text(f"toString({number})", _decimal_text(source, 0))
    return _text(f"toString({number})", "{}::int::text".format if source.name == "bool" else None)


def _decimal(source: SourceType, scale: int) -> _Form:
    text = f"toDecimalString({{}}, {scale})"
    if source.name in (*_EXACT_NUMBERS, *_FLOATS) and (source.scale is None or source.scale != scale):
        return _text(text, _decimal_text(source, scale))
    return _text(text)


def _decimal_text(source: SourceType, scale: int) -> Sql:
    """Return the text of a number with `scale` decimals, or unchanged if that would round it."""

    def text(value: str) -> str:
        number = f"{value}::text::numeric" if source.name in _FLOATS else f"{value}::numeric"
        rounded = f"round({number}, {scale})"
        return f"(CASE WHEN {number} = {rounded} THEN {rounded} ELSE {number} END)::text"

    return text


def _float(source: SourceType, base: str) -> _Form | None:
    def in_warehouse(value: str) -> str:
        # All NaNs are the same value, whatever their bits are. 0 and -0 are different.
        wide = f"toFloat64({value})"
        return _bytes(f"if(isNaN({value}), reinterpretAsFloat64(unhex('000000000000f87f')), {wide})")

    def in_source(value: str) -> str:
        if source.name in _FLOATS:
            return f"CASE WHEN {value} = 'NaN' THEN 'NaN'::float8 ELSE {value}::float8 END"
        # NULL, which differs from every number, if the number is not exactly the float.
        held = f"{value}::{'float4' if base == 'Float32' else 'float8'}"
        return f"CASE WHEN {held}::text::numeric = {value}::numeric THEN {held}::float8 END"

    known = source.name in (*_FLOATS, *_EXACT_NUMBERS)
    return _Form("float8", in_warehouse, in_source) if known else None


def _moment(source: SourceType, base: str, arguments: str) -> _Form | None:
    if source.name == "date" and base in ("Date", "Date32"):
        return _Form("date", lambda value: _bytes(f"toInt32(toInt32({value}) - {_EPOCH_DAYS})"))
    if base in ("Date", "Date32"):
        micros = f"(toInt64(toInt32({{}})) * {_DAY})"
    else:
        micros = f"toUnixTimestamp64Micro({'toDateTime64({}, 6)' if base == 'DateTime' else '{}'})"
    if source.name in _TIMES and base == "DateTime64" and int(arguments.split(",")[0]) > 6:
        return _text(
            "toString(toUnixTimestamp64Nano({}))",
            lambda value: (
                f"CASE WHEN isfinite({value}) "
                f"THEN ((extract(epoch FROM {value}) * 1000000)::bigint::numeric * 1000)::text ELSE {value}::text END"
            ),
        )
    if source.name in _TIMES:
        return _Form(source.name, lambda value: _bytes(f"{micros.format(value)} - {_EPOCH}"))
    if source.name == "date":
        return _text(
            f"toString({micros})",
            lambda value: (
                f"CASE WHEN isfinite({value}) "
                f"THEN (({value} - DATE '1970-01-01')::numeric * {_DAY})::text ELSE {value}::text END"
            ),
        )
    return None


def _array(source: SourceType, plain: str) -> _Form | None:
    """Return the form of an array: the bytes of `array_send`. ClickHouse's arrays have one dimension that begins at 1."""
    inner = re.fullmatch(r"Array\((.*)\)", plain, re.DOTALL)
    if source.element is None or inner is None:
        return None
    _, base, arguments = _parse(inner[1])
    element = _scalar(source.element, base, arguments)
    if element is None:
        return None
    oid = f"{_WIRE[element.wire][0]:08x}"

    def in_source(value: str) -> str:
        cast = f"{value}::{element.wire}[]"
        if element.source is not None:
            elements = f"unnest({value}) WITH ORDINALITY AS e (v, i)"
            each = f"SELECT {element.source('e.v')} FROM {elements} ORDER BY e.i"  # noqa: S608
            cast = (
                f"CASE WHEN cardinality({value}) = 0 THEN '{{}}' "
                f"WHEN array_ndims({value}) = 1 AND array_lower({value}, 1) = 1 THEN ARRAY({each}) "
                # An array of any other shape becomes {NULL}, which differs from the warehouse's array in any case.
                f"WHEN {value} IS NOT NULL THEN '{{{{NULL}}}}' END::{element.wire}[]"
            )
        # Clear the array's flag for NULL elements: PostgreSQL may leave it set after the last NULL is gone.
        return f"overlay(array_send({cast}) PLACING '\\x00000000'::bytea FROM 5 FOR 4)"

    def in_warehouse(value: str) -> str:
        each = element.warehouse("x")
        bytes_of = f"ifNull(concat({_bytes(f'toUInt32(length({each}))')}, {each}), unhex('ffffffff'))"
        return (
            f"if(empty({value}), unhex('0000000000000000{oid}'), concat(unhex('0000000100000000{oid}'), "
            f"{_bytes(f'toUInt32(length({value}))')}, unhex('00000001'), "
            f"arrayStringConcat(arrayMap(x -> {bytes_of}, {value}))))"
        )

    return _Form("bytea", in_warehouse, in_source)


def _field(form: _Form, value: str) -> str:
    """Return the ClickHouse expression of a field of a record: oid, length and bytes."""
    oid, length = _WIRE[form.wire]
    written = form.warehouse(value)
    start = (
        f"unhex('{oid:08x}'), {_bytes(f'toUInt32(length({written}))')}"
        if length is None
        else f"unhex('{oid:08x}{length:08x}')"
    )
    return f"ifNull(concat({start}, {written}), unhex('{oid:08x}ffffffff'))"


def _text(warehouse: str, source: Sql | None = None) -> _Form:
    return _Form("text", warehouse.format, source)


def _itself(value: str) -> str:
    return value


def _bytes(number: str) -> str:
    """Return the ClickHouse expression of a number's bytes, the highest first."""
    return f"reverse(reinterpretAsFixedString({number}))"
