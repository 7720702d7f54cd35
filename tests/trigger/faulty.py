"""An API server on loopback, with the faults that a test sets.

Requests without a fault are answered by the real API (`Upstream`) or with recorded answers (tests/trigger/recorded.py).
"""

from __future__ import annotations

import json
import re
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

import httpx

HOP_BY_HOP = {"connection", "content-encoding", "content-length", "host", "transfer-encoding"}


@dataclass(frozen=True)
class Answer:
    """One answer, which may be incomplete."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Request:
    """A client's request."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


Ask = Callable[[Request], Answer]
Fault = Callable[["Handler", Callable[[], Answer]], "Answer | None"]


@dataclass(frozen=True)
class Instead:
    """A fault: answer this instead of the API's answer."""

    answer: Answer

    def __call__(self, handler: Handler, ask: Callable[[], Answer]) -> Answer:
        return self.answer


def answer(status: int, body: str | bytes = "", kind: str = "application/json", **headers: str) -> Instead:
    """Answer this without asking the API. `retry_after="1"` becomes the header Retry-After."""
    named = {name.replace("_", "-").title(): value for name, value in headers.items()}
    whole = body.encode() if isinstance(body, str) else body
    return Instead(Answer(status, whole, {"Content-Type": kind, **named}))


def echo(status: int) -> Fault:
    """Answer with the complete request in the body, like a server that quotes the request in its errors."""

    def repeat(handler: Handler, ask: Callable[[], Answer]) -> Answer:
        sent = handler.server.requests[-1]
        said = f"{sent.body.decode()} {sent.headers.get('Authorization')}"
        return Answer(status, json.dumps({"detail": said}).encode(), {"Content-Type": "application/json"})

    return repeat


def lost(handler: Handler, ask: Callable[[], Answer]) -> None:
    """Send the request to the API, but close the connection without an answer."""
    ask()


def hung_up(handler: Handler, ask: Callable[[], Answer]) -> None:
    """Close the connection without sending the request to the API."""


def truncated(handler: Handler, ask: Callable[[], Answer]) -> None:
    """Close the connection in the middle of the API's answer."""
    whole = ask()
    handler.send_response(whole.status)
    handler.send_header("Content-Type", "application/json")
    handler.send_header("Content-Length", str(len(whole.body)))
    handler.end_headers()
    handler.wfile.write(whole.body[: len(whole.body) // 2])


def silent(handler: Handler, ask: Callable[[], Answer]) -> None:
    """Read the request, and send nothing until the test is over."""
    handler.server.closing.wait()


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server: Faulty

    def _handle(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        request = Request(self.command, self.path, dict(self.headers), body)
        self.server.requests.append(request)
        fault = self.server.next_fault(self.command, self.path)
        ask = self.server.ask
        given = ask(request) if fault is None else fault(self, lambda: ask(request))
        if given is None:
            self.close_connection = True
            return
        self.send_response(given.status)
        for name, value in given.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(given.body)))
        self.end_headers()
        self.wfile.write(given.body)

    do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = _handle

    def log_message(self, format: str, *arguments: Any) -> None:
        """Log nothing."""


class Upstream:
    """The API server of this address."""

    def __init__(self, url: str) -> None:
        self._client = httpx.Client(base_url=url, timeout=60)

    def __call__(self, request: Request) -> Answer:
        """Ask it, and return its answer unchanged."""
        headers = {name: value for name, value in request.headers.items() if name.lower() not in HOP_BY_HOP}
        asked = self._client.request(request.method, request.path, headers=headers, content=request.body)
        kept = {name: value for name, value in asked.headers.items() if name.lower() not in HOP_BY_HOP}
        return Answer(asked.status_code, asked.content, kept)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


class Faulty(ThreadingHTTPServer):
    """The server; a context manager. `ask` returns the answers; `requests` holds all requests so far."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, ask: Ask, certificate: tuple[Path, Path] | None = None) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"{'http' if certificate is None else 'https'}://127.0.0.1:{self.server_address[1]}"
        self.ask = ask
        self.requests: list[Request] = []
        self.closing = threading.Event()
        self._planned: list[tuple[str, str, list[Fault]]] = []
        self._always: list[tuple[str, str, Fault]] = []
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            self.socket = context.wrap_socket(self.socket, server_side=True)

    def breaks(self, method: str, path: str, *faults: Fault) -> None:
        """Set faults for requests whose path matches the pattern: one fault per request, then none."""
        self._planned.append((method, path, list(faults)))

    def always_breaks(self, method: str, path: str, fault: Fault) -> None:
        """Set the same fault for all such requests."""
        self._always.append((method, path, fault))

    def next_fault(self, method: str, path: str) -> Fault | None:
        """Return the fault for a request, or None."""
        for planned_method, pattern, faults in self._planned:
            if faults and planned_method == method and re.search(pattern, path):
                return faults.pop(0)
        for planned_method, pattern, fault in self._always:
            if planned_method == method and re.search(pattern, path):
                return fault
        return None

    def asked(self, method: str, path: str) -> list[Request]:
        """Return the requests with this method whose path matches the pattern."""
        return [one for one in self.requests if one.method == method and re.search(path, one.path)]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log nothing about a client that has closed the connection."""

    def __enter__(self) -> Self:
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self.shutdown()
        self.server_close()
