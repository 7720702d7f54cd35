"""The harm that the demonstration does, so that there is something to find: rows deleted in the source, and rows in the
warehouse changed by hand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import psycopg

SALES, RENUMBERED = 100, 10
ALTERED, TAKEN, ADDED = 3, 1, 1
FAR = 900_000_000
"""Above every key that the simulator uses."""


@dataclass(frozen=True)
class Deleted:
    """The numbers of rows that are gone from the source: of the truncated table, sales, and sales under their old keys."""

    items: int
    sales: int
    keys: int


def delete(dsn: str) -> Deleted:
    """Truncate `item_venda`, delete the oldest sales, and change the keys of the next ones."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        with connection.transaction():
            # Waits for open transactions, as the application's own transactions do.
            connection.execute("LOCK TABLE item_venda IN ACCESS EXCLUSIVE MODE")
            row = connection.execute("SELECT count(*) FROM item_venda").fetchone()
            connection.execute("TRUNCATE item_venda")
        sales = connection.execute(
            "DELETE FROM venda WHERE venda_id IN (SELECT venda_id FROM venda ORDER BY venda_id LIMIT %s)",
            [SALES],
        ).rowcount
        keys = connection.execute(
            "UPDATE venda SET venda_id = venda_id + %s"
            " WHERE venda_id IN (SELECT venda_id FROM venda ORDER BY venda_id LIMIT %s)",
            [FAR, RENUMBERED],
        ).rowcount
    return Deleted(row[0] if row else 0, sales, keys)


def damage(warehouse: Any) -> None:
    """Write to the warehouse by hand, which nobody should do: change amounts, mark one sale as deleted, invent one."""
    rows = warehouse.query(
        "SELECT venda_id FROM vendas_dw.venda ORDER BY venda_id LIMIT {count:UInt32}",
        parameters={"count": ALTERED + TAKEN + ADDED},
    ).result_rows
    keys = [key for (key,) in rows]
    for replaced, some in (
        ("valor_total + 1 AS valor_total", keys[:ALTERED]),
        ("1 AS is_deleted", keys[ALTERED : ALTERED + TAKEN]),
        (f"venda_id + {FAR + 1_000_000} AS venda_id", keys[ALTERED + TAKEN :]),
    ):
        warehouse.command(
            f"INSERT INTO vendas_raw.venda SELECT * REPLACE ({replaced}) FROM vendas_raw.venda FINAL"  # noqa: S608
            " WHERE venda_id IN {keys:Array(Int64)}",
            parameters={"keys": some},
        )


@dataclass(frozen=True)
class Found:
    """The numbers of rows that reconciliation found in the damaged table."""

    different: int
    missing: int
    extra: int
    repaired: int

    def __str__(self) -> str:
        return (
            f"reconciliation found {self.different} sales with another value, {self.missing} taken away and "
            f"{self.extra} made up, and repaired {self.repaired} keys"
        )

    @property
    def is_all(self) -> bool:
        """Whether that is all of the damage. The invented row may be gone already, because each run compares all keys."""
        return (self.different, self.missing) == (ALTERED, TAKEN) and self.repaired >= ALTERED + TAKEN


def found(warehouse: Any) -> Found:
    """Return the result of the last reconciliation."""
    [row] = warehouse.query(
        "SELECT different, missing, extra + deleted, repaired FROM vendas_dw.reconciliacoes"
        " WHERE tabela = 'venda' ORDER BY started_at DESC LIMIT 1"
    ).result_rows
    return Found(*map(int, row))
