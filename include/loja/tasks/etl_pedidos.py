"""The work of the tasks of `etl_pedidos`."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import closing
from datetime import datetime
from typing import Any

from include.conventions.conf import span
from include.loja import connections
from include.loja.settings import Transfer
from include.loja.transfer import export, publish
from include.loja.transfer.bucket import Bucket, Export, folder
from include.loja.transfer.coverage import window
from include.loja.transfer.export import Orders
from include.loja.transfer.table import Figures

log = logging.getLogger(__name__)

DAG = "etl_pedidos"
# A load's name in the ledger. The DAG is part of it: runs of several DAGs may have the same id.
LOAD = f"{DAG} {{}}".format


def extract(
    settings: Transfer,
    run: str,
    conf: Mapping[str, Any],
    interval: tuple[datetime | None, datetime | None],
) -> dict[str, Any]:
    """Export the orders of the run's window, cleaned; return the extract for the next tasks."""
    with connections.warehouse().session() as session:
        until = publish.covered(session)
    start, end = window(span(conf), interval, until)
    log.info("orders changed in [%s, %s)", start.isoformat(), end.isoformat())
    bucket = Bucket(connections.s3(), settings.bucket, settings.part_rows)
    with closing(connections.mysql()) as connection:
        read = export.orders_changed(connection, bucket, folder(DAG, run), (start, end), settings.grace)
    return {"inicio": start.isoformat(), "fim": end.isoformat(), **dump(read)}


def load(settings: Transfer, run: str, extracted: Mapping[str, Any]) -> dict[str, int]:
    """Publish the window in one transaction, compared before its commit; return the rows read and set aside."""
    read = restore(extracted)
    start, end = (datetime.fromisoformat(extracted[name]) for name in ("inicio", "fim"))
    bucket = Bucket(connections.s3(), settings.bucket, settings.part_rows)
    with connections.warehouse().session() as session:
        publish.orders(session, bucket, read, (start, end), LOAD(run))
    return {"lidos": read.source.rows, "rejeitados": read.set_aside.figures.rows}


def validate(settings: Transfer, run: str, extracted: Mapping[str, Any]) -> None:
    """Compare the published rows with the extract, then remove the stage. Raises ComparisonError if they differ."""
    with connections.warehouse().session() as session:
        if not publish.compare_load(session, LOAD(run), restore(extracted)):
            log.warning("not compared: another load was published since, and compared with its own extract")
    Bucket(connections.s3(), settings.bucket, settings.part_rows).remove(f"{folder(DAG, run)}/")


def dump(read: Orders) -> dict[str, Any]:
    """Return an extract as values for JSON."""
    return {
        "kept": read.kept.dump(),
        "set_aside": read.set_aside.dump(),
        "source": read.source.dump(),
        "until": read.until.isoformat(),
        "version": read.version.isoformat(),
    }


def restore(dumped: Mapping[str, Any]) -> Orders:
    """Return the extract that was given to `dump`."""
    return Orders(
        Export.load(dumped["kept"]),
        Export.load(dumped["set_aside"]),
        Figures.load(dumped["source"]),
        datetime.fromisoformat(dumped["until"]),
        datetime.fromisoformat(dumped["version"]),
    )
