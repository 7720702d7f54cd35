"""What is wrong with an order, and what becomes of a product, without a database."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from include.loja.transfer.enrich import enrich
from include.loja.transfer.orders import STATES, fault, split

NOW = datetime(2026, 11, 21, 12)
ROW: dict[str, Any] = {
    "linha": 7,
    "pedido_id": 70,
    "cliente_id": 3,
    "data": datetime(2026, 11, 20),
    "valor_total": Decimal("10.50"),
    "status": "pago",
    "atualizado_em": NOW,
}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"data": None}, "data is None: it must be a date"),
        ({"data": "0000-00-00 00:00:00"}, "data is 0000-00-00 00:00:00: it must be a date"),
        ({"data": datetime(1999, 12, 31, 23, 59)}, "data is 1999-12-31 23:59:00: it must be from 2000-01-01"),
        ({"data": NOW + timedelta(days=1, seconds=1)}, "data is 2026-11-22 12:00:01"),
        ({"status": "PAGO"}, "status is 'PAGO': it must be novo, pago"),
        ({"status": None}, "status is None"),
        ({"valor_total": None}, "valor_total is None: it must be at least 0"),
        ({"valor_total": Decimal("-0.01")}, "valor_total is -0.01"),
        ({"cliente_id": None}, "cliente_id is empty"),
        (
            {"cliente_id": 1 << 63},
            "cliente_id is 9223372036854775808: it must be at most 9223372036854775807",
        ),
    ],
)
def test_what_is_wrong_is_set_aside_whole_with_its_value(change: dict[str, Any], reason: str) -> None:
    row = {**ROW, **change}
    good, bad = split(row, NOW)
    assert good is None
    assert bad is not None
    assert bad["motivo"].startswith(reason)
    assert json.loads(bad["conteudo"])["pedido_id"] == 70
    assert bad["valor_total"] == row["valor_total"]


def test_a_number_that_the_warehouse_has_no_type_for_is_set_aside_as_text() -> None:
    good, bad = split({**ROW, "pedido_id": (1 << 64) - 1}, NOW)
    assert good is None
    assert bad is not None
    assert bad["pedido_id"] is None
    assert json.loads(bad["conteudo"])["pedido_id"] == (1 << 64) - 1
    assert bad["motivo"].startswith("pedido_id is 18446744073709551615: it must be at most")


@pytest.mark.parametrize("status", STATES)
def test_what_is_right_is_loaded_as_it_is(status: str) -> None:
    row = {**ROW, "status": status, "valor_total": Decimal(0), "data": datetime(2000, 1, 1)}
    assert fault(row, NOW) is None
    good, bad = split(row, NOW)
    assert bad is None
    assert good == {**{key: row[key] for key in row if key != "atualizado_em"}, "versao": NOW}


def test_a_product_gets_its_value_and_category() -> None:
    product = {"produto_id": 1, "nome": "A", "preco": Decimal("10.50"), "estoque": 3}
    assert enrich({**product, "categoria": "Móveis"}) == {
        **product,
        "categoria": "Móveis",
        "categoria_id": "CAT-004",
        "valor_estoque": Decimal("31.50"),
    }
    assert enrich({**product, "categoria": "moveis"})["categoria_id"] is None
    with pytest.raises(ValueError, match=r"product 1: preco 9999999999.99 times estoque 101 is"):
        enrich({**product, "categoria": "x", "preco": Decimal("9999999999.99"), "estoque": 101})
