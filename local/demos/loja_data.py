"""The data of the store's demonstration and of `make local-loja`: products, orders and a price list, the same each time.

As in a legacy system, some rows are wrong. Their numbers are defined here, and the demonstration checks its results against
them.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any

from pymysql.connections import Connection

PRODUCTS = 2_000
PENDING = 100
# The pending products without a name, with a price below 0, and without a stock.
NAMELESS, NEGATIVE, UNCOUNTED = 1, 2, 3
ORDERS = 100_000
# How many orders have a copy, how many an unknown status, and how many an invalid date.
COPIES, UNKNOWN, DATELESS = 200, 100, 50
LISTED = 400
# How many lines of the list name an unknown product, have a price of 0, or change a price beyond the limit.
STRANGERS, PRICELESS, LEAPS = 2, 1, 3

CATEGORIES = ("Roupas", "Eletrônicos", "Alimentos", "Móveis", "Brinquedos")
STATES = ("novo", "pago", "enviado", "entregue", "cancelado")
BATCH = 5_000
PRODUCT_SHARE = 0.2
"""How often `live` adds a product."""


def fill(connection: Connection[Any]) -> None:
    """Fill an empty store with products, pending products and orders, all or nothing; the orders are three days old."""
    connection.begin()
    draw = random.Random("loja")  # noqa: S311 (nothing is kept secret by it)
    _insert(
        connection,
        "INSERT INTO produtos (nome, categoria, preco, estoque) VALUES (%s, %s, %s, %s)",
        (
            (f"Produto {number}", draw.choice(CATEGORIES), _money(draw, 200_00), draw.randrange(500))
            for number in range(1, PRODUCTS + 1)
        ),
    )
    _insert(
        connection,
        "INSERT INTO produtos_pendentes (nome, categoria, preco, estoque) VALUES (%s, %s, %s, %s)",
        _pending(draw),
    )
    _insert(
        connection,
        "INSERT INTO pedidos (pedido_id, cliente_id, data, valor_total, status, atualizado_em)"
        " VALUES (%s, %s, %s, %s, %s, %s)",
        _orders(draw, datetime.now(UTC).replace(microsecond=0) - timedelta(days=3)),
    )
    connection.commit()


def fill_if_empty(connection: Connection[Any]) -> bool:
    """Fill a store that has no products; return whether it had none."""
    with connection.cursor() as cursor:
        if cursor.execute("SELECT 1 FROM produtos LIMIT 1"):
            return False
    fill(connection)
    return True


def live(connection: Connection[Any], draw: random.Random) -> None:
    """Let a moment pass in a filled store: a new order, an order that moves on, sometimes a product to create."""
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO pedidos (pedido_id, cliente_id, data, valor_total, status)"
            " SELECT MAX(pedido_id) + 1, %s, UTC_TIMESTAMP(), %s, 'novo' FROM pedidos",
            [draw.randrange(1, 20_000), _money(draw, 2_000_00)],
        )
        cursor.execute("UPDATE pedidos SET status = 'pago' WHERE status = 'novo' ORDER BY linha DESC LIMIT 1")
        if draw.random() < PRODUCT_SHARE:
            cursor.execute(
                "INSERT INTO produtos_pendentes (nome, categoria, preco, estoque) VALUES (%s, %s, %s, %s)",
                [
                    f"Novidade {draw.randrange(10**6)}",
                    draw.choice(CATEGORIES),
                    _money(draw, 500_00),
                    draw.randrange(100),
                ],
            )


def change_orders(connection: Connection[Any]) -> int:
    """Change the status of some orders; return how many rows changed."""
    with connection.cursor() as cursor:
        return cursor.execute(
            "UPDATE pedidos SET status = 'entregue' WHERE status = 'enviado' AND linha % 10 = 0"
        )


def mend(connection: Connection[Any]) -> None:
    """Fix two products as a person would: give one its name, and the other its stock."""
    with connection.cursor() as cursor:
        cursor.execute("UPDATE produtos_pendentes SET nome = 'Luminária' WHERE pendente_id = %s", [NAMELESS])
        cursor.execute("UPDATE produtos_pendentes SET estoque = 12 WHERE pendente_id = %s", [UNCOUNTED])


def write_prices(file: Path, connection: Connection[Any]) -> None:
    """Write the supplier's price list as CSV."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT produto_id, preco FROM produtos ORDER BY produto_id LIMIT %s", [LISTED])
        prices = [(row["produto_id"], row["preco"]) for row in cursor.fetchall()]
    cent = Decimal("0.01")
    lines = [
        f"{product},{(price * (2 if number < LEAPS else Decimal('1.05'))).quantize(cent) + cent}"
        for number, (product, price) in enumerate(prices)
    ]
    lines += [f"{9_000_000 + number},10.00" for number in range(STRANGERS)]
    lines += [f"{PRODUCTS - number},0" for number in range(PRICELESS)]
    file.write_text("\n".join(["produto_id,preco", *lines, ""]))


def _pending(draw: random.Random) -> Iterator[tuple[Any, ...]]:
    for number in range(1, PENDING + 1):
        yield (
            None if number == NAMELESS else f"Novidade {number}",
            draw.choice(CATEGORIES),
            Decimal(-1) if number == NEGATIVE else _money(draw, 500_00),
            None if number == UNCOUNTED else draw.randrange(100),
        )


def _orders(draw: random.Random, at: datetime) -> Iterator[tuple[Any, ...]]:
    for number in range(1, ORDERS + 1):
        row = (
            number,
            draw.randrange(1, 20_000),
            at - timedelta(minutes=draw.randrange(500_000)),
            _money(draw, 2_000_00),
            draw.choice(STATES),
            at,
        )
        yield row
        if number <= COPIES:
            yield row
    for number in range(ORDERS + 1, ORDERS + UNKNOWN + 1):
        yield number, 1, at, Decimal(10), "perdido", at
    for number in range(ORDERS + UNKNOWN + 1, ORDERS + UNKNOWN + DATELESS + 1):
        yield number, 1, "0000-00-00 00:00:00", Decimal(10), "pago", at


def _money(draw: random.Random, cents: int) -> Decimal:
    return Decimal(draw.randrange(100, cents)) / 100


def _insert(connection: Connection[Any], statement: str, rows: Iterator[tuple[Any, ...]]) -> None:
    with connection.cursor() as cursor:
        while some := list(islice(rows, BATCH)):
            cursor.executemany(statement, some)
