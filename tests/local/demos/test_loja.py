"""The store's demonstration: its data has the declared faults, and it fails if a result is wrong."""

from __future__ import annotations

import io
import random
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pika
import pytest
from pika import BlockingConnection
from pymysql.connections import Connection
from rich.console import Console

from include.loja import mysql
from include.loja.products import price_lists, prices
from include.loja.queues import rabbitmq
from include.loja.transfer import orders
from local.demos import loja_data as data
from local.demos.loja import Result, conclude
from local.deployment import up
from local.servers.mariadb import MariaDB
from local.servers.rabbitmq import RabbitMQ

if TYPE_CHECKING:
    from local.deployment.loja import Loja


@pytest.fixture
def loja(
    mariadb_server: MariaDB, loja_name: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Connection[Any]]:
    """A store with the demonstration's data, with fewer orders."""
    monkeypatch.setattr(data, "ORDERS", 1_000)
    with closing(mysql.connect(mariadb_server.parameters(loja_name))) as connection:
        mysql.create_schema(connection)
        data.fill(connection)
        yield connection


def read(loja: Connection[Any], statement: str) -> list[dict[str, Any]]:
    with loja.cursor() as cursor:
        cursor.execute(statement)
        return list(cursor.fetchall())


def test_as_many_orders_are_wrong_as_it_says(loja):
    [row] = read(loja, "SELECT UTC_TIMESTAMP() AS now")
    lines = read(loja, "SELECT * FROM pedidos")
    assert len(lines) == data.ORDERS + data.COPIES + data.UNKNOWN + data.DATELESS
    faults = Counter((orders.fault(line, row["now"]) or "none").partition(" ")[0] for line in lines)
    assert faults == {"none": data.ORDERS + data.COPIES, "status": data.UNKNOWN, "data": data.DATELESS}
    assert len({line["pedido_id"] for line in lines}) == len(lines) - data.COPIES


def test_a_filled_store_stays_and_goes_on(loja):
    def counts() -> list[int]:
        tables = ("produtos", "produtos_pendentes", "pedidos")
        return [read(loja, f"SELECT COUNT(*) AS n FROM {table}")[0]["n"] for table in tables]

    before = counts()
    assert not data.fill_if_empty(loja)
    assert counts() == before
    draw = random.Random("live")
    for _ in range(20):
        data.live(loja, draw)
    products, pending, lines = counts()
    assert (products, lines) == (before[0], before[2] + 20)
    assert before[1] < pending < before[1] + 20
    [row] = read(loja, "SELECT UTC_TIMESTAMP() AS now")
    new = read(loja, "SELECT * FROM pedidos ORDER BY linha DESC LIMIT 20")
    assert {line["status"] for line in new} == {"pago"}
    assert [orders.fault(line, row["now"]) for line in new] == 20 * [None]


def test_an_empty_store_is_filled_all_or_nothing(loja, monkeypatch: pytest.MonkeyPatch):
    for table in ("produtos", "produtos_pendentes", "pedidos"):
        read(loja, f"DELETE FROM {table}")

    def killed(*_: object) -> Iterator[tuple[Any, ...]]:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(data, "_orders", killed)
        with pytest.raises(KeyboardInterrupt):
            data.fill_if_empty(loja)
    loja.rollback()
    assert read(loja, "SELECT COUNT(*) AS n FROM produtos") == [{"n": 0}]
    assert data.fill_if_empty(loja)
    assert read(loja, "SELECT COUNT(*) AS n FROM produtos") == [{"n": data.PRODUCTS}]


def test_make_local_loja_gives_the_store_data_and_activity(
    loja: Connection[Any],
    mariadb_server: MariaDB,
    rabbitmq_server: RabbitMQ,
    loja_name: str,
    tmp_path: Path,
):
    store = cast(
        "Loja",
        SimpleNamespace(
            connect=lambda: mysql.connect(mariadb_server.parameters(loja_name)), rabbitmq=rabbitmq_server
        ),
    )
    assert up.stock(store, tmp_path / "precos.csv") == "the store keeps its data"
    assert len(prices.parse((tmp_path / "precos.csv").read_bytes(), "csv")) > data.LISTED
    [before] = read(loja, "SELECT COUNT(*) AS n FROM pedidos")
    with BlockingConnection(pika.URLParameters(rabbitmq_server.url())) as broker:
        channel = broker.channel()
        rabbitmq.declare(channel, "pedido-fila")
        channel.queue_purge("pedido-fila")
        up.live(store, random.Random("live"))
        assert channel.queue_purge("pedido-fila").method.message_count == 1
    assert read(loja, "SELECT COUNT(*) AS n FROM pedidos") == [{"n": before["n"] + 1}]


def test_the_price_list_asks_for_as_many_answers_as_it_says(loja, tmp_path: Path):
    data.write_prices(tmp_path / "precos.csv", loja)
    lines = prices.parse((tmp_path / "precos.csv").read_bytes(), "csv")
    proposals = prices.propose(lines, price_lists.catalogue(loja), Decimal("0.2"))
    assert Counter(proposal.decision for proposal in proposals) == {
        "aplicar": data.LISTED - data.LEAPS,
        "aprovar": data.LEAPS,
        "invalido": data.STRANGERS + data.PRICELESS,
    }


def test_mending_leaves_one_pending_product_wrong(loja):
    wrong = "SELECT pendente_id FROM produtos_pendentes WHERE nome IS NULL OR preco <= 0 OR estoque IS NULL"
    assert {row["pendente_id"] for row in read(loja, wrong)} == {
        data.NAMELESS,
        data.NEGATIVE,
        data.UNCOUNTED,
    }
    data.mend(loja)
    assert read(loja, wrong) == [{"pendente_id": data.NEGATIVE}]


def test_orders_move_on(loja):
    changed = data.change_orders(loja)
    assert 0 < changed < data.ORDERS
    assert data.change_orders(loja) == 0


@pytest.mark.parametrize(
    ("right", "code", "said"), [(True, 0, "Everything came"), (False, 1, "Not everything")]
)
def test_exit_code_shows_whether_all_is_right(right, code, said):
    console = Console(file=io.StringIO(), width=100)
    results = [Result("etl_produtos", "5 products", True), Result("etl_pedidos", "[3] orders", right)]
    metrics = [{"fila": "pedido-fila", "total": 2, "sucessos": 1, "falhas": 1, "taxa": Decimal("0.5")}]
    assert conclude(results, metrics, console) == code
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert said in text
    assert "[3] orders" in text
    assert "pedido-fila" in text
