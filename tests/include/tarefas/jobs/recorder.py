"""An API server of the loopback that keeps books of the runs that it is asked for, and can fail in several ways."""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

USER, PASSWORD = "agendador", "secret of the test"
RUNS = "/api/v2/dags/executar_tarefa/dagRuns"
MADE = "2026-11-21T14:30:21Z"
ENDED = "2026-11-21T14:31:07Z"


class Recorder:
    """Answers like Airflow.

    `created` are the runs in the order of their creation with their conf, `posts` counts the requests for each run id.
    `others` has the fields of runs that another user has made.
    `faults` says for a run id what goes wrong: `before` and `after` drop the connection without and with a run made,
    an integer is a status that is answered instead, `slow` waits until the client has given up.
    """

    def __init__(self) -> None:
        self.created: dict[str, dict[str, Any]] = {}
        self.posts: Counter[str] = Counter()
        self.states: dict[str, str] = {}
        self.notes: dict[str, str] = {}
        self.others: dict[str, dict[str, Any]] = {}
        self.broken = False
        self.logins = 0
        self.faults: Callable[[str], str | int | None] = lambda run_id: None
        self.slow_seconds = 1.0
        self.lock = Lock()
        self.tokens: set[str] = set()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                if self.path == "/auth/token":
                    outer.log_in(self, body)
                elif outer.may(self):
                    outer.trigger(self, body)

            def do_GET(self) -> None:
                if outer.may(self):
                    outer.read(self)

            def log_message(self, *_: object) -> None:
                """Keep quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def log_in(self, request: BaseHTTPRequestHandler, body: dict[str, str]) -> None:
        self.logins += 1
        if (body["username"], body["password"]) != (USER, PASSWORD):
            return self.answer(request, 401, {"detail": "Invalid credentials"})
        token = f"token-{self.logins}-{random.random()}"
        self.tokens.add(token)
        return self.answer(request, 201, {"access_token": token})

    def may(self, request: BaseHTTPRequestHandler) -> bool:
        if request.headers.get("Authorization", "").removeprefix("Bearer ") in self.tokens:
            return True
        self.answer(request, 401, {"detail": "Token Expired"})
        return False

    def trigger(self, request: BaseHTTPRequestHandler, body: dict[str, Any]) -> None:
        assert request.path == RUNS
        assert body["logical_date"] is None
        run_id = body["dag_run_id"]
        with self.lock:
            self.posts[run_id] += 1
        fault = self.faults(run_id)
        if isinstance(fault, int):
            return self.answer(request, fault, {"detail": f"refused on purpose ({fault})"})
        if fault == "before":
            request.close_connection = True
            return None
        with self.lock:
            known = run_id in self.created
            self.created.setdefault(run_id, body["conf"])
            self.states.setdefault(run_id, "queued")
            self.notes.setdefault(run_id, body["note"])
        if fault == "slow":
            time.sleep(self.slow_seconds)
        if fault == "after":
            request.close_connection = True
            return None
        if known:
            return self.answer(request, 409, {"detail": {"reason": "Unique constraint violation"}})
        return self.answer(request, 200, {"dag_run_id": run_id, "state": "queued"})

    def read(self, request: BaseHTTPRequestHandler) -> None:
        parts = urlsplit(request.path)
        if parts.path != RUNS:
            return self.answer(request, 200, {"has_import_errors": self.broken})
        wanted = parse_qs(parts.query)["run_id_prefix_pattern"][0].split("|")
        runs = [
            {
                **dict.fromkeys(("logical_date", "data_interval_start", "data_interval_end", "start_date")),
                **{
                    "dag_id": "executar_tarefa",
                    "note": None,
                    "queued_at": MADE,
                    "run_after": MADE,
                    "triggering_user_name": USER,
                },
                "conf": self.created.get(run_id),
                **self.others.get(run_id, {}),
                "dag_run_id": run_id,
                "state": state,
                "end_date": ENDED if state in ("success", "failed") else None,
            }
            for run_id, state in list(self.states.items())
            if run_id.startswith(tuple(wanted))
        ]
        return self.answer(request, 200, {"dag_runs": runs})

    def answer(self, request: BaseHTTPRequestHandler, status: int, body: dict[str, Any]) -> None:
        content = json.dumps(body).encode()
        request.send_response(status)
        request.send_header("Content-Type", "application/json")
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        request.wfile.write(content)

    def let_another_make(self, run_id: str, conf: dict[str, Any], **fields: Any) -> None:
        """What an operator does with Airflow's own API."""
        self.created[run_id], self.states[run_id] = conf, "success"
        self.others[run_id] = {"triggering_user_name": "olga", **fields}

    def __enter__(self) -> Self:
        Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
