"""The conditions of the guarantees are checked where possible: roles, settings, clocks, indexes, connections."""

from __future__ import annotations

import logging
import os
import subprocess
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from include.conventions.errors import RequestError
from include.mirror.declaration import Table
from include.mirror.errors import RefusedError, SourceError, VersionError
from include.mirror.plan import Work
from include.mirror.source import changes, snapshot
from include.mirror.source.clock import clock, wait_until
from include.mirror.source.session import APPLICATION_NAME, Source
from include.mirror.source.table import SourceTable
from include.mirror.window import Window
from local.servers.postgres import BINARIES, Postgres
from local.servers.server import free_port
from tests.lab import Lab


def as_role(lab: Lab, role: str) -> str:
    return make_conninfo(lab.dsn, user=role, password="a password of the test")


@pytest.fixture
def role(lab: Lab) -> str:
    name = f"reader_{lab.dsn.rsplit('_', 1)[1]}"
    lab.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'a password of the test'")
    lab.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {name}")
    return name


def test_a_role_that_can_not_see_other_sessions_is_refused_with_the_grant(lab: Lab, role: str) -> None:
    with pytest.raises(SourceError) as raised:
        lab.run(engine=lab.engine(source=Source(as_role(lab, role), lab.zone)))
    assert f'GRANT pg_read_all_stats TO "{role}"' in str(raised.value)


def test_with_the_grant_a_reader_is_enough(lab: Lab, role: str) -> None:
    lab.execute(f"GRANT pg_read_all_stats TO {role}")
    with lab.connect(autocommit=False) as writer:
        lab.sell(writer)
        engine = lab.engine(source=Source(as_role(lab, role), lab.zone))
        lab.run(engine=engine)
        writer.commit()
    lab.run(engine=engine)
    lab.assert_equal()


def test_a_session_that_hides_its_transactions_is_an_error(lab: Lab) -> None:
    with lab.connect(options="-c track_activities=off") as hidden:
        hidden.execute("SELECT 1")
        with pytest.raises(SourceError, match="track_activities is off"):
            lab.run()
    lab.run()


def test_a_standby_is_refused_and_its_promotion_noticed(lab: Lab, postgres: Postgres, tmp_path: Path) -> None:
    """The standby lacks the last commits, which nobody has read, and gives their transaction ids again. These ids must not
    be compared."""
    lab.execute("CREATE TABLE conta (conta_id int PRIMARY KEY, saldo int)")
    lab.execute("INSERT INTO conta VALUES (1, 1)")
    lab.mirror_only(*lab.declaration.declared, Table("conta", way="scan"))
    lab.run()
    copy = tmp_path / "standby"
    subprocess.run(
        [
            *(BINARIES / "pg_basebackup", "--checkpoint=fast", "--no-sync"),
            *("--pgdata", copy, "--dbname", make_conninfo(postgres.dsn(), password=None)),
        ],
        env={**os.environ, "PGPASSWORD": postgres.password},
        check=True,
    )
    # A standby without a primary: commits of the primary from here on are lost.
    (copy / "standby.signal").touch()
    owner = postgres.data.stat()
    for path in [tmp_path, *tmp_path.rglob("*")]:
        os.chown(path, owner.st_uid, owner.st_gid)
    with lab.connect() as connection:
        for _ in range(20):
            connection.execute("UPDATE conta SET saldo = saldo + 1")
    planned = lab.plan((lab.reached, lab.now()))
    # Another test may have left a tablespace in the server that is a folder instead of a link.
    settings = {"fsync": "off", "allow_in_place_tablespaces": "on"}
    with Postgres(
        copy, free_port(), postgres.password, tmp_path / "log", settings, postgres.binaries
    ) as standby:
        other = replace(lab, dsn=make_conninfo(lab.dsn, port=standby.port))
        with pytest.raises(SourceError, match="the source is a standby"):
            other.run()
        other.execute("SELECT pg_promote()")
        with pytest.raises(
            SourceError, match="was promoted or restored since the run was planned: the next run"
        ):
            other.move(planned)
        other.execute("INSERT INTO conta VALUES (2, 2)")
        other.execute("INSERT INTO venda (valor_total) VALUES (7)")
        moved = other.run()
        assert (moved["conta"], moved["venda"]) == (2, 1)
        other.assert_equal()
        assert other.run()["conta"] == 0
        assert other.query("SELECT DISTINCT source_timeline FROM vendas_raw.cargas WHERE kind = 'scan'") == [
            (1,),
            (2,),
        ]


