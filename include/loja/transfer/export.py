"""Export from the store's database to the stage: stream one snapshot, and compare with the database's own sums.

| step                                                    | when the process dies right after it                          |
|---------------------------------------------------------|---------------------------------------------------------------|
| note the oldest open transaction, then open the snapshot | nothing was written                                          |
| stream rows to parts on S3, each try in its own folder  | unused parts are left on S3                                   |
| compare with the database's sums in the same snapshot   | the same                                                      |
| return the extract (or write it as the chunk's JSON)    | the next try exports again (or finds the chunk done)          |
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import pymysql
from pymysql.connections import Connection
from pymysql.cursors import DictCursor, SSDictCursor

from include.conventions import sql
from include.loja.errors import ComparisonError, SourceError
from include.loja.mysql import snapshot
from include.loja.transfer.bucket import Bucket, Export
from include.loja.transfer.enrich import enrich, set_aside
from include.loja.transfer.orders import split
from include.loja.transfer.table import ORDERS, PRODUCTS, PRODUCTS_SET_ASIDE, SET_ASIDE, Figures

NO_PRIVILEGE = 1227
FETCH = 10_000
EVERY = {"low": 0, "high": 1 << 62}


@dataclass(frozen=True)
class Products:
    """The products, those set aside, and the source's totals of the others per category: average price and stock.

    `version` is the source's clock just before the snapshot.
    """

    export: Export
    set_aside: Export
    totals: dict[str, tuple[Decimal, int]]
    others: dict[str, int]
    """The categories without an id, each with its number of products."""
    version: datetime


@dataclass(frozen=True)
class Orders:
    """The orders of a window or key range: those kept, and those set aside.

    Every change made before `until` is in it. `version` is the source's clock just before the snapshot.
    """

    kept: Export
    set_aside: Export
    source: Figures
    until: datetime
    version: datetime


def products(connection: Connection[DictCursor], bucket: Bucket, prefix: str) -> Products:
    """Export all products, enriched. Raises ComparisonError if the written rows differ from the source's sums."""
    others: dict[str, int] = {}
    # Per category: how many products are set aside, their prices and their stock.
    aside: dict[str, tuple[int, Decimal, int]] = {}
    with connection.cursor() as cursor:
        cursor.execute(sql.text("etl_produtos", "read_clock"))
        [row] = cursor.fetchall()
        version = row["now"].replace(tzinfo=UTC)
    with (
        snapshot(connection) as cursor,
        bucket.writer(prefix, PRODUCTS) as writer,
        bucket.writer(prefix, PRODUCTS_SET_ASIDE) as rejected,
    ):
        for row in stream(connection, sql.text("etl_produtos", "extract_products"), EVERY):
            try:
                enriched = enrich(row)
            except ValueError as error:
                raise SourceError(str(error)) from None
            if refused := set_aside(enriched):
                rejected.add(refused)
                n, price, stock = aside.get(category := row["categoria"].rstrip(" "), (0, Decimal(0), 0))
                aside[category] = n + 1, price + row["preco"], stock + row["estoque"]
                continue
            if enriched["categoria_id"] is None:
                others[row["categoria"]] = others.get(row["categoria"], 0) + 1
            writer.add(enriched)
        exports = writer.finish(), rejected.finish()
        written = exports[0].figures + exports[1].figures
        _compare("produtos", written, _sums(cursor, "etl_produtos", "sum_products", EVERY))
        cursor.execute(sql.text("etl_produtos", "sum_categories"), EVERY)
        totals = {}
        for row in cursor.fetchall():
            n, price, stock = aside.get(row["categoria"], (0, Decimal(0), 0))
            if left := row["n"] - n:
                average = ((row["preco"] - price) / left).quantize(Decimal("0.01"), ROUND_HALF_UP)
                totals[row["categoria"]] = average, int(row["estoque"]) - stock
    return Products(*exports, totals, others, version)


