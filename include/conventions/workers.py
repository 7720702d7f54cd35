"""Workers: their name, and the order in which they serve their queues.

Airflow shows the name with each task in the UI, and fetches the task's log from it.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable
from dataclasses import dataclass

from include.conventions.settings import FromEnvironment, text, whole


@dataclass(frozen=True)
class Settings(FromEnvironment):
    """The settings of a worker."""

    name: str = text(
        "WORKER_NAME",
        "",
        meaning="name of the worker in the UI; empty: the machine's name",
    )
    share: int = whole(
        "WORKER_QUEUE_SHARE",
        0,
        0,
        50,
        meaning="percent of its tasks that a worker takes from each queue after its first one, as long as that queue has "
        "tasks; 0: a queue waits while an earlier one has tasks",
    )


def hostname() -> str:
    """Return `WORKER_NAME`, else the machine's name. It is Airflow's `[core] hostname_callable`.

    If task logs are fetched from the worker, the API server must be able to resolve the name.
    """
    return Settings.load().name or socket.gethostname()


class Shares:
    """The order in which a worker serves its queues: a `queue_order_strategy` of Celery's transport for Redis.

    A worker serves an earlier queue before a later one, but each later queue has a share (`WORKER_QUEUE_SHARE`): with each
    task that the worker takes, the queue earns this part of a turn. With a whole turn, it is served first. It saves no more
    than one turn, so that it does not hold up the others after a quiet time.
    """

    def __init__(self, share: int | None = None) -> None:
        self.share = Settings.load().share if share is None else share
        self._queues: list[str] = []
        # In percent of a turn.
        self._earned: dict[str, int] = {}

    def update(self, queues: Iterable[str]) -> None:
        """Replace the queues; they are in the order of the worker's `--queues`."""
        self._queues = list(queues)

    def consume(self, n: int) -> list[str]:
        """Return up to `n` queues. The next task comes from the first one that has any."""
        return sorted(self._queues[:n], key=lambda queue: self._earned.get(queue, 0) < 100)

    def rotate(self, last_used: str) -> None:
        """Note that the worker has taken a task from a queue."""
        for queue in self._queues[1:]:
            earned = self._earned.get(queue, 0) + self.share
            self._earned[queue] = max(0, earned - 100) if queue == last_used else min(100, earned)
