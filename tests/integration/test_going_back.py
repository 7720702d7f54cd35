"""A source that was restored from an older state is detected. The tests copy the data folders of real servers."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from psycopg.conninfo import make_conninfo

from include.mirror.declaration import Table
from include.mirror.errors import SourceError
from local.servers.clickhouse import ClickHouse
from local.servers.postgres import BINARIES, Postgres
from local.servers.server import free_port
from tests import versions
from tests.conftest import empty_warehouse, new_source
from tests.integration.test_reconcile import IMPATIENT, look
from tests.lab import Lab

BACK = "the source has gone back in time: database vendas_"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Postgres]:
    """The test's own server, which may be stopped and killed.

    The log is not synced, because no machine goes down. It is written at commits, and hardly ever in the background.
    """
    settings = {"fsync": "off", "wal_writer_delay": "10s"}
    with Postgres(
        tmp_path / "data", free_port(), "a password", tmp_path / "log", settings, versions.postgres_binaries()
    ) as server:
        yield server


@pytest.fixture
def own(server: Postgres, clickhouse: ClickHouse) -> Lab:
    """A lab with a table that is read by window, and one that is scanned."""
    empty_warehouse(clickhouse)
    lab = Lab(new_source(server), clickhouse)
    lab.execute("CREATE TABLE conta (conta_id int PRIMARY KEY, saldo int)")
    lab.execute("INSERT INTO conta SELECT n, 0 FROM generate_series(1, 10) AS n")
    lab.mirror_only("venda", Table("conta", way="scan"))
    write(lab)
    lab.run()
    return lab


def write(lab: Lab, times: int = 1) -> None:
    """Insert a sale, and change an account."""
    with lab.connect() as connection:
        for number in range(times):
            connection.execute("INSERT INTO venda (valor_total) VALUES (%s)", (number,))
            connection.execute("UPDATE conta SET saldo = saldo + 1 WHERE conta_id = %s", (number % 10 + 1,))


def copy(folder: Path, to: Path) -> None:
    """Copy a data folder, keeping its owner."""
    shutil.copytree(folder, to)
    own_by(folder, to)


def own_by(folder: Path, copied: Path) -> None:
    owner = folder.stat()
    for path in [copied, *copied.rglob("*")]:
        os.chown(path, owner.st_uid, owner.st_gid)


def back_up(server: Postgres, to: Path) -> None:
    """Copy the data folder of a running server, so that its state of now can be started later."""
    subprocess.run(
        [
            *(BINARIES / "pg_basebackup", "--checkpoint=fast", "--no-sync"),
            *("--pgdata", to, "--dbname", make_conninfo(server.dsn(), password=None)),
        ],
        env={**os.environ, "PGPASSWORD": server.password},
        check=True,
    )
    own_by(server.data, to)


def flushed(lab: Lab) -> int:
    with lab.connect() as connection:
        row = connection.execute("SELECT (pg_current_wal_flush_lsn() - '0/0')::bigint").fetchone()
    assert row is not None
    return int(row[0])


def refused(lab: Lab, why: str) -> None:
    """Check that a run, a rebuild and a reconciliation are refused and change nothing."""
    before = lab.query("SELECT count(), max(version) FROM vendas_raw.cargas")
    for conf in (None, {"reconstruir": ["conta"]}):
        with pytest.raises(SourceError, match=BACK) as raised:
            lab.run(conf=conf)
        assert why in str(raised.value)
        assert '{"aceitar_fonte": true}' in str(raised.value)
    found = look(lab, "conta", IMPATIENT)
    assert (found.word, found.repaired, BACK in found.reason) == ("unknown", 0, True)
    assert lab.query("SELECT count(), max(version) FROM vendas_raw.cargas") == before


def accepted(lab: Lab) -> None:
    """Check that both sides are equal once the source has been accepted, and stay equal."""
    lab.run(accept=True)
    lab.assert_equal()
    write(lab, 3)
    assert lab.run() == {"venda": 3, "conta": 3}
    lab.assert_equal()


def restore(server: Postgres, older: Path) -> None:
    """Start a server with an older copy of its files."""
    server.stop()
    shutil.rmtree(server.data)
    copy(older, server.data)
    server.start()


def test_a_copy_of_the_files_of_before_is_refused_until_somebody_accepts_it(
    server: Postgres, own: Lab, tmp_path: Path
) -> None:
    server.stop()
    copy(server.data, tmp_path / "older")
    server.start()
    write(own, 20)
    own.run()
    planned = own.plan((own.reached, own.now()))
    restore(server, tmp_path / "older")
    write(own)
    with pytest.raises(SourceError, match=BACK):
        own.move(planned)
    refused(own, " of timeline 1 now")
    accepted(own)


def test_a_backup_that_has_been_written_on_since_is_refused(
    server: Postgres, own: Lab, tmp_path: Path
) -> None:
    """The server is further in its log by now. Only the position at which its recovery ended shows that it went back."""
    back_up(server, tmp_path / "older")
    write(own, 20)
    own.run()
    noted = flushed(own)
    restore(server, tmp_path / "older")
    own.execute("CREATE TABLE other AS SELECT n FROM generate_series(1, 500000) AS n")
    assert flushed(own) > noted
    refused(own, " after a recovery")
    accepted(own)


def test_fewer_transactions_in_a_longer_log_are_noticed(server: Postgres, own: Lab, tmp_path: Path) -> None:
    server.stop()
    copy(server.data, tmp_path / "older")
    server.start()
    write(own, 200)
    own.execute("CHECKPOINT")
    write(own)
    own.run()
    noted = flushed(own)
    restore(server, tmp_path / "older")
    own.execute("CREATE TABLE other AS SELECT n FROM generate_series(1, 500000) AS n")
    assert flushed(own) > noted
    refused(own, "its next transaction has id ")
    accepted(own)


def test_a_database_that_was_restored_beside_the_old_one_is_another(server: Postgres, own: Lab) -> None:
    """A copy of a database in the same cluster keeps the tables' oids, and may get the old database's name."""
    name = own.dsn.rsplit("/", 1)[1]
    admin = replace(own, dsn=server.dsn())
    admin.execute(f"CREATE DATABASE older TEMPLATE {name}")
    write(own, 20)
    own.run()
    admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
    admin.execute(f"ALTER DATABASE older RENAME TO {name}")
    with pytest.raises(SourceError, match=r"belongs to another source: .*\(oid \d+\).*\(oid \d+\)"):
        own.run()
    accepted(own)


def test_a_server_that_crashes_does_not_go_back(server: Postgres, own: Lab) -> None:
    """After a crash, ids of transactions that were rolled back are given again. Nothing is lost with them."""
    write(own, 5)
    with own.connect() as connection:
        for _ in range(50):
            with connection.transaction(force_rollback=True):
                connection.execute("UPDATE conta SET saldo = -1")
        own.run()
        highest = next_xid(own)
        server.kill()
    server.start()
    assert next_xid(own) < highest
    own.run()
    write(own, 3)
    for _ in range(2):
        own.run()
        own.assert_equal()
        server.stop()
        server.start()
    write(own, 3)
    own.run()
    own.assert_equal()


def next_xid(lab: Lab) -> int:
    with lab.connect() as connection:
        row = connection.execute("SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint").fetchone()
    assert row is not None
    return int(row[0])


def test_a_standby_that_lacks_what_was_read_is_refused(server: Postgres, own: Lab, tmp_path: Path) -> None:
    back_up(server, tmp_path / "standby")
    # A standby without a primary.
    (tmp_path / "standby" / "standby.signal").touch()
    own_by(server.data, tmp_path / "standby")
    write(own, 20)
    own.run()
    log = tmp_path / "standby.log"
    with Postgres(
        tmp_path / "standby", free_port(), server.password, log, server.settings, server.binaries
    ) as standby:
        other = replace(own, dsn=make_conninfo(own.dsn, port=standby.port))
        other.execute("SELECT pg_promote()")
        write(other, 2)
        refused(other, " of timeline 2 now")
        other.run(accept=True)
        # Somebody starts the old primary again.
        write(own, 2)
        with pytest.raises(SourceError, match=f"{BACK}.*, and it is on timeline 1 now"):
            own.run()
        accepted(other)
