"""Redis, as the embedded deployment runs it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import redis

from local.servers.redis import NO_RETRY, ROOT, Redis, configuration
from local.servers.server import ServerError, free_port

pytestmark = pytest.mark.server

PASSWORD = 'p@ss "word" \\ \'ç'


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Redis]:
    with Redis(tmp_path / "the data", free_port(), PASSWORD, tmp_path / "redis.log") as server:
        yield server


def module(data: Path, port: int, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "local.servers.redis", "--data", str(data), "--port", str(port)],
        cwd=ROOT,
        env={**{k: v for k, v in os.environ.items() if k != "REDIS_PASSWORD"}, **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_asks_for_the_password_and_keeps_what_it_holds(server: Redis) -> None:
    with redis.Redis(port=server.port, retry=NO_RETRY) as client, pytest.raises(redis.AuthenticationError):
        client.ping()
    with redis.Redis.from_url(server.url(3)) as client:
        client.set("key", "value")
    server.restart()
    with redis.Redis.from_url(server.url(3)) as client:
        assert client.get("key") == b"value"


def test_listens_on_loopback_only_and_shows_no_secret(server: Redis) -> None:
    assert server.process is not None
    process = psutil.Process(server.process.pid)
    assert {c.laddr.ip for c in process.net_connections() if c.status == psutil.CONN_LISTEN} == {"127.0.0.1"}
    assert PASSWORD not in " ".join(process.cmdline())
    assert "REDIS_PASSWORD" not in process.environ()
    written = [path.read_bytes() for path in server.data.rglob("*") if path.is_file()]
    assert not any(PASSWORD.encode() in content for content in [*written, server.log.read_bytes()])


def test_answers_again_after_a_crash(server: Redis) -> None:
    server.kill()
    server.start()
    with redis.Redis.from_url(server.url()) as client:
        assert client.ping()


def test_a_second_server_is_refused(server: Redis, tmp_path: Path) -> None:
    same_data = module(server.data, free_port(), REDIS_PASSWORD="x")
    assert same_data.returncode == 1
    assert same_data.stderr == f"Error: the data folder {server.data} is in use by another Redis\n"
    same_port = module(tmp_path / "other", server.port, REDIS_PASSWORD="x")
    assert same_port.returncode == 1
    assert (
        same_port.stderr == f"Error: port {server.port} on 127.0.0.1 can't be used: Address already in use\n"
    )
    with pytest.raises(ServerError, match=f"port {server.port}"):
        Redis(tmp_path / "other", server.port, PASSWORD, tmp_path / "other.log").start()


def test_a_missing_password_is_one_line(tmp_path: Path) -> None:
    result = module(tmp_path / "data", free_port())
    assert (result.returncode, result.stderr) == (
        1,
        "Error: REDIS_PASSWORD is not set: it must hold the server's password\n",
    )
    assert not (tmp_path / "data").exists()


def test_a_signal_to_the_module_stops_the_server(server: Redis) -> None:
    assert server.process is not None
    assert "redis-server" in psutil.Process(server.process.pid).cmdline()[0]
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(30) == 0
    with socket.socket() as connection:
        assert connection.connect_ex(("127.0.0.1", server.port)) != 0


def test_a_password_can_hold_anything() -> None:
    text = configuration(Path("/a b"), 1, 'a"\nmaxclients 1')
    assert "maxclients" not in text
    assert len(text.splitlines()) == 6
