"""The comparison of both servers finds what differs, down to one character of one row, and names the row.

The ClickHouse side is written by hand, so that nothing of the mirror takes part.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from decimal import Decimal
from io import StringIO
from typing import Any

import psycopg
import pytest
from clickhouse_connect.driver.client import Client
from psycopg.conninfo import conninfo_to_dict
from rich.console import Console

from include.mirror.declaration import Mirror, Schema, Table
from include.mirror.names import ch, ch_text, pg, pg_text
from include.vendas.tables import VENDAS
from local.compare.database import CompareError, TableDifference, compare
from local.demos.vendas_view import difference_lines, differences_tables, money_difference, rows_difference
from local.servers.clickhouse import ClickHouse
from local.servers.postgres import Postgres
from tests.conftest import new_source
from tests.versions import postgres_major

_numbers = itertools.count(1)
Servers = tuple[str, Client, Mirror]
"""The source's DSN, a client of the warehouse, and what is mirrored: what `compare` asks for."""

# The sales system.

STAMPS = "created_at Nullable(DateTime64(6, 'UTC')), updated_at DateTime64(6, 'UTC')"
SALES = {
    "pais": "pais_id UInt32, pais String",
    "cidade": "cidade_id UInt32, cidade_desc String, cidade_uf LowCardinality(Nullable(String)), "
    "pais_id Nullable(UInt32)",
    "cliente": "cliente_id UInt32, nome String, data_nasc Nullable(Date32), data_cad Nullable(Date32), "
    "cpf Nullable(String), cidade_id Nullable(UInt32)",
    "produto": "produto_id UInt32, nome String, descricao Nullable(String), preco_base Nullable(Decimal(10, 2)), "
    "ativo Nullable(Bool)",
    "venda": "venda_id UInt32, cliente_id Nullable(UInt32), data Nullable(Date32), "
    "entregue LowCardinality(Nullable(String)), valor_total Nullable(Decimal(10, 2))",
    "item_venda": "item_id UInt32, venda_id Nullable(UInt32), produto_id Nullable(UInt32), "
    "valor_unitario Nullable(Decimal(10, 2)), quantidade Nullable(Int32), valor_total Nullable(Decimal(10, 2))",
}
ROWS = """
INSERT INTO pais (pais) VALUES ('Brasil'), ('Côte d''Ivoire');
INSERT INTO cidade (cidade_desc, cidade_uf, pais_id) VALUES ('São Paulo', 'SP', 1), ('Yamoussoukro', NULL, 2);
INSERT INTO cliente (nome, data_nasc, cpf) VALUES ('Ana', '1929-12-31', NULL), (E'Zoë\\t"\\\\', NULL, ''), ('-', NULL, '-');
INSERT INTO produto (nome, descricao, preco_base, ativo) VALUES ('Café', E'a\\nb', 0.01, true), ('Chá', '', NULL, NULL);
INSERT INTO venda (cliente_id, "data", entregue, valor_total) VALUES (1, '2026-02-28', 'N', 99999999.99);
INSERT INTO venda (cliente_id) VALUES (2);
INSERT INTO item_venda (venda_id, produto_id, valor_unitario, quantidade, valor_total) VALUES (1, 1, -5.00, 3, -15.00);
"""


@pytest.fixture(scope="module")
def client(clickhouse: ClickHouse) -> Iterator[Client]:
    """A client of the session's ClickHouse."""
    with clickhouse.client() as client:
        yield client


@pytest.fixture(scope="module")
def sales(postgres: Postgres, client: Client) -> Iterator[str]:
    """A source with some awkward rows; in `vendas_dw` the same rows, copied as text by way of this process."""
    source_dsn = new_source(postgres)
    client.command("DROP DATABASE IF EXISTS vendas_dw SYNC")
    client.command("CREATE DATABASE vendas_dw")
    with psycopg.connect(source_dsn) as source:
        source.execute(ROWS)
        for name, columns in SALES.items():
            client.command(
                f"CREATE TABLE vendas_dw.{name} ({columns}, {STAMPS}) ENGINE = MergeTree ORDER BY tuple()"
            )
            with source.cursor().copy(f"COPY {name} TO STDOUT") as rows:
                client.raw_insert(f"vendas_dw.{name}", insert_block=b"".join(rows), fmt="TSV")
    yield source_dsn
    client.command("DROP DATABASE vendas_dw SYNC")


@pytest.fixture
def servers(postgres: Postgres, client: Client, sales: str) -> Servers:
    """A source of the test's own, and views with the same rows."""
    return database(postgres, template=str(conninfo_to_dict(sales)["dbname"])), client, VENDAS


def database(postgres: Postgres, options: str = "", template: str = "template0") -> str:
    """Create a database, and return its connection string."""
    name = f"compare_{next(_numbers)}"
    with psycopg.connect(postgres.dsn(), autocommit=True) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {name}")
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template} {options}")
    return postgres.dsn(name)


def test_equal_rows_compare_equal(servers):
    differences = {one.table: one for one in compare(*servers)}
    assert list(differences) == list(SALES)
    assert all(one.same for one in differences.values()), differences
    assert differences["venda"].source.money == Decimal("99999999.99")
    assert str(differences["item_venda"].warehouse.money) == "-15.00"
    assert differences["cliente"].source.money is None
    assert [rows_difference(one) for one in differences.values()] == ["0"] * 6
    assert [money_difference(one) for one in differences.values()] == ["0"] * 6
    assert difference_lines(list(differences.values())) == []


