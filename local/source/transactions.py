"""The transactions of the sales application, one method per kind.

For a mirror, it matters when they begin, write and commit, because `updated_at` is always the transaction's beginning.
"""

from __future__ import annotations

import random
import secrets
import threading
from collections.abc import Callable
from contextlib import suppress
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import psycopg
from psycopg import sql

from local.source.base import SourceError, cpf, person_name

Connection = psycopg.Connection[tuple[Any, ...]]
Pause = Callable[[], None]
# The amounts that a transaction adds to the fields of `simulator.Stats`.
Committed = dict[str, int | Decimal]

PREPARED_PREFIX = "sales-simulator-"
MAX_ITEMS = 8
CENT = Decimal("0.01")
# A few clients that many transactions change. There, the transaction that began first often gets the row's lock last, and
# writes an older updated_at with the newer state.
BUSY_CLIENTS = 5
# How many of the latest undelivered sales are remembered.
UNDELIVERED = 10_000


class Application:
    """The application's transactions, for many threads at once, each with its own autocommit connection.

    Each method runs one transaction and returns the committed amounts. It calls `pause` where a slow application would wait
    within the transaction. The constructor raises SourceError if there is no base data.
    """

    def __init__(self, connection: Connection) -> None:
        self._lock = threading.Lock()
        # Names of prepared transactions with an unknown result, because the connection was lost.
        self.lost: set[str] = set()
        (self._last_client,) = _row(connection.execute("SELECT coalesce(max(cliente_id), 0) FROM cliente"))
        self._products = _column(
            connection.execute(
                "SELECT produto_id FROM produto WHERE ativo AND preco_base IS NOT NULL ORDER BY 1"
            )
        )
        self._cities = _column(connection.execute("SELECT cidade_id FROM cidade ORDER BY 1"))
        if not (self._last_client and self._cities and len(self._products) >= MAX_ITEMS):
            raise SourceError(
                f"the source lacks base data (cities, clients, {MAX_ITEMS} active products with a price): create it first"
            )
        self._undelivered = _column(
            connection.execute(
                "SELECT venda_id FROM (SELECT venda_id, entregue FROM venda ORDER BY venda_id DESC LIMIT %s) AS latest"
                " WHERE entregue = 'N' ORDER BY venda_id",
                [UNDELIVERED],
            )
        )

    def sale(self, connection: Connection, rng: random.Random, pause: Pause) -> Committed:
        """Sell 1 to 8 products to a client."""
        with connection.transaction():
            sale_id, committed = self._sell(connection, *self._fill_basket(connection, rng))
        return self._sold(sale_id, committed)

    def late_sale(self, connection: Connection, rng: random.Random, pause: Pause) -> Committed:
        """Sell, and commit long after writing: the rows become visible in windows that have been read already."""
        with connection.transaction():
            sale_id, committed = self._sell(connection, *self._fill_basket(connection, rng))
            pause()
        return self._sold(sale_id, {**committed, "late_commits": 1})

    def sale_after_reading(self, connection: Connection, rng: random.Random, pause: Pause) -> Committed:
        """Read, wait, then sell: until it writes, the transaction has no id that a reader could note."""
        with connection.transaction():
            basket = self._fill_basket(connection, rng)
            pause()
            sale_id, committed = self._sell(connection, *basket)
        return self._sold(sale_id, {**committed, "late_commits": 1, "read_first_commits": 1})

    def sale_with_savepoints(self, connection: Connection, rng: random.Random, pause: Pause) -> Committed:
        """Sell, add items under a savepoint and roll them back, then add items under another savepoint."""
        with connection.transaction():
            client, products = self._fill_basket(connection, rng)
            sale_id, committed = self._sell(connection, client, products[:1])
            with connection.transaction(force_rollback=True):
                self._add_items(connection, sale_id, products)
            pause()
            if products[1:]:
                with connection.transaction():
                    more = self._add_items(connection, sale_id, products[1:])
                    connection.execute(
                        "UPDATE venda SET valor_total = valor_total + %s WHERE venda_id = %s",
                        [more["revenue"], sale_id],
                    )
                committed = {name: amount + more.get(name, 0) for name, amount in committed.items()}
        return self._sold(sale_id, {**committed, "late_commits": 1, "savepoint_rollbacks": 1})

    def prepared_sale(self, connection: Connection, rng: random.Random, pause: Pause) -> Committed:
        """Sell with a two-phase commit: after PREPARE, the transaction belongs to no session, and is not visible yet."""
        name = f"{PREPARED_PREFIX}{secrets.token_hex(8)}"
        try:
            connection.execute("BEGIN")
            sale_id, committed = self._sell(connection, *self._fill_basket(connection, rng))
            connection.execute(sql.SQL("PREPARE TRANSACTION {}").format(name))
            pause()
            connection.execute(sql.SQL("COMMIT PREPARED {}").format(name))
        except psycopg.Error:
            with self._lock:
                self.lost.add(name)
            if not connection.closed:
                connection.rollback()
            raise
        return self._sold(sale_id, {**committed, "late_commits": 1, "prepared_commits": 1})

    def abandoned_sale(self, connection: Connection, rng: random.Random, pause: Pause) -> Committed:
        """Sell and roll back: the ids are used up, but no rows exist."""
        with connection.transaction(force_rollback=True):
            self._sell(connection, *self._fill_basket(connection, rng))
        return {"rollbacks": 1}

    def delivery(self, connection: Connection, rng: random.Random, pause: Pause) -> Committed:
        """Deliver one to three sales."""
        with self._lock:
            chosen = [
                self._undelivered.pop(rng.randrange(len(self._undelivered)))
                for _ in range(rng.randint(1, 3))
                if self._undelivered
            ]
        with connection.transaction():
            return {"deliveries": self._deliver(connection, chosen)}

    def late_delivery(self, connection: Connection, rng: random.Random, pause: Pause) -> Committed:
        """Read sales, wait, then deliver them, possibly after other changes but with an earlier updated_at."""
        with self._lock:
            chosen = rng.sample(self._undelivered, min(2, len(self._undelivered)))
        with connection.transaction():
            connection.execute("SELECT venda_id, entregue FROM venda WHERE venda_id = ANY(%s)", [chosen])
            pause()
            delivered = self._deliver(connection, chosen)
        return {"deliveries": delivered, "late_commits": 1, "read_first_commits": 1}

    def client_change(self, connection: Connection, rng: random.Random, pause: Pause) -> Committed:
        """Change a client's name or city."""
        with connection.transaction():
            return {"client_changes": self._change_client(connection, rng)}

    def late_client_change(self, connection: Connection, rng: random.Random, pause: Pause) -> Committed:
        """Begin, wait, then change one of the busy clients, mostly after transactions that began later."""
        with connection.transaction():
            connection.execute("SELECT count(*) FROM cliente WHERE cliente_id <= %s", [BUSY_CLIENTS])
            pause()
            changed = self._change_client(connection, rng, busy=True)
        return {"client_changes": changed, "late_commits": 1, "read_first_commits": 1}

    def new_client(self, connection: Connection, rng: random.Random, pause: Pause) -> Committed:
        """Register a client."""
        with connection.transaction():
            connection.execute(
                "INSERT INTO cliente (nome, data_cad, cpf, cidade_id) VALUES (%s, CURRENT_DATE, %s, %s)",
                [person_name(rng), cpf(rng), rng.choice(self._cities)],
            )
        return {"new_clients": 1}

    def price_change(self, connection: Connection, rng: random.Random, pause: Pause) -> Committed:
        """Raise or lower a product's price by up to a fifth."""
        factor = Decimal(rng.randint(80, 120)) / 100
        with connection.transaction():
            cursor = connection.execute(
                "UPDATE produto SET preco_base = least(greatest(round(preco_base * %s, 2), 0.50), 9999.99)"
                " WHERE produto_id = %s",
                [factor, rng.choice(self._products)],
            )
        return {"price_changes": cursor.rowcount}

    def cancellation(self, connection: Connection, rng: random.Random, pause: Pause) -> Committed:
        """Delete a sale that is not delivered, and its items."""
        return self._cancel(connection, rng)

    def late_cancellation(self, connection: Connection, rng: random.Random, pause: Pause) -> Committed:
        """Delete a sale, and commit much later: reads in the meantime still see it."""
        cancelled = self._cancel(connection, rng, pause)
        return {**cancelled, "late_commits": 1} if cancelled else {}

    def key_change(self, connection: Connection, rng: random.Random, pause: Pause) -> Committed:
        """Change the key of an item of an undelivered sale. Only keys of items can change: no foreign key refers to them."""
        with self._lock:
            if not self._undelivered:
                return {}
            sale_id = rng.choice(self._undelivered)
        with connection.transaction():
            cursor = connection.execute(
                "UPDATE item_venda SET item_id = nextval(pg_get_serial_sequence('item_venda', 'item_id'))"
                " WHERE item_id = (SELECT max(item_id) FROM item_venda WHERE venda_id = %s)",
                [sale_id],
            )
        return {"key_changes": cursor.rowcount}

    def can_prepare(self, connection: Connection) -> bool:
        """Return whether the server allows prepared transactions."""
        return (
            _row(connection.execute("SELECT current_setting('max_prepared_transactions')::integer > 0"))[0]
            is True
        )

    def roll_back_lost(self, connection: Connection) -> None:
        """Roll back the prepared transactions whose connection was lost. Otherwise they would keep their locks for ever."""
        with self._lock:
            lost = list(self.lost)
        _roll_back_prepared(
            connection,
            connection.execute(
                "SELECT gid FROM pg_prepared_xacts WHERE database = current_database() AND gid = ANY(%s)",
                [lost],
            ),
        )

    def roll_back_orphans(self, connection: Connection, older_than: float) -> None:
        """Roll back transactions that a killed simulator has prepared more than `older_than` seconds ago."""
        _roll_back_prepared(
            connection,
            connection.execute(
                "SELECT gid FROM pg_prepared_xacts WHERE database = current_database() AND starts_with(gid, %s)"
                " AND prepared < clock_timestamp() - %s * interval '1 second'",
                [PREPARED_PREFIX, older_than],
            ),
        )

    def _fill_basket(self, connection: Connection, rng: random.Random) -> tuple[int, list[tuple[Any, ...]]]:
        """Return a client and a list of (product, unit price, quantity, total)."""
        # The first existing id at or above a random one: ids have gaps after rolled-back inserts.
        (client,) = _row(
            connection.execute(
                "SELECT min(cliente_id) FROM cliente WHERE cliente_id >= %s",
                [rng.randint(1, self._last_client)],
            )
        )
        wanted = rng.sample(self._products, rng.randint(1, MAX_ITEMS))
        prices: dict[int, Decimal] = dict(
            connection.execute(
                "SELECT produto_id, preco_base FROM produto WHERE produto_id = ANY(%s)", [wanted]
            ).fetchall()
        )
        items = []
        for product in wanted:
            discount = rng.choice((0, 0, 0, 5, 10, 15))
            unit = (prices[product] * (100 - discount) / 100).quantize(CENT, ROUND_HALF_UP)
            quantity = rng.randint(1, 5)
            items.append((product, unit, quantity, unit * quantity))
        return client, items

    def _sell(
        self, connection: Connection, client: int, items: list[tuple[Any, ...]]
    ) -> tuple[int, Committed]:
        total = sum((item[3] for item in items), Decimal(0))
        (sale_id,) = _row(
            connection.execute(
                "INSERT INTO venda (cliente_id, data, entregue, valor_total) VALUES (%s, CURRENT_DATE, 'N', %s)"
                " RETURNING venda_id",
                [client, total],
            )
        )
        return sale_id, {"sales": 1, **self._add_items(connection, sale_id, items)}

    def _add_items(self, connection: Connection, sale_id: int, items: list[tuple[Any, ...]]) -> Committed:
        connection.cursor().executemany(
            "INSERT INTO item_venda (venda_id, produto_id, valor_unitario, quantidade, valor_total)"
            " VALUES (%s, %s, %s, %s, %s)",
            [(sale_id, *item) for item in items],
        )
        return {"items": len(items), "revenue": sum((item[3] for item in items), Decimal(0))}

    def _sold(self, sale_id: int, committed: Committed) -> Committed:
        with self._lock:
            self._undelivered.append(sale_id)
            del self._undelivered[:-UNDELIVERED]
        return committed

    def _cancel(self, connection: Connection, rng: random.Random, pause: Pause = lambda: None) -> Committed:
        """Delete an undelivered sale, if there is one, pause, and commit."""
        with self._lock:
            if not self._undelivered:
                return {}
            sale_id = self._undelivered.pop(rng.randrange(len(self._undelivered)))
        with connection.transaction():
            connection.execute("DELETE FROM item_venda WHERE venda_id = %s", [sale_id])
            cursor = connection.execute("DELETE FROM venda WHERE venda_id = %s", [sale_id])
            pause()
        return {"cancellations": cursor.rowcount}

    def _deliver(self, connection: Connection, sale_ids: list[int]) -> int:
        # In the order of the ids, so that two deliveries can't deadlock.
        return sum(
            connection.execute("UPDATE venda SET entregue = 'S' WHERE venda_id = %s", [sale_id]).rowcount
            for sale_id in sorted(sale_ids)
        )

    def _change_client(self, connection: Connection, rng: random.Random, busy: bool = False) -> int:
        client = rng.randint(1, BUSY_CLIENTS if busy or rng.random() < 0.5 else self._last_client)
        if rng.random() < 0.5:
            return connection.execute(
                "UPDATE cliente SET nome = %s WHERE cliente_id = %s", [person_name(rng), client]
            ).rowcount
        return connection.execute(
            "UPDATE cliente SET cidade_id = %s WHERE cliente_id = %s", [rng.choice(self._cities), client]
        ).rowcount


def _row(cursor: psycopg.Cursor[tuple[Any, ...]]) -> tuple[Any, ...]:
    row = cursor.fetchone()
    if row is None:
        raise SourceError("a row that the source's schema guarantees is not there")
    return row


def _column(cursor: psycopg.Cursor[tuple[Any, ...]]) -> list[int]:
    return [value for (value,) in cursor]


def _roll_back_prepared(connection: Connection, names: psycopg.Cursor[tuple[Any, ...]]) -> None:
    for (name,) in names:
        # Several writers may roll back the same transaction at once; only the first one succeeds.
        with suppress(psycopg.errors.UndefinedObject):
            connection.execute(sql.SQL("ROLLBACK PREPARED {}").format(name))
