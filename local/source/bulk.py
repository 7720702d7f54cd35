"""History in bulk: many sales with their items, made by the database itself.

Every value is a hash of the seed, the sale's number in this call and a purpose: the same call on the same base
data gives the same rows. `created_at` and `updated_at` lie in the past, as after years of business; that is for
a source which no mirror reads yet, as nothing that follows `updated_at` sees a row that is written behind it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, cast

import psycopg

from local.source.base import SourceError

# One transaction each: enough rows to hide the cost of a statement, few enough to show progress and to stop.
SALES_PER_TRANSACTION = 50_000
INSERT_SALES = Path(__file__).with_name("insert_sales.sql").read_text(encoding="utf-8")
CREATE_PICK = """
    CREATE OR REPLACE FUNCTION pg_temp.pick(seed bigint, purpose bigint, n bigint, size integer) RETURNS integer
    LANGUAGE sql IMMUTABLE
    RETURN ((hashint8extended(n, hashint8extended(purpose, seed)) & 2147483647) % size)::integer
"""


@dataclass(frozen=True)
class BulkResult:
    """What `bulk` wrote, and the seconds it took."""

    sales: int
    items: int
    seconds: float


def bulk(
    dsn: str,
    sales: int,
    seed: int = 1,
    days: float = 30,
    until: datetime | None = None,
    progress: Callable[[int], None] | None = None,
) -> BulkResult:
    """Write `sales` sales of 1 to 8 items, spread evenly over the `days` before `until`.

    `until` is a naive timestamp in the database session's time zone; default is the database's clock.
    `progress` is called with the number of sales so far. Sales that are older than their delivery time (an hour
    to three days) are delivered. Raises SourceError when there is no base data, ValueError for a bad number.
    """
    if sales < 1:
        raise ValueError(f"sales is {sales}: it must be 1 or more")
    if days <= 0:
        raise ValueError(f"days is {days}: it must be above 0")
    started = time.monotonic()
    items = 0
    with psycopg.connect(dsn, autocommit=True) as connection:
        parameters = {
            **_base_data(connection),
            "seed": seed,
            "sales": sales,
            "days": days,
            "until": until or _value(connection, "SELECT LOCALTIMESTAMP"),
        }
        connection.execute(CREATE_PICK)
        connection.execute("SET work_mem = '128MB'")
        if _value(connection, "SELECT current_setting('is_superuser')") == "on":
            # Foreign keys are checked row by row in triggers, which costs as much as all the rest; the keys
            # here were read from the tables that they point to.
            connection.execute("SET session_replication_role = replica")
        for first in range(1, sales + 1, SALES_PER_TRANSACTION):
            last = min(first + SALES_PER_TRANSACTION - 1, sales)
            cursor = connection.execute(INSERT_SALES, {**parameters, "first": first, "last": last})
            items += cursor.rowcount
            if progress is not None:
                progress(last)
        connection.execute("ANALYZE venda, item_venda")
    return BulkResult(sales=sales, items=items, seconds=time.monotonic() - started)


def _base_data(connection: psycopg.Connection[Any]) -> dict[str, list[Any]]:
    clients = _value(connection, "SELECT array_agg(cliente_id ORDER BY cliente_id) FROM cliente")
    products = connection.execute(
        "SELECT produto_id, (preco_base * 100)::bigint FROM produto"
        " WHERE preco_base IS NOT NULL ORDER BY produto_id"
    ).fetchall()
    if not clients or not products:
        raise SourceError("the source has no clients or no products with a price: create its base data first")
    return {
        "clients": cast(list[Any], clients),
        "products": [id for id, _ in products],
        "cents": [cents for _, cents in products],
    }


def _value(connection: psycopg.Connection[Any], query: str) -> object:
    row = connection.execute(query.encode()).fetchone()
    return row[0] if row else None