def orders_changed(
    connection: Connection[DictCursor],
    bucket: Bucket,
    prefix: str,
    window: tuple[datetime, datetime],
    grace: timedelta,
) -> Orders:
    """Export the orders that were last changed in [start, end), cleaned; raise as `products` does.

    Also raises SourceError if the source's clock is before `end`, or if its user can't see other transactions.
    """
    low, high = (instant.astimezone(UTC).replace(tzinfo=None) for instant in window)
    return _orders(
        connection,
        bucket,
        prefix,
        ("etl_pedidos", "extract_window", "sum_window"),
        low,
        high,
        window[1],
        grace,
    )


def orders_of_chunk(
    connection: Connection[DictCursor],
    bucket: Bucket,
    prefix: str,
    chunk: tuple[int, int],
    grace: timedelta,
) -> Orders:
    """Export the orders with `linha` in [low, high), cleaned; raise as `orders_changed` does."""
    names = ("migracao_completa", "extract_orders", "sum_orders")
    return _orders(connection, bucket, prefix, names, chunk[0], chunk[1], None, grace)


def chunks(connection: Connection[DictCursor], rows: int) -> list[tuple[int, int]]:
    """Return key ranges [low, high) of `rows` orders each. The last one is open-ended, for orders inserted meanwhile."""
    found: list[tuple[int, int]] = []
    low = EVERY["low"]
    with connection.cursor() as cursor:
        while True:
            cursor.execute(sql.text("migracao_completa", "read_chunk_end"), {"low": low, "rows": rows})
            row = cursor.fetchone()
            high = row["k"] if row else EVERY["high"]
            found.append((low, high))
            if row is None:
                return found
            low = high


def stream(
    connection: Connection[DictCursor], statement: str, values: Mapping[str, Any]
) -> Iterator[dict[str, Any]]:
    """Yield a query's rows while the server sends them; they are never all in memory."""
    with connection.cursor(SSDictCursor) as cursor:
        cursor.execute(statement, values)
        while rows := cursor.fetchmany(FETCH):
            yield from rows


def _orders(
    connection: Connection[DictCursor],
    bucket: Bucket,
    prefix: str,
    names: tuple[str, str, str],
    low: Any,
    high: Any,
    end: datetime | None,
    grace: timedelta,
) -> Orders:
    folder, extract, total = names
    values = {"low": low, "high": high}
    # Must come before the snapshot: a transaction that begins later writes later times.
    oldest, now = _oldest_open(connection)
    if end is not None and now < end:
        raise SourceError(
            f"the source's clock is at {now.isoformat()}, before the window's end {end.isoformat()}: try later"
        )
    with (
        snapshot(connection) as cursor,
        bucket.writer(prefix, ORDERS) as kept,
        bucket.writer(prefix, SET_ASIDE) as aside,
    ):
        version = now.replace(tzinfo=None)
        for row in stream(connection, sql.text(folder, extract), values):
            good, bad = split(row, version)
            if good is not None:
                kept.add(good)
            if bad is not None:
                aside.add(bad)
        exports = kept.finish(), aside.finish()
        source = _sums(cursor, folder, total, values)
        _compare("pedidos", exports[0].figures + exports[1].figures, source)
    return Orders(*exports, source, min(end or now, oldest) - grace, now)


def _oldest_open(connection: Connection[DictCursor]) -> tuple[datetime, datetime]:
    """Return when the oldest open transaction began (the present time if none is open), and the source's clock."""
    try:
        with connection.cursor() as cursor:
            cursor.execute(sql.text("etl_pedidos", "read_oldest_open"))
            [row] = cursor.fetchall()
    except pymysql.OperationalError as error:
        if error.args[0] != NO_PRIVILEGE:
            raise
        raise SourceError(
            "the user of mysql_loja can't see other transactions, so rows that commit late would be missed: "
            "GRANT PROCESS ON *.* TO this user"
        ) from None
    now = row["now"].replace(tzinfo=UTC)
    return min(row["oldest"].replace(tzinfo=UTC), now) if row["oldest"] else now, now


def _sums(cursor: DictCursor, folder: str, name: str, values: Mapping[str, Any]) -> Figures:
    cursor.execute(sql.text(folder, name), values)
    [row] = cursor.fetchall()
    return Figures.row(tuple(row.values()))


def _compare(table: str, written: Figures, source: Figures) -> None:
    if written != source:
        raise ComparisonError(f"{table}: the export has {written}; the source has {source}")
