"""Results: streamed, compressed, held back, and interrupted by an error."""

from __future__ import annotations

import gzip
import json
import zlib

import lz4.frame
import pyarrow as pa
import pyarrow.parquet
import pytest
from backports import zstd
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError, StreamFailureError
from urllib3.exceptions import ProtocolError

from local.servers.clickhouse import ClickHouse
from tests.local.servers.clickhouse.conftest import Raw

DECOMPRESS = {
    "lz4": lz4.frame.decompress,
    "zstd": zstd.decompress,
    "gzip": gzip.decompress,
    "deflate": zlib.decompress,
}


@pytest.mark.parametrize("compress", [False, "lz4", "zstd", "gzip"])
def test_large_results_in_every_compression(clickhouse: ClickHouse, compress) -> None:
    client = clickhouse.client(compress=compress)
    with client.query_row_block_stream("SELECT number, toString(number) FROM numbers(400000)") as stream:
        total = sum(row[0] for block in stream for row in block)
    assert total == sum(range(400_000))
    assert len(client.query("SELECT number FROM numbers(200000)").result_columns[0]) == 200_000
    client.close()


@pytest.mark.parametrize("rows", [0, 3, 300_000])
@pytest.mark.parametrize("waits", ["0", "1"])
@pytest.mark.parametrize("encoding", ["", *DECOMPRESS])
def test_the_same_bytes_whatever_the_way(raw: Raw, rows: int, waits: str, encoding: str) -> None:
    parameters = {
        "query": f"SELECT number, 'row ' || number FROM numbers({rows}) FORMAT TSV",
        "wait_end_of_query": waits,
        "enable_http_compression": "1",
    }
    answer = raw.request("GET", parameters, {"Accept-Encoding": encoding})
    assert answer.status == 200
    body = answer.body
    if answer.headers.get("transfer-encoding") == "chunked":
        body = dechunked(body)
    if rows:
        assert answer.headers.get("content-encoding", "") == encoding
        body = DECOMPRESS[encoding](body) if encoding else body
    assert body == b"".join(b"%d\trow %d\n" % (number, number) for number in range(rows))


def dechunked(body: bytes) -> bytes:
    plain = b""
    while body:
        size, _, body = body.partition(b"\r\n")
        plain += body[: int(size, 16)]
        body = body[int(size, 16) + 2 :]
    return plain


def test_no_compression_unless_it_is_asked_for(raw: Raw) -> None:
    answer = raw.request("GET", {"query": "SELECT 1"}, {"Accept-Encoding": "lz4, gzip"})
    assert "content-encoding" not in answer.headers
    assert answer.body == b"1\n"


@pytest.mark.parametrize(
    "fmt", ["Native", "Arrow", "ArrowStream", "Parquet", "JSON", "JSONEachRow", "CSVWithNames", "RowBinary"]
)
def test_formats_are_whole_files(client: Client, fmt: str) -> None:
    """A result of several blocks has one header and one footer."""
    data = client.raw_query("SELECT number AS n FROM numbers(200000)", fmt=fmt)
    read = {
        "Arrow": lambda: pa.ipc.open_file(data).read_all()["n"].to_pylist(),
        "ArrowStream": lambda: pa.ipc.open_stream(data).read_all()["n"].to_pylist(),
        "JSON": lambda: [int(row["n"]) for row in json.loads(data)["data"]],
        "JSONEachRow": lambda: [int(json.loads(line)["n"]) for line in data.splitlines()],
        "CSVWithNames": lambda: [int(line) for line in data.splitlines()[1:]],
        "RowBinary": lambda: [int.from_bytes(data[at : at + 8], "little") for at in range(0, len(data), 8)],
    }.get(fmt)
    if read:
        assert read() == list(range(200_000))
    else:
        client.command("CREATE TABLE copy (n UInt64) ENGINE = MergeTree ORDER BY n")
        client.raw_insert("copy", ["n"], data, fmt=fmt)
        assert client.query("SELECT count(), sum(n) FROM copy").first_row == (200_000, sum(range(200_000)))


FAILS_LATE = "SELECT number, throwIf(number = 1000000, 'too far') FROM numbers(1500000)"


@pytest.mark.parametrize("compress", [False, "lz4", "zstd", "gzip"])
def test_an_error_in_the_middle_of_a_stream_reaches_the_client(clickhouse: ClickHouse, compress) -> None:
    client = clickhouse.client(compress=compress)
    with (
        pytest.raises(StreamFailureError, match="too far") as raised,
        client.query_row_block_stream(FAILS_LATE) as stream,
    ):
        for _ in stream:
            pass
    assert raised.value.code == 395
    # The next connection works.
    assert client.command("SELECT 1") == 1
    client.close()


def test_a_broken_stream_is_never_taken_for_whole(raw: Raw) -> None:
    """The last chunk is missing, so any HTTP client sees that the result is incomplete."""
    answer = raw.request("GET", {"query": FAILS_LATE + " FORMAT RowBinary"})
    assert answer.status == 200
    tag = answer.headers["x-clickhouse-exception-tag"].encode()
    assert b"\r\n__exception__\r\n" + tag in answer.body
    assert b"too far" in answer.body
    assert not answer.body.endswith(b"0\r\n\r\n")


