"""What the unmodified client can do with this service, by each of its ways: blocking and asynchronous.

It covers the same kinds of use as the integration tests of clickhouse-connect. What passes here must go on passing. What the
service can't do is listed in docs/operations.md.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import itertools
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from ipaddress import IPv4Address, IPv6Address
from typing import Any
from zoneinfo import ZoneInfo

import clickhouse_connect
import clickhouse_connect.dbapi
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest
import sqlalchemy
from clickhouse_connect.driver.exceptions import (
    DatabaseError,
    DataError,
    ProgrammingError,
    StreamFailureError,
)
from clickhouse_connect.driver.external import ExternalData

from local.servers.clickhouse import ClickHouse
from tests.local.servers.clickhouse.conftest import Raw

UTC = dt.UTC
LISBON = ZoneInfo("Europe/Lisbon")
DATABASE = "client_suite"


class Way:
    """One of the two clients. Its methods return what the client's method returns, or raise."""

    def __init__(self, mode: str, server: ClickHouse, runner: asyncio.Runner) -> None:
        self.mode = mode
        self._server = server
        self._runner = runner
        self._opened: list[Any] = []
        self.client = self.open()

    def open(self, **options: Any) -> Any:
        """Open another client, closed with this one."""
        options = {
            "host": "127.0.0.1",
            "port": self._server.port,
            "username": self._server.user,
            "password": self._server.password,
            "database": DATABASE,
            **options,
        }
        if self.mode == "blocking":
            client: Any = clickhouse_connect.get_client(**options)
        else:
            client = self._runner.run(clickhouse_connect.get_async_client(**options))
        self._opened.append(client)
        return client

    def __call__(self, method: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        found = method(*arguments, **named)
        return self._runner.run(found) if asyncio.iscoroutine(found) else found

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("_"):
            raise AttributeError(name)
        method = getattr(self.client, name)
        return lambda *arguments, **named: self(method, *arguments, **named)

    def all_of(self, stream: Any) -> list[Any]:
        """Return everything that a stream yields."""
        if self.mode == "blocking":
            with stream:
                return list(stream)

        async def collected() -> list[Any]:
            async with stream:
                return [item async for item in stream]

        return self._runner.run(collected())

    def close(self) -> None:
        for client in self._opened:
            self(client.close)


@pytest.fixture(scope="module", params=["blocking", "asynchronous"])
def way(request: pytest.FixtureRequest, clickhouse: ClickHouse) -> Iterator[Way]:
    admin = clickhouse.client()
    admin.command(f"CREATE DATABASE IF NOT EXISTS {DATABASE}")
    with asyncio.Runner() as runner:
        way = Way(request.param, clickhouse, runner)
        yield way
        way.close()
    admin.command(f"DROP DATABASE {DATABASE} SYNC")
    admin.close()


_numbers = itertools.count(1)


def new_table(way: Way, columns: str, settings: dict[str, Any] | None = None) -> str:
    """Create a table, and return its name."""
    name = f"t{next(_numbers)}"
    way.command(f"CREATE TABLE {name} ({columns}) ENGINE = Memory", settings=settings)
    return name


# --- values ---------------------------------------------------------------------------------------------------------

VALUES: dict[str, list[Any]] = {
    "Int16": [-(2**15), 2**15 - 1],
    "UInt16": [0, 2**16 - 1],
    "Int128": [-(2**127), 2**127 - 1],
    "UInt256": [0, 2**256 - 1],
    "Float32": [0.5, float("-inf")],
    "BFloat16": [0.5, -2.0],
    "Bool": [True, False],
    "Decimal(9, 4)": [Decimal("-12345.6789"), Decimal("0.0001")],
    "Decimal(76, 40)": [Decimal("1." + "0" * 39 + "1"), Decimal("-" + "9" * 36 + "." + "9" * 40)],
    "String": ["", "olá ☕ \0 ' \\"],
    "FixedString(4)": [b"\x00\xff\x00\x01", b"abcd"],
    "LowCardinality(String)": ["a", "a"],
    "LowCardinality(Nullable(String))": [None, "a"],
    "Nullable(UInt64)": [None, 2**64 - 1],
    "UUID": [uuid.UUID(int=0), uuid.UUID(int=2**127 + 5)],
    "IPv4": [IPv4Address("10.0.0.1"), IPv4Address("255.255.255.255")],
    "IPv6": [IPv6Address("2001:db8::1"), IPv6Address("::1")],
    "Date": [dt.date(1970, 1, 1), dt.date(2149, 6, 6)],
    "Date32": [dt.date(1900, 1, 1), dt.date(2299, 12, 31)],
    "DateTime('UTC')": [dt.datetime(1970, 1, 1, 0, 0, 1), dt.datetime(2106, 2, 7, 6, 28, 15)],
    "DateTime64(3, 'UTC')": [
        dt.datetime(1969, 12, 31, 23, 59, 59, 999000),
        dt.datetime(2026, 11, 28, 1, 2, 3),
    ],
    "DateTime64(6, 'Europe/Lisbon')": [
        dt.datetime(2026, 7, 1, 12, 0, 0, 1, tzinfo=LISBON),
        dt.datetime(2026, 1, 1, 12, tzinfo=LISBON),
    ],
    "Time": [dt.timedelta(hours=23, minutes=59), dt.timedelta(seconds=-1)],
    "Time64(6)": [dt.timedelta(hours=1, microseconds=1), dt.timedelta(microseconds=-1)],
    "Enum16('one' = 1, 'it\\'s' = -300)": ["one", "it's"],
    "Array(Nullable(Int32))": [[], [1, None]],
    "Array(Array(String))": [[[]], [["a"], ["b", "c"]]],
    "Tuple(Int32, Array(String))": [(1, []), (-1, ["x", ""])],
    "Tuple(id Int32, name String)": [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}],
    "Map(String, Array(Int8))": [{}, {"a": [1, 2], "": []}],
    "Nested(a Int32, b String)": [[], [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]],
    "Variant(String, UInt64, Array(Int64))": ["text", 7],
    # The client sends each value as a text.
    "Dynamic": ["text", "7"],
    "JSON": [{"a": {"b": 1}, "list": ["x", "y"]}, {"c": "only here"}],
    "JSON(a UInt32)": [{"a": 1}, {"a": 2, "b": "x"}],
    "Nullable(JSON)": [None, {"a": "x"}],
    "Point": [(1.5, -2.5), (0.0, 0.0)],
    "Ring": [[(0.0, 0.0), (1.0, 1.0)], []],
    "Polygon": [[[(0.0, 0.0), (1.0, 0.0), (1.0, 1.0)]], [[]]],
    "MultiPolygon": [[[[(0.0, 0.0), (1.0, 0.0)]]], []],
    "SimpleAggregateFunction(max, UInt8)": [1, 255],
    "QBit(Float32, 4)": [[1.0, 2.0, 3.0, 4.0], [0.5, 0.0, -0.5, -1.0]],
}
SETTINGS = {"enable_time_time64_type": 1, "flatten_nested": 0, "allow_experimental_qbit_type": 1}