@pytest.mark.parametrize(
    ("table", "change", "rows", "money", "key"),
    [
        (
            "venda",
            "UPDATE venda SET valor_total = valor_total - 0.01 WHERE venda_id = 1",
            "values",
            "+0.01",
            "venda_id=1 differs in valor_total",
        ),
        (
            "venda",
            "UPDATE venda SET valor_total = 0 WHERE venda_id = 2",
            "values",
            "0",
            "venda_id=2 differs in valor_total",
        ),
        (
            "item_venda",
            "UPDATE item_venda SET valor_unitario = 5, quantidade = NULL",
            "values",
            "0",
            "item_id=1 differs in valor_unitario, quantidade",
        ),
        ("item_venda", "DELETE FROM item_venda", "+1", "-15.00", "item_id=1 is only in ClickHouse"),
        (
            "cidade",
            "INSERT INTO cidade (cidade_desc) VALUES ('Lisboa')",
            "-1",
            "0",
            "cidade_id=3 is missing in ClickHouse",
        ),
        (
            "cliente",
            "UPDATE cliente SET nome = 'Anä' WHERE cliente_id = 1",
            "values",
            "0",
            "cliente_id=1 differs in nome",
        ),
        (
            "cliente",
            "UPDATE cliente SET cpf = '' WHERE cliente_id = 1",
            "values",
            "0",
            "cliente_id=1 differs in cpf",
        ),
    ],
)
def test_difference_is_found(servers, table, change, rows, money, key):
    with psycopg.connect(servers[0]) as source:
        # The trigger's updated_at would differ, whatever the change.
        source.execute("SET session_replication_role = replica")
        source.execute(change)
    found = [one for one in compare(*servers) if not one.same]
    shown = [(one.table, rows_difference(one), money_difference(one)) for one in found]
    assert shown == [(table, rows, money)]
    assert [line.plain for line in difference_lines(found)] == [f"{table}: {key}"]


def test_one_table_is_compared_by_its_name_in_the_warehouse(servers: Servers) -> None:
    assert [one.table for one in compare(*servers, tables=["venda"])] == ["venda"]
    with pytest.raises(CompareError, match=r"vendas has no table vend; it has pais, cidade"):
        compare(*servers, tables=["vend"])


# Every type, in a table of its own. Values are written once for each server; row 0 holds NULL.


@dataclass(frozen=True)
class Case:
    """A column: its two types, its values as (PostgreSQL, ClickHouse), and ClickHouse values that differ from the first.

    In those `{}` stands for the column.
    """

    source: str
    warehouse: str
    values: list[tuple[str, str]]
    wrong: list[str]


def same(*values: str) -> list[tuple[str, str]]:
    """Return values that both servers write alike."""
    return [(value, value) for value in values]


def texts(*values: str) -> list[tuple[str, str]]:
    """Return texts, quoted for each server."""
    return [
        ("E'{}'".format(value.replace("\\", "\\\\").replace("'", "''")), ch_text(value)) for value in values
    ]


def own_text(source: str, *values: tuple[str, str], wrong: str = "{} || ' '") -> Case:
    """Return a column that is stored as PostgreSQL prints it."""
    return Case(
        source, "Nullable(String)", [(f"'{given}'", ch_text(printed)) for given, printed in values], [wrong]
    )


BIT = "reinterpretAsFloat64(reinterpretAsFixedString(bitXor(reinterpretAsUInt64({}), 1)))"
NINES = "9" * 38
INT_ARRAY = "Array(Nullable(Int32))"
MICRO = "addMicroseconds({}, 1)"
STAMP = "Nullable(DateTime64(6, 'UTC'))"

