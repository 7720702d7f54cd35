"""The process: start, refused start, stop, and the data that survives."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from secrets import token_urlsafe

import pytest
from clickhouse_connect.driver.exceptions import ClickHouseError

from local.servers.clickhouse import ClickHouse
from local.servers.server import ServerError, free_port
from tests.local.servers.clickhouse.conftest import ROOT, Raw, eventually, run_service, running

pytestmark = pytest.mark.server


class Impatient(ClickHouse):
    """The service without a grace period: when it stops, it cancels running statements at once."""

    def command(self) -> list[str]:
        return [*super().command(), "--grace", "1"]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ClickHouse]:
    with Impatient(tmp_path / "data", free_port(), "someone", token_urlsafe(12), tmp_path / "log") as server:
        yield server


def test_a_restart_keeps_everything(server: ClickHouse) -> None:
    client = server.client()
    client.command("CREATE DATABASE d")
    client.command("CREATE TABLE d.t (a UInt32) ENGINE = MergeTree ORDER BY a")
    client.command("CREATE TABLE plain (a UInt32) ENGINE = MergeTree ORDER BY a")
    client.command("CREATE VIEW d.v AS SELECT sum(a) AS s FROM d.t")
    client.insert("d.t", [[number] for number in range(100)], column_names=["a"])
    client.insert("plain", [[7]], column_names=["a"])
    for again in (server.restart, server.restart):
        again()
        client = server.client()
        assert client.command("SELECT s FROM d.v") == 4950
        assert client.command("SELECT a FROM plain") == 7
    assert server.process is not None
    server.stop()
    assert server.process.returncode == 0


def test_kill_9_keeps_what_was_acknowledged(server: ClickHouse) -> None:
    client = server.client()
    client.command("CREATE TABLE t (a UInt32) ENGINE = MergeTree ORDER BY a")
    acknowledged = 0
    threading.Timer(0.5, server.kill).start()
    with contextlib.suppress(ClickHouseError):
        while True:
            client.insert("t", [[acknowledged]], column_names=["a"])
            acknowledged += 1
    assert acknowledged > 0
    server.start()
    rows = server.client().query("SELECT count(), max(a) FROM t").first_row
    # One more INSERT may have been written, whose acknowledgement did not arrive.
    assert rows in ((acknowledged, acknowledged - 1), (acknowledged + 1, acknowledged))


def test_a_stop_lets_a_running_insert_end(server: ClickHouse) -> None:
    client = server.client()
    client.command("CREATE TABLE t (a UInt32) ENGINE = MergeTree ORDER BY a")
    sql = "INSERT INTO t SELECT number + sleepEachRow(0.1) AS mark FROM numbers(5)"
    writing = threading.Thread(target=client.command, args=(sql,))
    writing.start()
    watcher = server.client()
    eventually(lambda: running(watcher, "mark") == 1, "the insert runs")
    server.stop()
    writing.join()
    server.start()
    assert server.client().command("SELECT count() FROM t") == 5


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_cancels_what_takes_too_long(server: ClickHouse, number: signal.Signals) -> None:
    client = server.client()
    raw = Raw(server)
    with raw.connect() as streaming, raw.connect() as counting, raw.connect() as uploading:
        streaming.sendall(raw.head("GET", {"query": "SELECT 'mark', number FROM system.numbers"}, {}))
        counting.sendall(raw.head("GET", {"query": "SELECT 'mark', count() FROM system.numbers"}, {}))
        uploading.sendall(
            raw.head("POST", {"query": "INSERT INTO t FORMAT CSV"}, {"Transfer-Encoding": "chunked"})
        )
        eventually(lambda: running(client, "'mark'") == 2, "both run")
        assert server.process is not None
        server.process.send_signal(number)
        assert server.process.wait(20) == 0
    server.start()
    assert server.client().command("SELECT 1") == 1


def test_a_second_one_on_the_same_folder(server: ClickHouse) -> None:
    second = run_service("--data", str(server.data), "--port", str(free_port()), "--user", "x")
    assert second.returncode == 1
    assert second.stderr.count("\n") == 1
    assert f"{server.data} is in use by another process" in second.stderr
    assert server.client().command("SELECT 1") == 1


def test_a_folder_that_an_engine_in_another_process_holds(tmp_path: Path) -> None:
    code = "import chdb, sys; c = chdb.connect(sys.argv[1]); print('open', flush=True); sys.stdin.read()"
    data = tmp_path / "data"
    with subprocess.Popen(
        [sys.executable, "-c", code, str(data)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "open\n"
        second = run_service("--data", str(data), "--port", str(free_port()), "--user", "x")
        holder.communicate()
    assert (second.returncode, second.stderr.count("\n")) == (1, 1)
    assert "in use by another process" in second.stderr


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ended = run_service("--data", str(tmp_path / "data"), "--port", str(port), "--user", "x")
    assert (ended.returncode, ended.stderr) == (
        1,
        f"cannot listen on 127.0.0.1:{port}: Address already in use\n",
    )


@pytest.mark.parametrize(
    ("arguments", "password", "message"),
    [
        (["--port", "8123", "--user", "x"], None, "CLICKHOUSE_PASSWORD is not set"),
        (["--port", "8123", "--user", "x"], "", "CLICKHOUSE_PASSWORD is not set"),
        (["--port", "99999", "--user", "x"], "y", "--port is 99999"),
        (["--port", "8123", "--user", ""], "y", "--user is empty"),
    ],
)
def test_what_it_does_not_start_with(
    tmp_path: Path, arguments: list[str], password: str | None, message: str
) -> None:
    ended = run_service("--data", str(tmp_path / "data"), *arguments, password=password)
    assert ended.returncode == 2
    assert message in ended.stderr
    assert ended.stderr.count("\n") == 1
    assert not (tmp_path / "data").exists()


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file")
    ended = run_service("--data", str(tmp_path / "data"), "--port", str(free_port()), "--user", "x")
    assert (ended.returncode, ended.stderr.count("\n")) == (1, 1)
    assert str(tmp_path / "data") in ended.stderr


def test_a_folder_of_any_name(tmp_path: Path) -> None:
    with ClickHouse(
        tmp_path / "it's a café {a,b}*[x]", free_port(), "u", "p'\" x", tmp_path / "log"
    ) as server:
        client = server.client()
        client.command("CREATE TABLE t (a UInt32) ENGINE = MergeTree ORDER BY a")
        client.insert("t", [[1]], column_names=["a"])
        assert client.query("SELECT a FROM t").first_row == (1,)


def test_a_start_that_fails_is_reported_with_the_log(server: ClickHouse, tmp_path: Path) -> None:
    other = ClickHouse(server.data, free_port(), "u", "p", tmp_path / "other log")
    with pytest.raises(ServerError, match="in use by another process"):
        other.start()


def test_importing_the_package_loads_no_engine() -> None:
    loaded = "any(m in sys.modules for m in ('chdb', 'clickhouse_connect', 'uvicorn'))"
    code = f"import sys, local.servers.clickhouse; sys.exit({loaded})"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


@pytest.mark.parametrize("short_lived", [True, False])
def test_only_a_short_lived_service_neither_waits_for_the_disk_nor_compiles(
    tmp_path: Path, short_lived: bool
) -> None:
    with ClickHouse(
        tmp_path / "data", free_port(), "someone", token_urlsafe(12), tmp_path / "log", short_lived
    ) as server:
        asked = "SELECT getSetting('fsync_metadata'), getSetting('compile_expressions')"
        assert server.client().query(asked).result_rows == [(not short_lived,) * 2]
