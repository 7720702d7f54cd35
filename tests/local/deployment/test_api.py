"""The client of Airflow's API, with answers that a real server gives only for a moment."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from local.deployment.api import AirflowApi, ApiError
from local.deployment.settings import Settings

DETAILS = ("GET", "/api/v2/dags/vendas/details")
UNPAUSE = ("PATCH", "/api/v2/dags/vendas")


class Airflow:
    """A server that lists the DAG `vendas`. `details` are the statuses of requests for its definition; the last repeats."""

    def __init__(self) -> None:
        self.details = [200]
        self.requests: list[tuple[str, str]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                request = (self.command, self.path.partition("?")[0])
                outer.requests.append(request)
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                status = 200
                if request == DETAILS:
                    status = outer.details.pop(0) if len(outer.details) > 1 else outer.details[0]
                self.send_response(status)
                self.end_headers()
                answer = {"access_token": "a", "dags": [{"dag_id": "vendas"}], "import_errors": []}
                self.wfile.write(json.dumps(answer).encode())

            do_GET = do_POST = do_PATCH = answer

            def log_message(self, *_: object) -> None:
                """Log nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)


@pytest.fixture
def airflow() -> Iterator[Airflow]:
    server = Airflow()
    Thread(target=server.server.serve_forever, daemon=True).start()
    yield server
    server.server.shutdown()
    server.server.server_close()


@pytest.fixture
def api(airflow: Airflow, tmp_path: Path) -> Iterator[AirflowApi]:
    with AirflowApi(Settings(tmp_path, api_port=airflow.server.server_port)) as client:
        yield client


def test_a_dag_that_is_listed_before_its_definition_is_stored_is_waited_for(airflow, api):
    airflow.details = [404, 404, 200]
    api.unpause("vendas", timeout=30)
    assert airflow.requests.count(DETAILS) == 3
    assert airflow.requests[-2:] == [DETAILS, UNPAUSE]


def test_a_dag_whose_definition_never_comes_is_not_called_ready(airflow, api):
    airflow.details = [404]
    with pytest.raises(ApiError, match="DAG vendas can't be found after 0 s; no import errors"):
        api.unpause("vendas", timeout=0)
    assert UNPAUSE not in airflow.requests


def test_any_other_refusal_is_raised_at_once(airflow, api):
    airflow.details = [403]
    with pytest.raises(ApiError, match=r"GET /api/v2/dags/vendas/details answered 403") as raised:
        api.unpause("vendas", timeout=30)
    assert raised.value.status == 403
    assert airflow.requests.count(DETAILS) == 1


def test_a_token_that_has_expired_is_renewed(airflow, api):
    airflow.details = [401, 200]
    api.call("GET", "/api/v2/dags/vendas/details")
    login = ("POST", "/auth/token")
    assert airflow.requests == [login, DETAILS, login, DETAILS]
