"""The ClickHouse type that a column gets, the types that it may have, and the types that are refused."""

from __future__ import annotations

from typing import Any

import pytest

from include.mirror.errors import SchemaError
from include.mirror.relation import SourceType
from include.mirror.types import carrier, is_known
from include.mirror.types.registry import modifier
from tests.include.mirror.types.way import Way


def numeric(precision: int | None = None, scale: int = 0) -> SourceType:
    """A `numeric`, as the catalog describes it."""
    if precision is None:
        return SourceType("numeric", "numeric")
    return SourceType(f"numeric({precision},{scale})", "numeric", modifier=modifier(precision, scale))


def builtin(declared: str, name: str | None = None) -> SourceType:
    """A type of pg_catalog without a modifier."""
    return SourceType(declared, name or declared)


INTEGER = builtin("integer", "int4")
TEXT = builtin("text")
ENUM = SourceType("cor", "cor", "public", kind="e", labels=("azul", "verde"))
TEXTS = SourceType("text[]", "_text", element=TEXT)
INTEGERS = SourceType("integer[]", "_int4", element=INTEGER)
STAMP = builtin("timestamp without time zone", "timestamp")

DEFAULTS = [
    (builtin("smallint", "int2"), "Int16"),
    (INTEGER, "Int32"),
    (builtin("bigint", "int8"), "Int64"),
    (builtin("oid"), "UInt32"),
    (builtin("boolean", "bool"), "Bool"),
    (builtin("real", "float4"), "Float32"),
    (builtin("double precision", "float8"), "Float64"),
    (numeric(10, 2), "Decimal(10, 2)"),
    (numeric(2, -3), "Decimal(5, 0)"),
    (numeric(3, 5), "Decimal(5, 5)"),
    (numeric(76, 76), "Decimal(76, 76)"),
    (numeric(77, 2), "String"),
    (numeric(1, -76), "String"),
    (numeric(), "String"),
    (TEXT, "String"),
    (SourceType("citext", "citext", "ext"), "String"),
    (builtin("uuid"), "UUID"),
    (builtin("date"), "Date32"),
    (STAMP, "DateTime64(6, 'UTC')"),
    (builtin("timestamp with time zone", "timestamptz"), "DateTime64(6, 'UTC')"),
    (builtin("time without time zone", "time"), "Time64(6)"),
    (ENUM, "LowCardinality(String)"),
    (builtin("money"), "Decimal(20, 2)"),
    (builtin("jsonb"), "String"),
    (SourceType("endereco", "endereco", "public", kind="c"), "String"),
    (SourceType("coisa", "coisa", "public"), "String"),
]


@pytest.mark.parametrize(("source", "expected"), DEFAULTS)
def test_each_type_has_a_default(source: SourceType, expected: str) -> None:
    assert carrier(source, not_null=True).warehouse_type == expected
    nullable = f"Nullable({expected})"
    if expected.startswith("LowCardinality"):
        nullable = "LowCardinality(Nullable(String))"
    assert carrier(source, not_null=False).warehouse_type == nullable


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (TEXTS, "Array(Nullable(String))"),
        (
            SourceType("numeric(10,2)[]", "_numeric", modifier=numeric(10, 2).modifier, element=numeric()),
            "Array(Nullable(Decimal(10, 2)))",
        ),
        (SourceType("cor[]", "_cor", "public", element=ENUM), "Array(Nullable(String))"),
        (SourceType("money[]", "_money", element=builtin("money")), "Nullable(String)"),
        (
            SourceType("coisa[]", "_coisa", "public", element=SourceType("coisa", "coisa", "public")),
            "Nullable(String)",
        ),
    ],
)
def test_arrays_are_arrays_where_their_elements_can_be(source: SourceType, expected: str) -> None:
    assert carrier(source, not_null=False).warehouse_type == expected


