"""The trigger that starts `consumir_fila_sqs`: it asks SQS for the number of waiting messages, and receives none.

The Amazon provider's own trigger is not used. It receives the messages and writes their bodies into the metadata
database. If they stay in the queue, each check counts as a delivery, and fires an event again.

This trigger fires an event when messages begin to wait, and again at every `AGAIN`-th check while some still wait. So
another run starts after a run that failed, or that could not keep up with new messages. Several events during a run start
only one run after it: Airflow queues one event per asset until the DAG may run.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from typing import Any

from airflow.triggers.base import BaseEventTrigger, TriggerEvent

log = logging.getLogger(__name__)

AGAIN = 4


class MessagesWait(BaseEventTrigger):
    """Fires `{"fila": queue, "esperando": approximate number}` for one queue on SQS; checks every `seconds`."""

    def __init__(self, queue: str, seconds: float) -> None:
        super().__init__()
        self.queue = queue
        self.seconds = seconds
        self._client: Any = None

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return class path and arguments, from which the triggerer creates it again."""
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {"queue": self.queue, "seconds": self.seconds},
        )

    async def run(self) -> AsyncGenerator[TriggerEvent, None]:
        """Check for ever. After an error it checks again later, and fires no event until then."""
        quiet = 0
        try:
            while True:
                try:
                    count = await asyncio.to_thread(self._count)
                except Exception:
                    log.exception("%s can't be checked; checking again in %s s", self.queue, self.seconds)
                    self._disconnect()
                    count = 0
                if count and quiet == 0:
                    yield TriggerEvent({"fila": self.queue, "esperando": count})
                quiet = (quiet + 1) % AGAIN if count else 0
                await asyncio.sleep(self.seconds)
        finally:
            self._disconnect()

    def _count(self) -> int:
        from include.loja import connections
        from include.loja.queues.sqs import declare, waiting

        # The client is kept: creating one takes long enough to block the triggerer.
        if self._client is None:
            self._client = connections.sqs()
            declare(self._client, self.queue)
        return waiting(self._client, self.queue)

    def _disconnect(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None
