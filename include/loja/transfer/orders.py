"""Find faults in the orders of the legacy table, row by row. Faults across several rows are found in the warehouse.

The legacy table has no unique key on `pedido_id`, so several rows may have the same one. The row that was written last
(the highest `linha`) is the order; each other row is set aside as its copy or as an older version of it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

STATES = ("novo", "pago", "enviado", "entregue", "cancelado")
EARLIEST = datetime(2000, 1, 1)  # noqa: DTZ001 - the table's times are naive, and UTC
TOLERANCE = timedelta(days=1)
# The source's ids are unsigned. The types in Parquet and in the warehouse are signed: this is their maximum.
MAX_ID = (1 << 63) - 1


def fault(row: Mapping[str, Any], now: datetime) -> str | None:
    """Return why an order is set aside, naming the value, or None; `now` is the source's clock, naive and UTC.

    PyMySQL returns an invalid date, such as 0000-00-00 00:00:00, as a text.
    """
    date, status, value = row["data"], row["status"], row["valor_total"]
    if not isinstance(date, datetime):
        return f"data is {date}: it must be a date"
    if not EARLIEST <= date <= now + TOLERANCE:
        return f"data is {date}: it must be from {EARLIEST:%Y-%m-%d} to the present"
    if status not in STATES:
        return f"status is {status!r}: it must be {', '.join(STATES)}"
    if value is None or value < 0:
        return f"valor_total is {value}: it must be at least 0"
    if row["cliente_id"] is None:
        return "cliente_id is empty: an order must have one"
    for name in ("pedido_id", "cliente_id"):
        if row[name] > MAX_ID:
            return f"{name} is {row[name]}: it must be at most {MAX_ID}"
    return None


def split(row: Mapping[str, Any], now: datetime) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """Return (row for `pedidos`, None), or (None, row for `pedidos_rejeitados`)."""
    reason = fault(row, now)
    if reason is None:
        kept = ("linha", "pedido_id", "cliente_id", "data", "valor_total", "status")
        return {**{name: row[name] for name in kept}, "versao": now}, None
    return None, {
        "linha": row["linha"],
        "pedido_id": row["pedido_id"] if row["pedido_id"] <= MAX_ID else None,
        "valor_total": row["valor_total"],
        "conteudo": json.dumps(row, ensure_ascii=False, default=str)[:2000],
        "motivo": reason[:500],
        "versao": now,
    }