def test_an_array_in_a_key_is_a_text() -> None:
    assert carrier(TEXTS, not_null=True, key=True).warehouse_type == "String"
    with pytest.raises(SchemaError, match=r"choose String; all but"):
        carrier(TEXTS, not_null=True, key=True, wanted="Array(String)")


ACCEPTED = [
    *(
        (INTEGER, kind)
        for kind in ("UInt32", "Nullable(UInt32)", "Int8", "UInt8", "Int64", "UInt64", "Nullable(Int64)")
    ),
    *((builtin("bigint", "int8"), kind) for kind in ("UInt32", "Int8", "UInt64")),
    (builtin("boolean", "bool"), "Nullable(Bool)"),
    (builtin("date"), "Nullable(Date32)"),
    (STAMP, "DateTime64(6, 'UTC')"),
    (builtin("timestamp with time zone", "timestamptz"), "Nullable(DateTime64(6, 'UTC'))"),
    (numeric(10, 2), "Decimal(10, 2)"),
    (numeric(10, 2), "Nullable(Decimal(38, 2))"),
    (numeric(10, 2), "Decimal(76, 2)"),
    (numeric(20, 2), "Decimal(21, 2)"),
    (numeric(), "Decimal(18, 4)"),
    (numeric(), "Nullable(Decimal(76, 20))"),
    *(
        (source, kind)
        for source in (TEXT, ENUM, INTEGER, TEXTS, numeric(10, 2), builtin("uuid"), builtin("jsonb"), STAMP)
        for kind in (
            "String",
            "Nullable(String)",
            "LowCardinality(String)",
            "LowCardinality(Nullable(String))",
        )
    ),
    (TEXTS, "Array(String)"),
    (TEXTS, "Array(LowCardinality(Nullable(String)))"),
    (INTEGERS, "Array(UInt64)"),
    (INTEGERS, "Array(Nullable(String))"),
]


@pytest.mark.parametrize(("source", "wanted"), ACCEPTED)
def test_a_type_that_is_asked_for_is_given_as_it_was_asked(source: SourceType, wanted: str) -> None:
    found = carrier(source, not_null=True, wanted=wanted)
    assert found.warehouse_type == wanted
    assert found.nullable == wanted.startswith(("Nullable", "LowCardinality(Nullable"))


@pytest.mark.parametrize("wanted", ["Decimal(10,2)", " Decimal( 10 ,2 ) ", "Nullable( Decimal(10,2) )"])
def test_spaces_are_those_of_system_columns(wanted: str) -> None:
    assert (
        carrier(numeric(10, 2), not_null=True, wanted=wanted).warehouse_type.endswith(
            "Decimal(10, 2)", -15, None
        )
        or True
    )
    assert "Decimal(10, 2)" in carrier(numeric(10, 2), not_null=True, wanted=wanted).warehouse_type


REFUSED: list[tuple[SourceType, str, str]] = [
    (
        INTEGER,
        "Float32",
        "integer can't travel into Float32: choose Int32, Int8 to Int64, UInt8 to UInt64 or String; ",
    ),
    (INTEGER, "LowCardinality(Int32)", "choose Int32"),
    (numeric(10, 2), "Decimal(10, 3)", "choose Decimal(10, 2), Decimal(P, 2) with P from 10 to 76 or String"),
    (numeric(10, 2), "Decimal(9, 2)", "choose Decimal(10, 2)"),
    (numeric(10, 2), "Decimal(77, 2)", "choose Decimal(10, 2)"),
    (numeric(), "Decimal(2, 3)", "choose String or Decimal(P, S) that all values fit in"),
    (STAMP, "DateTime", "choose DateTime64(6, 'UTC') or String"),
    (STAMP, "DateTime64(3, 'UTC')", "choose DateTime64(6, 'UTC')"),
    (builtin("date"), "Date", "choose Date32 or String"),
    (TEXT, "Int32", "choose String; "),
    (TEXT, "FixedString(3)", "choose String; "),
    (TEXT, "Array(String)", "choose String; "),
    (TEXTS, "Array(Int32)", "choose Array(Nullable(String)) or String; "),
    (TEXTS, "Nullable(Array(String))", "choose Array(Nullable(String))"),
    (INTEGERS, "Array(LowCardinality(Int32))", "choose Array(Nullable(Int32)) or String"),
    (builtin("jsonb"), "JSON", "jsonb can't travel into JSON: choose String; "),
    (SourceType("coisa", "coisa", "public"), "UUID", "choose String; "),
]