CASES = {
    "int2": Case("smallint", "Nullable(Int16)", same("-32768", "32767"), ["{} + 1"]),
    "int4": Case("integer", "Nullable(Int32)", same("-2147483648", "2147483647", "0"), ["{} + 1", "NULL"]),
    "int4_unsigned": Case("integer", "Nullable(UInt32)", same("2147483647", "0"), ["{} + 1"]),
    "int8": Case(
        "bigint", "Nullable(Int64)", same("-9223372036854775808", "9223372036854775807"), ["{} + 1"]
    ),
    "int8_unsigned": Case("bigint", "Nullable(UInt64)", same("9223372036854775807", "0"), ["{} + 1"]),
    "int8_wide": Case("bigint", "Nullable(Int128)", same("-9223372036854775808", "7"), ["{} + 1"]),
    "int8_text": Case("bigint", "Nullable(String)", [("-7", "'-7'"), ("0", "'0'")], ["'-07'"]),
    "int4_decimal": Case("integer", "Nullable(Decimal(12, 2))", same("-7", "0"), ["{} + 0.01"]),
    "int8_float": Case("bigint", "Nullable(Float64)", same("9007199254740991", "0"), [BIT]),
    "oid": Case("oid", "Nullable(UInt32)", same("4294967295", "0"), ["{} - 1"]),
    "numeric": Case(
        "numeric(10, 2)",
        "Nullable(Decimal(10, 2))",
        same("-0.01", "99999999.99", "0.00"),
        ["{} + 0.01", "NULL"],
    ),
    "numeric_wider": Case(
        "numeric(10, 2)", "Nullable(Decimal(38, 4))", same("-0.01", "1.5"), ["{} + 0.0001"]
    ),
    "numeric_whole": Case("numeric(10, 0)", "Nullable(Int64)", same("-7", "0"), ["{} + 1"]),
    "numeric_76": Case(
        "numeric(76, 38)",
        "Nullable(Decimal(76, 38))",
        [(value, f"toDecimal256('{value}', 38)") for value in (f"-{NINES}.{NINES}", f"0.{'0' * 37}1")],
        [f"{{}} + toDecimal256('0.{'0' * 37}1', 38)"],
    ),
    "numeric_rounded": Case("numeric(5, -2)", "Nullable(Decimal(7, 0))", same("12300", "0"), ["{} + 1"]),
    "numeric_tiny": Case(
        "numeric(2, 5)", "Nullable(Decimal(5, 5))", same("0.00099", "-0.00001"), ["{} + 0.00001"]
    ),
    "numeric_loose": Case(
        "numeric",
        "Nullable(String)",
        [
            (f"'{value}'", f"'{value}'")
            for value in ("1.500", "NaN", "-Infinity", f"{'9' * 100}.{'1' * 100}", f"0.{'0' * 50}1")
        ],
        ["'1.50'", "'1.5'", "NULL"],
    ),
    "numeric_loose_decimal": Case(
        "numeric", "Nullable(Decimal(20, 4))", same("1.5", "100", "0.0001"), ["1.5001"]
    ),
    "numeric_double": Case("numeric", "Nullable(Float64)", same("0.1", "2"), [BIT]),
    "money": Case(
        "money", "Nullable(Decimal(20, 2))", [("'-1234.56'", "-1234.56"), ("'0'", "0")], ["{} + 0.01"]
    ),
    "float4": Case(
        "real",
        "Nullable(Float32)",
        [
            ("'0.1'", "toFloat32('0.1')"),
            ("'-0'", "toFloat32('-0')"),
            ("'NaN'", "toFloat32('nan')"),
            ("'-Infinity'", "toFloat32('-inf')"),
            ("'1e-45'", "reinterpretAsFloat32(toUInt32(1))"),
        ],
        ["reinterpretAsFloat32(reinterpretAsFixedString(bitXor(reinterpretAsUInt32({}), 1)))", "nan", "NULL"],
    ),
    "float4_wider": Case("real", "Nullable(Float64)", [("'0.1'", "toFloat64(toFloat32('0.1'))")], ["0.1"]),
    "float8": Case(
        "double precision",
        "Nullable(Float64)",
        [
            ("'0'", "0.0"),
            ("'NaN'", "nan"),
            ("'Infinity'", "inf"),
            ("0.1::float8 + 0.2::float8", "0.1 + 0.2"),
            ("'5e-324'", "reinterpretAsFloat64(toUInt64(1))"),
            # The bits of this NaN are others, its value is not.
            ("'Infinity'::float8 * 0", "-nan"),
        ],
        [BIT, "-0.0", "nan"],
    ),
    "float8_text": Case(
        "double precision", "Nullable(String)", [("0.1", "'0.1'"), ("1e300", "'1e+300'")], ["'0.10'"]
    ),
    "bool": Case("boolean", "Nullable(Bool)", same("true", "false"), ["false", "NULL"]),
    "bool_number": Case("boolean", "Nullable(UInt8)", [("true", "1"), ("false", "0")], ["2", "0"]),
    "bool_int": Case("boolean", "Nullable(Int32)", [("true", "1"), ("false", "0")], ["257"]),
    "text": Case(
        "text",
        "Nullable(String)",
        texts("", "NULL", "a", "ção 🜁", "tab\t\n\\'\"", " ", "x" * 3000),
        ["' '", "NULL", r"'\\0'"],
    ),
    "text_null": Case("text", "Nullable(String)", texts("NULL"), ["NULL", "'NULL '"]),
    "varchar": Case(
        "varchar(10)", "LowCardinality(Nullable(String))", texts("a ", "", "é"), ["'a'", "NULL", "'a  '"]
    ),
    "char": Case(
        "char(5)", "Nullable(String)", [("'a'", "'a    '"), ("''", "'     '")], ["'a'", "'a   '", "''"]
    ),
    "name": Case("name", "Nullable(String)", texts("nome", "x" * 63), ["'nom'"]),
    "internal_char": Case('"char"', "Nullable(String)", texts("x"), ["''"]),
    "bytea": Case(
        "bytea",
        "Nullable(String)",
        [(f"'\\x{value}'::bytea", f"unhex('{value}')") for value in ("00ff10", "", "5c78", "00" * 3000)],
        ["unhex('00ff11')", "unhex('00ff1000')", "''", "NULL", "'\\\\\\\\x00ff10'"],
    ),
    "date": Case(
        "date",
        "Nullable(Date32)",
        [
            (f"'{day}'", f"toDate32('{day}')")
            for day in ("1900-01-01", "2299-12-31", "1970-01-01", "2000-02-29")
        ],
        ["{} + 1", "NULL"],
    ),
    "date_moment": Case(
        "date", STAMP, [("'1999-12-31'", "toDateTime64('1999-12-31 00:00:00', 6, 'UTC')")], [MICRO]
    ),
    "timestamp": Case(
        "timestamp",
        STAMP,
        [
            (f"'{moment}'", f"toDateTime64('{moment}', 6, 'UTC')")
            for moment in (
                "2026-01-01 00:00:00.000001",
                "1900-01-01 00:00:00",
                "2299-12-31 23:59:59.999999",
                "1969-12-31 23:59:59.999999",
            )
        ],
        [MICRO, "addHours({}, 3)", "NULL"],
    ),
    "timestamptz": Case(
        "timestamptz",
        STAMP,
        [
            ("'2026-02-28 23:59:59.999999+05:45'", "toDateTime64('2026-02-28 18:14:59.999999', 6, 'UTC')"),
            ("'2000-01-01 00:00:00+00'", "toDateTime64('2000-01-01 00:00:00', 6, 'UTC')"),
        ],
        [MICRO],
    ),
    "timestamp_millis": Case(
        "timestamp(3)",
        "Nullable(DateTime64(3, 'UTC'))",
        [("'1950-01-01 00:00:00.001'", "toDateTime64('1950-01-01 00:00:00.001', 3, 'UTC')")],
        ["addMilliseconds({}, 1)"],
    ),
    "timestamp_nanos": Case(
        "timestamp",
        "Nullable(DateTime64(9, 'UTC'))",
        [("'1950-01-01 00:00:00.001'", "toDateTime64('1950-01-01 00:00:00.001', 9, 'UTC')")],
        ["addNanoseconds({}, 1)"],
    ),
    "timestamp_seconds": Case(
        "timestamptz",
        "Nullable(DateTime('America/Sao_Paulo'))",
        [("'2026-01-01 00:00:00-03'", "toDateTime('2026-01-01 00:00:00', 'America/Sao_Paulo')")],
        ["addSeconds({}, 1)"],
    ),
    "timestamp_day": Case(
        "timestamp", "Nullable(Date32)", [("'1950-01-01'", "toDate32('1950-01-01')")], ["{} + 1"]
    ),
    "time": Case(
        "time",
        "Nullable(Time64(6))",
        [
            (f"'{time}'", f"CAST('{time}' AS Time64(6))")
            for time in ("00:00:00.000001", "24:00:00.000000", "23:59:59.999999")
        ],
        ["CAST('00:00:00.000002' AS Time64(6))", "NULL"],
    ),
    "uuid": Case(
        "uuid",
        "Nullable(UUID)",
        [
            (f"'{value}'", f"toUUID('{value}')")
            for value in ("00112233-4455-6677-8899-aabbccddeeff", "00000000-0000-0000-0000-000000000000")
        ],
        ["toUUID('00112233-4455-6677-8899-aabbccddeefe')", "NULL"],
    ),
    "uuid_text": own_text(
        "uuid", *[("00112233-4455-6677-8899-AABBCCDDEEFF", "00112233-4455-6677-8899-aabbccddeeff")]
    ),
    "enum": Case(
        "humor", "LowCardinality(Nullable(String))", texts("triste", "feliz :)"), ["'feliz :)'", "NULL"]
    ),
    "enum_enum": Case(
        "humor", "Nullable(Enum8('triste' = 1, 'feliz :)' = 2))", texts("triste", "feliz :)"), ["2"]
    ),
    "domain": Case("moeda", "Nullable(Decimal(10, 2))", same("1.50", "-7.25"), ["{} + 0.01"]),
    "domain_of_domain": Case("preco", "Nullable(Decimal(10, 2))", same("1.50", "0"), ["{} + 0.01"]),
    "composite": own_text("endereco", ('("Rua A, 1",t)', '("Rua A, 1",t)')),
    "json": own_text("json", ('{"b":1,  "a":[ ]}', '{"b":1,  "a":[ ]}'), ("null", "null")),
    "jsonb": own_text("jsonb", ('{"b":1,"a":[1.10]}', '{"a": [1.10], "b": 1}')),
    "interval": own_text("interval", ("1 mon -2 days 03:00:00.5", "1 mon -2 days +03:00:00.5")),
    "timetz": own_text("timetz", ("23:59:59.5-03", "23:59:59.5-03")),
    "timestamptz_text": own_text(
        "timestamptz", ("2026-01-01 00:00:00-03", "2026-01-01 03:00:00+00"), ("infinity", "infinity")
    ),
    "timestamp_text": own_text("timestamp", ("0044-03-15 00:00:00 BC", "0044-03-15 00:00:00 BC")),
    "inet": own_text("inet", ("10.0.0.1", "10.0.0.1/32"), ("::1", "::1/128")),
    "bit": own_text("bit(3)", ("101", "101")),
    "range": own_text("int4range", ("[1,5]", "[1,6)"), ("empty", "empty")),
    "multirange": own_text("tstzmultirange", ("{}", "{}")),
    "point": own_text("point", ("(0.1,-0)", "(0.1,-0)")),
    "tsvector": own_text("tsvector", ("gato:1", "'gato':1")),
    "int_array_text": own_text(
        "integer[]", ("{{1,NULL},{3,4}}", "{{1,NULL},{3,4}}"), ("[0:1]={1,2}", "[0:1]={1,2}")
    ),
    "int_array": Case(
        "integer[]",
        INT_ARRAY,
        [("'{1,NULL,-3}'", "[1, NULL, -3]"), ("'{}'", "[]"), ("'{NULL}'", "[NULL]")],
        ["[1, NULL, -2]", "[1, -3, NULL]", "[1, NULL]", "[]", "[1, 0, -3]"],
    ),
    "text_array": Case(
        "text[]",
        "Array(Nullable(String))",
        [("""'{"",NULL,"NULL","a,\\"b"}'""", """['', NULL, 'NULL', 'a,"b']"""), ("'{}'", "[]")],
        ["""['', '', 'NULL', 'a,"b']""", """[NULL, '', 'NULL', 'a,"b']""", """['', NULL, 'NULL', 'a,"b ']"""],
    ),
    "numeric_array": Case(
        "numeric(10, 2)[]",
        "Array(Nullable(Decimal(10, 2)))",
        [("'{1.5,-0.01}'", "[1.5, -0.01]")],
        ["[1.51, -0.01]"],
    ),
    "numeric_loose_array": Case(
        "numeric[]",
        "Array(Nullable(Decimal(10, 2)))",
        [("'{1.5,NULL}'", "[1.5, NULL]"), ("'{}'", "[]")],
        ["[1.5, 0]"],
    ),
    "float_array": Case(
        "real[]",
        "Array(Nullable(Float32))",
        [("'{0.1,NaN,-0}'", "[toFloat32('0.1'), nan, -0.0]")],
        ["[0.1, nan, 0]"],
    ),
    "bool_array": Case(
        "bool[]", "Array(Nullable(Bool))", [("'{t,NULL}'", "[true, NULL]")], ["[true, false]"]
    ),
    "stamp_array": Case(
        "timestamp[]",
        "Array(Nullable(DateTime64(6, 'UTC')))",
        [("'{2026-01-01}'", "[toDateTime64('2026-01-01', 6, 'UTC')]")],
        ["[toDateTime64('2026-01-01 00:00:00.000001', 6, 'UTC')]"],
    ),
    "date_array": Case(
        "date[]", "Array(Nullable(Date32))", [("'{1900-01-01}'", "['1900-01-01']")], ["['1900-01-02']"]
    ),
    "uuid_array": Case(
        "uuid[]",
        "Array(Nullable(UUID))",
        [("'{00112233-4455-6677-8899-aabbccddeeff}'", "[toUUID('00112233-4455-6677-8899-aabbccddeeff')]")],
        ["[NULL]"],
    ),
    "bytea_array": Case(
        "bytea[]",
        "Array(Nullable(String))",
        [("ARRAY['\\x00ff'::bytea, NULL]", "[unhex('00ff'), NULL]")],
        ["['', NULL]"],
    ),
    "char_array": Case(
        "char(2)[]", "Array(Nullable(String))", [("'{a,NULL}'", "['a ', NULL]")], ["['a', NULL]"]
    ),
    "enum_array": Case(
        "humor[]",
        "Array(LowCardinality(Nullable(String)))",
        [("'{triste,NULL}'", "['triste', NULL]")],
        ["['triste', '']"],
    ),
    "domain_array": Case("moeda[]", "Array(Nullable(Decimal(10, 2)))", [("'{1.50}'", "[1.5]")], ["[1.51]"]),
    "array_domain": Case("notas", "Array(Nullable(Int32))", [("'{5,4}'", "[5, 4]")], ["[5, 4, 0]"]),
}
if postgres_major() < 15:
    # The scale may not be below zero or above the precision.
    del CASES["numeric_rounded"], CASES["numeric_tiny"]
