"""What the DAGs' tasks do, from Airflow's connections to real servers at both ends."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pymysql.connections import Connection
from tenacity import wait_none

from include.conventions.errors import ConfigurationError, LeftoverError, RequestError
from include.loja import connections
from include.loja.errors import ComparisonError, UnfinishedError
from include.loja.settings import Creation, Prices, Transfer
from include.loja.tasks import (
    atualizacao_precos,
    criacao_produtos,
    etl_pedidos,
    etl_produtos,
    migracao_completa,
)
from include.loja.transfer import export, publish
from include.loja.transfer.bucket import Bucket
from local.servers.rabbitmq import RabbitMQ
from local.servers.server import free_port
from tests.include.loja.conftest import Connect
from tests.include.loja.rows import execute, read
from tests.include.loja.transfer.test_transfer import order, product

CREATION = Creation(batches=2, batch=2, delay=timedelta(seconds=60))
NONE = (None, None)


@pytest.fixture
def settings(described: None, bucket: Bucket) -> Transfer:
    """Settings of small parts and chunks, beside the connections."""
    return Transfer(bucket.name, part_rows=20, chunk_rows=30, grace=timedelta(seconds=60))


def now(loja: Connection[Any]) -> datetime:
    [(instant,)] = read(loja, "SELECT UTC_TIMESTAMP(6)")
    return instant.replace(tzinfo=UTC)


def published(statement: str) -> list[tuple[Any, ...]]:
    with connections.warehouse().session() as session:
        return session.read(statement)


def left_on_s3(bucket: Bucket) -> int:
    return bucket.client.list_objects_v2(Bucket=bucket.name)["KeyCount"]


@pytest.mark.usefixtures("described")
def test_criacao_produtos(loja: Connection[Any], rabbitmq_server: RabbitMQ) -> None:
    for name, price in (("A", 1), ("B", -1), ("C", 1), ("D", 1), ("E", 1)):
        execute(
            loja,
            "INSERT INTO produtos_pendentes (nome, categoria, preco, estoque) VALUES (%s, 'Roupas', %s, 1)",
            *(name, price),
        )
    batches = criacao_produtos.claim(CREATION, "one", None, False)
    assert batches == [[1, 2], [3, 4]]
    assert criacao_produtos.create(CREATION, "one", batches[0]) == {"catalogado": 1, "falhou": 1}
    with rabbitmq_server.connect() as connection:
        connection.channel().queue_delete("produto-fila")
    with pytest.raises(UnfinishedError, match="2 products of this run were not worked on"):
        criacao_produtos.notify(CREATION, "one", claimed=True)
    assert criacao_produtos.create(CREATION, "one", batches[1]) == {"catalogado": 2}
    assert criacao_produtos.notify(CREATION, "one", claimed=True) == {"avisos": 2, "com_motivo": 1}
    with rabbitmq_server.connect() as connection:
        channel = connection.channel()
        got = [json.loads(channel.basic_get("produto-fila", auto_ack=True)[2]) for _ in range(3)]
        channel.queue_delete("produto-fila")
    assert {message["tipo"] for message in got} == {"produto"}
    assert len({message["id"] for message in got}) == 3
    # Whatever was sent: what could not even be claimed was not done, and no second try does it.
    with pytest.raises(UnfinishedError, match="task reservar has failed"):
        criacao_produtos.notify(CREATION, "one", claimed=False)
    execute(loja, "UPDATE produtos_pendentes SET preco = 1 WHERE pendente_id = 2")
    assert criacao_produtos.claim(CREATION, "two", [2], False) == [[2, 5]]


@pytest.mark.usefixtures("described")
def test_atualizacao_precos(loja: Connection[Any], tmp_path: Path) -> None:
    product(loja, "A", "Roupas", 10, 1)
    product(loja, "B", "Roupas", 10, 1)
    path = tmp_path / "precos.csv"
    path.write_text("produto_id;preco\n1;11,00\n2;99,00\n")
    settings = Prices(str(path), "", Decimal("0.2"), timedelta(hours=1))
    [question] = atualizacao_precos.read(settings, "one")
    assert "| 2 | B | 10.00 | 99.00 |" in question.text
    assert read(loja, "SELECT preco FROM produtos ORDER BY 1") == [(10,), (10,)]
    assert atualizacao_precos.apply("one", question.digest, "ana") == {"aplicado": 2}
    assert read(
        loja, "SELECT preco, aprovado_por FROM precos_historico JOIN produtos USING (produto_id)"
    ) == [
        (11, None),
        (99, "ana"),
    ]
    path.write_text("produto_id;preco\n1;11,00\n")
    assert atualizacao_precos.read(settings, "two") == []
    assert atualizacao_precos.apply("two", None, None) == {"igual": 1}


def test_etl_produtos(loja: Connection[Any], settings: Transfer, bucket: Bucket) -> None:
    for number in range(45):
        product(loja, f"P{number}", "Brinquedos" if number == 0 else "Roupas", 10, number)
    extracted = json.loads(json.dumps(etl_produtos.extract(settings, "one")))
    assert left_on_s3(bucket) == 3
    assert etl_produtos.load(settings, "one", extracted) == 45
    assert etl_produtos.validate(settings, "one", extracted) == {
        "linhas": 45,
        "categorias": 2,
        "rejeitados": 0,
        "sem_categoria_id": {"Brinquedos": 1},
    }
    assert left_on_s3(bucket) == 0
    assert published("SELECT COUNT(*), SUM(valor_estoque) FROM produtos") == [(45, Decimal("9900.00"))]


def test_etl_pedidos(loja: Connection[Any], settings: Transfer, bucket: Bucket) -> None:
    for number in range(45):
        order(loja, number + 1, status="?" if number == 0 else "novo")
    end = now(loja)
    start = end - timedelta(days=1)
    first = json.loads(json.dumps(etl_pedidos.extract(settings, "one", {}, (start, end))))
    assert first["inicio"].startswith("1970-01-02")
    assert etl_pedidos.load(settings, "one", first) == {"lidos": 45, "rejeitados": 1}
    etl_pedidos.validate(settings, "one", first)
    assert left_on_s3(bucket) == 0
    # A day is missing: the next run reads from where the last one was complete.
    later = etl_pedidos.extract(settings, "two", {}, (now(loja), now(loja) + timedelta(microseconds=1)))
    assert datetime.fromisoformat(later["inicio"]) == end - timedelta(seconds=60)
    etl_pedidos.load(settings, "two", later)
    with connections.warehouse().session() as session:
        session.run("DELETE FROM pedidos WHERE linha = 3")
        session.connection.commit()
    with pytest.raises(ComparisonError, match=r"the warehouse holds 44 rows .* of load etl_pedidos two"):
        etl_pedidos.validate(settings, "two", later)
    with pytest.raises(RequestError, match="give both, or neither"):
        etl_pedidos.extract(settings, "three", {"inicio": "2026-01-01T00:00:00Z", "fim": None}, NONE)
    with pytest.raises(RequestError, match="has no time zone"):
        etl_pedidos.extract(
            settings, "three", {"inicio": "2026-01-01T00:00:00", "fim": "2026-01-02T00:00:00Z"}, NONE
        )


def test_migracao_completa_resumes_where_it_died(
    loja: Connection[Any],
    settings: Transfer,
    bucket: Bucket,
    connect: Connect,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    product(loja, "A", "Roupas", 10, 1)
    for number in range(70):
        order(loja, number + 1, status="?" if number == 0 else "novo")
    planned = migracao_completa.plan(settings, "one")
    assert planned == ["produtos", "pedidos-0-31", "pedidos-31-61", f"pedidos-61-{1 << 62}"]
    for chunk in planned[:2]:
        migracao_completa.move(settings, "one", chunk)

    def dies(_: Any) -> None:
        raise ConnectionError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(etl_pedidos, "dump", dies)
        with pytest.raises(ConnectionError):
            migracao_completa.move(settings, "one", planned[2])
    with pytest.raises(LeftoverError, match="2 of 4 chunks are not on S3"):
        migracao_completa.load(settings, "one")

    # Resumed: the plan is kept though there is more by now, and what is done is not read again.
    order(loja, 71)
    assert migracao_completa.plan(settings, "one") == planned
    with monkeypatch.context() as patch:
        patch.setattr(export, "products", dies)
        assert [migracao_completa.move(settings, "one", chunk) for chunk in planned] == [1, 30, 30, 11]
    assert migracao_completa.load(settings, "one") == {"produtos": 1, "pedidos": 71}
    assert published("SELECT COUNT(*) FROM pedidos") == [(70,)]
    with connections.warehouse().session() as session:
        session.run("UPDATE pedidos SET valor_total = valor_total + 1 WHERE linha = 40")
        session.connection.commit()
    with pytest.raises(ComparisonError, match=r"1 of 3 chunks differ: \[31, 61\): 30 rows"):
        migracao_completa.compare(settings, "one")
    # Nothing was removed: loading once more repairs it.
    migracao_completa.load(settings, "one")
    assert migracao_completa.compare(settings, "one") == {"produtos": 1, "pedidos": 71}
    assert left_on_s3(bucket) == 0


def test_runs_of_two_dags_may_have_one_name(loja: Connection[Any], settings: Transfer) -> None:
    product(loja, "A", "Roupas", 10, 1)
    daily = etl_produtos.extract(settings, "again")
    etl_produtos.load(settings, "again", daily)
    execute(loja, "UPDATE produtos SET preco = 11")
    for chunk in migracao_completa.plan(settings, "again"):
        migracao_completa.move(settings, "again", chunk)
    migracao_completa.load(settings, "again")
    # What people read by now is the migration's, and not to be held against this extract.
    assert etl_produtos.validate(settings, "again", daily)["linhas"] == 1
    assert migracao_completa.compare(settings, "again") == {"produtos": 1, "pedidos": 0}


def test_what_the_daily_load_brought_after_a_chunk_was_read_is_read_again(
    loja: Connection[Any], settings: Transfer
) -> None:
    order(loja, 1, status="novo")
    planned = migracao_completa.plan(settings, "whole")
    for chunk in planned:
        migracao_completa.move(settings, "whole", chunk)
    execute(loja, "UPDATE pedidos SET status = 'pago'")
    daily = etl_pedidos.extract(settings, "daily", {}, (now(loja), now(loja) + timedelta(microseconds=1)))
    etl_pedidos.load(settings, "daily", daily)
    migracao_completa.load(settings, "whole")
    assert published("SELECT status FROM pedidos") == [("novo",)]
    assert migracao_completa.compare(settings, "whole") == {"produtos": 0, "pedidos": 1}
    again = etl_pedidos.extract(settings, "next", {}, (now(loja), now(loja) + timedelta(microseconds=1)))
    etl_pedidos.load(settings, "next", again)
    assert published("SELECT status FROM pedidos") == [("pago",)]
    with connections.warehouse().session() as session:
        assert publish.covered(session) == datetime.fromisoformat(again["until"])


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("mysql_loja", connections.mysql),
        ("s3_stage", connections.s3),
        ("redshift_dw", connections.warehouse),
        ("rabbitmq_loja", connections.rabbitmq),
    ],
)
def test_a_connection_that_is_not_there_is_named(name: str, call: Callable[[], Any]) -> None:
    with pytest.raises(ConfigurationError, match=f"connection {name} is not defined: set AIRFLOW_CONN_"):
        call()


def test_the_warehouse_is_redshift_or_postgres(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_REDSHIFT_DW", json.dumps({"conn_type": "sqlite"}))
    with pytest.raises(ConfigurationError, match="of type 'sqlite'; it must be redshift or postgres"):
        connections.warehouse()
    monkeypatch.setenv("AIRFLOW_CONN_REDSHIFT_DW", json.dumps({"conn_type": "redshift", "host": "h"}))
    with pytest.raises(ConfigurationError, match="LOJA_PAPEL_COPY is ''; for Redshift it must"):
        connections.warehouse()


def test_a_redshift_that_gives_no_answer_is_one_line_and_retried(monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.providers.amazon.aws.hooks.redshift_sql import RedshiftSQLHook
    from airflow.sdk.exceptions import AirflowException, AirflowFailException

    from include.conventions.failures import explained

    nobody = {
        "conn_type": "redshift",
        "host": "127.0.0.1",
        "port": free_port(),
        "login": "loja",
        "password": "s3cr3t",
        "schema": "dw",
    }
    monkeypatch.setenv("AIRFLOW_CONN_REDSHIFT_DW", json.dumps(nobody))
    monkeypatch.setenv("AIRFLOW_CONN_S3_STAGE", json.dumps({"conn_type": "aws"}))
    monkeypatch.setenv("LOJA_PAPEL_COPY", "arn:aws:iam::123456789012:role/carga")
    # The hook asks five times, with longer and longer waits.
    monkeypatch.setattr(RedshiftSQLHook.get_conn.retry, "wait", wait_none())

    @explained
    def connect() -> None:
        with connections.warehouse().session():
            pass

    with pytest.raises(AirflowException) as raised:
        connect()
    assert type(raised.value) is not AirflowFailException
    assert str(raised.value).startswith("Redshift: ")
    assert "s3cr3t" not in str(raised.value)
