"""Every type at its extremes: it arrives with the same digest and the same text, or it is refused."""

from __future__ import annotations

import datetime as dt
import uuid
from decimal import Decimal

import pytest

from tests.include.mirror.types.way import Way
from tests.versions import postgres_major

DIGITS_76 = f"{'9' * 38}.{'9' * 38}"
MOMENTS = [
    *("'1900-01-01'", "'2299-12-31 23:59:59.999999'", "'1969-12-31 23:59:59.999999'", "'2026-03-08 02:30'"),
    *("'2026-01-01 10:00:00.100000'", "'2026-01-01 10:00:00.000010'", "NULL"),
]

# Since PostgreSQL 15, the scale may be below zero or above the precision.
ANY_SCALE = (
    {"numeric(2,-3)": ["99000", "-99000", "NULL"], "numeric(3,5)": ["0.00999", "-0.00999", "NULL"]}
    if postgres_major() >= 15
    else {}
)
CARRIED = {
    "smallint": ["-32768", "32767", "0", "NULL"],
    "integer": ["-2147483648", "2147483647", "0", "NULL"],
    "bigint": ["-9223372036854775808", "9223372036854775807", "0", "NULL"],
    "oid": ["0", "4294967295", "NULL"],
    "boolean": ["true", "false", "NULL"],
    "real": ["'NaN'", "'Infinity'", "'-Infinity'", "'-0'", "0", "1.1", "3.4e38", "1e-45", "NULL"],
    "double precision": [
        "'NaN'",
        "'Infinity'",
        "'-Infinity'",
        "'-0'",
        "0",
        "0.1",
        "1.79e308",
        "5e-324",
        "NULL",
    ],
    "numeric(10,2)": ["99999999.99", "-99999999.99", "0.01", "-0.01", "0", "NULL"],
    "numeric(5,2)": ["999.99", "-999.99", "NULL"],
    "numeric(18,0)": ["999999999999999999", "-999999999999999999", "NULL"],
    "numeric(18,18)": ["0.999999999999999999", "-0.000000000000000001", "NULL"],
    **ANY_SCALE,
    "numeric(19,2)": ["99999999999999999.99", "-0.01", "NULL"],
    "numeric(38,10)": ["9999999999999999999999999999.9999999999", "-0.0000000001", "0", "NULL"],
    "numeric(76,38)": ["1e37", f"-{DIGITS_76}", "NULL"],
    "numeric(100,2)": ["'NaN'", "1e97", "NULL"],
    "numeric": ["'NaN'", "'Infinity'", "'-Infinity'", "1.10", "1e100", "NULL"],
    "money": ["92233720368547758.07::numeric", "-92233720368547758.08::numeric", "0", "NULL"],
    "text": ["''", "'NULL'", "'\\N'", "repeat('ação ', 400000)", "E'\\t\\n\\x01'", "'a '", "NULL"],
    "varchar(10)": ["''", "'é'", "'😀'", "NULL"],
    "character(5)": ["'ab'", "''", "'     '", "NULL"],
    "name": ["'x'", "''", "NULL"],
    '"char"': ["'x'", "''", "NULL"],
    "bytea": ["''", r"'\x00'", r"'\x0000'", r"'\xff00ff'", r"decode(repeat('00ff', 1000000), 'hex')", "NULL"],
    "uuid": ["gen_random_uuid()", "'00000000-0000-0000-0000-000000000000'", "NULL"],
    "date": ["'1900-01-01'", "'2299-12-31'", "'1970-01-01'", "NULL"],
    "timestamp": MOMENTS,
    "timestamp(0)": MOMENTS[:1],
    "timestamptz": MOMENTS,
    "time": ["'00:00'", "'23:59:59.999999'", "'24:00:00'", "'12:34:56.7'", "NULL"],
    "timetz": ["'24:00:00+15:59'", "'12:34:56.7-03'", "NULL"],
    "interval": ["'1 year -2 mons 3 days -04:05:06.7'", "'178000000 years'", "'0'", "NULL"],
    "json": ['\'{"b": 1,  "a": [1.10, null], "b": 2}\'', "'null'", "NULL"],
    "jsonb": ['\'{"b": 1,  "a": [1.10, null], "b": 2}\'', "'null'", "NULL"],
    "inet": ["'10.0.0.1'", "'::1/64'", "NULL"],
    "cidr": ["'10.0.0.0/8'", "NULL"],
    "macaddr": ["'08:00:2b:01:02:03'", "NULL"],
    "bit(3)": ["B'101'", "NULL"],
    "bit varying(5)": ["B'10101'", "B''", "NULL"],
    "point": ["'(0.1,NaN)'", "NULL"],
    "polygon": ["'((0,0),(1,1),(1,0))'", "NULL"],
    "tsvector": ["'a:1 ''b c'''", "NULL"],
    "pg_lsn": ["'16/B374D848'", "NULL"],
    "int4range": ["'[1,5)'", "'empty'", "NULL"],
    "tstzrange": ["'[2026-01-01,infinity)'", "NULL"],
    "int4multirange": ["'{[1,5),[7,8)}'", "NULL"],
    "xid8": ["'18446744073709551615'", "NULL"],
    "regclass": ["'pg_class'", "NULL"],
}