# What PostgreSQL may hold of those types, and ClickHouse not.
UNHELD = {
    "int_array": ["NULL", "'{{1,NULL,-3}}'", "'[0:2]={1,NULL,-3}'"],
    "numeric_loose_array": ["NULL", "'{{1.5,NULL}}'", "'{1.501,NULL}'"],
    "numeric_loose_decimal": ["1.50000001", "'Infinity'"],
    "numeric_double": ["0.1000000000000000055", "'NaN'"],
    "numeric": ["'NaN'"],
    "numeric_wider": ["'NaN'"],
    "int8_float": ["9007199254740993"],
    "date": ["'infinity'", "'0044-03-15 BC'"],
    "date_moment": ["'infinity'", "'5874897-12-31'"],
    "timestamp": ["'-infinity'", "'294276-12-31 23:59:59.999999'"],
    "timestamptz": ["'0044-03-15 BC'"],
    "timestamp_nanos": ["'infinity'"],
    "timestamp_millis": ["'infinity'"],
}
TYPES = """
CREATE TYPE humor AS ENUM ('triste', 'feliz :)');
CREATE DOMAIN moeda AS numeric(10, 2);
CREATE DOMAIN preco AS moeda CHECK (VALUE >= 0);
CREATE DOMAIN notas AS integer[];
CREATE TYPE endereco AS (rua text, ativa boolean);
"""
TYPES_MIRROR = Mirror("tipos", "", "", "tipos_raw", "tipos", Schema("public"))


