"""Airflow's official hook with the service, in its own process, as in a task."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from local.servers.clickhouse import ClickHouse
from tests.local.servers.clickhouse.conftest import ROOT

TASK = """
import json
from airflow.providers.clickhousedb.hooks.clickhouse import ClickHouseHook

hook = ClickHouseHook(clickhouse_conn_id="clickhouse_dw", session_settings={"max_threads": 1})
assert hook.test_connection()[0]
hook.run("CREATE TABLE t (a Int32, b Nullable(String)) ENGINE = MergeTree ORDER BY a")
hook.run(["INSERT INTO t VALUES (1, 'x')", "INSERT INTO t VALUES (2, NULL)"])
hook.insert_rows("t", [(3, "it's"), (4, None)], target_fields=["a", "b"])
hook.bulk_insert_rows("t", [(5, "z")], ["a", "b"])
client = hook.get_client()
print(json.dumps({
    "rows": hook.get_records("SELECT * FROM t ORDER BY a"),
    "parameter": hook.get_first("SELECT %(x)s", parameters={"x": "a'b"}),
    "threads": client.command("SELECT getSetting('max_threads')"),
    "database": client.command("SELECT currentDatabase()"),
}))
"""


def test_the_official_hook(clickhouse: ClickHouse, database: str, tmp_path: Path) -> None:
    connection = {
        "conn_type": "clickhouse",
        "host": "127.0.0.1",
        "port": clickhouse.port,
        "login": clickhouse.user,
        "password": clickhouse.password,
        "schema": database,
    }
    environment = {
        **os.environ,
        "AIRFLOW_HOME": str(tmp_path),
        "AIRFLOW_CONN_CLICKHOUSE_DW": json.dumps(connection),
        "PYTHONPATH": str(ROOT),
    }
    ended = subprocess.run([sys.executable, "-c", TASK], env=environment, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout.splitlines()[-1]) == {
        "rows": [[1, "x"], [2, None], [3, "it's"], [4, None], [5, "z"]],
        "parameter": ["a'b"],
        "threads": 1,
        "database": database,
    }
