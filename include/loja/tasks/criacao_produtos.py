"""The work of the tasks of `criacao_produtos`."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from contextlib import closing
from typing import Any

from include.loja import connections
from include.loja.errors import UnfinishedError
from include.loja.products import notices
from include.loja.products.claims import Claims
from include.loja.settings import Creation

log = logging.getLogger(__name__)

QUEUE = "produto-fila"
# The log shows at most so many failures; produtos_eventos has all of them.
SHOWN = 100


def claim(settings: Creation, run: str, replay: Sequence[int] | None, replay_all: bool) -> list[list[int]]:
    """Put back the failed products that the run repeats, then claim the due ones; return their ids in batches."""
    with closing(connections.mysql()) as connection:
        claims = Claims(connection, run, settings.delay)
        if replay or replay_all:
            log.info(
                "%d failed products are put back to the start", claims.replay(None if replay_all else replay)
            )
        return claims.claim(settings.batches, settings.batch)


def create(settings: Creation, run: str, batch: Sequence[int]) -> dict[str, int]:
    """Take a batch through its steps; return the number of products per final state."""
    with closing(connections.mysql()) as connection:
        return Claims(connection, run, settings.delay).work(batch)


def notify(settings: Creation, run: str, claimed: bool) -> dict[str, int]:
    """Send the unsent messages about products, and log the products that failed; return both counts.

    Raises UnfinishedError if nothing could be claimed, or if this run still claims products: a task has failed, and the
    next run takes over. `avisar` is the last task, so only it can end the run as failed.
    """
    with closing(connections.mysql()) as connection:
        sent = notices.send(connection, _publish)
        claims = Claims(connection, run, settings.delay)
        failures = claims.report()
        for failure in failures[:SHOWN]:
            log.warning("product %(pendente_id)s is %(estado)s: %(motivo)s", failure)
        if not claimed:
            raise UnfinishedError("task reservar has failed (its log has the reason): no product was claimed")
        if left := claims.left():
            raise UnfinishedError(
                f"{left} products of this run were not worked on: the next run takes them over"
            )
    return {"avisos": sent, "com_motivo": len(failures)}


def _publish(messages: Sequence[dict[str, Any]]) -> None:
    from include.loja.queues.rabbitmq import publish

    publish(connections.rabbitmq(), QUEUE, [json.dumps(message).encode() for message in messages])