@pytest.mark.parametrize("kind", VALUES)
def test_a_value_comes_back_as_it_was(way: Way, kind: str) -> None:
    """Inserted by rows and by columns."""
    table = new_table(way, f"id UInt8, v {kind}", SETTINGS)
    values = VALUES[kind]
    way.insert(table, [[number, value] for number, value in enumerate(values)], settings=SETTINGS)
    way.insert(table, [[2, 3], values], column_names=["id", "v"], column_oriented=True, settings=SETTINGS)
    found = way.query(f"SELECT v FROM {table} ORDER BY id", settings=SETTINGS)
    assert [row[0] for row in found.result_rows] == values * 2
    way.command(f"DROP TABLE {table}")


def test_values_that_only_the_server_makes(way: Way) -> None:
    row = way.query(
        "SELECT NULL, [], map(), tuple(1), toIntervalDay(3), 1 = 1, "
        "(1, 'a')::Tuple(x Int8, y String), 'x'::Enum('x'), toDateTime64('2026-01-01', 9, 'UTC'), [NULL, 1]"
    ).first_row
    assert row[:7] == (None, [], {}, (1,), 3, 1, {"x": 1, "y": "a"})
    assert row[7:] == ("x", dt.datetime(2026, 1, 1), [None, 1])


def test_read_formats(way: Way) -> None:
    sql = (
        "SELECT toUUID('00000000-0000-0000-0000-000000000001') AS u, toIPv4('1.2.3.4') AS i, 'é' AS s, "
        "toDate('1970-01-02') AS d, 18446744073709551615::UInt64 AS n"
    )
    formats = {"UUID": "string", "IP*": "string", "String": "bytes", "Date": "int", "UInt64": "signed"}
    assert way.query(sql, query_formats=formats).first_row == (
        *("00000000-0000-0000-0000-000000000001", "1.2.3.4", "é".encode(), 1, -1),
    )
    assert way.query(sql, column_formats={"u": "string"}).first_row[0].endswith("1")
    assert way.query("SELECT NULL::Nullable(Int8)", use_none=False).first_row == (0,)


