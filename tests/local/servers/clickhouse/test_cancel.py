"""When a client disconnects, its statement is cancelled. A slow reader costs no memory."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest
from clickhouse_connect.driver.client import Client

from local.servers.clickhouse import ClickHouse
from tests.local.servers.clickhouse.conftest import Raw, eventually, running

LONG = {
    "reads without an answer": "SELECT count() FROM system.numbers WHERE number % 7 = 9",
    "sleeps": "SELECT sleepEachRow(1) FROM numbers(600) SETTINGS max_block_size = 1",
    "streams": "SELECT number, toString(number) FROM system.numbers FORMAT TSV",
    "streams compressed": "SELECT number, toString(number) FROM system.numbers FORMAT Native",
    "waits for its end": "SELECT number FROM system.numbers WHERE number % 1000000000 = 1 FORMAT TSV",
    "inserts": "INSERT INTO sink SELECT number FROM system.numbers",
}


@pytest.mark.parametrize("case", sorted(LONG))
def test_a_client_that_goes_away_cancels_its_statement(client: Client, raw: Raw, case: str) -> None:
    client.command("CREATE TABLE sink (a UInt64) ENGINE = Null")
    mark = f"mark {os.urandom(4).hex()}"
    sql = LONG[case].replace("SELECT ", f"SELECT /* {mark} */ ", 1).encode()
    parameters = {"database": client.database, "function_sleep_max_microseconds_per_block": "0"}
    headers = {"Content-Length": str(len(sql))}
    if "compressed" in case:
        parameters["enable_http_compression"] = "1"
        headers["Accept-Encoding"] = "zstd"
    if "waits" in case:
        parameters["wait_end_of_query"] = "1"
    with raw.connect() as connection:
        connection.sendall(raw.head("POST", parameters, headers) + sql)
        eventually(lambda: running(client, mark) == 1, "the statement runs")
        if "streams" in case:
            assert connection.recv(1 << 16).startswith(b"HTTP/1.1 200")
    eventually(lambda: running(client, mark) == 0, "the statement is gone")


def test_a_slow_reader_costs_no_memory(clickhouse: ClickHouse, client: Client, raw: Raw) -> None:
    process = psutil.Process(clickhouse.pid)
    mark = "the slow one"
    sql = f"SELECT /* {mark} */ number FROM system.numbers FORMAT TSV".encode()
    with raw.connect() as connection:
        connection.sendall(raw.head("POST", {}, {"Content-Length": str(len(sql))}) + sql)
        read = 0
        while read < 100_000_000:
            read += len(connection.recv(1 << 20))
        before = process.memory_info().rss
        while read < 500_000_000:
            read += len(connection.recv(1 << 20))
        assert process.memory_info().rss < before + 100e6
    eventually(lambda: running(client, mark) == 0, "the statement is gone")


def test_others_are_served_while_long_statements_run(client: Client, raw: Raw) -> None:
    sql = b"SELECT /* crowd */ sleepEachRow(1) FROM numbers(600) SETTINGS max_block_size = 1"
    parameters = {"function_sleep_max_microseconds_per_block": "0"}
    connections = [raw.connect() for _ in range(20)]
    for connection in connections:
        connection.sendall(raw.head("POST", parameters, {"Content-Length": str(len(sql))}) + sql)
    eventually(lambda: running(client, "crowd") == 20, "all twenty run")
    assert client.command("SELECT 1") == 1
    for connection in connections:
        connection.close()
    eventually(lambda: running(client, "crowd") == 0, "all twenty are gone")


def test_broken_off_results_disturb_nobody(clickhouse: ClickHouse, client: Client, raw: Raw) -> None:
    """The files and pipes of interrupted requests are closed exactly once, however many others are open."""
    client.command("CREATE TABLE t (a UInt64, b String) ENGINE = MergeTree ORDER BY a")
    rows = b"".join(b"%d\trow %d\n" % (number, number) for number in range(20_000))
    sql = b"SELECT /* broken off */ number, toString(number) FROM system.numbers FORMAT TSV"
    streaming = raw.head("POST", {}, {"Content-Length": str(len(sql))}) + sql
    uploading = raw.head(
        "POST",
        {"query": "INSERT INTO t FORMAT TSV", "database": client.database},
        {"Content-Length": "100000000"},
    )

    def break_off(number: int) -> None:
        with raw.connect() as connection:
            connection.sendall(streaming if number % 2 else uploading + rows)
            if number % 2:
                connection.recv(1 << 16)

    def insert(number: int) -> None:
        own = clickhouse.client(database=client.database)
        own.raw_insert("t", None, rows, fmt="TSV")
        assert own.command("SELECT count(b) FROM t") > 0
        own.close()

    with ThreadPoolExecutor(6) as pool:
        breaking = pool.map(break_off, range(60))
        inserting = pool.map(insert, range(20))
        assert len([*breaking, *inserting]) == 80
    eventually(lambda: running(client, "broken off") == 0, "all are gone")
    assert client.query("SELECT count(), uniqExact(a, b) FROM t").first_row == (20 * 20_000, 20_000)
