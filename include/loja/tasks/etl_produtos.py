"""The work of the tasks of `etl_produtos`."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import closing
from datetime import datetime
from decimal import Decimal
from typing import Any

from include.loja import connections
from include.loja.settings import Transfer
from include.loja.transfer import export, publish
from include.loja.transfer.bucket import Bucket, Export, folder
from include.loja.transfer.export import Products

log = logging.getLogger(__name__)

DAG = "etl_produtos"
# A load's name in the ledger. The DAG is part of it: runs of several DAGs may have the same id.
LOAD = f"{DAG} {{}}".format


def extract(settings: Transfer, run: str) -> dict[str, Any]:
    """Export all products, enriched; return the extract for the next tasks."""
    bucket = Bucket(connections.s3(), settings.bucket, settings.part_rows)
    with closing(connections.mysql()) as connection:
        read = export.products(connection, bucket, folder(DAG, run))
    for category, count in sorted(read.others.items()):
        log.warning("category %r has no categoria_id: %d products", category, count)
    if count := read.set_aside.figures.rows:
        log.warning("set aside, with their reasons, in produtos_rejeitados: %d products", count)
    return dump(read)


def load(settings: Transfer, run: str, extracted: Mapping[str, Any]) -> int:
    """Publish products and totals in one transaction; return the number of products."""
    bucket = Bucket(connections.s3(), settings.bucket, settings.part_rows)
    with connections.warehouse().session() as session:
        return publish.products(session, bucket, restore(extracted), LOAD(run))


def validate(settings: Transfer, run: str, extracted: Mapping[str, Any]) -> dict[str, Any]:
    """Compare the published tables with the source's sums, then remove the stage. Raises ComparisonError."""
    read = restore(extracted)
    with connections.warehouse().session() as session:
        if publish.is_last(session, "produtos", LOAD(run)):
            publish.compare_products(session, read)
        else:
            log.warning("not compared: another load was published since, and compared with its own extract")
    Bucket(connections.s3(), settings.bucket, settings.part_rows).remove(f"{folder(DAG, run)}/")
    return {
        "linhas": read.export.figures.rows,
        "rejeitados": read.set_aside.figures.rows,
        "categorias": len(read.totals),
        "sem_categoria_id": read.others,
    }


def dump(read: Products) -> dict[str, Any]:
    """Return an extract as values for JSON."""
    return {
        "export": read.export.dump(),
        "set_aside": read.set_aside.dump(),
        "totals": {category: [str(price), stock] for category, (price, stock) in read.totals.items()},
        "others": read.others,
        "version": read.version.isoformat(),
    }


def restore(dumped: Mapping[str, Any]) -> Products:
    """Return the extract that was given to `dump`."""
    totals = {category: (Decimal(price), int(stock)) for category, (price, stock) in dumped["totals"].items()}
    version = datetime.fromisoformat(dumped["version"])
    exports = Export.load(dumped["export"]), Export.load(dumped["set_aside"])
    return Products(*exports, totals, dict(dumped["others"]), version)
