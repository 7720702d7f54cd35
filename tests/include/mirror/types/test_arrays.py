"""Arrays of one dimension arrive element by element. Arrays that ClickHouse can't hold are refused."""

from __future__ import annotations

import pytest

from tests.include.mirror.types.way import Way

TEXTS = r"""ARRAY['', NULL, 'NULL', 'null', 'a b', '{x}', 'a,b', E'\\', '"', E'a\tb', E'\x0b', E'\x0c', 'ç', 'a''b', '\"']"""

CARRIED = {
    "integer[]": ["'{}'", "'{1,NULL,-2147483648}'", "'{0}'", "'{NULL}'", "'{0,0}'", "'{NULL,0}'"],
    "bigint[]": ["'{}'", "'{1,NULL,-9223372036854775808}'"],
    "smallint[]": ["'{}'", "'{1,NULL,-32768}'"],
    "oid[]": ["'{}'", "'{1,NULL,4294967295}'"],
    "boolean[]": ["'{}'", "'{t,NULL,f}'"],
    "real[]": ["'{}'", "'{NaN,NULL,1.1,-0}'", "'{1}'"],
    "double precision[]": ["'{}'", "'{NaN,NULL,0.1,-Infinity}'"],
    "numeric(10,2)[]": ["'{}'", "'{1.10,NULL,-99999999.99}'"],
    "numeric(38,2)[]": ["'{}'", "'{1.10,NULL,-99999999.99}'"],
    "numeric[]": ["'{}'", "'{1.10,NULL,NaN}'"],
    "text[]": [
        "'{}'",
        TEXTS,
        "ARRAY['']",
        "ARRAY['a', 'bc']",
        "ARRAY['ab', 'c']",
        "ARRAY[repeat('x', 1000000), NULL]",
    ],
    "varchar(3)[]": ["'{}'", "'{a,NULL}'"],
    "character(3)[]": ["'{}'", "'{a,NULL}'"],
    "name[]": ["'{}'", "'{a,NULL}'"],
    "bytea[]": ["'{}'", r"ARRAY['\x00ff'::bytea, NULL, '']"],
    "uuid[]": ["'{}'", "ARRAY[gen_random_uuid(), NULL]"],
    "date[]": ["'{}'", "'{1900-01-01,NULL,2299-12-31}'"],
    "timestamp[]": ["'{}'", "'{1900-01-01,NULL,2299-12-31 23:59:59.999999}'"],
    "timestamptz[]": ["'{}'", "'{1900-01-01,NULL,2299-12-31 23:59:59.999999}'"],
    "time[]": ["'{}'", "'{00:00,NULL,24:00,12:34:56.7}'"],
    "jsonb[]": ["'{}'", "ARRAY['{\"a\": 1.10}'::jsonb, NULL, 'null']"],
    "inet[]": ["'{}'", "'{10.0.0.1,NULL}'"],
    "box[]": ["'{}'", "'{(1,1),(0,0);NULL}'"],
    "int4range[]": ["'{}'", "ARRAY['[1,5)'::int4range, NULL]"],
}


@pytest.mark.parametrize("declared", CARRIED)
def test_elements_arrive_and_nulls_among_them(way: Way, declared: str) -> None:
    arrived = way.carry(declared, CARRIED[declared])
    assert arrived.refused == []
    assert arrived.carrier.warehouse_type.startswith("Array(Nullable(")
    assert arrived.values[0] == []


def test_arrays_that_differ_count_differently(way: Way) -> None:
    values = ["'{}'", "'{0}'", "'{NULL}'", "'{0,0}'", "'{NULL,0}'", "'{0,NULL}'", "'{1,2}'", "'{2,1}'"]
    numbers = way.carry("integer[]", values).numbers
    assert len(set(numbers)) == len(values)
    texts = ["'{a,bc}'", "'{ab,c}'", "'{abc}'", "'{\"\"}'", "'{}'", "'{NULL}'", "'{\"NULL\"}'"]
    assert len(set(way.carry("text[]", texts).numbers)) == len(texts)


REFUSED = [
    ("integer[]", None, ["NULL", "'{{1,2},{3,4}}'", "'[0:1]={1,2}'", "'[5:5]={1}'", "'{{1}}'"], ["'{1,2}'"]),
    ("text[]", None, ["NULL", "'{{a},{b}}'", "'[2:2]={a}'"], ["'{a}'", "'{}'"]),
    ("uuid[]", None, ["NULL"], ["'{}'"]),
    ("date[]", None, ["'{2026-01-01,infinity}'", "'{1899-12-31}'"], ["'{2026-01-01}'", "'{}'"]),
    ("timestamptz[]", None, ["'{NULL,infinity}'"], ["'{2026-01-01,NULL}'", "'{}'"]),
    ("numeric(10,2)[]", None, ["'{1,NaN}'"], ["'{1.10,NULL}'", "'{}'", "'{NULL}'"]),
    ("numeric(38,2)[]", None, ["'{1,NaN}'"], ["'{1.10,NULL}'", "'{}'"]),
    ("integer[]", "Array(Int32)", ["'{1,NULL}'", "'{NULL}'"], ["'{}'", "'{1,2}'"]),
    ("integer[]", "Array(Nullable(UInt8))", ["'{1,256}'", "'{NULL,-1}'"], ["'{}'", "'{1,NULL}'"]),
    ("text[]", "Array(String)", ["'{a,NULL}'"], ["'{}'", "'{a}'"]),
    ("text[]", "Array(LowCardinality(String))", ["'{a,NULL}'"], ["'{}'", "'{a}'"]),
    ("text[]", "Array(LowCardinality(Nullable(String)))", ["NULL"], ["'{}'", "'{a,NULL}'"]),
    ("uuid[]", "Array(UUID)", ["'{NULL}'"], ["ARRAY[gen_random_uuid()]"]),
    ("boolean[]", "Array(Bool)", ["'{NULL}'"], ["'{t,f}'"]),
    ("real[]", "Array(Float32)", ["'{NULL}'"], ["'{1,-0}'", "'{}'"]),
    ("boolean[]", "Array(Nullable(String))", ["NULL"], ["'{t,NULL}'"]),
    ("numeric(10,2)[]", "Array(Nullable(Decimal(40, 2)))", ["'{NaN}'"], ["'{1.10,NULL}'"]),
]


@pytest.mark.parametrize(("declared", "wanted", "refused", "fine"), REFUSED)
def test_what_would_be_altered_is_refused_and_the_rest_arrives(
    way: Way, declared: str, wanted: str | None, refused: list[str], fine: list[str]
) -> None:
    arrived = way.carry(declared, [*refused, *fine], wanted=wanted)
    assert arrived.refused == list(range(len(refused)))
    assert len(arrived.values) == len(fine)


@pytest.mark.parametrize("asked", [{"wanted": "Nullable(String)"}, {"key": True}])
def test_as_text_every_array_arrives(way: Way, asked: dict[str, object]) -> None:
    values = ["NULL", "'{{1,2},{3,4}}'", "'[0:1]={1,2}'", "'{}'", "'{1,NULL}'"]
    arrived = way.carry("integer[]", values, **asked)
    assert arrived.carrier.warehouse_type == "Nullable(String)"
    assert arrived.values == [None, "{{1,2},{3,4}}", "[0:1]={1,2}", "{}", "{1,NULL}"]
