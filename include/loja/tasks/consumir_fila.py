"""The work of the tasks of `consumir_fila_rabbitmq` and `consumir_fila_sqs`."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any

from include.loja import connections
from include.loja.errors import UnfinishedError
from include.loja.queues import rabbitmq, sqs
from include.loja.queues.consume import Queue, consume
from include.loja.queues.inbox import Inbox, create_tables
from include.loja.queues.message import Broker, key
from include.loja.queues.report import record_metrics, write
from include.loja.settings import Queues

log = logging.getLogger(__name__)


def plan(
    settings: Queues,
    broker: Broker,
    run: str,
    queues: Sequence[str],
    consumers: int,
    batch: int,
    revive: bool,
) -> list[dict[str, Any]]:
    """Return one entry for each consumer to start: `fila`, and `numero`, which counts from one per queue.

    With `revive`, first puts the queues' dead letters back, to be tried as new messages.
    """
    with closing(connections.mysql()) as connection:
        create_tables(connection)
        for queue in queues if revive else ():
            log.info(
                "%d dead letters go back to %s", _revive(broker, queue, Inbox(connection, queue, run)), queue
            )
    planned = []
    for queue in queues:
        waiting = _waiting(settings, broker, queue)
        # One consumer per batch, rounded up, and at most `consumers`.
        count = min(consumers, -(-waiting // batch))
        log.info("%d messages wait in %s: %d consumers", waiting, queue, count)
        planned += [{"fila": queue, "numero": number} for number in range(1, count + 1)]
    return planned


def work(
    settings: Queues,
    broker: Broker,
    run: str,
    queue: str,
    batch: int,
    seconds: float,
) -> dict[str, int]:
    """Run one consumer of a queue until the queue is empty or `seconds` are over; return its counts."""
    with closing(connections.mysql()) as connection, _open(settings, broker, queue, batch) as opened:
        return vars(consume(opened, Inbox(connection, queue, run), batch, seconds=seconds))


def measure(broker: Broker, run: str, queues: Sequence[str], failed: int | None) -> dict[str, dict[str, Any]]:
    """Return a run's numbers per queue, and write them to database, warehouse and metrics.

    `failed` is the number of consumers that failed for good, or None if `planejar` failed. Raises UnfinishedError at once
    for None, and after writing the numbers if it is not 0: `medir` is the last task, so only it can end the run as failed.
    """
    if failed is None:
        raise UnfinishedError("task planejar has failed (its log has the reason): nothing was consumed")
    with closing(connections.mysql()) as connection:
        create_tables(connection)
        numbers = {queue: Inbox(connection, queue, run).measure() for queue in queues}
    for queue, found in numbers.items():
        rate = "no rate" if found.taxa is None else f"{found.taxa:.1%}"
        log.info(
            "%s: %d messages, %d stored, %d set aside, %s",
            queue,
            found.total,
            found.sucessos,
            found.falhas,
            rate,
        )
    write(_warehouse(), run, numbers)
    with closing(connections.mysql()) as connection:
        uncounted = {queue: Inbox(connection, queue, run).count(found) for queue, found in numbers.items()}
    record_metrics(broker, numbers, uncounted)
    if failed:
        raise UnfinishedError(f"consumers that failed: {failed}; what they left waits for the next run")
    return {queue: vars(found) for queue, found in numbers.items()}


def _waiting(settings: Queues, broker: Broker, queue: str) -> int:
    if broker == "rabbitmq":
        return rabbitmq.waiting(connections.rabbitmq(), queue, settings.pause)
    with closing(connections.sqs()) as client:
        sqs.declare(client, queue)
        return sqs.waiting(client, queue)


def _revive(broker: Broker, queue: str, stored: Inbox) -> int:
    def forget(body: bytes) -> None:
        stored.forget(key(body))

    if broker == "rabbitmq":
        return rabbitmq.revive(connections.rabbitmq(), queue, forget)
    with closing(connections.sqs()) as client:
        return sqs.revive(client, queue, forget)


@contextmanager
def _open(settings: Queues, broker: Broker, queue: str, batch: int) -> Iterator[Queue]:
    if broker == "rabbitmq":
        parameters = connections.rabbitmq()
        with rabbitmq.RabbitMQ(parameters, queue, batch, settings.pause, settings.patience) as opened:
            yield opened
        return
    with closing(connections.sqs()) as client:
        yield sqs.SQS(client, queue, settings.visibility, settings.pause, settings.patience)


def _warehouse() -> Callable[[], Any]:
    return connections.warehouse().connect