def rows(table: str, server: int) -> dict[int, str]:
    """Return the values of a column in `server` (0 or 1) by row.

    Row 0 is NULL, but for an Array, where there is no NULL. From 101 on the first value is there again, for each of those
    that differ from it.
    """
    case = CASES[table]
    nothing = "[]" if server else "'{}'"
    first = nothing if case.warehouse.startswith("Array(") else "NULL"
    return {
        **dict(enumerate([first, *(value[server] for value in case.values)])),
        **{
            101 + number: case.values[0][server]
            for number in range(max(len(case.wrong), len(UNHELD.get(table, []))))
        },
    }


@pytest.fixture(scope="module")
def types(postgres: Postgres, client: Client) -> Iterator[Servers]:
    """A table `(id, c)` for every case, and what stands for its view."""
    source_dsn = database(postgres)
    for name in ("tipos", "tipos_errados"):
        client.command(f"DROP DATABASE IF EXISTS {name} SYNC")
        client.command(f"CREATE DATABASE {name}")
    settings = {"allow_suspicious_low_cardinality_types": 1, "enable_time_time64_type": 1}
    with psycopg.connect(source_dsn) as source:
        source.execute(TYPES)
        for table, case in CASES.items():
            source.execute(f"CREATE TABLE {table} (id int PRIMARY KEY, c {case.source})")
            client.command(
                f"CREATE TABLE tipos.{table} (id Int32, c {case.warehouse}) ENGINE = MergeTree ORDER BY id",
                settings=settings,
            )
            given = ", ".join(f"({row}, {value})" for row, value in rows(table, 0).items())
            source.execute(f"INSERT INTO {table} VALUES {given}")
            given = " UNION ALL ".join(
                f"SELECT {row}, CAST({value}, {ch_text(case.warehouse)})"
                for row, value in rows(table, 1).items()
            )
            client.command(f"INSERT INTO tipos.{table} {given}", settings=settings)
    yield source_dsn, client, TYPES_MIRROR
    for name in ("tipos", "tipos_errados"):
        client.command(f"DROP DATABASE {name} SYNC")


def test_every_type_compares_equal(types):
    differences = compare(*types)
    assert [one.table for one in differences] == sorted(CASES)
    assert [one for one in differences if not one.same] == []
    assert all(one.source.rows == len(rows(one.table, 0)) for one in differences)


@pytest.fixture(scope="module")
def damaged(types: Servers) -> dict[str, TableDifference]:
    """What is found of every type when the views show wrong values."""
    source_dsn, client, mirror = types
    for table, case in CASES.items():
        kind = ch_text(case.warehouse)
        wrong = " ".join(
            f"WHEN id = {101 + number} THEN CAST({value.format('c')}, {kind})"
            for number, value in enumerate(case.wrong)
        )
        shown = f"CAST(CASE {wrong} ELSE c END, {kind})"
        client.command(f"CREATE VIEW tipos_errados.{table} AS SELECT id, {shown} AS c FROM tipos.{table}")
    return {one.table: one for one in compare(source_dsn, client, replace(mirror, views="tipos_errados"))}


