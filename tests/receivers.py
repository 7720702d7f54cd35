"""Servers on loopback that store what they receive: mail over SMTP, and JSON posted to a webhook."""

from __future__ import annotations

import email
import json
from email.message import EmailMessage
from email.policy import default
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any, Self

from aiosmtpd.controller import Controller

from local.servers.server import free_port

TOKEN = "services/T0/B0/token-of-the-hook"
"""The path of the posts, which is a webhook's secret."""


class Mailbox:
    """An SMTP server. `messages` are the received ones, the oldest first."""

    def __init__(self) -> None:
        self.messages: list[EmailMessage] = []
        self.port = free_port()
        self._controller = Controller(self, hostname="127.0.0.1", port=self.port)

    @property
    def connection(self) -> dict[str, Any]:
        """Return Airflow's connection to it."""
        extra = {"from_email": "airflow@example.com", "disable_ssl": True, "disable_tls": True}
        return {"conn_type": "smtp", "host": "127.0.0.1", "port": self.port, "extra": extra}

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:
        message = email.message_from_bytes(envelope.content, policy=default)
        assert isinstance(message, EmailMessage)
        self.messages.append(message)
        return "250 OK"

    def texts(self) -> list[str]:
        """Return each message as subject and body."""
        return [f"{message['Subject']}\n{_body(message)}" for message in self.messages]

    def __enter__(self) -> Self:
        self._controller.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._controller.stop()


class Webhook:
    """An HTTP server. `posts` has the path and the parsed body of each request. It answers with `status`."""

    def __init__(self) -> None:
        self.posts: list[tuple[str, dict[str, Any]]] = []
        self.status = 200
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.posts.append((self.path, body))
                self.send_response(outer.status)
                self.end_headers()
                self.wfile.write(b"ok")

            def log_message(self, *_: object) -> None:
                """Log nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_port

    @property
    def connection(self) -> dict[str, Any]:
        """Return Airflow's connection to it."""
        return {"conn_type": "slackwebhook", "host": f"http://127.0.0.1:{self.port}", "password": TOKEN}

    def texts(self) -> list[str]:
        """Return the text of each post."""
        return [body["text"] for _, body in self.posts]

    def __enter__(self) -> Self:
        Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def _body(message: EmailMessage) -> str:
    part = message.get_body(("html", "plain"))
    assert part is not None
    return str(part.get_content())