# --- queries --------------------------------------------------------------------------------------------------------

NUMBERS = "SELECT number AS n, toString(number) AS s, number / 2 AS f FROM numbers(200000)"
TOTAL = sum(range(200_000))


def test_results_as_rows_columns_arrays_and_frames(way: Way) -> None:
    found = way.query(NUMBERS)
    assert found.column_names == ("n", "s", "f")
    assert (sum(found.result_columns[0]), found.result_rows[-1]) == (TOTAL, (199_999, "199999", 99_999.5))
    assert list(way.query("SELECT 1 AS a, 2 AS b").named_results()) == [{"a": 1, "b": 2}]
    assert int(way.query_np("SELECT number FROM numbers(200000)").sum()) == TOTAL
    assert int(way.query_df(NUMBERS)["n"].sum()) == TOTAL
    assert way.query_arrow(NUMBERS)["n"].to_numpy().sum() == TOTAL
    assert int(way.query_df_arrow(NUMBERS)["n"].sum()) == TOTAL
    assert len(way.query("SELECT 1 WHERE 0").result_rows) == 0
    assert way.query("SELECT 1 AS a LIMIT 0").column_names == ("a",)


@pytest.mark.parametrize(
    ("method", "count"),
    [
        ("query_rows_stream", lambda rows: sum(row[0] for row in rows)),
        ("query_row_block_stream", lambda blocks: sum(row[0] for block in blocks for row in block)),
        ("query_column_block_stream", lambda blocks: sum(sum(block[0]) for block in blocks)),
        ("query_np_stream", lambda blocks: sum(int(block["n"].sum()) for block in blocks)),
        ("query_df_stream", lambda frames: sum(int(frame["n"].sum()) for frame in frames)),
        ("query_arrow_stream", lambda batches: sum(int(batch["n"].to_numpy().sum()) for batch in batches)),
        ("query_df_arrow_stream", lambda frames: sum(int(frame["n"].sum()) for frame in frames)),
    ],
)
def test_results_as_a_stream(way: Way, method: str, count: Callable[[list[Any]], int]) -> None:
    assert count(way.all_of(getattr(way, method)(NUMBERS))) == TOTAL


def test_results_as_bytes(way: Way) -> None:
    assert way.raw_query("SELECT 1 AS a", fmt="JSONEachRow") == b'{"a":1}\n'
    assert way.raw_query("SELECT 1, 'x' FORMAT CSV; -- end") == b'1,"x"\n'
    parquet = way.raw_query(NUMBERS, fmt="Parquet")
    assert pyarrow.parquet.read_table(pa.BufferReader(parquet)).num_rows == 200_000
    pieces = way.all_of(way.raw_stream("SELECT number FROM numbers(200000)", fmt="TSV"))
    assert sum(map(int, b"".join(pieces).split())) == TOTAL


@pytest.mark.parametrize(
    "stream", ["query_rows_stream", "query_row_block_stream", "query_column_block_stream"]
)
def test_an_error_in_the_middle_of_a_stream(way: Way, stream: str) -> None:
    late = "SELECT number, throwIf(number = 600000, 'too far') FROM numbers(900000)"
    # aiohttp may drop what it has received when the connection is closed, as the service and a server close it then.
    message = "too far" if way.mode == "blocking" else "too far|closed by server"
    with pytest.raises(StreamFailureError, match=message):
        way.all_of(getattr(way, stream)(late))
    assert way.command("SELECT 1") == 1


