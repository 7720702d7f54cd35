"""Publish: from the stage into the tables that people read, in one transaction, compared before the commit.

| step                                                      | when the process dies right after it                       |
|-----------------------------------------------------------|-------------------------------------------------------------|
| COPY into temporary tables, compare with the export       | they disappear with the session                             |
| lock, replace, set aside, compare, ledger row, in one transaction | rolled back: readers see the tables as before       |
| commit                                                    | done; a retry publishes the same again, with the same effect |

Two loads at once: the second waits for the first one's lock, and then sees its rows. The order does not matter, because a
row from an older snapshot never replaces one from a newer snapshot (`drop_overtaken.sql`). A load that was read before a
published load of the whole table is refused: it would bring back old products, or rows that were deleted at the source.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from include.conventions import sql
from include.loja.errors import ComparisonError, OvertakenError
from include.loja.transfer.bucket import Bucket, Export
from include.loja.transfer.coverage import BEGINNING, Load, covered_until
from include.loja.transfer.destination import LEDGER, Session
from include.loja.transfer.export import Orders, Products
from include.loja.transfer.table import ORDERS, PRODUCTS, PRODUCTS_SET_ASIDE, SET_ASIDE, Figures

PRODUCT_TABLES = ("produtos", "produtos_rejeitados", "produtos_agg")
ORDER_TABLES = ("pedidos", "pedidos_rejeitados")


@dataclass(frozen=True)
class Chunk:
    """A key range of orders, and the source's figures for it."""

    low: int
    high: int
    source: Figures


def products(session: Session, bucket: Bucket, read: Products, load: str) -> int:
    """Publish products, those set aside, and totals per category; return the number of products.

    Raises ComparisonError or OvertakenError.
    """
    stage_products(session, bucket, read)
    begin(session, PRODUCT_TABLES)
    publish_products(session, read, load)
    session.connection.commit()
    return read.export.figures.rows


def stage_products(session: Session, bucket: Bucket, read: Products) -> None:
    """Fill both stages of the products."""
    session.fill(PRODUCTS, [read.export], bucket)
    session.fill(PRODUCTS_SET_ASIDE, [read.set_aside], bucket)


def publish_products(session: Session, read: Products, load: str) -> None:
    """Replace the products with the staged ones, within the caller's transaction; raise as `products` does."""
    _refuse_overtaken(session, "produtos", read.version)
    session.run(sql.text("etl_produtos", "publish"))
    compare_products(session, read)
    _note(session, load, "produtos", None, None, read.version, True, read.export.figures.rows)


def compare_products(session: Session, read: Products) -> None:
    """Raise ComparisonError unless all three tables equal the source's sums."""
    for table, exported in ((PRODUCTS, read.export), (PRODUCTS_SET_ASIDE, read.set_aside)):
        found = session.figures(table.name, table)
        if found != exported.figures:
            raise ComparisonError(f"{table.name} holds {found}; the source had {exported.figures}")
    totals = read.totals
    rows = session.read(sql.text("etl_produtos", "read_aggregates"))
    aggregates = {category: (price, int(stock)) for category, price, stock in rows}
    for category in sorted({*aggregates, *totals}):
        if aggregates.get(category) != totals.get(category):
            raise ComparisonError(
                f"produtos_agg has {aggregates.get(category)} for {category!r}; the source had {totals.get(category)}"
            )


def orders(
    session: Session, bucket: Bucket, read: Orders, window: tuple[datetime, datetime], load: str
) -> None:
    """Publish a window's orders, with those set aside. Raises ComparisonError or OvertakenError."""
    stage_orders(session, bucket, [read.kept], [read.set_aside])
    begin(session, ORDER_TABLES)
    _refuse_overtaken(session, "pedidos", read.version)
    session.run(sql.text("etl_pedidos", "drop_overtaken"))
    expected = session.figures("estagio_pedidos", ORDERS) + session.figures(
        "estagio_pedidos_rejeitados", SET_ASIDE
    )
    session.run(
        "CREATE TEMP TABLE carregadas AS SELECT linha FROM estagio_pedidos "
        "UNION ALL SELECT linha FROM estagio_pedidos_rejeitados"
    )
    session.run(sql.text("etl_pedidos", "publish"))
    only = "(SELECT * FROM {} WHERE linha IN (SELECT linha FROM carregadas)) AS t"
    found = session.figures(only.format("pedidos"), ORDERS) + session.figures(
        only.format("pedidos_rejeitados"), SET_ASIDE
    )
    if found != expected:
        raise ComparisonError(f"the warehouse holds {found} of this load; the stage had {expected}")
    _note(session, load, "pedidos", window[0], read.until, read.version, False, expected.rows)
    session.connection.commit()


