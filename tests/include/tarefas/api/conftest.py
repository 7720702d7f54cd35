"""The service in this process: real users of Airflow's simple auth manager, a folder of automations, and an Airflow that
says what a test tells it to."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from fastapi.testclient import TestClient

from include.tarefas.api.app import create_app

AUTOMATIONS = '''
"""Mail and sums."""

from typing import Literal

from include.tarefas import tarefa


@tarefa
def send(email: str, subject: str = "Hi", *, kind: Literal["text", "html"] = "text") -> str:
    """Send something."""


@tarefa
def add(*numbers: int) -> int:
    """Add them up."""


@tarefa
def keep(anything=None):
    """Keep what is given."""
'''


@dataclass
class Airflow:
    """Answers `POST …/dagRuns` with `status` and `detail`, and keeps what it was asked."""

    status: int = 200
    detail: Any = None
    asked: list[dict[str, Any]] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)

    def app(self) -> FastAPI:
        app = FastAPI()

        @app.post("/api/v2/dags/executar_tarefa/dagRuns")
        async def trigger(request: Request) -> JSONResponse:
            self.asked.append(await request.json())
            self.tokens.append(request.headers["Authorization"])
            return JSONResponse({"detail": self.detail}, self.status)

        return app


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of automations: one good file, and one that is none."""
    (tmp_path / "tools.py").write_text(AUTOMATIONS)
    (tmp_path / "broken.py").write_text("def f(:\n")
    monkeypatch.setenv("AUTOMACOES_MODULES_PATH", str(tmp_path))
    return tmp_path


@pytest.fixture
def airflow(monkeypatch: pytest.MonkeyPatch) -> Airflow:
    """What the service takes for the API server that it runs in."""
    answering = Airflow()
    monkeypatch.setitem(sys.modules, "airflow.api_fastapi.main", SimpleNamespace(app=answering.app()))
    return answering


@pytest.fixture
def anybody(tokens: dict[str, str], folder: Path) -> TestClient:
    """A client without a login."""
    return TestClient(create_app(), raise_server_exceptions=False)


@pytest.fixture
def viewer(anybody: TestClient, tokens: dict[str, str]) -> TestClient:
    """A client of somebody who may only look."""
    return TestClient(anybody.app, headers={"Authorization": f"Bearer {tokens['vera']}"})


@pytest.fixture
def operator(anybody: TestClient, tokens: dict[str, str]) -> TestClient:
    """A client of somebody who may trigger and delete runs."""
    headers = {"Authorization": f"Bearer {tokens['olga']}"}
    return TestClient(anybody.app, headers=headers, raise_server_exceptions=False)