def test_an_error_in_the_middle_of_a_small_result(way: Way) -> None:
    """With wait_end_of_query=0, nothing is held back. Otherwise, the error is the answer's status."""
    late = "SELECT number, throwIf(number = 100, 'too far') FROM numbers(200)"
    with pytest.raises(DatabaseError, match="too far") as raised:
        way.all_of(way.query_rows_stream(late, settings={"max_block_size": 1}))
    assert raised.value.code == 395
    message = "too far" if way.mode == "blocking" else "too far|closed by server"
    with pytest.raises(StreamFailureError, match=message):
        way.all_of(way.query_rows_stream(late, settings={"max_block_size": 1, "wait_end_of_query": 0}))


def test_a_context_is_used_again(way: Way) -> None:
    context = way.client.create_query_context(
        query="SELECT {n:UInt8} AS n, {s:String} AS s",
        parameters={"n": 1, "s": "a"},
        settings={"max_threads": 1},
    )
    context.set_parameters({"n": 2, "s": "a"})
    assert way.query(context=context).first_row == (2, "a")
    context.set_parameter("n", 3)
    assert way.query(context=context).first_row == (3, "a")


def test_commands_and_comments(way: Way) -> None:
    assert way.command("SELECT 1, 'a' -- comment") == ["1", "a"]
    assert way.command("/* INSERT INTO x */ SELECT 'INSERT' # FORMAT") == "INSERT"
    assert way.query("WITH insert AS (SELECT 13 AS n) SELECT n FROM insert;").first_row == (13,)
    assert "query_id" in way.query("SET max_threads = 2").first_item
    assert way.command("SHOW TABLES LIKE 'none'") == ""
    assert way.query("SHOW CREATE TABLE system.tables").column_names == ("statement",)
    assert way.query("DESCRIBE TABLE system.one").first_row[:2] == ("dummy", "UInt8")
    assert way.query("EXISTS TABLE system.one").first_row == (1,)
    assert way.ping()


# --- inserts --------------------------------------------------------------------------------------------------------


def test_inserts_of_every_form(way: Way) -> None:
    table = new_table(way, "a UInt32, s Nullable(String), d DateTime64(6, 'UTC')")
    noon = dt.datetime(2026, 1, 1, 12)
    way.insert(table, [[1, "a", noon], [2, None, noon]], column_names=["a", "s", "d"])
    way.insert(table, [[3, 4], ["c", None]], column_names=["a", "s"], column_oriented=True)
    way.insert(table, [[5]], column_names=["a"], column_type_names=["UInt32"])
    frame = pd.DataFrame({"a": [6, 7], "s": ["f", None], "d": [noon, noon]})
    way.insert_df(table, frame)
    arrow = pa.table({"a": pa.array([8, 9], pa.uint32()), "s": ["h", None]})
    way.insert_arrow(table, arrow)
    way.insert_df_arrow(
        table,
        pa.table({"a": pa.array([10, 11], pa.uint32()), "s": ["h", None]}).to_pandas(
            types_mapper=pd.ArrowDtype
        ),
    )
    way.raw_insert(table, ["a", "s"], b"12,x\n13,\\N\n", fmt="CSV")
    way.raw_insert(table, ["a"], b"14\n15\n", fmt="TSV")
    way.insert(table, np.array([[16], [17]], dtype="uint32"), column_names=["a"])
    way.command(f"INSERT INTO {table} (a) VALUES (18), (10 + 9)")
    way.command(f"INSERT INTO {table} (a) FORMAT CSV", data="20\n21\n")
    way.command(f"INSERT INTO {table} (a) SELECT n + 20 FROM input('n UInt8') FORMAT CSV", data=b"2\n3\n")
    found = way.query(f"SELECT a, s FROM {table} ORDER BY a").result_rows
    assert [row[0] for row in found] == list(range(1, 24))
    assert [row[1] for row in found[:13]] == [
        *("a", None, "c", None, None, "f", None, "h", None, "h", None, "x", None),
    ]
    assert way.query(f"SELECT countIf(d = '2026-01-01 12:00:00') FROM {table}").first_row == (4,)


def test_an_insert_context_is_used_again(way: Way) -> None:
    table = new_table(way, "a UInt32, b String")
    context = way.create_insert_context(table, ["a", "b"], data=[[1, "a"]])
    assert way(way.client.data_insert, context).written_rows == 1
    way.insert(data=[[2, "b"], [3, "c"]], context=context)
    assert way.query(f"SELECT groupArray(a) FROM {table}").first_row == ([1, 2, 3],)


