"""The service of the operations centre on loopback, as its contract describes it, with faults on request.

A test sets a list of faults for a path. Each fault answers one request, in order; after them the service works normally.
`Fault` lists the special ones.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from include.ocorrencias.client import BASE
from include.ocorrencias.models import ZONE
from include.ocorrencias.service import ABERTAS, ATIVIDADES, DESDE, POPS

CET_RIO = {
    "sigla": "CET-RIO",
    "orgao": "Companhia de Engenharia de Tráfego do Rio de Janeiro",
    "acao": "Sinalizar",
}
COMLURB = {"sigla": "COMLURB", "orgao": "Companhia Municipal de Limpeza Urbana", "acao": "Limpar"}
STAMP = re.compile(r"\d{4}-\d\d-\d\d 00:00:00\.0")


class Fault:
    """Faults in place of an answer. Also possible: an int (a status), bytes (a body with status 200), or a pair of both."""

    CLOSE = "the connection is closed without an answer"
    TRUNCATE = "half of the body, then the connection is closed"
    CHUNKS = "half of a chunked body, then the connection is closed"
    DRIP = "a byte every 50 ms"
    SILENCE = "nothing, for a minute"
    HUGE = "a body without end"


def event(number: int, pop: int = 4, status: str = "ABERTO", **more: Any) -> dict[str, Any]:
    """Return an event that keeps the contract."""
    return {
        "tipo": "OCORRENCIA",
        "pop_id": pop,
        "bairro": "Tijuca",
        "latitude": -22.92,
        "longitude": -43.24,
        "anexos": [],
        "inicio": "2026-11-20 08:15:00.0",
        "titulo": f"Ocorrência {number}",
        "prazo": "CURTO",
        "descricao": "R. Conde de Bonfim",
        "informe_id": 7,
        "gravidade": "BAIXO",
        "id": number,
        "status": status,
        **more,
    }


class OcorrenciasService:
    """An HTTP server. Its data is in `open_events`, `events`, `pops` and `activities`; `asked` lists the requests.

    `left` has the paths of requests whose client disconnected before the answer was complete.
    """

    def __init__(self) -> None:
        self.reset()
        outer = self
        self._over = Event()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self.close_connection = True
                try:
                    outer._answer(self)
                except OSError:
                    outer.left.append(urlsplit(self.path).path.removeprefix(BASE))

            def log_message(self, *_: object) -> None:
                """Log nothing."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            block_on_close = False

        self._server = Server(("127.0.0.1", 0), Handler)
        self.port = self._server.server_port
        self.url = f"http://127.0.0.1:{self.port}"

    def reset(self) -> None:
        """Reset: two POPs of CET-RIO, one of another agency, no events, no faults."""
        self.open_events: Any = []
        self.events: Any = []
        self.stale: str | None = None
        self.pops = {4: "Acidente", 8: "Enguiço na via", 31: "Vazamento"}
        self.activities: dict[int, Any] = {4: [CET_RIO, COMLURB], 8: [CET_RIO], 31: [COMLURB]}
        self.faults: dict[str, list[Any]] = defaultdict(list)
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.left: list[str] = []

    @property
    def connection(self) -> dict[str, Any]:
        """Return Airflow's connection to it."""
        return {"conn_type": "http", "schema": "http", "host": "127.0.0.1", "port": self.port}

    def count(self, path: str) -> int:
        """Return how often a path was asked for."""
        return sum(one == path for one, _ in self.asked)

    def __enter__(self) -> Self:
        Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, request: BaseHTTPRequestHandler) -> None:
        parts = urlsplit(request.path)
        path = parts.path.removeprefix(BASE)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        self.asked.append((path, query))
        status, body = self._contract(path, query) if parts.path.startswith(BASE) else (404, {"error": "?"})
        content = json.dumps(body).encode()
        if self.faults[path]:
            self._fail(request, self.faults[path].pop(0), content)
        else:
            _send(request, status, content)

    def _contract(self, path: str, query: dict[str, str]) -> tuple[int, Any]:
        if path == ABERTAS:
            return 200, {"eventos": self.open_events, **({"error": self.stale} if self.stale else {})}
        if path == DESDE:
            return self._since(query.get("inicio"))
        if path == POPS:
            titles = [{"id": number, "titulo": title} for number, title in self.pops.items()]
            return 200, {"retorno": "OK", "mensagem": "", "objeto": titles}
        if path == ATIVIDADES:
            number = query.get("popId", "")
            if not number.isdecimal():
                return 400, {"error": "popId é obrigatório"}
            return 200, {
                "pop": self.pops.get(int(number), ""),
                "atividades": self.activities.get(int(number), []),
            }
        return 404, {"error": f"{path} não existe"}

    def _since(self, text: str | None) -> tuple[int, Any]:
        if text is None:
            return 400, {"error": "inicio é obrigatório"}
        if not STAMP.fullmatch(text):
            return 400, {"error": "inicio deve ser YYYY-MM-DD 00:00:00.0"}
        start = datetime.strptime(text, "%Y-%m-%d %H:%M:%S.%f").replace(tzinfo=ZONE)
        if datetime.now(ZONE) - start > timedelta(days=30):
            return 400, {"error": "o intervalo não pode exceder 30 dias"}
        return 200, {"eventos": self.events}

    def _fail(self, request: BaseHTTPRequestHandler, fault: Any, content: bytes) -> None:
        if isinstance(fault, int):
            _send(request, fault, json.dumps({"error": f"falha {fault}"}).encode())
        elif isinstance(fault, tuple):
            _send(request, *fault)
        elif isinstance(fault, bytes):
            _send(request, 200, fault)
        elif fault == Fault.TRUNCATE:
            _send(request, 200, content[: len(content) // 2], length=len(content))
        elif fault == Fault.CHUNKS:
            _head(request, 200, ("Transfer-Encoding", "chunked"))
            request.wfile.write(b"%x\r\n%s" % (len(content), content[: len(content) // 2]))
        elif fault == Fault.DRIP:
            _head(request, 200, ("Content-Length", str(len(content) + 10**6)))
            while not self._over.wait(0.05):
                request.wfile.write(b" ")
                request.wfile.flush()
        elif fault == Fault.SILENCE:
            self._over.wait(60)
        elif fault == Fault.HUGE:
            _head(request, 200)
            while not self._over.is_set():
                request.wfile.write(b" " * 2**16)
        else:
            assert fault == Fault.CLOSE, fault


def _head(request: BaseHTTPRequestHandler, status: int, *headers: tuple[str, str]) -> None:
    request.send_response(status)
    request.send_header("Content-Type", "application/json")
    # Otherwise a client would send its next request on this connection, which is closed.
    request.send_header("Connection", "close")
    for name, value in headers:
        request.send_header(name, value)
    request.end_headers()


def _send(request: BaseHTTPRequestHandler, status: int, body: bytes, length: int | None = None) -> None:
    _head(request, status, ("Content-Length", str(len(body) if length is None else length)))
    request.wfile.write(body)
