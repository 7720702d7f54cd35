"""Clients that send a body a byte at a time, to a real server: they hold no thread, little memory, and not for long."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi import FastAPI

from include.tarefas.api import middleware
from include.tarefas.api.app import create_app
from local.waiting import until
from tests.campaign import Campaign

pytestmark = pytest.mark.security

SLOW = 60
"""More than the 40 threads in which an API server runs its handlers."""


@pytest.fixture
def port(tokens: dict[str, str], folder: Any) -> Iterator[int]:
    """The port of a server with the service, and with the check of calls before routes that are not its own."""
    app = FastAPI()
    app.add_middleware(middleware.CheckCalls)
    app.mount("/scheduler", create_app())
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    until(lambda: server.started, 60, "the server answers")
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    thread.join()


@pytest.mark.parametrize("path", ["/scheduler/queue-task", middleware.TRIGGER])
def test_slow_bodies_hold_nobody_up_and_end(
    port: int, tokens: dict[str, str], monkeypatch: pytest.MonkeyPatch, campaign: Campaign, path: str
) -> None:
    monkeypatch.setattr(middleware, "LONGEST_BODY", 2.0)
    head = (
        f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n"
        f"Authorization: Bearer {tokens['olga']}\r\n\r\n"
    )
    with ExitStack() as stack:
        slow = [stack.enter_context(socket.create_connection(("127.0.0.1", port), 30)) for _ in range(SLOW)]
        for connection in slow:
            connection.sendall(head.encode() + b"{")
        answer = httpx.get(
            f"http://127.0.0.1:{port}/scheduler/modules",
            headers={"Authorization": f"Bearer {tokens['vera']}"},
        )
        assert answer.status_code == 200
        for connection in slow:
            connection.sendall(b" ")
        for connection in slow:
            # The server closes the connection after its answer.
            answered = connection.makefile("rb").read()
            assert answered.startswith(b"HTTP/1.1 408 ")
            said = json.loads(answered.partition(b"\r\n\r\n")[2])
            assert "the body took longer than 2 seconds" in said.values()
    campaign.refused("requests", SLOW)


def test_a_body_in_pieces_that_is_in_time_is_taken(port: int, tokens: dict[str, str]) -> None:
    answer = httpx.post(
        f"http://127.0.0.1:{port}/scheduler/queue-task",
        content=iter([b'{"tarefa": ', b'"nothing"}']),
        headers={"Authorization": f"Bearer {tokens['olga']}", "Content-Type": "application/json"},
    )
    assert answer.status_code == 422
    assert "there is no tarefa" in answer.json()["message"]
