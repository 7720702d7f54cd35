"""How much time and memory a request can take: also one that is made for it."""

from __future__ import annotations

import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from secrets import token_urlsafe

import pytest
from backports import zstd

from local.servers.clickhouse import ClickHouse
from local.servers.clickhouse.codecs import decoder
from local.servers.server import free_port
from tests.local.servers.clickhouse.conftest import Raw, eventually, running
from tests.local.servers.clickhouse.test_codecs import COMPRESS

pytestmark = [pytest.mark.server, pytest.mark.security]

MEGABYTE = 1 << 20


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ClickHouse]:
    with ClickHouse(tmp_path / "data", free_port(), "someone", token_urlsafe(12), tmp_path / "log") as server:
        yield server


def peak(server: ClickHouse) -> int:
    """Return the most memory that the service's process has had so far, in megabytes."""
    assert server.process is not None
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:"))) >> 10


def slowest_ping(server: ClickHouse, while_running: threading.Thread) -> float:
    """Return the longest time that /ping took, in seconds."""
    slowest = 0.0
    while_running.start()
    while while_running.is_alive():
        began = time.monotonic()
        with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/ping", timeout=30) as answer:
            assert answer.read() == b"Ok.\n"
        slowest = max(slowest, time.monotonic() - began)
    while_running.join()
    return slowest


@pytest.mark.parametrize(
    "statement",
    [b"'\\" * 8192, b"SELECT '" + b"''" * 100_000, b"/*" * 100_000, b"SELECT 1" + b", 'a'" * 50_000],
    ids=["escapes", "doubled quotes", "comments", "tokens"],
)
@pytest.mark.security("statements", 3)
def test_a_statement_holds_up_nobody_else(server: ClickHouse, statement: bytes) -> None:
    raw = Raw(server)
    statuses: list[int] = []

    def send() -> None:
        statuses.extend(raw.request("POST", {}, body=statement).status for _ in range(3))

    assert slowest_ping(server, threading.Thread(target=send)) < 3
    assert statuses in ([400] * 3, [200] * 3)


@pytest.mark.security("statements", 2)
def test_a_few_bytes_of_zstd_stay_small_in_memory(server: ClickHouse) -> None:
    raw = Raw(server)
    raw.request("POST", {}, body=b"CREATE TABLE t (a String) ENGINE = Null")
    # The engine's own share of the memory is then small.
    small_blocks = {"max_query_size": "0", "max_threads": "1", "max_insert_block_size": "10000"}
    small_blocks["min_insert_block_size_rows"] = "10000"
    before = peak(server)
    for text in (
        b"SELECT 1" + b" " * (400 * MEGABYTE),
        b"INSERT INTO t FORMAT CSV\n" + (b"x" * 99 + b"\n") * (4 * MEGABYTE),
    ):
        bomb = zstd.compress(text)
        assert len(bomb) < 64 << 10
        raw.request("POST", small_blocks, {"Content-Encoding": "zstd"}, bomb)
        assert peak(server) - before < 200


@pytest.mark.parametrize("encoding", sorted(COMPRESS))
def test_no_piece_is_larger_than_a_megabyte(encoding: str) -> None:
    plain = b"\0" * (20 * MEGABYTE)
    decode = decoder(encoding)
    pieces = [decode.feed(COMPRESS[encoding](plain) + COMPRESS[encoding](b"end"))]
    while decode.pending:
        pieces.append(decode.feed(b""))
    decode.finish()
    assert max(map(len, pieces)) <= MEGABYTE
    assert b"".join(pieces) == plain + b"end"


@pytest.mark.parametrize(
    ("parameters", "length", "code"),
    [
        ({}, 300 << 10, "62"),
        ({"max_query_size": "500000"}, 600 << 10, "62"),
        ({"max_query_size": "many"}, 300 << 10, "62"),
        ({"max_query_size": "0"}, 17 * MEGABYTE, "62"),
        ({"max_query_size": "9" * 30}, 17 * MEGABYTE, "62"),
        ({"max_query_size": "0"}, 600 << 10, None),
    ],
)
def test_a_statement_is_as_long_as_the_request_says_and_never_longer_than_16_megabytes(
    server: ClickHouse, parameters: dict[str, str], length: int, code: str | None
) -> None:
    body = b"SELECT 1 -- " + b"x" * length
    answer = Raw(server).request("POST", parameters, body=body)
    assert answer.headers.get("x-clickhouse-exception-code") == code
    assert code is None or b"Max query size exceeded" in answer.body


@pytest.mark.security("requests", 2)
def test_a_form_holds_few_and_small_fields(server: ClickHouse) -> None:
    head = {"Content-Type": "multipart/form-data; boundary=edge"}
    part = '--edge\r\nContent-Disposition: form-data; name="param_{}"\r\n\r\n{}\r\n'
    for parts in ([part.format("a", "x" * (2 * MEGABYTE))], [part.format(n, "x") for n in range(200)]):
        answer = Raw(server).request(
            "POST", {"query": "SELECT 1"}, head, "".join([*parts, "--edge--\r\n"]).encode()
        )
        assert (answer.status, answer.headers["x-clickhouse-exception-code"]) == (413, "229")


def test_no_log_comment_lets_a_statement_outlive_its_client(server: ClickHouse) -> None:
    raw, watcher = Raw(server), server.client()
    slow = "SELECT count(), 'mark' FROM system.numbers"
    for parameters in (
        {"query": f"{slow} SETTINGS log_comment = 'x'"},
        {"query": f"SELECT * FROM ({slow} SETTINGS log_comment = 'x')"},
        {"query": slow, "log_comment": "x"},
    ):
        with raw.connect() as connection:
            connection.sendall(raw.head("GET", parameters, {}))
            connection.settimeout(1)
            try:
                connection.recv(1)
            except TimeoutError:
                assert running(watcher, "'mark'") == 1
        eventually(lambda: running(watcher, "'mark'") == 0, "nothing runs any more")
