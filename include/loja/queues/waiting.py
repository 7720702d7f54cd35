"""What starts `consumir_fila_sqs`: a watcher that asks whether messages wait, and takes none.

The Amazon provider's own trigger receives the messages and puts their bodies into the metadata database; left in the
queue, they would each time count as delivered, and it would tell of them without a pause.

It tells when messages begin to wait, and again every `AGAIN` times if some still do: a run whose messages came faster
than it could take them, or that failed, is followed by another. What is told during a run makes one run after it, not a
heap: Airflow keeps one note for each asset until the DAG may run.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

from airflow.triggers.base import BaseEventTrigger, TriggerEvent

log = logging.getLogger(__name__)

AGAIN = 4


class MessagesWait(BaseEventTrigger):
    """Tells `{"fila": queue, "esperando": about how many}` of one queue on SQS; asks every `seconds`."""

    def __init__(self, queue: str, seconds: float) -> None:
        super().__init__()
        self.queue = queue
        self.seconds = seconds
        self._client: Any = None

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return how the triggerer makes it anew."""
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {"queue": self.queue, "seconds": self.seconds},
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Ask for ever. A queue that can't be asked is asked again later; it starts nothing meanwhile."""
        quiet = 0
        try:
            while True:
                try:
                    count = await asyncio.to_thread(self._count)
                except Exception:
                    log.exception("%s can't be asked; asking again in %s s", self.queue, self.seconds)
                    self._hang_up()
                    count = 0
                if count and quiet == 0:
                    yield TriggerEvent({"fila": self.queue, "esperando": count})
                quiet = (quiet + 1) % AGAIN if count else 0
                await asyncio.sleep(self.seconds)
        finally:
            self._hang_up()

    def _count(self) -> int:
        from include.loja import connections
        from include.loja.queues.sqs import declare, waiting

        # Kept: a new client takes longer than the triggerer wants to be held up.
        if self._client is None:
            self._client = connections.sqs()
            declare(self._client, self.queue)
        return waiting(self._client, self.queue)

    def _hang_up(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None
