"""PostgreSQL, as the embedded deployment runs it, with the wheel's real binaries."""
# ruff: noqa: F401, F811 (fixtures are imported by name)

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import closing, suppress
from pathlib import Path

import psutil
import psycopg
import pytest

from local.processes import is_alive
from local.servers import postgres
from local.servers.postgres import Postgres
from local.servers.server import ServerError, free_port
from tests.local.postgres_fixtures import PASSWORD, connection, database, server

pytestmark = pytest.mark.server

ROOT = Path(__file__).parents[3]


def process_of(server: Postgres) -> psutil.Process:
    assert server.process is not None
    return psutil.Process(server.process.pid)


def capabilities(process: psutil.Process) -> int:
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("CapEff")), 16)


def ends(process: psutil.Process, seconds: float = 30) -> bool:
    """Return whether the process ends within `seconds`."""
    deadline = time.monotonic() + seconds
    while is_alive(process) and time.monotonic() < deadline:
        time.sleep(0.01)
    return not is_alive(process)


def module(data: Path, port: int, password: str | None = PASSWORD) -> subprocess.Popen[str]:
    environment = {name: value for name, value in os.environ.items() if name != "POSTGRES_PASSWORD"}
    return subprocess.Popen(
        [sys.executable, "-m", "local.servers.postgres", "--data", str(data), "--port", str(port)],
        cwd=ROOT,
        env=environment if password is None else {**environment, "POSTGRES_PASSWORD": password},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_the_server_itself_is_the_child_and_not_root(server: Postgres) -> None:
    process = process_of(server)
    assert process.name() == "postgres"
    assert process.uids().effective != 0
    assert process.uids().real == server.data.stat().st_uid


def test_answers_on_loopback_only_and_asks_for_the_password(server: Postgres) -> None:
    listening = {
        c.laddr.ip for c in process_of(server).net_connections("all") if c.status == psutil.CONN_LISTEN
    }
    assert listening == {"127.0.0.1"}
    for password in ("", "wrong"):
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(host="127.0.0.1", port=server.port, user="postgres", password=password)


def test_settings(server: Postgres, connection: psycopg.Connection) -> None:
    shown = {
        name: connection.execute("SELECT current_setting(%s)", [name]).fetchall()[0][0]
        for name in (
            "server_version_num",
            "server_encoding",
            "max_connections",
            "max_prepared_transactions",
            "track_activities",
            "jit",
            "TimeZone",
            "lc_messages",
        )
    }
    assert shown.pop("server_version_num").startswith("18")
    assert shown == {
        "server_encoding": "UTF8",
        "max_connections": "200",
        "max_prepared_transactions": "32",
        "track_activities": "on",
        "jit": "off",
        "TimeZone": "UTC",
        "lc_messages": "C",
    }
    assert connection.execute("SELECT lower('ÁÇÃO'), 'a' < 'Á'").fetchone() == ("áção", True)


def test_the_password_stands_in_no_file_and_no_command_line(server: Postgres) -> None:
    lines = [process_of(server).cmdline()]
    for child in process_of(server).children():
        with suppress(psutil.NoSuchProcess):  # an earlier test's backend may be ending
            lines.append(child.cmdline())
    assert not any(PASSWORD in " ".join(line) for line in lines)
    files = [path for path in server.data.rglob("*") if path.is_file()]
    assert not any(PASSWORD.encode() in path.read_bytes() for path in [*files, server.log])


@pytest.mark.parametrize("name", ["vendas", 'odd "name" %/?#', "ação"])
def test_create_database_again_keeps_it(server: Postgres, name: str) -> None:
    server.create_database(name)
    with psycopg.connect(server.dsn(name)) as connection:
        connection.execute("CREATE TABLE kept (id int)")
    server.create_database(name)
    with psycopg.connect(server.dsn(name)) as connection:
        assert connection.execute("SELECT count(*) FROM kept").fetchone() == (0,)
        assert connection.info.dbname == name


@pytest.mark.parametrize("superuser", [True, False])
def test_create_role_logs_in_with_the_password_which_the_server_never_saw(
    server: Postgres, database: str, superuser: bool
) -> None:
    name = f'role "{superuser}"'
    with psycopg.connect(database, autocommit=True) as owner:
        owner.execute("ALTER ROLE postgres SET log_statement = 'all'")
        server.create_role(name, "the first", superuser)
        with psycopg.connect(database, user=name, password="the first") as role:
            assert role.execute("SHOW is_superuser").fetchone() == ("on" if superuser else "off",)
        server.create_role(name, "the second", superuser)
        owner.execute("ALTER ROLE postgres RESET log_statement")
    with psycopg.connect(database, user=name, password="the second") as role:
        assert role.execute("SHOW is_superuser").fetchone() == ("on" if superuser else "off",)
    for wrong in ("the first", PASSWORD):
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(database, user=name, password=wrong)
    log = server.log.read_text()
    assert "CREATE ROLE" in log
    assert "ALTER ROLE" in log
    assert "the first" not in log
    assert "the second" not in log


def test_a_restart_keeps_the_data_and_ends_open_sessions(server: Postgres, database: str) -> None:
    with psycopg.connect(database, autocommit=True) as idle:
        idle.execute("CREATE TABLE kept AS SELECT 1 AS id")
        server.restart()
        with pytest.raises(psycopg.OperationalError):
            idle.execute("SELECT 1")
    with psycopg.connect(database) as connection:
        assert connection.execute("SELECT id FROM kept").fetchone() == (1,)


def test_a_crash_amid_work_keeps_what_was_committed(server: Postgres, database: str) -> None:
    with (
        closing(psycopg.connect(database, autocommit=True)) as writer,
        closing(psycopg.connect(database, autocommit=True)) as busy,
    ):
        writer.execute("CREATE TABLE kept (id int)")
        writer.execute("INSERT INTO kept VALUES (1)")
        writer.execute("BEGIN")
        writer.execute("INSERT INTO kept VALUES (2)")
        # A backend that only computes does not check whether its postmaster is alive.
        busy.pgconn.send_query(b"SELECT sum(sqrt(n)) FROM generate_series(1, 1000000000) AS n")
        backends = process_of(server).children()
        server.kill()
        assert not any(is_alive(backend) for backend in backends)
        server.start()
    with psycopg.connect(database) as connection:
        assert connection.execute("SELECT id FROM kept").fetchall() == [(1,)]


def test_extra_settings_replace_the_defaults(tmp_path: Path) -> None:
    settings = {"max_connections": "17", "timezone": "America/New_York"}
    with (
        Postgres(tmp_path / "data", free_port(), "x", tmp_path / "log", settings) as server,
        psycopg.connect(server.dsn()) as connection,
    ):
        row = connection.execute(
            "SELECT current_setting('max_connections'), current_setting('timezone'), current_setting('fsync')"
        ).fetchone()
    assert row == ("17", "America/New_York", "on")


def test_no_capability_where_every_folder_is_open() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        with Postgres(folder / "data", free_port(), "x", folder / "log") as server:
            assert capabilities(process_of(server)) == 0


def test_a_closed_folder_that_root_cannot_open_to_one_process_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres.os, "geteuid", lambda: 0)
    monkeypatch.setattr(postgres, "_may_enter", lambda folder, account: folder != tmp_path)
    monkeypatch.setattr(postgres, "_root_may_read_everything", lambda: False)
    with pytest.raises(ServerError, match=f"can't enter {tmp_path}: move the project"):
        Postgres(tmp_path / "data", 1, "x", tmp_path / "log").command()


