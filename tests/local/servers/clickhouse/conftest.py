"""A database per test on the session's ClickHouse service, and tools for raw HTTP requests."""

from __future__ import annotations

import itertools
import os
import socket
import subprocess
import sys
from base64 import b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

import pytest
from clickhouse_connect.driver.client import Client

from local.servers.clickhouse import ClickHouse
from local.waiting import until

ROOT = Path(__file__).resolve().parents[4]
_numbers = itertools.count(1)


@pytest.fixture
def database(clickhouse: ClickHouse) -> Iterator[str]:
    """A new database, dropped after the test."""
    name = f"wire_{next(_numbers)}"
    admin = clickhouse.client()
    admin.command(f"CREATE DATABASE {name}")
    yield name
    admin.command(f"DROP DATABASE IF EXISTS {name} SYNC")
    admin.close()


@pytest.fixture
def client(clickhouse: ClickHouse, database: str) -> Iterator[Client]:
    """A client for the test's database."""
    client = clickhouse.client(database=database)
    yield client
    client.close()


@dataclass
class RawResponse:
    status: int
    headers: dict[str, str]
    body: bytes


class Raw:
    """Raw HTTP, to send requests that no correct client would send."""

    def __init__(self, server: ClickHouse) -> None:
        self.server = server

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.server.port), timeout=30)

    def head(self, method: str, parameters: dict[str, str], headers: dict[str, str]) -> bytes:
        token = b64encode(f"{self.server.user}:{self.server.password}".encode()).decode()
        lines = [
            f"{method} /?{urlencode(parameters)} HTTP/1.1",
            "Host: 127.0.0.1",
            *(f"{name}: {value}" for name, value in {"Authorization": f"Basic {token}", **headers}.items()),
        ]
        return ("\r\n".join(lines) + "\r\n\r\n").encode()

    def send(self, payload: bytes, *, then_close_writing: bool = True) -> bytes:
        """Send bytes, and return everything received until the service closes the connection."""
        with self.connect() as connection:
            connection.sendall(payload)
            if then_close_writing:
                connection.shutdown(socket.SHUT_WR)
            return read_all(connection)

    def request(
        self,
        method: str,
        parameters: dict[str, str],
        headers: dict[str, str] | None = None,
        body: bytes = b"",
    ) -> RawResponse:
        """Send one valid request, and return the raw response."""
        head = self.head(
            method, parameters, {"Connection": "close", "Content-Length": str(len(body)), **(headers or {})}
        )
        return parse_response(self.send(head + body, then_close_writing=False))


def read_all(connection: socket.socket) -> bytes:
    received = b""
    try:
        while data := connection.recv(1 << 16):
            received += data
    except ConnectionResetError:
        pass
    return received


def parse_response(data: bytes) -> RawResponse:
    head, _, body = data.partition(b"\r\n\r\n")
    status_line, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    return RawResponse(int(status_line.split()[1]), headers, body)


@pytest.fixture
def raw(clickhouse: ClickHouse) -> Raw:
    return Raw(clickhouse)


def eventually(condition: Callable[[], bool], what: str, seconds: float = 30) -> None:
    """Wait until the condition is true; fail after `seconds`."""
    until(condition, seconds, what)


def running(client: Client, mark: str) -> int:
    """Return how many statements that contain `mark` run now, without this query itself."""
    count: int = client.command(
        "SELECT count() FROM system.processes WHERE position(query, {mark:String}) > 0 "
        "AND NOT position(query, 'system.processes') > 0",
        {"mark": mark},
    )
    return count


def run_service(*arguments: str, password: str | None = "some password") -> subprocess.CompletedProcess[str]:  # noqa: S107
    """Run the service's command line, and wait for its end."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    environment.pop("CLICKHOUSE_PASSWORD", None)
    if password is not None:
        environment["CLICKHOUSE_PASSWORD"] = password
    return subprocess.run(
        [sys.executable, "-m", "local.servers.clickhouse", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
