"""Redshift's own driver and the Amazon provider's hook run our SQL, with PostgreSQL at the other end of the wire.

Snapshot isolation is the default of that database, as of a new Redshift. Between the two stands a relay that takes out
of the first packet what only Redshift knows; and COPY from S3, which PostgreSQL has not, is done row by row.
"""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from psycopg import sql
from pymysql.connections import Connection

from include.loja import connections
from include.loja.transfer import export, publish
from include.loja.transfer.bucket import Bucket, Export
from include.loja.transfer.destination import Destination
from include.loja.transfer.publish import Chunk
from include.loja.transfer.table import Table
from local.servers.postgres import Postgres
from tests.include.loja.rows import execute
from tests.include.loja.transfer.test_transfer import GRACE, aside, extract, order, orders, product

PROTOCOL = 3 << 16
ROLE = "redshift_driver"


def pump(source: socket.socket, target: socket.socket) -> None:
    """Hand on what comes until one end hangs up, then hang up on both."""
    try:
        while data := source.recv(1 << 16):
            target.sendall(data)
    except OSError:
        pass
    for end in (source, target):
        end.close()


def relay(listener: socket.socket, port: int) -> None:
    """Lead each connection to a PostgreSQL; keep of its first packet only user and database."""
    while True:
        try:
            client, _ = listener.accept()
        except OSError:
            return
        with client.makefile("rb", buffering=0) as first:
            size, _ = struct.unpack("!II", first.read(8))
            fields = first.read(size - 8).split(b"\0")
        given = dict(zip(fields[::2], fields[1::2], strict=False))
        kept = b"".join(name + b"\0" + given[name] + b"\0" for name in (b"user", b"database")) + b"\0"
        server = socket.create_connection(("127.0.0.1", port))
        server.sendall(struct.pack("!II", len(kept) + 8, PROTOCOL) + kept)
        for ends in ((client, server), (server, client)):
            threading.Thread(target=pump, args=ends, daemon=True).start()


def insert(cursor: Any, name: str, table: Table, exported: Export, bucket: Bucket) -> None:
    """Fill a stage as COPY does."""
    columns, values = ", ".join(table.columns), ", ".join(["%s"] * len(table.columns))
    for part in exported.parts:
        for batch in bucket.batches(part):
            for row in batch.to_pylist():
                cursor.execute(f"INSERT INTO {name} ({columns}) VALUES ({values})", list(row.values()))


@pytest.fixture
def redshift(postgres: Postgres, dw: Destination, monkeypatch: pytest.MonkeyPatch) -> Iterator[Destination]:
    """Return the warehouse as the DAGs get it from a connection of type redshift; `dw` is the same one."""
    with closing(dw.connect()) as connection:
        name = connection.info.dbname
    rules = postgres.data / "pg_hba.conf"
    before = rules.read_text()
    # The driver knows none of PostgreSQL's ways to ask for a password that are in use here.
    rules.write_text(f"host {name} {ROLE} 127.0.0.1/32 trust\n{before}")
    with psycopg.connect(postgres.dsn(), autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE ROLE {} LOGIN SUPERUSER").format(sql.Identifier(ROLE)))
        admin.execute(
            sql.SQL("ALTER DATABASE {} SET default_transaction_isolation = 'repeatable read'").format(
                sql.Identifier(name)
            )
        )
        admin.execute("SELECT pg_reload_conf()")
    listener = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=relay, args=(listener, postgres.port), daemon=True).start()
    described = {
        "conn_type": "redshift",
        "host": "127.0.0.1",
        "port": listener.getsockname()[1],
        "login": ROLE,
        "password": "none",
        "schema": name,
        "extra": {"ssl": False},
    }
    monkeypatch.setenv("AIRFLOW_CONN_REDSHIFT_DW", json.dumps(described))
    monkeypatch.setenv("AIRFLOW_CONN_S3_STAGE", json.dumps({"conn_type": "aws"}))
    monkeypatch.setenv("LOJA_PAPEL_COPY", "arn:aws:iam::123456789012:role/carga")
    yield replace(connections.warehouse(), copy=insert)
    listener.close()
    rules.write_text(before)
    with psycopg.connect(postgres.dsn(), autocommit=True) as admin:
        admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
        admin.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(ROLE)))
        admin.execute("SELECT pg_reload_conf()")


def test_everything_arrives_and_is_compared(
    loja: Connection[Any], bucket: Bucket, dw: Destination, redshift: Destination
) -> None:
    product(loja, "Camisa", "Roupas", "1.10", 2)
    product(loja, 'Bola, "azul";\n', "Esportes", "0.01", 0)
    order(loja, 1, status="novo")
    order(loja, 1)
    order(loja, 2, status="???")
    order(loja, 3, cliente_id=(1 << 64) - 1, valor_total=None)
    products = export.products(loja, bucket, "t")
    read, window = extract(loja, bucket)
    with redshift.session() as session:
        assert publish.products(session, bucket, products, "products") == 2
        assert publish.is_last(session, "produtos", "products")
        publish.compare_products(session, products)
    with redshift.session() as session:
        publish.orders(session, bucket, read, window, "orders")
        assert publish.compare_load(session, "orders", read)
        assert publish.covered(session) == read.until
    assert [line for line, *_ in orders(dw)] == [2]
    assert [line for line, _ in aside(dw)] == [1, 3, 4]

    execute(loja, "UPDATE pedidos SET status = 'enviado' WHERE linha = 3")
    ranges = export.chunks(loja, 2)
    found = [export.orders_of_chunk(loja, bucket, "t", chunk, GRACE) for chunk in ranges]
    chunks = [Chunk(*chunk, each.source) for chunk, each in zip(ranges, found, strict=True)]
    with redshift.session() as session:
        publish.stage_orders(
            session, bucket, [each.kept for each in found], [each.set_aside for each in found]
        )
        publish.begin(session, publish.ORDER_TABLES)
        until, version = min(each.until for each in found), max(each.version for each in found)
        publish.publish_all_orders(session, chunks, until, version, "whole")
        session.connection.commit()
        publish.compare_orders(session, chunks)
    assert [line for line, *_ in orders(dw)] == [2, 3]


def test_two_loads_at_once_give_the_newer_state_and_keep_no_reader_waiting(
    loja: Connection[Any], bucket: Bucket, dw: Destination, redshift: Destination
) -> None:
    order(loja, 1, status="novo")
    early = extract(loja, bucket)
    execute(loja, "UPDATE pedidos SET status = 'pago'")
    late = extract(loja, bucket)
    failed: list[Exception] = []

    def load_late() -> None:
        try:
            with redshift.session() as other:
                publish.orders(other, bucket, *late, "late")
        except Exception as error:  # noqa: BLE001 - told in the main thread
            failed.append(error)

    thread = threading.Thread(target=load_late)
    waits = (
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'LOCK TABLE%'"
    )
    with dw.session() as watcher, redshift.session() as session:
        real = session.connection.commit

        def commit() -> None:
            # The last one: the load is done, but for this.
            if session.read("SELECT count(*) FROM cargas") == [(1,)]:
                thread.start()
                deadline = time.monotonic() + 20
                while watcher.read(waits) != [(1,)]:
                    watcher.connection.commit()
                    time.sleep(0.05)
                    assert thread.is_alive(), failed
                    assert time.monotonic() < deadline, "the other load does not wait for the ledger's lock"
                assert watcher.read("SELECT count(*) FROM pedidos") == [(0,)]
            real()

        session.connection.commit = commit
        publish.orders(session, bucket, *early, "early")
        thread.join()
    assert failed == []
    assert [status for *_, status in orders(dw)] == ["pago"]