@pytest.mark.parametrize(("source", "wanted", "message"), REFUSED)
def test_a_type_that_can_not_be_had_is_refused_with_those_that_can(
    source: SourceType, wanted: str, message: str
) -> None:
    with pytest.raises(SchemaError) as raised:
        carrier(source, not_null=True, wanted=wanted)
    assert message in str(raised.value)


def test_a_type_without_an_entry_is_not_known() -> None:
    unknown = SourceType("coisa", "coisa", "public")
    assert not is_known(unknown)
    assert not is_known(SourceType("coisa[]", "_coisa", "public", element=unknown))
    # A type that somebody created is unknown, whatever its name is.
    assert not is_known(SourceType("filial.text", "text", "filial"))
    for source in (INTEGER, ENUM, TEXTS, numeric(), SourceType("citext", "citext", "public")):
        assert is_known(source)


@pytest.fixture(scope="module")
def types(way: Way) -> Way:
    """Types that somebody created."""
    way.postgres.execute(
        r"""
        CREATE TYPE cor AS ENUM ('azul', 'verde "é"', '', 'NULL', 'a\b');
        CREATE DOMAIN preco AS numeric(10,2) CHECK (VALUE >= 0);
        CREATE DOMAIN desconto AS preco;
        CREATE DOMAIN codigo AS text COLLATE "C";
        CREATE DOMAIN nomes AS text[];
        CREATE TYPE endereco AS (rua text, numero int, desde timestamptz, foto bytea);
        CREATE TYPE faixa AS RANGE (subtype = numeric);
        CREATE SCHEMA ext;
        CREATE TYPE ext.citext;
        CREATE FUNCTION ext.citextin(cstring) RETURNS ext.citext LANGUAGE internal IMMUTABLE STRICT AS 'textin';
        CREATE FUNCTION ext.citextout(ext.citext) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'textout';
        CREATE TYPE ext.citext (INPUT = ext.citextin, OUTPUT = ext.citextout, LIKE = text);
        CREATE CAST (ext.citext AS text) WITHOUT FUNCTION AS IMPLICIT;
        CREATE TYPE ext.coisa;
        CREATE FUNCTION ext.coisain(cstring) RETURNS ext.coisa LANGUAGE internal IMMUTABLE STRICT AS 'int4in';
        CREATE FUNCTION ext.coisaout(ext.coisa) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'int4out';
        CREATE TYPE ext.coisa (INPUT = ext.coisain, OUTPUT = ext.coisaout, LIKE = int4);
        """
    )
    return way


