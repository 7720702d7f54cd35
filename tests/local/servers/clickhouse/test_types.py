"""Extreme values, inserted and read again, in the client's three forms: rows, Arrow, data frames."""

from __future__ import annotations

import datetime as dt
import uuid
from decimal import Decimal
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from clickhouse_connect.driver.client import Client

from tests.local.servers.clickhouse.conftest import Raw

UTC = dt.UTC
TEXTS = ["", "São Paulo ☕", "tab\t, line\n, zero \0, quote ' and \\ and \"", "日本" * 500]

# type: values. All lists have the same length.
COLUMNS: dict[str, list[Any]] = {
    "Bool": [True, False, True, False],
    "UInt8": [0, 255, 1, 2],
    "Int8": [-128, 127, 0, 1],
    "UInt32": [0, 2**32 - 1, 1, 2],
    "UInt64": [0, 2**64 - 1, 1, 2],
    "Int64": [-(2**63), 2**63 - 1, 0, -1],
    "Int256": [-(2**255), 2**255 - 1, 0, -1],
    "Float64": [-1.7976931348623157e308, 5e-324, 0.1, float("inf")],
    "Decimal(10, 2)": [Decimal("-99999999.99"), Decimal("99999999.99"), Decimal("0.01"), Decimal("0.00")],
    "Decimal(38, 10)": [
        Decimal("-9999999999999999999999999999.9999999999"),
        Decimal("0.0000000001"),
        Decimal("1.0000000000"),
        Decimal("0.0000000000"),
    ],
    "String": TEXTS,
    "LowCardinality(String)": TEXTS,
    "LowCardinality(Nullable(String))": ["a", None, "", "a"],
    "Nullable(String)": [None, "", *TEXTS[1:3]],
    "Nullable(Decimal(10, 2))": [None, Decimal("1.25"), None, Decimal("-0.01")],
    "FixedString(3)": [b"abc", b"\x00\xff\x00", b"x\x00\x00", b"   "],
    "Date": [dt.date(1970, 1, 1), dt.date(2149, 6, 6), dt.date(2026, 2, 28), dt.date(2000, 2, 29)],
    "Date32": [dt.date(1900, 1, 1), dt.date(2299, 12, 31), dt.date(1969, 12, 31), dt.date(2024, 2, 29)],
    "Nullable(Date32)": [None, dt.date(1900, 1, 1), None, dt.date(2299, 12, 31)],
    "DateTime('UTC')": [
        dt.datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC),
        dt.datetime(2106, 2, 7, 6, 28, 15, tzinfo=UTC),
        dt.datetime(2026, 1, 1, tzinfo=UTC),
        dt.datetime(2000, 2, 29, 23, 59, 59, tzinfo=UTC),
    ],
    "DateTime64(6, 'UTC')": [
        dt.datetime(1900, 1, 1, tzinfo=UTC),
        dt.datetime(2299, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
        dt.datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
        dt.datetime(2026, 1, 1, 12, 0, 0, 1, tzinfo=UTC),
    ],
    "UUID": [
        uuid.UUID(int=0),
        uuid.UUID(int=2**128 - 1),
        uuid.uuid5(uuid.NAMESPACE_DNS, "a"),
        uuid.UUID(int=1),
    ],
    "Array(Int32)": [[], [1], [-1, 2, -3], [0] * 1000],
    "Array(Nullable(String))": [[], [None], ["a", None, ""], [None, None]],
    "Array(Tuple(String, UInt64))": [[], [("a", 1)], [("", 0), ("b", 2**64 - 1)], [("c", 3)] * 50],
    "Map(String, UInt64)": [{}, {"a": 1}, {"a": 1, "": 0}, {"z": 2**64 - 1}],
    "Enum8('a' = 1, 'b' = -128)": ["a", "b", "b", "a"],
    "IPv4": ["0.0.0.0", "255.255.255.255", "127.0.0.1", "10.0.0.1"],  # noqa: S104
}


def test_rows_of_every_type(client: Client) -> None:
    names = [f"c{number}" for number in range(len(COLUMNS))]
    declared = ", ".join(f"{name} {kind}" for name, kind in zip(names, COLUMNS, strict=True))
    client.command(f"CREATE TABLE t (id UInt8, {declared}) ENGINE = MergeTree ORDER BY id")
    rows = [[number, *(values[number] for values in COLUMNS.values())] for number in range(4)]
    client.insert("t", rows, column_names=["id", *names])
    found = client.query("SELECT * FROM t ORDER BY id", query_tz="UTC", tz_mode="aware")
    for position, (kind, values) in enumerate(COLUMNS.items(), 1):
        column = [row[position] for row in found.result_rows]
        if kind == "IPv4":
            column = [str(value) for value in column]
        assert column == values, kind


@pytest.mark.parametrize(
    "kind", ["Int32", "Nullable(Int32)", "Decimal(10, 2)", "DateTime64(6, 'UTC')", "Array(String)"]
)
def test_empty_results_have_their_columns(client: Client, kind: str) -> None:
    client.command(f"CREATE TABLE e (c {kind}) ENGINE = MergeTree ORDER BY tuple()")
    assert client.query("SELECT c FROM e").result_rows == []
    probe = client.query("SELECT c FROM e LIMIT 0")
    assert (probe.column_names, [column.name for column in probe.column_types]) == (("c",), [kind])
    assert client.query_arrow("SELECT c FROM e").column_names == ["c"]
    assert client.query_arrow("SELECT c FROM e").num_rows == 0
    assert len(client.query_df("SELECT c FROM e")) == 0


