"""The store's demonstration: its data has the declared faults, and it fails if a result is wrong."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pymysql.connections import Connection
from rich.console import Console

from include.loja import mysql
from include.loja.products import price_lists, prices
from include.loja.transfer import orders
from local.demos import loja_data as data
from local.demos.loja import Result, conclude
from local.servers.mariadb import MariaDB


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
def test_exit_code_tells_whether_all_is_right(right, code, said):
    console = Console(file=io.StringIO(), width=100)
    results = [Result("etl_produtos", "5 products", True), Result("etl_pedidos", "[3] orders", right)]
    metrics = [{"fila": "pedido-fila", "total": 2, "sucessos": 1, "falhas": 1, "taxa": Decimal("0.5")}]
    assert conclude(results, metrics, console) == code
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert said in text
    assert "[3] orders" in text
    assert "pedido-fila" in text
