"""Inserts in every form that clients use, and incomplete bodies."""

from __future__ import annotations

import contextlib
import gzip
import json
import threading
import time
import zlib
from collections.abc import Iterator

import lz4.frame
import pandas as pd
import psutil
import pyarrow as pa
import pytest
from backports import zstd
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError

from local.servers.clickhouse import ClickHouse
from tests.local.servers.clickhouse.conftest import Raw, running

ROWS = b"".join(b"%d\trow %d\n" % (number, number) for number in range(1000))
NATIVE_BLOCK_ROWS = 1 << 17


@pytest.fixture
def table(client: Client) -> str:
    client.command("CREATE TABLE t (a UInt64, b String) ENGINE = MergeTree ORDER BY a")
    return "t"


def content(client: Client) -> list[int]:
    return list(client.query("SELECT count(), sum(a), uniqExact(b) FROM t").first_row)


WHOLE = [1000, 499500, 1000]


def test_bytes(client: Client, table: str) -> None:
    summary = client.raw_insert(table, ["a", "b"], ROWS, fmt="TSV")
    assert summary.written_rows == 1000
    assert content(client) == WHOLE


def pieces(data: bytes, size: int = 777) -> Iterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


def test_a_generator_is_a_chunked_body(client: Client, table: str) -> None:
    client.raw_insert(table, ["a", "b"], pieces(ROWS), fmt="TSV")
    assert content(client) == WHOLE


@pytest.mark.parametrize(
    ("encoding", "compress"),
    [
        ("lz4", lz4.frame.compress),
        ("zstd", zstd.compress),
        ("gzip", gzip.compress),
        ("deflate", zlib.compress),
    ],
)
def test_a_compressed_body(client: Client, table: str, encoding: str, compress) -> None:
    client.raw_insert(table, ["a", "b"], pieces(compress(ROWS)), fmt="TSV", compression=encoding)
    assert content(client) == WHOLE


@pytest.mark.parametrize("compress", [False, "lz4", "zstd", "gzip"])
def test_rows_and_columns(
    clickhouse: ClickHouse, database: str, client: Client, table: str, compress
) -> None:
    """The client sends the statement in the compressed body, too."""
    writer = clickhouse.client(database=database, compress=compress)
    writer.insert(table, [[number, f"row {number}"] for number in range(500)], column_names=["a", "b"])
    writer.insert(
        table,
        [list(range(500, 1000)), [f"row {number}" for number in range(500, 1000)]],
        column_names=["a", "b"],
        column_oriented=True,
    )
    writer.close()
    assert content(client) == WHOLE


@pytest.mark.parametrize("compress", [False, "lz4", "zstd"])
def test_arrow_and_data_frames(
    clickhouse: ClickHouse, database: str, client: Client, table: str, compress
) -> None:
    writer = clickhouse.client(database=database, compress=compress)
    columns = {"a": range(1000), "b": [f"row {number}" for number in range(1000)]}
    arrow = pa.table({"a": pa.array(columns["a"], pa.uint64()), "b": columns["b"]})
    writer.insert_arrow(table, arrow.slice(0, 400))
    writer.insert_df(table, pd.DataFrame(columns)[400:700])
    writer.insert_df_arrow(table, arrow.slice(700).to_pandas(types_mapper=pd.ArrowDtype))
    writer.close()
    assert content(client) == WHOLE


def test_statements_that_insert(client: Client, table: str) -> None:
    client.command("INSERT INTO t VALUES (1, 'one'), (1 + 1, upper('two'))")
    client.command("INSERT INTO t (a, b) VALUES ({a:UInt64}, {b:String})", {"a": 3, "b": "it's\t\\"})
    client.command("INSERT INTO t SELECT number, toString(number) FROM numbers(4, 2)")
    client.command("INSERT INTO t FORMAT CSV", data="6,six\n")
    client.query('INSERT INTO t FORMAT JSONEachRow {"a": 7, "b": "seven"}')
    assert client.query("SELECT * FROM t ORDER BY a").result_rows == [
        (1, "one"),
        (2, "TWO"),
        (3, "it's\t\\"),
        (4, "4"),
        (5, "5"),
        (6, "six"),
        (7, "seven"),
    ]


# --- INSERT … SELECT … FROM input(…) -------------------------------------------------------------------------------


INPUT = "input('n UInt64, word String')"


