"""`local psql`, `local clickhouse` and `local mysql`: statements from the command line, a pipe and a prompt."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from local.deployment import shells
from local.deployment.settings import Settings
from local.deployment.stack import clickhouse_server, postgres_server
from local.deployment.supervisor import Supervisor
from local.servers.mariadb import MariaDB

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of a deployment of which PostgreSQL and ClickHouse run."""
    folder = tmp_path_factory.mktemp("deployment")
    settings = Settings.load(folder)
    with Supervisor(folder) as supervisor:
        postgres = postgres_server(settings)
        supervisor.start(postgres, clickhouse_server(settings))
        postgres.create_database(settings.source_database)
        yield folder


def run(folder: Path, shell: str, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "local", shell, "--folder", str(folder), *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
    )


def test_psql_needs_no_address_and_no_password(folder: Path) -> None:
    done = run(folder, "psql", "-c", "SELECT current_user, current_database() AS here")
    assert (done.returncode, done.stderr) == (0, "")
    assert "postgres     | vendas" in done.stdout
    elsewhere = run(folder, "psql", "--database", "postgres", stdin="SELECT current_database();")
    assert "postgres" in elsewhere.stdout
    wrong = run(folder, "psql", stdin="SELECT 1/0; SELECT 'goes' || ' on';")
    assert wrong.returncode == 3
    assert "division by zero" in wrong.stderr
    assert "goes on" not in wrong.stdout


def test_clickhouse_prints_what_it_has_formatted(folder: Path) -> None:
    statements = (
        "CREATE TABLE shelf (id UInt8, name String) ORDER BY id; -- the shelf\n"
        "INSERT INTO shelf VALUES (1, 'a;b'), (2, 'c');\n"
        "SELECT * FROM shelf ORDER BY id"
    )
    done = run(folder, "clickhouse", "--command", statements)
    assert (done.returncode, done.stderr) == (0, "")
    assert "│  1 │ a;b  │" in done.stdout
    piped = run(folder, "clickhouse", stdin="SELECT count() FROM shelf FORMAT CSV;\nDROP TABLE shelf;\n")
    assert (piped.returncode, piped.stdout) == (0, "2\n")
    wrong = run(folder, "clickhouse", "-c", "SELECT nothing; SELECT 'goes' || ' on'")
    assert wrong.returncode == 1
    assert "UNKNOWN_IDENTIFIER" in wrong.stderr
    assert wrong.stdout == ""


def test_a_server_that_does_not_run_is_named(folder: Path, tmp_path: Path) -> None:
    stopped = run(folder, "mysql", "-c", "SELECT 1")
    assert stopped.returncode == 1
    assert stopped.stderr == f"Error: MariaDB does not run in {folder}: start it with `make local-loja`\n"
    nothing = run(tmp_path, "psql", "-c", "SELECT 1")
    assert nothing.returncode == 1
    assert nothing.stderr == f"Error: there is no deployment in {tmp_path}: start one with `make local`\n"


def test_mysql_prints_tables_and_counts(
    mariadb_server: MariaDB,
    loja_name: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    settings = replace(
        Settings.load(mariadb_server.data.parent / "deployment"),
        mariadb_port=mariadb_server.port,
        mariadb_password=mariadb_server.password,
    )
    monkeypatch.setattr(shells, "recorded", lambda _: [(mariadb_server.name, 1, Path())])
    shells.mysql(
        settings,
        loja_name,
        "CREATE TABLE shelf (id INT, name TEXT); INSERT INTO shelf VALUES (1, '100% \x1b[31m'), (2, NULL);"
        " SELECT id, name, repeat('x', 200) AS wide FROM shelf",
    )
    out = capsys.readouterr().out
    assert out.startswith("0 rows\n2 rows\n")
    assert "100% \\x1b[31m" in out
    assert "NULL" in out
    assert "x" * 200 in out


def test_a_person_types_statements_over_several_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    typed: Iterator[str | type[BaseException]] = iter(
        ["", "SELECT 1,", "2; ", "SELECT", KeyboardInterrupt, "-- nothing;", "SELECT 3; SELECT 4;", EOFError]
    )
    prompts = []

    def answer(prompt: str) -> str:
        prompts.append(prompt)
        line = next(typed)
        if isinstance(line, str):
            return line
        raise line

    monkeypatch.setattr("builtins.input", answer)
    assert list(shells._typed("db")) == ["SELECT 1,\n2", "SELECT 3", "SELECT 4"]
    assert prompts == ["db> ", "db> ", "--> ", "db> ", "--> ", "db> ", "db> ", "db> "]


@pytest.mark.parametrize("word", ["exit", "QUIT;", "\\q"])
def test_a_person_may_leave_with_a_word(monkeypatch: pytest.MonkeyPatch, word: str) -> None:
    monkeypatch.setattr("builtins.input", lambda _: word)
    assert list(shells._typed("db")) == []
