"""From the stage into the tables that people read: one transaction, compared before it is committed.

| step                                                      | when the process dies right after it                       |
|-----------------------------------------------------------|-------------------------------------------------------------|
| COPY into temporary tables, compared with the export      | they are gone with the session                              |
| lock, replace, set aside, compare, ledger row, in one transaction | rolled back: readers see what was there               |
| commit                                                    | done; a retry publishes the same again, with the same effect |

Two at once: one waits for the other's lock, and begins with what the other has left. Either order gives the same, for a
line from an older snapshot does not replace one from a newer (`drop_overtaken.sql`). And what was read before a whole table
was, is not published after it: that would bring rows back which were deleted at the source, or old products.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

from include.conventions import sql
from include.loja.errors import ComparisonError, OvertakenError
from include.loja.transfer.bucket import Bucket, Export
from include.loja.transfer.coverage import BEGINNING, Load, covered_until
from include.loja.transfer.destination import LEDGER, Session
from include.loja.transfer.export import Orders, Products
from include.loja.transfer.table import ORDERS, PRODUCTS, SET_ASIDE, Figures

PRODUCT_TABLES = ("produtos", "produtos_agg")
ORDER_TABLES = ("pedidos", "pedidos_rejeitados")


@dataclass(frozen=True)
class Chunk:
    """A key range of orders, and what the source summed it up to."""

    low: int
    high: int
    source: Figures


def products(session: Session, bucket: Bucket, read: Products, load: str) -> int:
    """Publish products and totals by category; return how many rows. Raises ComparisonError or OvertakenError."""
    session.fill(PRODUCTS, [read.export], bucket)
    begin(session, PRODUCT_TABLES)
    publish_products(session, read, load)
    session.connection.commit()
    return read.export.figures.rows


def publish_products(session: Session, read: Products, load: str) -> None:
    """Replace the products by what is staged, within the caller's transaction; raise as `products` does."""
    _refuse_overtaken(session, "produtos", read.version)
    session.run(sql.text("etl_produtos", "publish"))
    compare_products(session, read.export.figures, read.totals)
    _note(session, load, "produtos", None, None, read.version, True, read.export.figures.rows)


def compare_products(session: Session, expected: Figures, totals: Mapping[str, tuple[Decimal, int]]) -> None:
    """Raise ComparisonError unless both tables hold what the source summed up to."""
    found = session.figures("produtos", PRODUCTS)
    if found != expected:
        raise ComparisonError(f"produtos holds {found}; the source had {expected}")
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
    """Publish a window's orders and what is set aside of them. Raises ComparisonError or OvertakenError."""
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
        raise ComparisonError(f"the lines of this load are {found} in the warehouse; {expected} were staged")
    _note(session, load, "pedidos", window[0], read.until, read.version, False, expected.rows)
    session.connection.commit()


def compare_load(session: Session, load: str, read: Orders) -> bool:
    """Hold the lines that people now read of a load against its extract; raise ComparisonError when they differ.

    Returns False, and compares nothing, when another load was published since: it may have changed them.
    """
    if not is_last(session, "pedidos", load):
        return False
    relation = "(SELECT * FROM {} WHERE versao = %s) AS t"
    version = [_naive(read.version)]
    found = session.figures(relation.format("pedidos"), ORDERS, values=version) + session.figures(
        relation.format("pedidos_rejeitados"), SET_ASIDE, values=version
    )
    [(rows, *_), *_] = session.read(sql.text("dw_loja", "read_load_rows"), [load, "pedidos"])
    # Fewer than were read where the warehouse had some of them from a later snapshot.
    if found.rows != rows or (rows == read.source.rows and found != read.source):
        raise ComparisonError(
            f"of load {load} there are {found}; the source had {read.source}, loaded were {rows}"
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
    """Replace all orders by what is staged, within the caller's transaction; raise as `orders` does.

    `until` is the earliest of all chunks, `version` the latest.
    """
    _refuse_overtaken(session, "pedidos", version)
    session.run(sql.text("etl_pedidos", "clear"))
    session.run(sql.text("etl_pedidos", "publish"))
    compare_orders(session, chunks)
    rows = sum(chunk.source.rows for chunk in chunks)
    _note(session, load, "pedidos", BEGINNING, until, version, True, rows)


def compare_orders(session: Session, chunks: Sequence[Chunk]) -> None:
    """Raise ComparisonError, naming the chunks, unless orders and what was set aside are together what was read."""
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
    """Tell whether nothing was published in a table since this load."""
    return session.read(sql.text("dw_loja", "read_last_load"), [table]) == [(load,)]


def begin(session: Session, tables: Sequence[str]) -> None:
    """Begin the publishing transaction: of two at once, the second sees what the first has done."""
    # Ends the transaction that reading has opened, whose snapshot may be from before the lock.
    session.connection.commit()
    session.destination.lock(session.connection.cursor(), [*tables, LEDGER])


def _refuse_overtaken(session: Session, table: str, version: datetime) -> None:
    """Raise OvertakenError where the whole table was read after this instant, and published already."""
    for load, newer in session.read(sql.text("dw_loja", "read_newer_whole_load"), [table, _naive(version)]):
        raise OvertakenError(
            f"{table} was read at {_naive(version)} UTC, and is there as {load} read it at {newer}: "
            "nothing was changed; trigger a new run, which reads what is there now"
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
    """Return an instant as the warehouse keeps it: in UTC, and without saying so."""
    return instant.astimezone(UTC).replace(tzinfo=None)