def sales() -> pa.Table:
    number = 5000
    return pa.table(
        {
            "venda_id": pa.array(range(1, number + 1), pa.uint32()),
            "cliente_id": pa.array([None if n % 7 == 0 else n for n in range(number)], pa.uint32()),
            "data": pa.array(
                [dt.date(1900, 1, 1) + dt.timedelta(n * 29) for n in range(number)], pa.date32()
            ),
            "entregue": pa.array([[None, "S", "N"][n % 3] for n in range(number)]),
            "valor_total": pa.array(
                [Decimal(n * 7919 % 10**10).scaleb(-2) for n in range(number)], pa.decimal128(10, 2)
            ),
            "updated_at": pa.array(
                [dt.datetime(2026, 1, 1, tzinfo=UTC) + dt.timedelta(microseconds=n) for n in range(number)],
                pa.timestamp("us", "UTC"),
            ),
        }
    )


SALES_DDL = """
CREATE TABLE venda (
    venda_id UInt32, cliente_id Nullable(UInt32), data Date32, entregue LowCardinality(Nullable(String)),
    valor_total Decimal(10, 2), updated_at DateTime64(6, 'UTC')
) ENGINE = MergeTree ORDER BY venda_id
"""


def test_arrow_there_and_back(client: Client) -> None:
    client.command(SALES_DDL)
    table = sales()
    client.insert_arrow("venda", table)
    found = client.query_arrow("SELECT * FROM venda ORDER BY venda_id")
    assert found.select(table.column_names).cast(table.schema).equals(table)
    money = sum(table["valor_total"].to_pylist())
    assert client.query("SELECT count(), sum(valor_total) FROM venda").first_row == (5000, money)


def test_a_stream_of_arrow_batches(client: Client) -> None:
    with client.query_arrow_stream(
        "SELECT number AS n, toString(number) AS s FROM numbers(300000)"
    ) as batches:
        tables = list(batches)
    assert sum(batch.num_rows for batch in tables) == 300_000
    assert len(tables) > 1


def test_data_frames_there_and_back(client: Client) -> None:
    client.command(
        "CREATE TABLE f (a Int64, b Nullable(Float64), c String, d DateTime64(6, 'UTC')) ENGINE = Memory"
    )
    frame = pd.DataFrame(
        {
            "a": [1, 2, 3],
            "b": [0.5, None, -1.5],
            "c": ["x", "ç", ""],
            "d": pd.to_datetime(
                ["2026-01-01T00:00:00.000001Z", "1969-12-31T23:59:59.000000Z", "2299-12-31T00:00:00.000000Z"]
            ).as_unit("us"),
        }
    )
    client.insert_df("f", frame)
    found = client.query_df("SELECT * FROM f ORDER BY a")
    assert found["a"].tolist() == [1, 2, 3]
    assert found["b"].isna().tolist() == [False, True, False]
    assert found["c"].tolist() == ["x", "ç", ""]
    assert [value.isoformat() for value in found["d"].dt.tz_localize(None)] == [
        "2026-01-01T00:00:00.000001",
        "1969-12-31T23:59:59",
        "2299-12-31T00:00:00",
    ]


def test_parameters_of_every_kind(client: Client) -> None:
    parameters = {
        "number": -5,
        "text": TEXTS[2],
        "list": ["a", "it's", "b\\"],
        "date": dt.date(2026, 2, 28),
        "time": dt.datetime(2026, 1, 1, 0, 0, 0, 123456, tzinfo=UTC),
        "money": Decimal("12.34"),
        "nothing": None,
        "id": uuid.UUID(int=7),
        "table": "numbers",
    }
    found = client.query(
        "SELECT {number:Int32}, {text:String}, {list:Array(String)}, {date:Date32}, {time:DateTime64(6, 'UTC')}, "
        "{money:Decimal(10, 2)}, {nothing:Nullable(String)}, {id:UUID}, count() "
        "FROM (SELECT * FROM system.{table:Identifier} LIMIT 3)",
        parameters=parameters,
        tz_mode="aware",
    ).first_row
    assert found == (*list(parameters.values())[:-1], 3)


BYTES = bytes(range(128, 256)) + "ção".encode("latin-1")


def test_statements_with_bytes_that_are_not_utf_8(client: Client, raw: Raw) -> None:
    """The client writes binary parameters into the statement. An error that quotes them has its own code and status."""
    client.command("CREATE TABLE t (a String) ENGINE = MergeTree ORDER BY a")
    client.command("INSERT INTO t SELECT $value$", parameters={"$value$": BYTES})
    found = client.query("SELECT hex(a) FROM t WHERE a = $value$", parameters={"$value$": BYTES})
    assert found.result_rows == [(BYTES.hex().upper(),)]
    answer = raw.request("POST", {}, body=b"SELECT throwIf(1, 'no \xff')")
    assert (answer.status, answer.headers["x-clickhouse-exception-code"]) == (500, "395")
    assert "no \N{REPLACEMENT CHARACTER}" in answer.body.decode()
