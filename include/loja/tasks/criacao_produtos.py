"""What the tasks of `criacao_produtos` do."""

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
# So many failures are told in the log; all of them are in produtos_eventos.
SHOWN = 100


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


def tell(settings: Creation, run: str, claimed: bool) -> dict[str, int]:
    """Send what downstream was not told yet, and say which products failed; return the counts of both.

    Raises UnfinishedError when nothing could be claimed, or a batch of this run was not worked on: a task has failed, and
    the next run takes it over. Nobody else would end the run as failed, for `tell` comes last.
    """
    with closing(connections.mysql()) as connection:
        sent = notices.send(connection, _publish)
        claims = Claims(connection, run, settings.delay)
        failures = claims.report()
        for failure in failures[:SHOWN]:
            log.warning("product %(pendente_id)s is %(estado)s: %(motivo)s", failure)
        if not claimed:
            raise UnfinishedError("task reservar has failed, and says why: no product was claimed")
        if left := claims.left():
            raise UnfinishedError(
                f"{left} products of this run were not worked on: the next run takes them over"
            )
    return {"avisos": sent, "com_motivo": len(failures)}


def _publish(messages: Sequence[dict[str, Any]]) -> None:
    from include.loja.queues.rabbitmq import publish

    publish(connections.rabbitmq(), QUEUE, [json.dumps(message).encode() for message in messages])