@pytest.mark.parametrize("table", CASES)
def test_every_wrong_value_of_every_type_is_found(damaged, table):
    found = damaged[table]
    assert [str(key) for key in found.keys] == [
        f"id={101 + number} differs in c" for number in range(len(CASES[table].wrong))
    ]
    assert (found.rows, found.same, found.problems, found.more) == (0, False, (), False)


def test_a_value_that_the_warehouse_can_not_hold_is_a_difference(types: Servers) -> None:
    with psycopg.connect(types[0]) as source:
        for table, unheld in UNHELD.items():
            for row, value in enumerate(unheld, 101):
                source.execute(f"UPDATE {table} SET c = {value} WHERE id = {row}")
    try:
        found = {one.table: one for one in compare(*types, tables=UNHELD)}
    finally:
        with psycopg.connect(types[0]) as source:
            for table in UNHELD:
                source.execute(f"UPDATE {table} SET c = {CASES[table].values[0][0]} WHERE id > 100")
    assert {table: [str(key) for key in one.keys] for table, one in found.items()} == {
        table: [f"id={row} differs in c" for row, _ in enumerate(unheld, 101)]
        for table, unheld in UNHELD.items()
    }
    assert all(one.problems == () for one in found.values())


def test_an_array_that_once_held_a_null_is_equal(types: Servers) -> None:
    with psycopg.connect(types[0]) as source:
        # PostgreSQL keeps a mark that the array may hold NULLs.
        for value in ("NULL", "5"):
            source.execute(f"UPDATE array_domain SET c[1] = {value} WHERE id = 1")
        source.execute("UPDATE text_array SET c[1] = NULL WHERE id = 1")
        source.execute("UPDATE text_array SET c[1] = '' WHERE id = 1")
    assert [one.same for one in compare(*types, tables=["array_domain", "text_array"])] == [True, True]


# Names, keys and everything else of a declaration.


class World:
    """A source database and a ClickHouse database `mundo` of a test's own."""

    def __init__(self, source_dsn: str, client: Client) -> None:
        self.source_dsn = source_dsn
        self.client = client

    def source(self, *statements: str) -> None:
        with psycopg.connect(self.source_dsn) as source:
            for statement in statements:
                # Bytes are taken as they are: a % is a %.
                source.execute(statement.encode())

    def view(self, name: str, columns: str, rows: str = "") -> None:
        """Create what stands for a view, with the rows of a SELECT."""
        table = ch("mundo", name)
        self.client.command(f"CREATE TABLE {table} ({columns}) ENGINE = MergeTree ORDER BY tuple()")
        if rows:
            self.client.command(f"INSERT INTO {table} {rows}")

    def compare(self, *tables: Table, **options: Any) -> list[TableDifference]:
        return compare(self.source_dsn, self.client, self.mirror(*tables), **options)

    def mirror(self, *tables: Table) -> Mirror:
        return Mirror("mundo", "", "", "mundo_raw", "mundo", tables or Schema("public"))


@pytest.fixture(scope="module")
def empty(postgres: Postgres) -> str:
    """A database that every test finds empty."""
    return database(postgres)


@pytest.fixture
def world(empty: str, client: Client) -> Iterator[World]:
    with psycopg.connect(empty) as source:
        schemas = source.execute(
            "SELECT nspname::text FROM pg_namespace WHERE nspname !~ '^pg_|^information_schema$'"
        )
        for (name,) in schemas.fetchall():
            source.execute(f"DROP SCHEMA {pg(name)} CASCADE".encode())
        source.execute("CREATE SCHEMA public")
    client.command("DROP DATABASE IF EXISTS mundo SYNC")
    client.command("CREATE DATABASE mundo")
    yield World(empty, client)
    client.command("DROP DATABASE mundo SYNC")


def lines(differences: list[TableDifference]) -> list[str]:
    return [line.plain for line in difference_lines(differences)]


def test_names_of_any_kind(world):
    columns = [
        "margem_%",
        "código",
        "Select",
        'a"b',
        "a`b",
        "a\\b",
        "a'b",
        "a.b",
        "{x:String}",
        "%s",
        "h" * 63,
        "x",
        "e",
    ]
    quoted = [pg(name) for name in columns]
    for name in ("Pedido", "pedido"):
        world.source(
            f"CREATE TABLE {pg(name)} ({', '.join(f'{column} text' for column in quoted)}, "
            f"{pg('Número')} int PRIMARY KEY, {pg('l%')} int[])",
            f"INSERT INTO {pg(name)} VALUES ({', '.join(pg_text(name + column) for column in columns)}, 7, '{{1}}')",
        )
        world.view(
            name,
            ", ".join(
                [
                    *(f"{ch(column)} String" for column in columns),
                    "`Número` Int32, `l%` Array(Nullable(Int32))",
                ]
            ),
            f"SELECT {', '.join(ch_text(name + column) for column in columns)}, 7, [1]",
        )
    world.source('CREATE SCHEMA "FilialSul"', 'CREATE TABLE "FilialSul"."Pedido" ("%" int PRIMARY KEY)')
    world.view("FilialSul_Pedido", "`%` Int32")
    tables = [Table("Pedido"), Table("pedido"), Table("FilialSul.Pedido")]
    assert [(one.table, one.same) for one in world.compare(*tables)] == [
        ("Pedido", True),
        ("pedido", True),
        ("FilialSul_Pedido", True),
    ]
    world.source(f"UPDATE pedido SET {pg('margem_%')} = '', {pg(columns[-3])} = NULL")
    assert lines(world.compare(*tables)) == [f"pedido: Número=7 differs in margem_%, {'h' * 63}"]


