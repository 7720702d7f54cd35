"""The work of the tasks of `migracao_completa`.

| step                                                       | when the process dies                                    |
|------------------------------------------------------------|----------------------------------------------------------|
| plan the chunks, once: `plano.json`                        | after it: the next try uses the same plan                |
| export a chunk in one snapshot, then write its `….json`    | before it: the chunk is exported again; after: it is done |
| publish all in one transaction, compared before its commit | before it: nothing has changed; after: a retry repeats it |
| compare the published tables once more                     | a retry compares again                                   |

To resume a run, clear its failed tasks: they find the finished chunks on S3 by the run's id.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Any

from include.conventions.errors import LeftoverError
from include.loja import connections
from include.loja.settings import Transfer
from include.loja.tasks import etl_pedidos, etl_produtos
from include.loja.transfer import export, publish
from include.loja.transfer.bucket import Bucket, folder
from include.loja.transfer.export import Orders, Products
from include.loja.transfer.publish import Chunk

log = logging.getLogger(__name__)

DAG = "migracao_completa"
PRODUTOS = "produtos"
# A load's name in the ledger. The DAG is part of it: runs of several DAGs may have the same id.
LOAD = f"{DAG} {{}}".format


def plan(settings: Transfer, run: str) -> list[str]:
    """Return the chunks' names, one task each: `produtos`, and `pedidos-<low>-<high>` for each range of orders."""
    bucket, home = _bucket(settings, run)
    found = bucket.get(f"{home}/plano.json")
    if found is None:
        with closing(connections.mysql()) as connection:
            ranges = export.chunks(connection, settings.chunk_rows)
        found = {"chunks": [PRODUTOS, *(f"pedidos-{low}-{high}" for low, high in ranges)]}
        bucket.put(f"{home}/plano.json", found)
    chunks: list[str] = found["chunks"]
    return chunks


def move(settings: Transfer, run: str, chunk: str) -> int:
    """Export one chunk, unless an earlier try has done it; return its number of rows."""
    bucket, home = _bucket(settings, run)
    done = bucket.get(f"{home}/{chunk}.json")
    if done is not None:
        log.info("%s was exported by an earlier try", chunk)
    else:
        with closing(connections.mysql()) as connection:
            if chunk == PRODUTOS:
                done = etl_produtos.dump(export.products(connection, bucket, home))
            else:
                read = export.orders_of_chunk(connection, bucket, home, _range(chunk), settings.grace)
                done = etl_pedidos.dump(read)
        bucket.put(f"{home}/{chunk}.json", done)
    rows: int = done["export"]["figures"]["rows"] if chunk == PRODUTOS else done["source"]["rows"]
    return rows


def load(settings: Transfer, run: str) -> dict[str, int]:
    """Publish all chunks in one transaction, compared before its commit; return the rows per table."""
    bucket, home = _bucket(settings, run)
    products, orders = _read(bucket, home)
    with connections.warehouse().session() as session:
        publish.stage_products(session, bucket, products)
        parts = list(orders.values())
        publish.stage_orders(
            session, bucket, [each.kept for each in parts], [each.set_aside for each in parts]
        )
        publish.begin(session, [*publish.PRODUCT_TABLES, *publish.ORDER_TABLES])
        publish.publish_products(session, products, LOAD(run))
        until, version = min(each.until for each in parts), max(each.version for each in parts)
        publish.publish_all_orders(session, _chunks(orders), until, version, LOAD(run))
        session.connection.commit()
    return {"produtos": products.export.figures.rows, "pedidos": sum(each.source.rows for each in parts)}


def compare(settings: Transfer, run: str) -> dict[str, int]:
    """Compare the published tables with the source's sums of each chunk, then remove the stage.

    Raises ComparisonError, naming table or chunks. Skips a table that another load has changed since, with a warning.
    """
    bucket, home = _bucket(settings, run)
    products, orders = _read(bucket, home)
    compared = {}
    with connections.warehouse().session() as session:
        if publish.is_last(session, "produtos", LOAD(run)):
            publish.compare_products(session, products)
            compared["produtos"] = products.export.figures.rows
        if publish.is_last(session, "pedidos", LOAD(run)):
            publish.compare_orders(session, _chunks(orders))
            compared["pedidos"] = sum(each.source.rows for each in orders.values())
    for table in {"produtos", "pedidos"} - set(compared):
        log.warning("%s: another load was published since, so it is not compared", table)
    bucket.remove(f"{home}/")
    return compared


def _bucket(settings: Transfer, run: str) -> tuple[Bucket, str]:
    return Bucket(connections.s3(), settings.bucket, settings.part_rows), folder(DAG, run)


def _read(bucket: Bucket, home: str) -> tuple[Products, dict[str, Orders]]:
    planned: Sequence[str] = (bucket.get(f"{home}/plano.json") or {}).get("chunks", [])
    found: dict[str, Mapping[str, Any] | None] = {name: bucket.get(f"{home}/{name}.json") for name in planned}
    missing = [name for name, content in found.items() if content is None]
    if missing or not planned:
        raise LeftoverError(
            f"{len(missing)} of {len(planned)} chunks are not on S3 below {home}: clear the whole run"
        )
    products = etl_produtos.restore(found.pop(PRODUTOS) or {})
    return products, {name: etl_pedidos.restore(content or {}) for name, content in found.items()}


def _range(chunk: str) -> tuple[int, int]:
    _, low, high = chunk.split("-")
    return int(low), int(high)


def _chunks(orders: Mapping[str, Orders]) -> list[Chunk]:
    return [Chunk(*_range(name), read.source) for name, read in orders.items()]