def test_an_insert_that_fails_writes_nothing(way: Way) -> None:
    table = new_table(way, "a UInt8, b Date")
    with pytest.raises((DataError, ProgrammingError)):
        way.insert(table, [[1, dt.date(2026, 1, 1)], ["x", dt.date(2026, 1, 1)]])
    with pytest.raises(DatabaseError, match="Cannot parse"):
        way.raw_insert(table, None, b"1,2026-01-01\n2,never\n", fmt="CSV")
    with pytest.raises((DatabaseError, ProgrammingError), match="nowhere"):
        way.insert("nowhere", [[1]])
    assert way.query(f"SELECT count() FROM {table}").first_row == (0,)


@pytest.mark.parametrize("compress", [False, "lz4", "zstd", "gzip"])
def test_compression_in_both_directions(way: Way, compress: Any) -> None:
    client = way.open(compress=compress)
    table = new_table(way, "a UInt32, s String")
    way(client.insert, table, [[number, f"row {number}"] for number in range(2000)], column_names=["a", "s"])
    assert way(client.query, f"SELECT sum(a), uniqExact(s) FROM {table}").first_row == (1_999_000, 2000)
    assert len(way(client.query, f"SELECT * FROM {table}").result_rows) == 2000
    assert len(way(client.raw_query, f"SELECT s FROM {table} ORDER BY a", fmt="TSV").split(b"\n")) == 2001


def test_a_compression_that_the_service_does_not_know(raw: Raw) -> None:
    """Brotli: an answer goes plain, a body is refused."""
    parameters = {"query": "SELECT 1", "enable_http_compression": "1"}
    answer = raw.request("POST", parameters, {"Accept-Encoding": "br"})
    assert (answer.body, answer.headers.get("content-encoding")) == (b"1\n", None)
    answer = raw.request("POST", parameters, {"Content-Encoding": "br"}, b"x")
    assert answer.headers["x-clickhouse-exception-code"] == "89"


# --- parameters, settings, external data -----------------------------------------------------------------------------

