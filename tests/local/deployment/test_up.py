"""`make local` for its user: it starts, Ctrl-C stops everything, and the next start finds the data."""

from __future__ import annotations

import io
import os
import re
import signal
import subprocess
import sys

import psutil
import psycopg
import pytest
from rich.console import Console

from local.deployment.settings import FILE_NAME, Settings
from local.deployment.stack import Deployment
from local.deployment.supervisor import recorded
from local.deployment.up import welcome
from local.processes import is_alive

pytestmark = pytest.mark.server


def sales(settings: Settings) -> int:
    with psycopg.connect(settings.source_dsn) as source:
        row = source.execute("SELECT count(*) FROM venda").fetchone()
    assert row is not None
    return int(row[0])


def switched_on(settings: Settings) -> set[str]:
    with psycopg.connect(settings.dsn("airflow")) as database:
        return {name for (name,) in database.execute("SELECT dag_id FROM dag WHERE NOT is_paused")}


def test_only_a_terminal_gets_the_password(tmp_path, monkeypatch):
    """Rich takes a pipe for a terminal if FORCE_COLOR is set, as some CI systems do."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    settings = Settings.load(tmp_path)
    written = io.StringIO()
    log = Console(file=written, width=200)
    assert log.is_terminal
    log.print(welcome(settings, is_terminal=written.isatty()), soft_wrap=True)
    assert settings.admin_password not in written.getvalue()
    assert f"admin_password in {tmp_path / FILE_NAME}" in re.sub(r"\x1b\[[\d;]*m", "", written.getvalue())
    shown = io.StringIO()
    terminal = Console(file=shown, width=200, no_color=True, highlight=False)
    terminal.print(welcome(settings, is_terminal=True))
    for value in (settings.url, settings.admin_user, settings.admin_password):
        assert shown.getvalue().count(value) >= 1
    assert shown.getvalue().count(settings.admin_password) == 1


def test_ctrl_c_leaves_no_process_and_the_next_start_finds_the_data(tmp_path):
    command = [sys.executable, "-m", "local", "up", "--folder", str(tmp_path), "--history", "1000"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as local:
        try:
            assert local.stdout is not None
            lines = []
            for line in local.stdout:
                lines.append(line)
                if "Ctrl-C stops everything" in line:
                    break
            settings = Settings.load(tmp_path)
            assert any(settings.url in line for line in lines), lines
            assert not any(settings.admin_password in line for line in lines)
            names = [name.casefold() for name, _, _ in recorded(tmp_path)]
            assert set(names) == {
                *("postgresql", "redis", "clickhouse"),
                *("api-server", "worker", "triggerer", "dag-processor", "scheduler", "simulator"),
            }
            family = psutil.Process(local.pid).children(recursive=True)
            assert len(family) > len(names)
            os.kill(local.pid, signal.SIGINT)
            said = local.stdout.read()
            assert local.wait(60) == 0
        finally:
            local.kill()
    assert [process for process in family if is_alive(process)] == []
    assert recorded(tmp_path) == []
    stopped = [line.split()[-2].casefold() for line in said.splitlines() if line.endswith(" stopped")]
    assert stopped[0] == "simulator"
    assert set(stopped[-3:]) == {"postgresql", "redis", "clickhouse"}

    with Deployment(tmp_path) as second:
        second.start_databases()
        assert sales(second.settings) >= 1000
        assert switched_on(second.settings) >= {"etl_vendas", "marts_vendas"}
        assert second.settings.admin_password == settings.admin_password