@pytest.mark.parametrize(
    "statement",
    [
        f"INSERT INTO t SELECT n, upper(word) FROM {INPUT} WHERE n > 1 FORMAT CSV",
        f"INSERT INTO t (b, a) (SELECT upper(word), n FROM {INPUT} WHERE n > 1) FORMAT CSV",
        f"INSERT INTO t WITH i AS (SELECT * FROM {INPUT}) SELECT n, upper(word) FROM i WHERE n > 1 FORMAT CSV",
        f"WITH i AS (SELECT * FROM {INPUT}) INSERT INTO t SELECT n, upper(word) FROM i WHERE n > 1 FORMAT CSV",
        f"INSERT INTO t SELECT n, upper(word) FROM {INPUT} JOIN numbers(5) AS m ON m.number = n + 1 WHERE n > 1 FORMAT CSV",
        f"/* FORMAT TSV */ INSERT INTO t -- FORMAT TSV\n SELECT n, upper(word) FROM {INPUT} WHERE n > 1\nFORMAT CSV",
    ],
)
@pytest.mark.parametrize("place", ["url", "body"])
def test_an_insert_that_reads_its_data_with_input(
    client: Client, raw: Raw, table: str, statement: str, place: str
) -> None:
    parameters, body = {"database": client.database}, b"1,one\n2,two\n3,three\n"
    if place == "url":
        answer = raw.request("POST", {**parameters, "query": statement}, body=body)
    else:
        answer = raw.request("POST", parameters, body=statement.encode() + b"\n" + body)
    assert (answer.status, json.loads(answer.headers["x-clickhouse-summary"])["written_rows"]) == (200, "2")
    assert client.query("SELECT * FROM t ORDER BY a").result_rows == [(2, "TWO"), (3, "THREE")]


def test_input_with_every_kind_of_body(client: Client, raw: Raw, table: str) -> None:
    parameters = {
        "database": client.database,
        "query": "INSERT INTO t SELECT n, word FROM input({structure:String}) FORMAT TSV",
        "param_structure": "n UInt64, word String",
    }
    headers = {"Transfer-Encoding": "chunked", "Content-Encoding": "zstd", "Connection": "close"}
    body = chunked(zstd.compress(ROWS)) + b"0\r\n\r\n"
    answer = raw.send(raw.head("POST", parameters, headers) + body, then_close_writing=False)
    assert answer.startswith(b"HTTP/1.1 200")
    assert content(client) == WHOLE
    assert raw.request("POST", parameters, body=b"").status == 200
    assert content(client) == WHOLE


def test_settings_of_a_statement_with_input(client: Client, table: str) -> None:
    """Wherever they stand, they also hold for reading the data."""
    client.command(
        f"INSERT INTO t SETTINGS format_csv_delimiter = ';' SELECT * FROM {INPUT} FORMAT CSV", data="1;x\n"
    )
    client.command(
        f"INSERT INTO t SELECT * FROM {INPUT} SETTINGS format_csv_delimiter = '|' FORMAT CSV", data="2|y\n"
    )
    client.command(
        f"INSERT INTO t SELECT * FROM {INPUT} FORMAT CSV",
        data="3/z\n",
        settings={"format_csv_delimiter": "/"},
    )
    client.command(f"INSERT INTO t SELECT * FROM {INPUT} FORMAT Values", data="(2 + 2, lower('Z'))")
    assert client.query("SELECT * FROM t ORDER BY a").result_rows == [(1, "x"), (2, "y"), (3, "z"), (4, "z")]


def test_input_keeps_the_order_of_the_rows(client: Client) -> None:
    client.command("CREATE TABLE o (a UInt32, place UInt32) ENGINE = Memory")
    rows = b"".join(b"%d\n" % number for number in range(300_000))
    client.command(
        "INSERT INTO o SELECT a, rowNumberInAllBlocks() FROM input('a UInt32') FORMAT TSV", data=rows
    )
    assert client.query("SELECT count(), countIf(a != place) FROM o").first_row == (300_000, 0)


