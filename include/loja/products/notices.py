"""What downstream is told of a product: from the outbox `avisos` to the queue, at least once, under one lasting id.

| step                             | what is there when the process dies right after it               |
|----------------------------------|-------------------------------------------------------------------|
| the product's step, with the row in `avisos`, in one transaction | both, or neither                  |
| publish, confirmed by the broker | the message; the row still counts as unsent, and is sent again    |
| mark as sent                     | done                                                              |

A message that is sent twice, by a crash or by two senders at once, has the same id both times. The consumers store the
effect of an id once (`include/loja/queues/message.py`), so twice is as good as once. A broker that is away holds up no
product: the rows wait for the next run.
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
    """Publish all that is unsent; return how many messages. What `publish` raises goes on, with the rest unsent."""
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