def test_a_table_fed_by_a_subscription_is_warned_about(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    lab.execute("CREATE PUBLICATION everything FOR TABLE pais")
    lab.execute(
        "CREATE SUBSCRIPTION fed CONNECTION 'host=127.0.0.1 dbname=nowhere' PUBLICATION everything WITH (connect = false)"
    )
    try:
        # Without a connection to the publisher, the list of tables stays empty. So the test writes to the catalog.
        lab.execute(
            "INSERT INTO pg_subscription_rel SELECT oid, 'pais'::regclass, 'r', NULL FROM pg_subscription"
            " WHERE subname = 'fed'"
        )
    except psycopg.errors.InsufficientPrivilege:
        lab.execute("ALTER SUBSCRIPTION fed SET (slot_name = NONE)")
        raise
    lab.run()
    lab.execute("ALTER SUBSCRIPTION fed SET (slot_name = NONE)")
    lab.execute("DROP SUBSCRIPTION fed")
    assert "fed by a subscription: public.pais" in caplog.text


def test_a_window_in_the_future_is_refused(lab: Lab) -> None:
    fim = (lab.now() + timedelta(hours=1)).isoformat()
    with pytest.raises(RequestError, match="is in the future"):
        lab.run(conf={"inicio": "2026-01-01T00:00:00Z", "fim": fim})


def test_an_unknown_conf_key_is_refused(lab: Lab) -> None:
    with pytest.raises(RequestError, match="unknown conf key 'tabela'; there are inicio, fim, tabelas"):
        lab.run(conf={"tabela": ["venda"]})


def test_a_connection_that_is_refused_names_the_server_and_no_password(lab: Lab) -> None:
    port = free_port()
    source = Source(f"postgresql://ana:s3cr3t@127.0.0.1:{port}/vendas", lab.zone, name="postgres_vendas")
    with pytest.raises(SourceError) as raised:
        lab.run(
            datetime(2026, 1, 1, tzinfo=UTC),
            datetime(2026, 1, 2, tzinfo=UTC),
            engine=lab.engine(source=source),
        )
    assert f"PostgreSQL at 127.0.0.1:{port}/vendas (connection postgres_vendas) refused" in str(raised.value)
    assert "Connection refused" in str(raised.value)
    assert "s3cr3t" not in str(raised.value)


def test_a_clock_that_stepped_back_is_refused(lab: Lab) -> None:
    lab.run()
    with (
        lab.engine().source.connect() as connection,
        pytest.raises(VersionError, match="not above the ledger's newest"),
        snapshot.snapshot(lab.engine().source, connection, [lab.spec("venda")], lambda: 2**62),
    ):
        pass
    lab.run()


def test_the_version_lock_is_free_after_a_refusal(lab: Lab) -> None:
    with (
        lab.engine().source.connect() as connection,
        pytest.raises(VersionError),
        snapshot.snapshot(lab.engine().source, connection, [lab.spec("venda")], lambda: 2**62),
    ):
        pass
    with (
        lab.engine().source.connect() as connection,
        snapshot.snapshot(lab.engine().source, connection, [lab.spec("venda")], lambda: 0),
    ):
        pass


def test_the_clock_is_waited_for_but_not_for_ever(lab: Lab) -> None:
    naps: list[float] = []
    with lab.engine().source.connect() as connection:
        soon = clock(connection) + timedelta(milliseconds=300)
        wait_until(connection, soon)
        assert clock(connection) >= soon
        with pytest.raises(SourceError, match="compare the clocks"):
            wait_until(connection, soon + timedelta(minutes=9), sleep=naps.append)
    assert naps == []


def test_a_missing_index_is_warned_about_with_the_plan(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        lab.run()
        assert "scans the whole table" not in caplog.text
        lab.execute("DROP INDEX venda_updated_at_idx")
        lab.run()
    assert "the extraction of public.venda scans the whole table" in caplog.text
    assert 'CREATE INDEX CONCURRENTLY ON "public"."venda" ("updated_at")' in caplog.text


def test_a_window_uses_the_index(lab: Lab) -> None:
    lab.execute(
        "INSERT INTO venda (updated_at)"
        " SELECT timestamp '2026-01-01' + n * interval '1 min' FROM generate_series(1, 50000) AS n"
    )
    lab.execute("ANALYZE venda")
    start = datetime(2026, 1, 5, tzinfo=UTC)
    with lab.engine().source.connect() as connection:
        table = SourceTable(connection, lab.spec("venda"), lab.zone)
        wanted = table.in_window(Window("venda", start, start + timedelta(minutes=2)))
        connection.execute(*changes.binding(wanted.values))
        query = f"EXPLAIN {table.extraction(wanted)}"
        plan = "\n".join(line for (line,) in connection.execute(query.encode()))
    assert "venda_updated_at_idx" in plan


def test_local_timestamps_are_read_with_the_zone_that_is_stated(lab: Lab) -> None:
    """The application's sessions write São Paulo's local time. A window of this minute must find the rows."""
    lab.execute("TRUNCATE pais, cidade, cliente, produto, venda, item_venda")  # written by a session in UTC
    lab.zone = ZoneInfo("America/Sao_Paulo")
    lab.run()
    with lab.connect(options="-c TimeZone=America/Sao_Paulo") as connection:
        connection.execute("INSERT INTO venda (valor_total) VALUES (1)")
    end = lab.now()
    moved = lab.run(conf={"inicio": (end - timedelta(minutes=1)).isoformat(), "fim": end.isoformat()})
    assert moved["venda"] == 1
    lab.assert_equal()
    lab.zone = ZoneInfo("UTC")
    moved = lab.run(conf={"inicio": (end - timedelta(minutes=1)).isoformat(), "fim": end.isoformat()})
    assert moved["venda"] == 0


def test_statements_end_with_the_task_that_asked_for_them(lab: Lab) -> None:
    hurried = replace(lab.engine().source, timeout=timedelta(seconds=1))
    with hurried.connect() as connection, pytest.raises(psycopg.errors.QueryCanceled):
        connection.execute("SELECT pg_sleep(5)")


def test_a_role_that_may_not_read_a_table_is_named_with_the_grant(lab: Lab, role: str) -> None:
    lab.execute(f"GRANT pg_read_all_stats TO {role}")
    lab.execute(f"REVOKE SELECT ON venda FROM {role}")
    with pytest.raises(
        RefusedError, match=r"may not read the table; run GRANT SELECT ON \"public\".\"venda\" TO \"reader_"
    ):
        lab.run(engine=lab.engine(source=Source(as_role(lab, role), lab.zone)))


def test_row_level_security_raises_instead_of_hiding_rows(lab: Lab, role: str) -> None:
    lab.execute(f"GRANT pg_read_all_stats TO {role}")
    lab.execute("ALTER TABLE venda ENABLE ROW LEVEL SECURITY")
    lab.execute("CREATE POLICY paid ON venda USING (entregue = 'S')")
    with lab.connect() as connection:
        lab.sell(connection)
    with pytest.raises(RefusedError, match="row-level security"):
        lab.run(engine=lab.engine(source=Source(as_role(lab, role), lab.zone)))


def test_a_writer_that_took_the_mirrors_name_is_noted_all_the_same(lab: Lab, role: str) -> None:
    lab.execute(f"GRANT INSERT ON venda TO {role}")
    lab.execute(f"GRANT USAGE ON SEQUENCE venda_venda_id_seq TO {role}")
    lab.run()
    with psycopg.connect(as_role(lab, role), application_name=APPLICATION_NAME) as writer:
        writer.execute("INSERT INTO venda (valor_total) VALUES (3)")
        lab.run()
        lab.run()
    lab.run()
    lab.assert_equal()


def test_a_table_that_is_rewritten_is_waited_for_and_read_whole(lab: Lab) -> None:
    """A rewrite is not transactional: for snapshots taken before it, the table is empty."""
    lab.run()
    with lab.connect() as connection:
        lab.sell(connection)
    rewriting: list[threading.Thread] = []

    def rewrite() -> None:
        lab.execute("ALTER TABLE venda ADD COLUMN seen timestamp DEFAULT clock_timestamp()")

    def during(step: str, window: Work) -> None:
        if step == "snapshot" and not rewriting:
            rewriting.append(threading.Thread(target=rewrite))
            rewriting[0].start()
            wait_for_a_lock(lab)

    assert lab.run(engine=lab.engine(observe=during))["venda"] == 1
    rewriting[0].join()
    lab.run()
    lab.assert_equal()


def wait_for_a_lock(lab: Lab) -> None:
    with lab.connect() as connection:
        while not connection.execute(
            "SELECT 1 FROM pg_locks WHERE NOT granted AND mode = 'AccessExclusiveLock'"
        ).fetchone():
            time.sleep(0.01)


def test_a_table_that_stays_locked_is_an_error(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot, "DDL_PATIENCE", timedelta(milliseconds=200))
    lab.run()
    planned = lab.plan((lab.now() - timedelta(seconds=1), lab.now()))
    with lab.connect(autocommit=False) as altering:
        altering.execute("LOCK TABLE venda IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(SourceError, match="A session that alters a table"):
            lab.move(planned)
    lab.move(planned, try_number=2)
    lab.assert_equal()


def test_transaction_ids_of_another_cluster_are_not_compared(lab: Lab) -> None:
    """After a dump and restore, transaction ids begin low again: the filter of a re-read would leave out every row."""
    with lab.connect() as connection:
        lab.sell(connection)
    lab.run()
    with lab.connect(autocommit=False) as writer:
        lab.sell(writer)
        lab.run()
        lab.run()
        writer.commit()
    client = lab.clickhouse.client()
    client.command(
        "ALTER TABLE vendas_raw.cargas UPDATE snapshot_xmin = snapshot_xmin + 50000000, source_system = 1 WHERE 1",
        settings={"mutations_sync": 2},
    )
    client.close()
    with pytest.raises(SourceError, match="belongs to another source: it holds database vendas_"):
        lab.run()
    lab.run(lab.reached, lab.now(), conf=None, accept=True)
    lab.assert_equal()


def test_a_table_without_a_unique_key_is_refused(lab: Lab) -> None:
    lab.execute("ALTER TABLE item_venda DROP CONSTRAINT item_venda_pkey")
    with pytest.raises(RefusedError, match=r"public\.item_venda has no key"):
        lab.run()


def test_a_version_noted_while_the_snapshot_is_waited_for_counts(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another pass, whose snapshot was taken before the clock stepped back, writes its ledger row meanwhile."""
    lab.run()
    lab.execute("INSERT INTO venda (valor_total) VALUES (1)")
    real = snapshot.Reading
    noted: list[bool] = []

    def reading(*given: Any) -> snapshot.Reading:
        if not noted:
            noted.append(True)
            lab.clickhouse.client().command(
                "INSERT INTO vendas_raw.cargas (id, tabela, kind, version, inicio, fim, started_at, finished_at)"
                f" SELECT generateUUIDv4(), 'venda', 'sweep', {2**62}, now64(6), now64(6), now64(6), now64(6)"
            )
        return real(*given)

    monkeypatch.setattr(snapshot, "Reading", reading)
    with pytest.raises(VersionError):
        lab.run()
    assert noted
