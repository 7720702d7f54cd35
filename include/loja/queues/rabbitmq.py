"""The store's queues on RabbitMQ.

Each of `produto-fila`, `pedido-fila` and `usuario-fila` is three queues:

| suffix   | content                                                                                             |
|----------|-----------------------------------------------------------------------------------------------------|
| none     | messages; durable, `x-max-priority` 2, so that urgent messages are delivered first                  |
| -espera  | refused messages; the header `volta` is when each goes back, in milliseconds since 1970             |
| -mortas  | dead letters: the body unchanged, headers `motivo`, `tentativas`, `fila`                            |

The broker delivers at most one batch ahead (`basic.qos`): a consumer that dies delays one batch at most, and an urgent
message waits behind one batch at most. The broker counts messages and not bytes, so a consumer bounds the bytes itself: it
stops reading after `MOST_BYTES`, and what was delivered beyond them waits in the connection and the broker. Nothing else may
be asked on that connection, because the answer would come after all deliveries: to publish, a consumer has a second one.

Messages that this module puts into a queue are persistent, and the broker has
confirmed them before anything is acknowledged. That is why a consumer itself moves messages back after their pause: the
broker's own way (an expiration and a dead-letter exchange) confirms nothing, and loses messages in transit when the broker
is killed.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from itertools import islice
from typing import Any

import pika
from pika.adapters.blocking_connection import BlockingChannel, BlockingConnection
from pika.exceptions import (
    AMQPError,
    ChannelClosedByBroker,
    ProbableAccessDeniedError,
    ProbableAuthenticationError,
)

from include.conventions.errors import ConfigurationError
from include.conventions.retries import patience
from include.loja.queues.consume import MOST_BYTES, BrokerUnavailableError, Delivery
from include.loja.queues.message import Priority, priority

log = logging.getLogger(__name__)
# The client logs each socket and channel, and the errors that it raises: eight lines and a traceback for one refusal.
logging.getLogger("pika").setLevel(logging.CRITICAL)

WAITING = "-espera"
DEAD = "-mortas"
# Headers: when a message goes back to its queue, and the mark that it has waited.
BACK, WAITED = "volta", "esperou"
DENIED, NOT_AS_DECLARED = 403, 406
# The reply codes with which a broker refuses a login (403) or a virtual host (530).
REFUSED = re.compile(r"\((403|530)\)")
# A queue that delivers nothing for so many seconds counts as empty.
SILENCE = 0.5
# By so much the clocks of two workers may differ.
SKEW = timedelta(minutes=1)
# Messages in one transaction of `publish`, which the broker writes to disk together.
TOGETHER = 500


def declare(channel: BlockingChannel, queue: str) -> None:
    """Create a queue, its waiting queue and its dead-letter queue, if they are missing."""
    channel.queue_declare(queue, durable=True, arguments={"x-max-priority": int(max(Priority))})
    channel.queue_declare(queue + WAITING, durable=True)
    channel.queue_declare(queue + DEAD, durable=True)


def waiting(parameters: pika.URLParameters, queue: str, pause: timedelta) -> int:
    """Return how many messages in a queue are ready, that is, not delivered to a consumer.

    Creates the queue if it is missing. First moves up to `TOGETHER` messages whose `pause` is over back into the queue;
    consumers move the rest.
    """
    with _translate_errors(), BlockingConnection(parameters) as connection:
        channel = connection.channel()
        declare(channel, queue)
        channel.confirm_delivery()
        _bring_back(channel, queue, TOGETHER, pause)
        found: int = channel.queue_declare(queue, passive=True).method.message_count
        return found


def publish(parameters: pika.URLParameters, queue: str, bodies: Iterable[bytes]) -> int:
    """Put bodies into a queue; return how many, once the broker has written all of them to disk.

    They are sent in transactions of `TOGETHER`. If it raises BrokerUnavailableError in the middle, some bodies are in the
    queue. A second call sends these again, which does no harm: their ids are the same.
    """
    count = 0
    rest = iter(bodies)
    with _translate_errors(), BlockingConnection(parameters) as connection:
        channel = connection.channel()
        declare(channel, queue)
        channel.tx_select()
        while some := list(islice(rest, TOGETHER)):
            for body in some:
                channel.basic_publish("", queue, body, _properties(body))
            channel.tx_commit()
            count += len(some)
    return count


class RabbitMQ:
    """One consumer's view of one queue: `consume.Queue`. A context manager that closes its connections at the end."""

    def __init__(
        self,
        parameters: pika.URLParameters,
        queue: str,
        batch: int,
        pause: timedelta,
        patience: timedelta,
    ) -> None:
        self.parameters = parameters
        self.queue = queue
        self.batch = batch
        self.pause = pause
        self.patience = patience
        self._connections: list[BlockingConnection] = []
        self._held: set[int] = set()

    def __enter__(self) -> RabbitMQ:
        self.reopen()
        return self

    def __exit__(self, *_: object) -> None:
        self._disconnect()

    def reopen(self) -> None:
        """Connect again; retry until it works or `patience` is over."""
        for attempt in patience(self.patience, BrokerUnavailableError):
            with attempt, _translate_errors():
                # Both are closed by the next attempt if the second one fails.
                self._disconnect()
                for _ in range(2):
                    self._connections.append(BlockingConnection(self.parameters))
                self._consuming, self._publishing = (each.channel() for each in self._connections)
                declare(self._consuming, self.queue)
                self._consuming.basic_qos(prefetch_count=self.batch)
                self._held.clear()
                self._publishing.confirm_delivery()

    def receive(self, most: int) -> list[Delivery]:
        """Return up to `most` messages; stop after `MOST_BYTES`, or when none arrives for `SILENCE` seconds."""
        found: list[Delivery] = []
        size = 0
        with _translate_errors():
            _bring_back(self._publishing, self.queue, most, self.pause)
            for method, properties, body in self._consuming.consume(self.queue, inactivity_timeout=SILENCE):
                if method is None:
                    break
                waited = WAITED in (properties.headers or {})
                again = method.redelivered
                found.append(Delivery(body, again, again or waited, method.delivery_tag))
                self._held.add(method.delivery_tag)
                size += len(body)
                if len(found) == most or size >= MOST_BYTES:
                    break
        return found

    def postpone(self, delivery: Delivery) -> None:
        """Move it to the waiting queue for its pause. For a moment it is in both queues, never in none."""
        back = int((time.time() + self.pause.total_seconds()) * 1000)
        self._put(self.queue + WAITING, delivery.body, _properties(delivery.body, {BACK: back}))
        self.acknowledge([delivery])

    def bury(self, delivery: Delivery, reason: str, tries: int) -> None:
        """Put it among the dead letters."""
        headers = {"motivo": reason, "tentativas": tries, "fila": self.queue}
        self._put(self.queue + DEAD, delivery.body, pika.BasicProperties(delivery_mode=2, headers=headers))

    def acknowledge(self, deliveries: Sequence[Delivery]) -> None:
        """Remove these from the queue."""
        done = {delivery.handle for delivery in deliveries}
        kept = self._held - done
        # The broker numbers deliveries, and takes one answer for all up to a number. Later ones are not received yet.
        together = {tag for tag in done if not kept or tag < min(kept)}
        with _translate_errors():
            if together:
                self._consuming.basic_ack(max(together), multiple=True)
            for tag in sorted(done - together):
                self._consuming.basic_ack(tag)
        self._held = kept

    def _put(self, queue: str, body: bytes, properties: pika.BasicProperties) -> None:
        with _translate_errors():
            self._publishing.basic_publish("", queue, body, properties, mandatory=True)

    def _disconnect(self) -> None:
        while self._connections:
            connection = self._connections.pop()
            if connection.is_open:
                with suppress(AMQPError, OSError):
                    connection.close()


