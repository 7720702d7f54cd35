"""Many clients at once: threads and processes, each writing and reading."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

from clickhouse_connect.driver.client import Client

from local.servers.clickhouse import ClickHouse
from tests.local.servers.clickhouse.conftest import ROOT

THREADS = 8
PROCESSES = 3
ROUNDS = 6

WRITER = """
import os, sys
from clickhouse_connect import get_client
client = get_client(host="127.0.0.1", port=int(sys.argv[1]), username=sys.argv[2], password=os.environ["PASSWORD"],
                    database=sys.argv[3])
for number in range(int(sys.argv[5])):
    client.insert("t", [[int(sys.argv[4]), number]], column_names=["writer", "number"])
"""


def test_threads_and_processes(clickhouse: ClickHouse, client: Client, database: str) -> None:
    client.command(
        "CREATE TABLE t (writer UInt32, number UInt32) ENGINE = MergeTree ORDER BY (writer, number)"
    )
    children = [
        subprocess.Popen(
            [
                sys.executable,
                "-c",
                WRITER,
                str(clickhouse.port),
                clickhouse.user,
                database,
                str(100 + n),
                str(ROUNDS),
            ],
            env={**os.environ, "PASSWORD": clickhouse.password, "PYTHONPATH": str(ROOT)},
        )
        for n in range(PROCESSES)
    ]

    def write_and_read(writer: int) -> int:
        own = clickhouse.client(database=database)
        for number in range(ROUNDS):
            own.insert("t", [[writer, number]], column_names=["writer", "number"])
            seen = own.command("SELECT count() FROM t WHERE writer = {w:UInt32}", {"w": writer})
            assert seen == number + 1
        own.close()
        return ROUNDS

    with ThreadPoolExecutor(THREADS) as pool:
        written = sum(pool.map(write_and_read, range(THREADS)))
    assert [child.wait(60) for child in children] == [0] * PROCESSES
    total = written + PROCESSES * ROUNDS
    assert client.query("SELECT count(), uniqExact(writer, number) FROM t").first_row == (total, total)
