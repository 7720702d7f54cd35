"""`make local` for its user: it starts, Ctrl-C stops everything, and the next start finds the data."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import psutil
import psycopg
import pytest

from local.deployment.settings import Settings
from local.deployment.stack import Deployment
from local.deployment.supervisor import recorded
from tests.processes import is_alive

pytestmark = pytest.mark.server


def sales(settings: Settings) -> int:
    with psycopg.connect(settings.source_dsn) as source:
        row = source.execute("SELECT count(*) FROM venda").fetchone()
    assert row is not None
    return int(row[0])


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
            assert local.wait(60) == 130
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
        assert second.settings.admin_password == settings.admin_password
