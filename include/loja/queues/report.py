"""Report a run's numbers to the warehouse and to OpenTelemetry. The store's database has them already.

In the warehouse a run has one row per queue; a repeated report replaces it. OpenTelemetry's counters would add up a
repeated report. So the database notes what is counted, just before it is counted: if the process dies in between, the
counters stay too low, and no retry counts twice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from opentelemetry import metrics
from opentelemetry.metrics import Meter

from include.conventions import sql
from include.loja.queues.inbox import FOLDER, Metrics


def write(connect: Callable[[], Any], run: str, numbers: Mapping[str, Metrics]) -> None:
    """Write a run's numbers per queue into the warehouse. `connect` returns a DB-API connection without autocommit."""
    connection = connect()
    try:
        cursor = connection.cursor()
        cursor.execute(sql.text(FOLDER, "create_warehouse_metrics"))
        cursor.execute(sql.text(FOLDER, "delete_warehouse_metrics"), (run,))
        for queue, found in numbers.items():
            taxa = None if found.taxa is None else round(found.taxa, 6)
            cursor.execute(
                sql.text(FOLDER, "insert_warehouse_metrics"),
                (run, queue, found.total, found.sucessos, found.falhas, taxa),
            )
        connection.commit()
    finally:
        connection.close()


def record_metrics(
    broker: str, numbers: Mapping[str, Metrics], uncounted: Mapping[str, Metrics], meter: Meter | None = None
) -> None:
    """Count messages by broker, queue and result. Set the gauge of the success rate if there was any message.

    `numbers` are those of the run, per queue; `uncounted` is the part of them that was not counted before.
    """
    meter = meter or metrics.get_meter("loja")
    messages = meter.create_counter("loja.messages", "{message}", "Messages that were stored or set apart")
    rate = meter.create_gauge("loja.success_rate", "1", "Share of a run's messages that succeeded")
    for queue, found in numbers.items():
        labels = {"broker": broker, "queue": queue}
        messages.add(uncounted[queue].sucessos, {**labels, "result": "sucesso"})
        messages.add(uncounted[queue].falhas, {**labels, "result": "falha"})
        if found.taxa is not None:
            rate.set(found.taxa, labels)