@pytest.mark.parametrize(
    ("statement", "code", "message"),
    [
        (f"INSERT INTO t SELECT * FROM {INPUT}", 477, "FORMAT must be specified for function input()"),
        ("INSERT INTO t SELECT * FROM input() FORMAT CSV\n1,x", 636, "'input' was used without structure"),
        (
            "INSERT INTO t SELECT * FROM input('auto') FORMAT CSV\n1,x",
            636,
            "'input' was used without structure",
        ),
        (
            f"INSERT INTO t SELECT a.* FROM {INPUT} AS a, {INPUT} AS b FORMAT CSV\n1,x",
            477,
            "'input()' function only once",
        ),
        ("INSERT INTO t SELECT 1, 'x' FORMAT CSV\n2,y", 477, "no input() that reads it"),
        (f"INSERT INTO t SELECT * FROM {INPUT} FORMAT CSV\nx,1", 27, "Cannot parse input"),
        (
            f"INSERT INTO t SELECT missing FROM {INPUT} FORMAT CSV\n1,x",
            47,
            "In scope SELECT missing FROM input.",
        ),
        (f"SELECT * FROM {INPUT}", 477, "input() must be used only in INSERT SELECT query"),
        (f"CREATE VIEW v AS SELECT * FROM {INPUT}", 477, "input() must be used only in INSERT SELECT query"),
        (f"CREATE TABLE v AS {INPUT}", 477, "input() must be used only in INSERT SELECT query"),
        (
            "INSERT INTO t SELECT * FROM input('n UInt64 DEFAULT file(''x'')') FORMAT CSV\n1",
            497,
            "file() reads files",
        ),
        (
            "INSERT INTO t SELECT * FROM input('n UInt64) ENGINE = Log; --') FORMAT CSV\n1",
            62,
            "structure of a table",
        ),
        (f"INSERT INTO t SELECT * FROM {INPUT} FORMAT Values (1, file('x'))", 497, "file() reads files"),
    ],
)
def test_what_input_can_not_do_is_an_error(
    client: Client, raw: Raw, table: str, statement: str, code: int, message: str
) -> None:
    """And no success that writes nothing."""
    answer = raw.request("POST", {"database": client.database}, body=statement.encode())
    assert (answer.headers.get("x-clickhouse-exception-code"), message in answer.body.decode()) == (
        str(code),
        True,
    ), answer.body
    assert client.query("SELECT count() FROM t").first_row == (0,)
    assert client.query("SHOW TABLES").result_rows == [("t",)]


def test_a_format_that_reads_no_data(client: Client, table: str) -> None:
    """Without input(), a server ignores FORMAT after the SELECT of an INSERT."""
    client.command("INSERT INTO t SELECT 1, 'x' FORMAT CSV")
    client.command("INSERT INTO t (a, b) (SELECT 2, 'y') FORMAT Native", data="\n")
    assert client.query("SELECT * FROM t ORDER BY a").result_rows == [(1, "x"), (2, "y")]


def test_a_session_that_reads_input_keeps_no_table(clickhouse: ClickHouse, database: str, table: str) -> None:
    client = clickhouse.client(session_id="reads-input", database=database)
    for data in ("1,x\n", "not a number,x\n"):
        with contextlib.suppress(DatabaseError):
            client.command(f"INSERT INTO t SELECT * FROM {INPUT} FORMAT CSV", data=data)
    assert client.query("SELECT name FROM system.tables WHERE is_temporary").result_rows == []
    assert client.query("SELECT a FROM t").result_rows == [(1,)]
    client.close()


# --- what is acknowledged ------------------------------------------------------------------------------------------


def test_an_insert_is_acknowledged_when_it_is_written(client: Client, table: str) -> None:
    """The setting async_insert makes no difference."""
    settings = {"async_insert": 1, "wait_for_async_insert": 0}
    client.command("INSERT INTO t VALUES (1, 'one')", settings=settings)
    assert client.command("SELECT count() FROM t") == 1
    client.raw_insert(table, None, b"2\ttwo\n", fmt="TSV", settings=settings)
    assert client.command("SELECT count() FROM t") == 2
    client.command("INSERT INTO t SETTINGS async_insert = 1, wait_for_async_insert = 0 VALUES (3, 'three')")
    assert client.command("SELECT count() FROM t") == 3
    client.command("SET async_insert = 1, wait_for_async_insert = 0")
    client.command("INSERT INTO t VALUES (4, 'four')")
    client.insert(table, [[5, "five"]])
    assert client.command("SELECT count() FROM t") == 5


def test_values_in_the_url_and_in_the_body(client: Client, raw: Raw, table: str) -> None:
    """As on a server, the statement goes on in the body."""
    for statement, body in (
        ("INSERT INTO t VALUES (1, 'one')", b", (2, 'two')"),
        ("INSERT INTO t VALUES", b"(3, 'three')"),
        ("INSERT INTO t FORMAT CSV 4,four", b"5,five"),
        ("INSERT INTO t (a, b)", b"VALUES (6, 'six')"),
    ):
        answer = raw.request("POST", {"database": client.database, "query": statement}, body=body)
        assert answer.status == 200, answer.body
    assert client.query("SELECT groupArray(a) FROM (SELECT a FROM t ORDER BY a)").first_row == (
        [1, 2, 3, 4, 5, 6],
    )


def test_nothing_to_insert(client: Client, table: str) -> None:
    client.raw_insert(table, None, b"", fmt="TSV")
    client.insert(table, [], column_names=["a", "b"])
    assert client.command("SELECT count() FROM t") == 0


def test_bad_data_gets_the_error_that_clickhouse_gives(client: Client, table: str) -> None:
    with pytest.raises(DatabaseError, match="Cannot parse input") as raised:
        client.raw_insert(table, None, b"1\tone\nx\ttwo\n", fmt="TSV")
    assert raised.value.code == 27
    assert "/dev/fd" not in str(raised.value)
    assert client.command("SELECT count() FROM t") == 0