def revive(parameters: pika.URLParameters, queue: str, forget: Callable[[bytes], None]) -> int:
    """Put the present dead letters back into their queue; return how many.

    Calls `forget` with each body first, to delete its failures. If the process dies in between, a body is in both queues.
    """
    count = 0
    with _translate_errors(), BlockingConnection(parameters) as connection:
        channel = connection.channel()
        declare(channel, queue)
        channel.confirm_delivery()
        for _ in range(channel.queue_declare(queue + DEAD, passive=True).method.message_count):
            method, _properties_of, body = channel.basic_get(queue + DEAD)
            if method is None:
                break
            forget(body)
            channel.basic_publish("", queue, body, _properties(body), mandatory=True)
            channel.basic_ack(method.delivery_tag)
            count += 1
    return count


def _bring_back(channel: BlockingChannel, queue: str, most: int, pause: timedelta) -> None:
    """Move up to `most` messages whose pause is over back into their queue, in the order in which they were postponed.

    A message whose header says that it goes back later than in `pause` goes back now: it would hold up all messages behind
    it. Either the pause has been shortened since, or the header is not ours.

    For a moment a message is in both queues, never in none. The channel must be in confirm mode.
    """
    for _ in range(most):
        method, properties, body = channel.basic_get(queue + WAITING)
        if method is None:
            return
        back = (properties.headers or {}).get(BACK)
        left = back / 1000 - time.time() if isinstance(back, int) else 0
        if 0 < left <= (pause + SKEW).total_seconds():
            channel.basic_nack(method.delivery_tag)
            return
        _send_back(channel, queue, body)
        channel.basic_ack(method.delivery_tag)


