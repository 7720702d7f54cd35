"""Messages about new products: from the outbox `avisos` to the queue, at least once, always under the same id.

| step                             | when the process dies right after it                              |
|----------------------------------|-------------------------------------------------------------------|
| the product's step and the row in `avisos`, in one transaction | both are there, or neither          |
| publish, confirmed by the broker | the message is there; the row still counts as unsent, and is sent again |
| mark as sent                     | done                                                              |

A message that is sent twice, after a crash or by two senders at once, has the same id both times. The consumers store
the effect of an id once (`include/loja/queues/message.py`), so the second message changes nothing. A broker that does not
answer delays no product: the rows wait for the next run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC
from typing import Any

from pymysql.connections import Connection
from pymysql.cursors import DictCursor

from include.conventions import sql
from include.loja.mysql import transaction

FOLDER = "criacao_produtos"
BATCH = 500

Publish = Callable[[Sequence[dict[str, Any]]], None]
"""Sends messages to `produto-fila`, and returns once the broker has confirmed all of them."""


def message(row: dict[str, Any]) -> dict[str, Any]:
    """Return the message of a row of `avisos`, in the queue's format."""
    return {
        "tipo": "produto",
        "id": f"PRODUTO-{row['aviso_id']:04d}",
        "timestamp": row["criado_em"].replace(tzinfo=UTC).isoformat(),
        "dados": {
            "acao": row["acao"],
            "metadados": {"origem": "api", "prioridade": "media"},
        },
    }


def send(connection: Connection[DictCursor], publish: Publish) -> int:
    """Publish all unsent messages; return how many. Raises what `publish` raises; the rest stays unsent then."""
    sent = 0
    while rows := _unsent(connection):
        publish([message(row) for row in rows])
        with transaction(connection) as cursor:
            cursor.execute(sql.text(FOLDER, "mark_sent"), {"ids": tuple(row["aviso_id"] for row in rows)})
        sent += len(rows)
    return sent


def _unsent(connection: Connection[DictCursor]) -> list[dict[str, Any]]:
    with connection.cursor() as cursor:
        cursor.execute(sql.text(FOLDER, "read_unsent"), {"limit": BATCH})
        return list(cursor.fetchall())
