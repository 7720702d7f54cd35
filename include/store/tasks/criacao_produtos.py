"""What the tasks of `criacao_produtos` do."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from contextlib import closing
from typing import Any

from include.store import connections, notices
from include.store.claims import Claims
from include.store.errors import StoreError
from include.store.settings import Creation

log = logging.getLogger(__name__)

QUEUE = "produto-fila"


def claim(settings: Creation, run: str, replay: Sequence[int] | None, replay_all: bool) -> list[list[int]]:
    """Put back what is to be repeated, then claim what is due; return its ids in batches."""
    with closing(connections.mysql()) as connection:
        claims = Claims(connection, run, settings.delay)
        if replay or replay_all:
            log.info("%d failed products begin again", claims.replay(None if replay_all else replay))
        return claims.claim(settings.batches, settings.batch)


def create(settings: Creation, run: str, batch: Sequence[int]) -> dict[str, int]:
    """Take a batch through its steps; return how many products ended in which state."""
    with closing(connections.mysql()) as connection:
        return Claims(connection, run, settings.delay).work(batch)


def tell(settings: Creation, run: str) -> dict[str, int]:
    """Send what downstream was not told yet, and say which products failed; return the counts of both.

    Raises StoreError when a batch of this run was not worked on: its task has failed, and the next run takes it over.
    """
    with closing(connections.mysql()) as connection:
        sent = notices.send(connection, _publish)
        claims = Claims(connection, run, settings.delay)
        failures = claims.report()
        for failure in failures:
            log.warning("product %(pendente_id)s is %(estado)s: %(motivo)s", failure)
        if left := claims.left():
            raise StoreError(f"{left} products of this run were not worked on: the next run takes them over")
    return {"avisos": sent, "com_motivo": len(failures)}


def _publish(messages: Sequence[dict[str, Any]]) -> None:
    from include.store.messages_rabbitmq import publish

    publish(connections.rabbitmq(), QUEUE, [json.dumps(message).encode() for message in messages])