def test_keys_of_several_columns_are_named(world):
    world.source(
        "CREATE TABLE item (filial uuid, codigo text, dia date, valor int, PRIMARY KEY (dia, codigo, filial))",
        "INSERT INTO item SELECT '00112233-4455-6677-8899-aabbccddeeff', codigo, '2026-02-28', 1 "
        r"FROM unnest(ARRAY['a', 'a ', '', E'linha\n', repeat('x', 80), '[bold]']) codigo",
    )
    world.view("item", "dia Date32, codigo String, filial UUID, valor Int32")
    filial = "filial=00112233-4455-6677-8899-aabbccddeeff"
    assert lines(world.compare(Table("item"))) == [
        f"item: dia=2026-02-28, codigo={codigo}, {filial} is missing in ClickHouse"
        for codigo in ("a", "''", "'a '", "'[bold]'", r"'linha\n'")
    ] + ["item: and more"]


def test_a_unique_index_is_a_key_and_a_declared_key_comes_first(world):
    world.source(
        "CREATE TABLE lugar (a int NOT NULL, b bytea NOT NULL, c int UNIQUE, d int NOT NULL, UNIQUE (a, b))",
        "INSERT INTO lugar VALUES (1, '\\x00ff', 3, 4)",
    )
    world.view("lugar", "a Int32, b String, c Nullable(Int32), d Int32", "SELECT 1, unhex('00fe'), 3, 4")
    assert lines(world.compare(Table("lugar"))) == [
        r"lugar: a=1, b='\\x00fe' is only in ClickHouse",
        r"lugar: a=1, b='\\x00ff' is missing in ClickHouse",
    ]
    assert lines(world.compare(Table("lugar", key="d"))) == ["lugar: d=4 differs in b"]


def test_some_rows_among_thousands_are_named(world):
    world.source(
        "CREATE TABLE venda (id bigint PRIMARY KEY, valor numeric(10, 2))",
        "INSERT INTO venda SELECT n * 4000000000, n FROM generate_series(-10000, 9999) n",
    )
    numbers = "SELECT toInt64(number - 10000) * 4000000000, number - 10000 FROM numbers(20000)"
    world.view("venda", "id Int64, valor Decimal(10, 2)", numbers)
    assert world.compare(Table("venda"))[0].same
    world.source(
        "DELETE FROM venda WHERE id = 0",
        "UPDATE venda SET valor = valor + 0.01 WHERE id = -40000000000000",
        "INSERT INTO venda VALUES (1, NULL)",
    )
    world.client.command("INSERT INTO mundo.venda VALUES (4000000000, 1), (4000000000, 2)")
    (found,) = world.compare(Table("venda"))
    assert (found.rows, found.money, found.more) == (2, Decimal("2.99"), False)
    assert [str(key) for key in found.keys] == [
        "id=0 is only in ClickHouse",
        "id=1 is missing in ClickHouse",
        "id=4000000000 is 3 times in ClickHouse, once in PostgreSQL",
        "id=-40000000000000 differs in valor",
    ]
    world.source("UPDATE venda SET valor = 1 WHERE id > 0")
    (found,) = world.compare(Table("venda"))
    assert (len(found.keys), found.more) == (5, True)


def test_columns_are_compared_as_far_as_both_sides_have_them(world):
    world.source(
        "CREATE TABLE t (id int PRIMARY KEY, foto bytea, nova int, lugar point)",
        "INSERT INTO t VALUES (1, 'x', 2, '(1,2)')",
    )
    world.view("t", "id Int32, velha String, lugar Point", "SELECT 1, '', (1, 2)")
    (found,) = world.compare(Table("t", leave_out=["foto"]))
    assert found.source == found.warehouse
    assert not found.same
    assert rows_difference(found) == "see below"
    assert found.problems == (
        "column nova is not in ClickHouse",
        "column velha is only in ClickHouse",
        "column lugar was not compared: there is no rule for point in PostgreSQL and Tuple(Float64, Float64) in ClickHouse",
    ) or found.problems[2].startswith(
        "column lugar was not compared: there is no rule for point in PostgreSQL and Point"
    )


def test_a_column_left_out_later_is_compared_while_the_view_has_it(world):
    world.source("CREATE TABLE t (id int PRIMARY KEY, foto bytea)", "INSERT INTO t VALUES (1, 'x')")
    world.view("t", "id Int32, foto Nullable(String)", "SELECT 1, 'y'")
    assert lines(world.compare(Table("t", leave_out=["foto"]))) == ["t: id=1 differs in foto"]


def test_a_missing_view_and_a_missing_table_are_differences(world):
    world.source(
        "CREATE TABLE a (id int PRIMARY KEY)", "INSERT INTO a VALUES (1), (2)", "CREATE TABLE c (id int)"
    )
    world.view("b", "id Int32", "SELECT 1")
    world.view("d", "id Int32", "SELECT 1")
    world.source("CREATE TABLE d (id int PRIMARY KEY)", "INSERT INTO d VALUES (1)")
    found = world.compare(Table("a"), Table("b"), Table("c"), Table("d"))
    assert [(one.table, one.same, rows_difference(one)) for one in found] == [
        ("a", False, "-2"),
        ("b", False, "+1"),
        ("c", False, "see below"),
        ("d", True, "0"),
    ]
    assert lines(found) == [
        "a: ClickHouse has no view mundo.a",
        "b: PostgreSQL has no table public.b, or the role can't see it",
        "c: ClickHouse has no view mundo.c",
    ]