@pytest.mark.parametrize("declared", CARRIED)
def test_what_a_type_holds_arrives(way: Way, declared: str) -> None:
    arrived = way.carry(declared, CARRIED[declared])
    assert arrived.refused == []
    assert arrived.texts.count(None) == CARRIED[declared].count("NULL")


@pytest.mark.parametrize(
    "declared", ["integer", "text", "numeric(10,2)", "numeric(38,2)", "uuid", "date", "integer[]"]
)
def test_no_rows_and_nothing_but_nulls_are_no_special_case(way: Way, declared: str) -> None:
    assert way.carry(declared, []).values == []
    if not declared.endswith("[]"):
        assert way.carry(declared, ["NULL", "NULL"]).values == [None, None]


VALUES = {
    "numeric(10,2)": ("-99999999.99", Decimal("-99999999.99")),
    "numeric(76,38)": (f"-{DIGITS_76}", Decimal(f"-{DIGITS_76}")),
    "numeric": ("1.10", "1.10"),
    "money": ("-92233720368547758.08::numeric", Decimal("-92233720368547758.08")),
    "uuid": ("'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'", uuid.UUID("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11")),
    "timestamptz": ("'2026-01-01 00:00-03'", dt.datetime(2026, 1, 1, 3)),
    "time": ("'24:00'", dt.timedelta(days=1)),
    "date": ("'1900-01-01'", dt.date(1900, 1, 1)),
    "character(5)": ("'ab'", "ab   "),
    "oid": ("4294967295", 4294967295),
    "real": ("1.1", 1.100000023841858),
    "smallint": ("-32768", -32768),
    "boolean": ("true", True),
    "interval": ("'1 day'", "1 day"),
}


if ANY_SCALE:
    VALUES["numeric(2,-3)"] = ("-99000", Decimal("-99000"))


@pytest.mark.parametrize("declared", VALUES)
def test_it_is_the_value_that_arrives(way: Way, declared: str) -> None:
    value, expected = VALUES[declared]
    (found,) = way.carry(declared, [value]).values
    assert (found.replace(tzinfo=None) if isinstance(found, dt.datetime) else found) == expected


DAYS = ["'infinity'", "'-infinity'", "'1899-12-31'", "'2300-01-01'", "'0044-03-15 BC'"]
INSTANTS = [
    *("'infinity'", "'-infinity'", "'1899-12-31 23:59:59.999999'", "'2300-01-01'", "'0044-03-15 BC'"),
    *("'294276-12-31 23:59:59.999999'", "'4713-01-01 BC'"),
]
UNCOUNTABLE = [
    *("'NaN'", "'Infinity'", "'-Infinity'", "1.259", "100000000", "-100000000", "0.001"),
    *("99999999.999", "1e300", "1e-300"),
]

REFUSED = [
    ("numeric(10,2)", None, ["'NaN'"], ["1.10"]),
    ("numeric(5,0)", None, ["'NaN'"], ["1"]),
    ("numeric(38,2)", None, ["'NaN'"], ["1.10"]),
    (
        "numeric",
        "Nullable(Decimal(10, 2))",
        UNCOUNTABLE,
        ["1.25", "1.2", "1", "1.2500", "99999999.99", "-99999999.99", "0", "NULL"],
    ),
    (
        "numeric",
        "Nullable(Decimal(40, 2))",
        ["'NaN'", "'Infinity'", "1.259", "1e38"],
        ["1.25", "1.2500", "-1e37", "NULL"],
    ),
    ("numeric", "Nullable(Decimal(9, 0))", ["1e9", "0.5"], ["999999999", "1.0"]),
    ("date", None, [*DAYS, "'5874897-12-31'"], ["'2026-01-01'"]),
    ("timestamp", None, INSTANTS, ["'2026-01-01'"]),
    ("timestamptz", None, INSTANTS, ["'2026-01-01'"]),
    ("smallint", "Nullable(Int8)", ["128", "-129"], ["127", "-128", "NULL"]),
    ("smallint", "UInt64", ["-1"], ["0", "32767"]),
    ("integer", "UInt32", ["-1"], ["0", "2147483647"]),
    ("integer", "Nullable(UInt32)", ["-1"], ["2147483647", "NULL"]),
    ("integer", "UInt8", ["-1", "256"], ["255"]),
    ("bigint", "UInt64", ["-1"], ["9223372036854775807"]),
    ("bigint", "Int32", ["2147483648", "-2147483649"], ["-2147483648"]),
    ("bigint", "Nullable(UInt16)", ["65536", "-1"], ["65535", "NULL"]),
    ("oid", "Int32", ["2147483648"], ["2147483647"]),
]


@pytest.mark.parametrize(("declared", "wanted", "refused", "fine"), REFUSED)
def test_what_would_be_altered_is_refused_and_the_rest_arrives(
    way: Way, declared: str, wanted: str | None, refused: list[str], fine: list[str]
) -> None:
    arrived = way.carry(declared, [*fine, *refused], wanted=wanted)
    assert arrived.refused == list(range(len(fine), len(fine) + len(refused)))


def test_only_a_null_that_a_type_holds_arrives(way: Way) -> None:
    arrived = way.carry("integer", ["1", "NULL"], wanted="UInt32")
    assert (arrived.carrier.nullable, arrived.values) == (False, [1])
    assert way.carry("integer", ["1", "NULL"], not_null=True).carrier.warehouse_type == "Int32"