def compare_load(session: Session, load: str, read: Orders) -> bool:
    """Compare a load's published rows with its extract; raise ComparisonError if they differ.

    Returns False without comparing if another load was published since, because that may have changed the rows.
    """
    if not is_last(session, "pedidos", load):
        return False
    relation = "(SELECT * FROM {} WHERE versao = %s) AS t"
    version = [_naive(read.version)]
    found = session.figures(relation.format("pedidos"), ORDERS, values=version) + session.figures(
        relation.format("pedidos_rejeitados"), SET_ASIDE, values=version
    )
    [(rows, *_), *_] = session.read(sql.text("dw_loja", "read_load_rows"), [load, "pedidos"])
    # The load has fewer rows than the extract if the warehouse had some of them from a later snapshot already.
    if found.rows != rows or (rows == read.source.rows and found != read.source):
        raise ComparisonError(
            f"the warehouse holds {found} of load {load}; the source had {read.source}, the load {rows} rows"
        )
    return True


def stage_orders(
    session: Session, bucket: Bucket, kept: Sequence[Export], set_aside: Sequence[Export]
) -> None:
    """Fill both stages of the orders."""
    session.fill(ORDERS, kept, bucket)
    session.fill(SET_ASIDE, set_aside, bucket)


def publish_all_orders(
    session: Session, chunks: Sequence[Chunk], until: datetime, version: datetime, load: str
) -> None:
    """Replace all orders with the staged ones, within the caller's transaction; raise as `orders` does.

    `until` is the earliest of all chunks' `until`, `version` the latest of their `version`.
    """
    _refuse_overtaken(session, "pedidos", version)
    session.run(sql.text("etl_pedidos", "clear"))
    session.run(sql.text("etl_pedidos", "publish"))
    compare_orders(session, chunks)
    rows = sum(chunk.source.rows for chunk in chunks)
    _note(session, load, "pedidos", BEGINNING, until, version, True, rows)


def compare_orders(session: Session, chunks: Sequence[Chunk]) -> None:
    """Raise ComparisonError, naming the chunks, unless kept and set-aside orders together equal the source's sums."""
    wrong = []
    for chunk in chunks:
        found = session.figures("pedidos", ORDERS, chunk.low, chunk.high) + session.figures(
            "pedidos_rejeitados", SET_ASIDE, chunk.low, chunk.high
        )
        if found != chunk.source:
            wrong.append(f"[{chunk.low}, {chunk.high}): {found}, the source had {chunk.source}")
    if wrong:
        raise ComparisonError(f"{len(wrong)} of {len(chunks)} chunks differ: {'; '.join(wrong[:5])}")


def covered(session: Session) -> datetime | None:
    """Return the instant up to which the orders are complete in the warehouse."""
    rows = session.read(sql.text("dw_loja", "read_loads"), ["pedidos"])
    return covered_until(
        Load(start.replace(tzinfo=UTC), end.replace(tzinfo=UTC), bool(whole)) for start, end, whole in rows
    )


def is_last(session: Session, table: str, load: str) -> bool:
    """Return whether this load is the last one that was published in a table."""
    return session.read(sql.text("dw_loja", "read_last_load"), [table]) == [(load,)]


def begin(session: Session, tables: Sequence[str]) -> None:
    """Begin the publishing transaction. Of two at once, the second waits, and then sees the first one's rows."""
    # Ends the transaction that earlier reads have opened: its snapshot would be older than the lock.
    session.connection.commit()
    session.destination.lock(session.connection.cursor(), [*tables, LEDGER])


def _refuse_overtaken(session: Session, table: str, version: datetime) -> None:
    """Raise OvertakenError if a load of the whole table that was read after this instant is published already."""
    for load, newer in session.read(sql.text("dw_loja", "read_newer_whole_load"), [table, _naive(version)]):
        raise OvertakenError(
            f"this load read {table} at {_naive(version)} UTC, but {load}, which read it at {newer} UTC, is published: "
            "nothing was changed; trigger a new run, which reads the present state"
        )


def _note(
    session: Session,
    load: str,
    table: str,
    start: datetime | None,
    end: datetime | None,
    version: datetime,
    whole: bool,
    rows: int,
) -> None:
    instants = [None if each is None else _naive(each) for each in (start, end, version)]
    session.connection.cursor().execute(
        sql.text("dw_loja", "insert_load"), [load, table, *instants, whole, rows, _naive(datetime.now(UTC))]
    )


def _naive(instant: datetime) -> datetime:
    """Return an instant as a naive datetime in UTC, as the warehouse stores it."""
    return instant.astimezone(UTC).replace(tzinfo=None)