@pytest.mark.parametrize("fmt", ["ArrowStream", "Arrow", "Parquet", "JSON"])
def test_a_broken_stream_has_no_proper_end(client: Client, fmt: str) -> None:
    """Some formats have an end mark. A reader that stops there would not read the error after it."""
    with client.raw_stream(FAILS_LATE, fmt=fmt) as stream:
        pieces: list[bytes] = []
        with pytest.raises(ProtocolError):
            pieces.extend(stream.stream(1 << 20))
    data = b"".join(pieces)
    assert b"too far" in data
    whole = data[: data.index(b"\r\n__exception__\r\n")]
    with pytest.raises((pa.ArrowException, OSError, ValueError)):
        {
            "ArrowStream": lambda: pa.ipc.open_stream(whole).read_all(),
            "Arrow": lambda: pa.ipc.open_file(whole).read_all(),
            "Parquet": lambda: pa.parquet.read_table(pa.BufferReader(whole)),
            "JSON": lambda: json.loads(whole),
        }[fmt]()


def test_an_error_in_the_middle_of_a_stream_of_arrow_batches(client: Client) -> None:
    with (
        pytest.raises((pa.ArrowException, OSError, ProtocolError)),
        client.query_arrow_stream(FAILS_LATE) as stream,
    ):
        for _ in stream:
            pass


def test_waiting_for_the_end_makes_a_late_error_the_status(client: Client, raw: Raw) -> None:
    with pytest.raises(DatabaseError, match="too far") as raised:
        client.query(FAILS_LATE)
    assert raised.value.code == 395
    answer = raw.request("GET", {"query": FAILS_LATE, "wait_end_of_query": "1"})
    assert (answer.status, answer.headers["x-clickhouse-exception-code"]) == (500, "395")


def test_commands(client: Client) -> None:
    assert client.command("SELECT 1") == 1
    assert client.command("SELECT 'a', 'b'") == ["a", "b"]
    assert client.command("SELECT number FROM numbers(0)") == ""
    assert client.command("EXISTS TABLE system.one") == 1
    assert client.command("SHOW DATABASES LIKE 'system'") == "system"
    assert client.command("CREATE TABLE t (a UInt8) ENGINE = Memory").written_rows == 0
    assert client.command("SHOW TABLES") == "t"
    assert client.query("DESCRIBE TABLE t").first_row[:2] == ("a", "UInt8")
    assert client.query("SHOW CREATE TABLE t").first_row[0].startswith("CREATE TABLE")
    assert client.command("EXPLAIN SYNTAX SELECT 1").startswith("SELECT 1")
    assert client.command("DROP TABLE t").written_rows == 0


def test_the_statement_of_a_system_table(client: Client, raw: Raw) -> None:
    """The engine keeps none; a server builds it from the table."""
    one = "CREATE TABLE system.one\n(\n    `dummy` UInt8\n)\nENGINE = SystemOne\nCOMMENT 'This table contains"
    for statement in ("SHOW CREATE TABLE system.one", "SHOW CREATE system.`one`;"):
        found = client.query(statement)
        assert found.column_names == ("statement",)
        assert found.first_row[0].startswith(one)
    answer = raw.request("GET", {"query": "SHOW CREATE TABLE one FORMAT JSONEachRow", "database": "system"})
    assert json.loads(answer.body)["statement"].startswith(one)
    for table, table_engine in (
        ("parts", "SystemParts"),
        ("grants", "SystemGrants"),
        ("settings", "SystemSettings"),
    ):
        assert (
            f"\nENGINE = {table_engine}\n" in client.query(f"SHOW CREATE TABLE system.{table}").first_row[0]
        )
    columns = client.query("SHOW CREATE TABLE system.columns").first_row[0]
    assert "    `name` String,\n" in columns
    assert "    `column` String ALIAS name" in columns
    with pytest.raises(DatabaseError, match="nothing") as raised:
        client.query("SHOW CREATE TABLE system.nothing")
    assert raised.value.code == 60


def test_the_summary_counts(client: Client) -> None:
    client.command("CREATE TABLE t (a UInt64) ENGINE = MergeTree ORDER BY a")
    inserted = client.insert("t", [[number] for number in range(10)], column_names=["a"])
    assert inserted.written_rows == 10
    assert client.command("INSERT INTO t SELECT number FROM numbers(5)").written_rows == 5
    assert client.query("SELECT a FROM t").summary["read_rows"] == "15"


def test_external_data(client: Client) -> None:
    from clickhouse_connect.driver.external import ExternalData

    data = ExternalData(
        file_name="chosen.csv", data=b"1,one\n3,three\n", fmt="CSV", structure="id UInt64, word String"
    )
    data.add_file(file_name="others.tsv", data=b"4\n", fmt="TSV", types=["UInt64"])
    rows = client.query(
        "SELECT number, word FROM numbers(5) AS n JOIN chosen ON number = id UNION ALL SELECT _1, 'other' FROM others",
        external_data=data,
    ).result_rows
    assert sorted(rows) == [(1, "one"), (3, "three"), (4, "other")]
    with pytest.raises(DatabaseError, match="chosen"):
        client.query("SELECT * FROM chosen")


def test_parameters_in_a_form(clickhouse: ClickHouse) -> None:
    client = clickhouse.client(form_encode_query_params=True)
    assert client.query("SELECT {text:String}", parameters={"text": "a&b=c\n"}).first_row == ("a&b=c\n",)
    long = list(range(30_000))
    assert client.query("SELECT length({list:Array(UInt32)})", parameters={"list": long}).first_row == (
        30_000,
    )
    client.close()


def test_statements_of_any_length(client: Client) -> None:
    """Statements longer than the part in which an INSERT's data is searched; the part ends in the middle of a text."""
    words = ", ".join(f"'it\\'s; \"number\" {number}'" for number in range(40_000))
    sql = f"SELECT 'it\\'s; \"number\" 39999' IN ({words}) AS found"
    assert len(sql) > 1 << 19
    assert client.command(sql, settings={"max_query_size": 1 << 24}) == 1
    with pytest.raises(DatabaseError, match="Max query size exceeded"):
        client.command(sql)