def test_many_values_are_plain_values(client: Client, table: str) -> None:
    """Above a certain size, the values are read without expressions, which could read files."""
    values = ", ".join(f"({number}, 'row {number}')" for number in range(70_000))
    client.command(f"INSERT INTO t VALUES {values}")
    assert client.command("SELECT count() FROM t") == 70_000
    with pytest.raises(DatabaseError):
        client.command(f"INSERT INTO t VALUES {values}, (1, file('/etc/hostname'))")


# --- incomplete bodies --------------------------------------------------------------------------------------------


INSERT = {"query": "INSERT INTO t FORMAT TSV"}


def chunked(data: bytes) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces(data, 1000))


BROKEN = {
    "a Content-Length that never comes": ({"Content-Length": str(len(ROWS) + 1)}, ROWS),
    "a Content-Length cut in the middle": ({"Content-Length": str(len(ROWS))}, ROWS[: len(ROWS) // 2]),
    "chunks without the last one": ({"Transfer-Encoding": "chunked"}, chunked(ROWS)),
    "a chunk cut in the middle": ({"Transfer-Encoding": "chunked"}, chunked(ROWS)[:-400]),
    "a chunk's length that is none": ({"Transfer-Encoding": "chunked"}, chunked(ROWS) + b"zz\r\n"),
    "no body at all": ({"Content-Length": str(len(ROWS))}, b""),
}


@pytest.mark.parametrize("case", sorted(BROKEN))
def test_a_body_that_breaks_off_publishes_nothing(client: Client, raw: Raw, table: str, case: str) -> None:
    headers, body = BROKEN[case]
    answer = raw.send(raw.head("POST", {**INSERT, "database": client.database}, headers) + body)
    assert not answer.startswith(b"HTTP/1.1 200")
    assert running(client, "INTO t") == 0
    assert client.command("SELECT count() FROM t") == 0


def test_the_same_body_whole(client: Client, raw: Raw, table: str) -> None:
    head = raw.head(
        "POST",
        {**INSERT, "database": client.database},
        {"Transfer-Encoding": "chunked", "Connection": "close"},
    )
    answer = raw.send(head + chunked(ROWS) + b"0\r\n\r\n", then_close_writing=False)
    assert answer.startswith(b"HTTP/1.1 200")
    assert content(client) == WHOLE


@pytest.mark.parametrize(
    ("encoding", "compress"), [("lz4", lz4.frame.compress), ("zstd", zstd.compress), ("gzip", gzip.compress)]
)
def test_compressed_data_that_breaks_off_publishes_nothing(
    client: Client, table: str, encoding, compress
) -> None:
    """The HTTP body is complete, but its compressed content is not."""
    data = compress(ROWS) + compress(ROWS)
    with pytest.raises(DatabaseError, match="ends in the middle") as raised:
        client.raw_insert(table, None, data[:-20], fmt="TSV", compression=encoding)
    assert raised.value.code == 271
    assert client.command("SELECT count() FROM t") == 0


def test_a_generator_that_fails_publishes_nothing(client: Client, table: str) -> None:
    def failing() -> Iterator[bytes]:
        yield ROWS
        raise RuntimeError("the source went away")

    with pytest.raises(RuntimeError, match="the source went away"):
        client.raw_insert(table, None, failing(), fmt="TSV")
    assert client.command("SELECT count() FROM t") == 0


# --- memory -------------------------------------------------------------------------------------------------------


class Peak(threading.Thread):
    """Measures the largest resident memory of a process while the block runs, in bytes."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._process = psutil.Process(pid)
        self._ended = threading.Event()
        self.peak = 0

    def run(self) -> None:
        while not self._ended.is_set():
            self.peak = max(self.peak, self._process.memory_info().rss)
            time.sleep(0.01)

    def __enter__(self) -> Peak:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self.join()


def test_memory_does_not_grow_with_the_body(clickhouse: ClickHouse, client: Client) -> None:
    client.command("CREATE TABLE big (a UInt64) ENGINE = MergeTree ORDER BY tuple()")
    client.command("SYSTEM STOP MERGES big")  # merges use memory at any time
    block = client.raw_query(f"SELECT number AS a FROM numbers({NATIVE_BLOCK_ROWS})", fmt="Native")

    def insert(blocks: int) -> int:
        with Peak(clickhouse.pid) as memory:
            client.raw_insert("big", ["a"], (block for _ in range(blocks)), fmt="Native")
        return memory.peak

    insert(100)  # so that the engine's pools and caches reach their full size first
    hundred = insert(100)
    five_hundred = insert(500)
    assert client.command("SELECT count() FROM big") == 700 * NATIVE_BLOCK_ROWS
    assert five_hundred < hundred + 64e6, "400 MiB more were sent"