def test_what_an_interrupted_creation_left_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "data.new").mkdir()
    (tmp_path / "data.new" / "PG_VERSION").write_text("18")
    (tmp_path / "data").mkdir()
    with Postgres(tmp_path / "data", free_port(), "x", tmp_path / "log") as server:
        assert server.ready()
    assert not (tmp_path / "data.new").exists()


def test_a_folder_with_other_things_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("keep me")
    with pytest.raises(ServerError, match=f"{tmp_path} is neither empty nor a PostgreSQL data folder"):
        Postgres(tmp_path, free_port(), "x", tmp_path.parent / "log").start()
    assert (tmp_path / "letter.txt").read_text() == "keep me"


@pytest.mark.parametrize("password", ["", "two\nlines"])
def test_a_password_that_initdb_would_cut_is_refused(tmp_path: Path, password: str) -> None:
    with pytest.raises(ServerError, match="it must be one line"):
        Postgres(tmp_path / "data", free_port(), password, tmp_path / "log").start()
    assert not list(tmp_path.iterdir())


def test_another_password_than_the_first_is_refused(server: Postgres, tmp_path: Path) -> None:
    server.stop()
    try:
        other = Postgres(server.data, server.port, "other", tmp_path / "log")
        with pytest.raises(ServerError, match=r"created with another password for 'postgres'"):
            other.start()
        assert other.process is not None
        assert other.process.poll() == 0
    finally:
        server.start()


def test_a_second_server_is_refused_in_one_line(server: Postgres, tmp_path: Path) -> None:
    pid = process_of(server).pid
    for data, port, message in [
        (server.data, free_port(), f"the data folder {server.data} is in use by PostgreSQL process {pid}"),
        (
            tmp_path / "new",
            server.port,
            f"port {server.port} on 127.0.0.1 can't be used: Address already in use",
        ),
    ]:
        process = module(data, port)
        _, error = process.communicate(timeout=60)
        assert (process.returncode, error) == (1, f"Error: {message}\n")
    with pytest.raises(ServerError, match=r"lock file \"postmaster.pid\" already exists"):
        Postgres(server.data, free_port(), PASSWORD, tmp_path / "log").start()
    assert server.ready()


def test_a_missing_password_is_one_line(tmp_path: Path) -> None:
    process = module(tmp_path / "data", free_port(), password=None)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 1
    assert error == "Error: POSTGRES_PASSWORD is not set: it must hold the superuser's password\n"
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_signal_to_the_module_stops_the_server(tmp_path: Path, number: int) -> None:
    handle = Postgres(tmp_path / "data", free_port(), PASSWORD, tmp_path / "log")
    process = module(handle.data, handle.port)
    assert process.stderr is not None
    line = next(line for line in process.stderr if "ready to accept connections" in line)
    child = psutil.Process(handle.process_in_data() or 0)
    assert PASSWORD not in line
    with closing(psycopg.connect(handle.dsn())) as open_session:
        open_session.execute("SELECT 1")
        process.send_signal(number)
        rest = process.communicate(timeout=60)[1]
    assert process.returncode == (-9 if number == signal.SIGKILL else 0)
    assert "database system is shut down" in rest
    # The pipe has ended, because the server has closed it; the server itself ends a moment later.
    assert ends(child)
