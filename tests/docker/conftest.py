"""The deployment that all tests here share, in their order, and the summary that is printed at the end."""

from __future__ import annotations

import subprocess
from collections.abc import Generator, Iterator, Mapping
from time import monotonic
from typing import Any

import pytest

from local.docker import images, roots
from tests.docker.deployment import Deployment

AUTOMATION = '''"""An automation of a user: it says on which worker it is, and takes its time."""

import socket
import time

from include.tarefas import tarefa


@tarefa
def trabalhar(nome: str, segundos: int = 0) -> str:
    """Leave a line per try in the folder that the workers share."""
    with open(f"/opt/airflow/reports/{nome}", "a") as arquivo:
        arquivo.write(f"{socket.gethostname()}\\n")
    time.sleep(segundos)
    return "versão 1"
'''
_started = monotonic()
_found: dict[str, str] = {}
_steps: list[tuple[str, str, float]] = []


@pytest.fixture(scope="session")
def official() -> Iterator[Mapping[str, str]]:
    """For each image that the deployment names: "official", the description of its stand-in, or "none"."""
    begun = monotonic()
    _found.update(images.provide())
    _steps.append(("pulled or made the images", "done", monotonic() - begun))
    yield _found
    images.forget(_found)


@pytest.fixture(scope="session")
def deployment(official: Mapping[str, str]) -> Iterator[Deployment]:
    """A copy of the project without .env, with an automation by its user. Nothing runs yet."""
    made = Deployment(
        roots.FOLDER / "project",
        {
            "COMPOSE_PROJECT_NAME": "etl-vendas-test",
            "COMPOSE_PROFILES": "demo,flower,loja",
            "IMAGE_TAG": "test",
            # Many sales and pieces, and short pauses.
            "AUTOMACOES_RETRY_SECONDS": "1",
            "ETL_VENDAS_MAX_ROWS": "10000",
            "ETL_VENDAS_SCHEDULE": "* * * * * */20",
            # Almost never scheduled: the tests trigger it.
            "ETL_VENDAS_RECONCILE_SCHEDULE": "0 3 1 1 *",
            "SALES_PER_SECOND": "10",
        },
    )
    (made.folder / "include" / "automacoes" / "trabalho.py").write_text(AUTOMATION)
    made.remove()
    yield made
    made.remove()
    made.run("docker", "image", "rm", "--force", "etl-vendas:test", "etl-vendas:next", check=False)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Store each step's result and duration."""
    report = yield
    if report.when == "call":
        name = item.name.removeprefix("test_").replace("_", " ")
        _steps.append((name, report.outcome, report.duration))
        terminal: Any = item.config.pluginmanager.get_plugin("terminalreporter")
        terminal.write_line(f"{monotonic() - _started:6.0f} s  {report.outcome}: {name}")
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the images, and each step's result and duration."""
    if not _found:
        return
    line = terminalreporter.write_line
    terminalreporter.section("what was run on what")
    version = ("docker", "version", "--format", "Docker Engine {{.Server.Version}}")
    compose = ("docker", "compose", "version", "--format", "pretty")
    for command in (version, compose):
        done = subprocess.run(["/usr/bin/env", *command], check=False, capture_output=True, text=True)
        line(done.stdout.strip())
    for image, what in sorted(_found.items()):
        stood = what if what in ("official", "none") else f"STAND-IN: {what}"
        line(f"{image:44} {'not there: not tested' if what == 'none' else stood}")
    terminalreporter.section("steps")
    for name, outcome, seconds in _steps:
        line(f"{seconds:6.0f} s  {outcome:7} {name}")
    line(f"{monotonic() - _started:6.0f} s  in all")
