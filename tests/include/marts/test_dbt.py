"""What dbt gets, and what its results become, with a small program in dbt's place."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest
from airflow.sdk import Connection

from include.conventions.errors import ConfigurationError, TaskError
from include.marts import dbt
from include.marts.errors import DbtError, ModelError, TestError

MODEL = {
    "unique_id": "model.vendas_marts.fato_venda",
    "status": "success",
    "execution_time": 0.5,
    "message": "OK",
}
TEST = {
    "unique_id": "test.vendas_marts.unique_x.abc123",
    "status": "pass",
    "execution_time": 0.1,
    "message": None,
}


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program in dbt's place: it writes its arguments and environment here, the given results, and ends as told."""
    file = tmp_path / "dbt"
    file.write_text(f"""#!/bin/sh
env > {tmp_path}/environment
echo "$@" > {tmp_path}/arguments
while [ "$1" != --target-path ]; do shift; done
[ -e {tmp_path}/results ] && cp {tmp_path}/results "$2/run_results.json"
echo first; echo "last line"
. {tmp_path}/end
""")
    file.chmod(0o755)
    monkeypatch.setattr(dbt, "PROGRAM", file)
    return file


def end(program: Path, *results: dict[str, object], how: str = "exit 0") -> None:
    """Decide how the program ends. Without results, it writes none."""
    (program.parent / "end").write_text(how)
    if results:
        (program.parent / "results").write_text(json.dumps({"results": results}))


def test_results_and_their_summary(program: Path) -> None:
    end(program, MODEL, TEST, {**TEST, "status": "warn", "message": "Got 2 results"})
    results = dbt.build({"MARTS_HOST": "here"})
    assert [(one.kind, one.name, one.status) for one in results] == [
        ("model", "fato_venda", "success"),
        ("test", "unique_x", "pass"),
        ("test", "unique_x", "warn"),
    ]
    assert dbt.summary(results) == "1 models, 2 tests · unique_x: Got 2 results"


def test_it_gets_only_its_own_variables_and_no_password_as_an_argument(
    program: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", "not for dbt")
    end(program, MODEL)
    connection = Connection(conn_id="w", conn_type="clickhouse", host="h", login="u", password="s3cr3t")
    dbt.build(dbt.environment(connection), whole=True)
    given = (program.parent / "environment").read_text()
    assert "not for dbt" not in given
    assert "DBT_ENV_SECRET_MARTS_PASSWORD=s3cr3t\n" in given
    arguments = (program.parent / "arguments").read_text()
    assert "s3cr3t" not in arguments
    assert arguments.split()[-1] == "--full-refresh"


@pytest.mark.parametrize(
    ("extra", "port", "secure", "verify"),
    [
        ("{}", "8123", "False", "True"),
        ('{"secure": true}', "8443", "True", "True"),
        ('{"secure": true, "verify": false}', "8443", "True", "False"),
    ],
)
def test_the_connection_becomes_variables(extra: str, port: str, secure: str, verify: str) -> None:
    given = dbt.environment(Connection(conn_id="w", conn_type="clickhouse", host="h", extra=extra))
    assert (given["MARTS_PORT"], given["MARTS_SECURE"], given["MARTS_VERIFY"]) == (port, secure, verify)


def test_an_engine_in_the_task_is_refused_because_dbt_could_not_reach_it() -> None:
    inside = Connection(
        conn_id="w", conn_type="clickhouse", extra='{"client_kwargs": {"interface": "chdb", "path": "x"}}'
    )
    with pytest.raises(ConfigurationError, match="the marts need a server"):
        dbt.environment(inside)


@pytest.mark.parametrize(
    ("results", "how", "error", "message"),
    [
        (
            [{**MODEL, "status": "error", "message": "no\n memory"}, TEST],
            "exit 1",
            ModelError,
            "error .*no memory",
        ),
        (
            [MODEL, {**MODEL, "status": "skipped"}, {**TEST, "status": "fail"}],
            "exit 1",
            TestError,
            "unique_x: fail",
        ),
        ([], "exit 2", DbtError, "ended with code 2: first last line"),
        ([MODEL], "exit 2", DbtError, "ended with code 2: first last line"),
        ([], "kill -9 $$", ModelError, "SIGKILL"),
    ],
)
def test_errors_name_what_failed(
    program: Path, results: list[dict[str, object]], how: str, error: type[TaskError], message: str
) -> None:
    end(program, *results, how=how)
    with pytest.raises(error, match=message) as raised:
        dbt.build({})
    assert "\n" not in str(raised.value)


def test_without_dbt_the_error_says_how_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dbt, "PROGRAM", tmp_path / "none")
    with pytest.raises(ConfigurationError, match=r"make \.venv/\.installed"):
        dbt.build({})


def test_dbt_ends_with_a_task_that_is_interrupted(program: Path) -> None:
    end(program, how="exec sleep 600")
    pids = []

    def interrupt(process: object) -> None:
        pids.append(process.pid)  # type: ignore[attr-defined]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        dbt.build({}, started=interrupt)
    with pytest.raises(ProcessLookupError):
        os.kill(pids[0], signal.SIGTERM)