def test_a_table_that_a_server_refuses_is_named_and_the_others_are_compared(world):
    world.source(
        *(f"CREATE TABLE {name} (id int PRIMARY KEY)" for name in "abcd"),
        "INSERT INTO a VALUES (1)",
        "DROP ROLE IF EXISTS compare_reader",
        "CREATE ROLE compare_reader",
        "GRANT USAGE ON SCHEMA public TO compare_reader",
        "GRANT SELECT ON a, c, d TO compare_reader",
        "ALTER TABLE c ENABLE ROW LEVEL SECURITY",
    )
    for name in "abc":
        world.view(name, "id Int32", "SELECT 1")
    world.client.command("CREATE VIEW mundo.d AS SELECT id FROM mundo.a WHERE throwIf(id = 1) = 0")
    source_dsn = f"{world.source_dsn}?options=-c%20role%3Dcompare_reader"
    found = compare(source_dsn, world.client, world.mirror())
    assert [(one.table, one.same, rows_difference(one)) for one in found] == [
        ("a", True, "0"),
        *((name, False, "not compared") for name in "bcd"),
    ]
    assert lines(found[:3]) == [
        "b: it could not be compared: PostgreSQL: permission denied for table b",
        'c: it could not be compared: PostgreSQL: query would be affected by row-level security policy for table "c"',
    ]
    assert "d: it could not be compared: ClickHouse: " in lines(found)[2]
    console = Console(width=120, record=True, file=StringIO())
    console.print(differences_tables(found, {}))
    rows = [line.split() for line in console.export_text().splitlines()]
    assert ["b", "?", "1", "not", "compared"] in rows
    assert ["d", "0", "?", "not", "compared"] in rows
    world.source("DROP OWNED BY compare_reader", "DROP ROLE compare_reader")


def test_a_schema_is_all_of_its_tables_and_what_else_is_named(world):
    world.source(
        "CREATE SCHEMA loja",
        "CREATE TABLE loja.dia (d date NOT NULL, PRIMARY KEY (d)) PARTITION BY RANGE (d)",
        "CREATE TABLE loja.dia_2026 PARTITION OF loja.dia FOR VALUES FROM ('2026-01-01') TO ('2027-01-01')",
        "INSERT INTO loja.dia VALUES ('2026-02-28')",
        "CREATE TABLE loja.fora (id int)",
        "CREATE TABLE loja.cargas (id int PRIMARY KEY, foto int)",
        "CREATE VIEW loja.visao AS SELECT 1 AS id",
        "CREATE VIEW loja.outra AS SELECT 1 AS id",
        "CREATE TABLE pai (id int PRIMARY KEY)",
        "CREATE TABLE filho () INHERITS (pai)",
        "INSERT INTO filho VALUES (1)",
    )
    world.view("dia", "d Date32", "SELECT toDate32('2026-02-28')")
    world.view("loja_cargas", "id Int32")
    world.view("visao", "id Int32", "SELECT 1")
    world.view("public_pai", "id Int32")
    schema = Schema(
        "loja",
        leave_out=["fora"],
        tables=[
            Table("cargas", leave_out=["foto"]),
            Table("visao", key="id"),
            Table("public.pai", only=True),
        ],
    )
    mirror = Mirror("loja", "", "", "loja_raw", "mundo", schema)
    found = compare(world.source_dsn, world.client, mirror)
    assert [(one.table, one.same) for one in found] == [
        ("loja_cargas", True),
        ("dia", True),
        ("visao", True),
        ("public_pai", True),
    ]
    with pytest.raises(CompareError, match="schema nada has no tables"):
        compare(world.source_dsn, world.client, Mirror("x", "", "", "x", "y", Schema("nada")))


def test_sums_of_decimals_do_not_wrap(world):
    nines = "9" * 76
    world.source(
        "CREATE TABLE grande (id int PRIMARY KEY, v numeric(76, 4))",
        f"INSERT INTO grande SELECT n, {nines[:72]}.9999 FROM generate_series(1, 9) n",
        "CREATE TABLE media (id int PRIMARY KEY, v numeric(38, 10))",
        f"INSERT INTO media SELECT n, -{nines[:28]}.{nines[:10]} FROM generate_series(1, 9) n",
    )
    world.view(
        "grande",
        "id Int32, v Nullable(Decimal(76, 4))",
        f"SELECT number + 1, toDecimal256('{nines[:72]}.9999', 4) FROM numbers(9)",
    )
    world.view(
        "media",
        "id Int32, v Decimal(38, 10)",
        f"SELECT number + 1, toDecimal128('-{nines[:28]}.{nines[:10]}', 10) FROM numbers(9)",
    )
    found = world.compare()
    assert [one.same for one in found] == [True, True]
    assert str(found[0].warehouse.money) == f"8{nines[:72]}.9991"
    assert str(found[1].warehouse.money) == f"-8{nines[:28]}.{nines[:9]}1"
    assert [money_difference(one) for one in found] == ["0", "0"]
    world.client.command("ALTER TABLE mundo.grande UPDATE v = v - 1 WHERE id = 1 SETTINGS mutations_sync = 1")
    assert money_difference(world.compare()[0]) == "-1.0000"


def test_a_source_in_another_encoding(postgres, client, world):
    world.source_dsn = database(postgres, "ENCODING 'LATIN1' LOCALE 'C'")
    world.source(
        "SET client_encoding = 'UTF8'",
        "CREATE TABLE t (código text PRIMARY KEY, nomes text[])",
        "INSERT INTO t VALUES ('ação', '{João,Zoë}')",
    )
    world.view("t", "`código` String, nomes Array(Nullable(String))", "SELECT 'ação', ['João', 'Zoë']")
    assert world.compare()[0].same


def test_a_table_with_hundreds_of_columns(world):
    names = [f"coluna_numero_{number}" for number in range(120)]
    world.source(f"CREATE TABLE larga (id int PRIMARY KEY, {', '.join(f'{name} int' for name in names)})")
    world.source("INSERT INTO larga VALUES (1, 2)")
    world.view("larga", f"id Int32, {', '.join(f'{name} Nullable(Int32)' for name in names)}")
    world.client.command("INSERT INTO mundo.larga (id) VALUES (1)")
    assert lines(world.compare()) == ["larga: id=1 differs in coluna_numero_0"]
