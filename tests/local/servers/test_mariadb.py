"""MariaDB, as the store's tests and the embedded deployment run it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psutil
import pymysql
import pytest

from local.servers.debian import unpack
from local.servers.mariadb import PACKAGES, MariaDB
from local.servers.server import ServerError, free_port
from tests.local.loja_fixtures import DEBIAN

pytestmark = pytest.mark.server

PASSWORD = "p@ss: 'word'/ç%20"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MariaDB]:
    folder = tmp_path_factory.mktemp("mariadb")
    with MariaDB(
        folder / "the data", free_port(), PASSWORD, folder / "log", unpack(DEBIAN, PACKAGES)
    ) as server:
        yield server


def rows(server: MariaDB, statement: str, database: str | None = None) -> list[tuple[object, ...]]:
    with server.connect(database, autocommit=True) as connection, connection.cursor() as cursor:
        cursor.execute(statement)
        return list(cursor.fetchall())


def test_asks_for_the_password_and_has_no_other_account(server: MariaDB) -> None:
    for user, password in (("loja", ""), ("loja", "x"), ("root", ""), ("", "")):
        with pytest.raises(pymysql.OperationalError, match="Access denied"):
            pymysql.connect(host="127.0.0.1", port=server.port, user=user, password=password)
    assert rows(server, "SELECT user, host FROM mysql.user ORDER BY user") == [
        ("loja", "127.0.0.1"),
        ("mariadb.sys", "localhost"),
    ]


def test_a_committed_row_outlives_a_crash_and_a_restart(server: MariaDB) -> None:
    server.create_database("a`b")
    rows(server, "CREATE TABLE t (name varchar(20)) ENGINE=InnoDB", "a`b")
    rows(server, "INSERT INTO t VALUES ('Café 🙂')", "a`b")
    server.kill()
    server.start()
    server.restart()
    assert rows(server, "SELECT name FROM t", "a`b") == [("Café 🙂",)]


def test_times_are_utc_and_wrong_values_are_refused(server: MariaDB) -> None:
    assert rows(server, "SELECT TIMESTAMPDIFF(SECOND, UTC_TIMESTAMP(), NOW())") == [(0,)]
    [(mode,)] = rows(server, "SELECT @@sql_mode")
    assert "STRICT_TRANS_TABLES" in str(mode)


def test_listens_on_loopback_only_and_shows_no_secret(server: MariaDB) -> None:
    assert server.process is not None
    process = psutil.Process(server.process.pid)
    assert {c.laddr.ip for c in process.net_connections() if c.status == psutil.CONN_LISTEN} == {"127.0.0.1"}
    assert PASSWORD not in " ".join(process.cmdline())
    assert PASSWORD not in "".join(process.environ().values())
    written = [path.read_bytes() for path in server.data.rglob("*") if path.is_file()]
    assert not any(PASSWORD.encode() in content for content in [*written, server.log.read_bytes()])


def test_another_password_and_another_server_on_the_data_are_refused(server: MariaDB, tmp_path: Path) -> None:
    second = MariaDB(server.data, free_port(), PASSWORD, tmp_path / "log", server.tree)
    # It retries to get the lock for much longer than this.
    second.start_timeout = 6
    with pytest.raises(ServerError, match=r"Can't lock aria control file|Unable to lock"):
        second.start()
    server.stop()
    with pytest.raises(ServerError, match="was created with another password for 'loja'"):
        MariaDB(server.data, free_port(), "other", tmp_path / "log", server.tree).start()
    server.start()


def test_a_folder_with_something_else_is_left_alone(server: MariaDB, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "thesis.txt").write_text("ten years")
    with pytest.raises(ServerError, match="is neither empty nor a MariaDB data folder"):
        MariaDB(tmp_path / "data", free_port(), PASSWORD, tmp_path / "log", server.tree).start()
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["thesis.txt"]