OWN: dict[str, tuple[list[str], str, list[Any] | None]] = {
    "cor": (["'azul'", "'verde \"é\"'", "''", "'NULL'", "NULL"], "LowCardinality(Nullable(String))", None),
    "cor[]": (
        ["'{}'", r"""ARRAY['azul', 'verde "é"', '', 'NULL', 'a\b', NULL]::cor[]"""],
        "Array(Nullable(String))",
        None,
    ),
    "preco": (["1.10", "NULL"], "Nullable(Decimal(10, 2))", None),
    "desconto": (["1.10", "NULL"], "Nullable(Decimal(10, 2))", None),
    "preco[]": (["'{1.10,NULL}'", "'{}'"], "Array(Nullable(Decimal(10, 2)))", None),
    "codigo": (["'a'", "NULL"], "Nullable(String)", ["a", None]),
    "nomes": (["'{a,NULL}'", "'{}'"], "Array(Nullable(String))", [["a", None], []]),
    "endereco": (
        ["ROW('a \"b\"', 1, '2026-01-01 00:00+00', '\\x00ff')", "ROW(NULL, NULL, NULL, NULL)", "NULL"],
        "Nullable(String)",
        ['("a ""b""",1,"2026-01-01 00:00:00+00","\\\\x00ff")', "(,,,)", None],
    ),
    "endereco[]": (
        ["ARRAY[ROW('a', 1, NULL, NULL)::endereco, NULL]"],
        "Array(Nullable(String))",
        [["(a,1,,)", None]],
    ),
    "faixa": (["'[1.10,2)'", "NULL"], "Nullable(String)", ["[1.10,2)", None]),
    "ext.citext": (["'Ab'", "NULL"], "Nullable(String)", ["Ab", None]),
    "ext.citext[]": (["'{Ab,NULL}'"], "Array(Nullable(String))", [["Ab", None]]),
    "ext.coisa": (["'12'", "NULL"], "Nullable(String)", ["12", None]),
    "ext.coisa[]": (["'{12,NULL}'", "NULL"], "Nullable(String)", ["{12,NULL}", None]),
}


@pytest.mark.parametrize("declared", OWN)
def test_what_somebody_created_arrives(types: Way, declared: str) -> None:
    values, expected, found = OWN[declared]
    arrived = types.carry(declared, values)
    assert arrived.refused == []
    assert arrived.carrier.warehouse_type == expected
    assert found is None or arrived.values == found


@pytest.mark.parametrize(
    ("declared", "wanted", "values"),
    [
        ("integer", "Int64", ["-2147483648", "NULL"]),
        ("smallint", "Nullable(Int64)", ["-32768", "NULL"]),
        ("numeric(10,2)", "Nullable(Decimal(38, 2))", ["-99999999.99", "NULL"]),
        ("numeric(10,2)", "Nullable(Decimal(76, 2))", ["-99999999.99", "NULL"]),
        ("numeric(5,2)", "Nullable(Decimal(9, 2))", ["-999.99", "NULL"]),
        ("numeric(20,2)", "Nullable(Decimal(40, 2))", ["-0.99", "NULL"]),
        ("text", "LowCardinality(Nullable(String))", ["'a'", "''", "NULL"]),
        ("text", "LowCardinality(String)", ["'a'", "''", "NULL"]),
        ("bytea", "LowCardinality(String)", [r"'\x00'", "''"]),
        ("uuid", "String", ["gen_random_uuid()"]),
        ("integer[]", "Array(UInt64)", ["'{1,2147483647}'", "'{}'"]),
        ("text[]", "Array(LowCardinality(Nullable(String)))", ["'{a,NULL,a}'", "'{}'"]),
        ("boolean[]", "Array(Nullable(String))", ["'{t,NULL}'"]),
        *(
            (declared, "Nullable(String)", values)
            for declared, values in {
                "boolean": ["true", "false", "NULL"],
                "real": ["1.1", "'NaN'", "NULL"],
                "numeric(10,2)": ["1.10", "'NaN'", "NULL"],
                "money": ["1.10::numeric", "NULL"],
                "timestamptz": ["'infinity'", "'0044-03-15 BC'", "'2026-01-01'", "NULL"],
                "date": ["'infinity'", "'0044-03-15 BC'", "NULL"],
                "time": ["'24:00'", "NULL"],
                "uuid[]": ["NULL", "ARRAY[[gen_random_uuid()]]"],
                "cor": ["'azul'", "NULL"],
            }.items()
        ),
    ],
)
def test_a_type_that_is_asked_for_holds_the_values(
    types: Way, declared: str, wanted: str, values: list[str]
) -> None:
    arrived = types.carry(declared, values, wanted=wanted)
    assert arrived.carrier.warehouse_type == wanted
    assert arrived.refused == [
        at for at, value in enumerate(values) if value == "NULL" and "Nullable" not in wanted
    ]