def _send_back(channel: BlockingChannel, queue: str, body: bytes) -> None:
    channel.basic_publish("", queue, body, _properties(body, {WAITED: True}), mandatory=True)


def _properties(body: bytes, headers: Mapping[str, Any] | None = None) -> Any:
    return pika.BasicProperties(
        delivery_mode=2,
        content_type="application/json",
        priority=int(priority(body)),
        headers=None if headers is None else dict(headers),
    )


@contextmanager
def _translate_errors() -> Iterator[None]:
    """Translate the client's errors.

    BrokerUnavailableError if the broker does not answer, ConfigurationError if a person must act.
    """
    try:
        yield
    except (ProbableAuthenticationError, ProbableAccessDeniedError) as error:
        # The client guesses: it raises these for any connection that closes during the login, as when a broker stops.
        if not REFUSED.search(str(error)):
            raise BrokerUnavailableError(
                f"RabbitMQ of connection rabbitmq_loja closed the connection: {error}"
            ) from None
        raise ConfigurationError(
            f"RabbitMQ refused the login or the virtual host of connection rabbitmq_loja: {error}"
        ) from None
    except ChannelClosedByBroker as error:
        if error.reply_code == NOT_AS_DECLARED and "message size" in error.reply_text:
            raise ConfigurationError(f"RabbitMQ refused a message: {error.reply_text}") from None
        if error.reply_code == NOT_AS_DECLARED:
            raise ConfigurationError(
                f"RabbitMQ has a queue with other attributes; delete it once it is empty: {error.reply_text}"
            ) from None
        if error.reply_code == DENIED:
            raise ConfigurationError(
                f"RabbitMQ denied a permission to the login of connection rabbitmq_loja: {error.reply_text}"
            ) from None
        raise BrokerUnavailableError(f"{error.reply_code} {error.reply_text}") from None
    except (AMQPError, OSError) as error:
        # The error of a refused connection has no text, so name its class.
        said = f"{type(error).__name__} {error}".strip()
        raise BrokerUnavailableError(
            f"RabbitMQ of connection rabbitmq_loja does not answer: {said}"
        ) from None