PARAMETERS = [
    ("UInt64", 2**64 - 1),
    ("Float64", 1.5),
    ("String", "it's \\ \t\n ☕ {x:String} %s"),
    ("Nullable(String)", None),
    ("Bool", True),
    ("Decimal(20, 5)", Decimal("123456789012345.12345")),
    ("UUID", uuid.UUID(int=7)),
    ("IPv4", IPv4Address("1.2.3.4")),
    ("Date32", dt.date(1950, 2, 3)),
    ("DateTime('UTC')", dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
    ("Array(String)", ["a", "it's", ""]),
    ("Array(Nullable(Int32))", [1, None]),
    ("Tuple(Int8, String)", (1, "x")),
]


@pytest.mark.parametrize(("kind", "value"), PARAMETERS, ids=[kind for kind, _ in PARAMETERS])
def test_parameters_of_both_kinds(way: Way, kind: str, value: Any) -> None:
    """Put into the statement by the server, and by the client."""
    server = way.query(f"SELECT {{v:{kind}}}", parameters={"v": value}, tz_mode="aware").first_row[0]
    client = way.query(f"SELECT %(v)s::{kind}", parameters={"v": value}, tz_mode="aware").first_row[0]
    assert (server, client) == (value, value)


def test_parameters_elsewhere(way: Way) -> None:
    table = new_table(way, "a UInt8, b String")
    way.command(f"INSERT INTO {table} VALUES ({{a:UInt8}}, {{b:String}})", parameters={"a": 1, "b": "x'y"})
    way.command(f"INSERT INTO {table} SELECT 2, $b$", parameters={"$b$": b"\xff\x00'"})
    found = way.query(
        "SELECT a, hex(b) FROM {table:Identifier} WHERE a IN {wanted:Array(UInt8)} ORDER BY a",
        parameters={"table": table, "wanted": [1, 2]},
    )
    assert found.result_rows == [(1, b"x'y".hex().upper()), (2, "FF0027")]
    assert way.query("SELECT %s, %s", parameters=[1, "a%b"]).first_row == (1, "a%b")
    fine = dt.datetime(2026, 1, 2, 3, 4, 5, 678901)
    assert way.query("SELECT {v:DateTime64(6, 'UTC')}", parameters={"v_64": fine}).first_row == (fine,)
    form = way.open(form_encode_query_params=True)
    assert way(form.query, "SELECT length({l:Array(UInt32)})", {"l": list(range(30_000))}).first_row == (
        30_000,
    )
    with pytest.raises(DatabaseError, match="Substitution `x` is not set"):
        way.query("SELECT {x:String}")


def test_settings_of_a_query_and_of_a_client(way: Way) -> None:
    client = way.open(settings={"max_threads": 3})
    assert way(client.command, "SELECT getSetting('max_threads')") == 3
    assert way(client.command, "SELECT getSetting('max_threads')", settings={"max_threads": 5}) == 5
    way(client.set_client_setting, "max_block_size", 77)
    assert way(client.command, "SELECT getSetting('max_block_size')") == 77
    assert client.get_client_setting("max_block_size") == "77"
    with pytest.raises((DatabaseError, ProgrammingError), match="no_such_setting"):
        way.query("SELECT 1", settings={"no_such_setting": 1})
    with pytest.raises(DatabaseError, match="readonly"):
        way.command("CREATE TABLE never (a UInt8) ENGINE = Memory", settings={"readonly": 1})


def test_external_data(way: Way) -> None:
    data = ExternalData(
        file_name="wanted.csv", data=b"1,one\n3,three\n", fmt="CSV", structure="id UInt64, word String"
    )
    sink = pa.BufferOutputStream()
    pyarrow.parquet.write_table(pa.table({"n": pa.array([3, 4], pa.uint64())}), sink)
    data.add_file(file_name="more", data=sink.getvalue().to_pybytes(), fmt="Parquet", structure="n UInt64")
    sql = "SELECT word FROM wanted WHERE id IN (SELECT n FROM more) AND id = {id:UInt64}"
    assert way.query(sql, parameters={"id": 3}, external_data=data).result_rows == [("three",)]
    assert way.raw_query("SELECT count() FROM wanted", external_data=data, fmt="TSV") == b"2\n"
    assert way.command("SELECT sum(n) FROM more", external_data=data) == 7


# --- sessions, errors, time zones, threads ---------------------------------------------------------------------------


def test_sessions_and_temporary_tables(way: Way) -> None:
    first, second = way.open(session_id=f"suite-{way.mode}"), way.open(session_id=f"suite-{way.mode}-2")
    way(first.command, "CREATE TEMPORARY TABLE kept (a UInt8)")
    way(first.insert, "kept", [[1], [2]], column_names=["a"], database="")
    way(first.command, "SET max_threads = 2")
    assert way(first.query, "SELECT sum(a), getSetting('max_threads') FROM kept").first_row == (3, 2)
    with pytest.raises(DatabaseError, match="kept"):
        way(second.query, "SELECT * FROM kept")
    without = way.open(autogenerate_session_id=False)
    assert way(without.query, "SELECT 1").first_row == (1,)


@pytest.mark.parametrize(
    ("sql", "code", "name"),
    [
        ("SELECT * FROM nowhere", 60, "UNKNOWN_TABLE"),
        ("SELECT nothing", 47, "UNKNOWN_IDENTIFIER"),
        ("SELEC 1", 62, "SYNTAX_ERROR"),
        ("SELECT throwIf(1, 'ação')", 395, "ação"),
        (
            "SELECT sleepEachRow(0.1) FROM numbers(9) SETTINGS max_execution_time = 0.1, max_block_size = 1",
            159,
            "TIMEOUT_EXCEEDED",
        ),
    ],
)
def test_errors_have_their_code(way: Way, sql: str, code: int, name: str) -> None:
    for method in (way.query, way.command, way.raw_query):
        with pytest.raises(DatabaseError, match=name) as raised:
            method(sql)
        assert raised.value.code == code
    hidden = way.open(show_clickhouse_errors=False)
    with pytest.raises(DatabaseError) as raised:
        way(hidden.query, sql)
    assert name not in str(raised.value)


def test_time_zones(way: Way) -> None:
    sql = (
        "SELECT toDateTime64('2026-07-01 12:00:00', 3, 'Europe/Lisbon') AS a, "
        "toDateTime('2026-07-01 11:00:00', 'UTC') AS b"
    )
    instant = dt.datetime(2026, 7, 1, 11, tzinfo=UTC)
    found = way.query(sql, tz_mode="aware").first_row
    assert found == (instant, instant)
    assert found[0].tzinfo == LISBON
    assert way.query(sql).first_row[1] == dt.datetime(2026, 7, 1, 11)
    assert (
        way.query(sql, query_tz="America/Sao_Paulo").first_row[1].isoformat() == "2026-07-01T08:00:00-03:00"
    )
    assert (
        way.query(sql, column_tzs={"b": "Asia/Tokyo"}).first_row[1].isoformat() == "2026-07-01T20:00:00+09:00"
    )
    local = way.query(
        "SELECT toDateTime(0)", settings={"session_timezone": "Asia/Tokyo"}, tz_mode="aware"
    ).first_row[0]
    assert local == dt.datetime(1970, 1, 1, tzinfo=UTC)
    assert str(way.client.server_tz) == "UTC"


def test_many_statements_at_once(way: Way) -> None:
    """One client without a session, from several threads or tasks."""
    client = way.open(autogenerate_session_id=False)
    sql = "SELECT sum(number) + {n:UInt8} FROM numbers(100000)"
    if way.mode == "blocking":
        with ThreadPoolExecutor(8) as threads:
            results = list(threads.map(lambda n: client.query(sql, parameters={"n": n}), range(40)))
    else:

        async def all_at_once() -> list[Any]:
            return await asyncio.gather(*(client.query(sql, parameters={"n": n}) for n in range(40)))

        results = way(all_at_once)
    assert [result.first_row[0] - sum(range(100_000)) for result in results] == list(range(40))


def test_one_session_runs_one_statement(way: Way) -> None:
    """A second one is refused while the first one's result is read."""
    client = way.open(session_id=f"suite-busy-{way.mode}")
    stream = way(client.query_row_block_stream, "SELECT number FROM numbers(2000000)")
    if way.mode == "blocking":
        with pytest.raises((DatabaseError, ProgrammingError), match=r"(?i)session"), stream:
            client.query("SELECT 1")
        return

    async def second() -> None:
        async with stream:
            await client.query("SELECT 1")

    with pytest.raises((DatabaseError, ProgrammingError), match=r"(?i)session"):
        way(second)


# --- what is built upon the client ------------------------------------------------------------------------------------


def test_the_python_database_api(clickhouse: ClickHouse, database: str) -> None:
    connection = clickhouse_connect.dbapi.connect(
        host="127.0.0.1",
        port=clickhouse.port,
        username=clickhouse.user,
        password=clickhouse.password,
        database=database,
    )
    cursor = connection.cursor()
    cursor.execute("CREATE TABLE t (a UInt8, b Nullable(String)) ENGINE = Memory")
    cursor.executemany("INSERT INTO t (a, b) VALUES", [(1, "x"), (2, None)])
    cursor.execute("SELECT a, b FROM t WHERE a >= %(least)s ORDER BY a", {"least": 1})
    assert cursor.fetchone() == (1, "x")
    assert cursor.fetchall() == [(2, None)]
    assert [(column[0], column[6]) for column in cursor.description] == [("a", False), ("b", True)]
    connection.close()


def test_sqlalchemy(clickhouse: ClickHouse, database: str) -> None:
    engine = sqlalchemy.create_engine(
        sqlalchemy.URL.create(
            "clickhousedb", clickhouse.user, clickhouse.password, "127.0.0.1", clickhouse.port, database
        )
    )
    with engine.begin() as connection:
        connection.execute(
            sqlalchemy.text("CREATE TABLE t (a UInt32, s Nullable(String)) ENGINE = MergeTree ORDER BY a")
        )
        table = sqlalchemy.Table("t", sqlalchemy.MetaData(), autoload_with=connection)
        assert [column.name for column in table.columns] == ["a", "s"]
        connection.execute(table.insert().values(a=1, s="x"))
        connection.execute(table.insert(), [{"a": 2, "s": "y"}, {"a": 3, "s": None}])
        found = connection.execute(sqlalchemy.select(table).where(table.c.a > 1).order_by(table.c.a)).all()
        assert [tuple(row) for row in found] == [(2, "y"), (3, None)]
        assert sqlalchemy.inspect(connection).get_table_names() == ["t"]
    engine.dispose()
