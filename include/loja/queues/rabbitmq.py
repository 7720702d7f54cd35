"""The store's queues on RabbitMQ.

For each of `produto-fila`, `pedido-fila` and `usuario-fila` there are

| queue    | what is in it                                                                                       |
|----------|-----------------------------------------------------------------------------------------------------|
| the name | messages; durable, `x-max-priority` 2, so what is urgent is delivered first                         |
| -espera  | refused ones, each with the header `volta`: when it goes back, in milliseconds since 1970            |
| -mortas  | dead letters, the body as it came, headers `motivo`, `tentativas`, `fila`                           |

At most one batch is delivered ahead (`basic.qos`): a consumer that dies holds up no more than that, and a message that
is urgent waits behind no more. What is put into a queue here is persistent and confirmed by the broker before anything
is acknowledged. Therefore a consumer brings back itself what has waited: the broker's own way, an expiration and a
dead-letter exchange, confirms nothing, and loses what is on its way when it is killed.
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
from include.loja.queues.consume import Away, Delivery
from include.loja.queues.message import Priority, priority

log = logging.getLogger(__name__)
# The client tells of each socket and channel, and of what it raises too: eight lines and a traceback for one refusal.
logging.getLogger("pika").setLevel(logging.CRITICAL)

WAITING = "-espera"
DEAD = "-mortas"
# Headers: when a message goes back, and that it has.
BACK, WAITED = "volta", "esperou"
DENIED, NOT_AS_DECLARED = 403, 406
# A broker's own no to a login or a virtual host.
REFUSED = re.compile(r"\((403|530)\)")
# How long a queue that says nothing counts as having nothing, in seconds.
SILENCE = 0.5
# Published messages that the broker writes to disk together.
TOGETHER = 500


def declare(channel: BlockingChannel, queue: str) -> None:
    """Create a queue, the one in which its refused messages wait, and its dead letters', where they are missing."""
    channel.queue_declare(queue, durable=True, arguments={"x-max-priority": int(max(Priority))})
    channel.queue_declare(queue + WAITING, durable=True)
    channel.queue_declare(queue + DEAD, durable=True)


def waiting(parameters: pika.URLParameters, queue: str) -> int:
    """Return how many messages are in a queue that nobody holds, with those whose pause is over.

    Creates the queue where it is missing. Of what has waited it brings back `TOGETHER`; consumers bring the rest.
    """
    with _told(), BlockingConnection(parameters) as connection:
        channel = connection.channel()
        declare(channel, queue)
        channel.confirm_delivery()
        _bring_back(channel, queue, TOGETHER)
        found: int = channel.queue_declare(queue, passive=True).method.message_count
        return found


def publish(parameters: pika.URLParameters, queue: str, bodies: Iterable[bytes]) -> int:
    """Put bodies into a queue; return how many, once the broker has all of them on its disk.

    They go in transactions of `TOGETHER`. Raises Away in the middle: some of what was given is there then, and a
    second call doubles those, which their ids make good.
    """
    count = 0
    rest = iter(bodies)
    with _told(), BlockingConnection(parameters) as connection:
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
    """One consumer's view of one queue: `consume.Queue`. A context manager that hangs up at the end."""

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
        self._connection: BlockingConnection | None = None

    def __enter__(self) -> RabbitMQ:
        self.reopen()
        return self

    def __exit__(self, *_: object) -> None:
        self._hang_up()

    def reopen(self) -> None:
        """Connect anew, until it works or patience is over."""
        self._hang_up()
        for attempt in patience(self.patience, Away):
            with attempt, _told():
                self._connection = BlockingConnection(self.parameters)
                self._consuming = self._connection.channel()
                declare(self._consuming, self.queue)
                self._consuming.basic_qos(prefetch_count=self.batch)
                self._publishing = self._connection.channel()
                self._publishing.confirm_delivery()

    def receive(self, most: int) -> list[Delivery]:
        """Return what comes until there are `most`, or nothing comes for a moment."""
        found: list[Delivery] = []
        with _told():
            _bring_back(self._publishing, self.queue, most)
            for method, properties, body in self._consuming.consume(self.queue, inactivity_timeout=SILENCE):
                if method is None:
                    break
                waited = WAITED in (properties.headers or {})
                again = method.redelivered
                found.append(Delivery(body, again, again or waited, method.delivery_tag))
                if len(found) == most:
                    break
        return found

    def postpone(self, delivery: Delivery) -> None:
        """Move it to where it waits for its pause; in both places for a moment, in none never."""
        back = int((time.time() + self.pause.total_seconds()) * 1000)
        self._put(self.queue + WAITING, delivery.body, _properties(delivery.body, {BACK: back}))
        self.acknowledge([delivery])

    def bury(self, delivery: Delivery, reason: str, tries: int) -> None:
        """Put it among the dead letters."""
        headers = {"motivo": reason, "tentativas": tries, "fila": self.queue}
        self._put(self.queue + DEAD, delivery.body, pika.BasicProperties(delivery_mode=2, headers=headers))

    def acknowledge(self, deliveries: Sequence[Delivery]) -> None:
        """Let the queue forget these."""
        with _told():
            for delivery in deliveries:
                self._consuming.basic_ack(delivery.handle)

    def _put(self, queue: str, body: bytes, properties: pika.BasicProperties) -> None:
        with _told():
            self._publishing.basic_publish("", queue, body, properties, mandatory=True)

    def _hang_up(self) -> None:
        if self._connection is not None and self._connection.is_open:
            with suppress(AMQPError, OSError):
                self._connection.close()
        self._connection = None


def revive(parameters: pika.URLParameters, queue: str, forget: Callable[[bytes], None]) -> int:
    """Put the dead letters that lie there now back into their queue; return how many.

    `forget` is told each body first, so that its failures are forgotten. One that dies in between lies in both queues.
    """
    count = 0
    with _told(), BlockingConnection(parameters) as connection:
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


def _bring_back(channel: BlockingChannel, queue: str, most: int) -> None:
    """Put up to so many messages whose pause is over back into their queue, in the order in which they came to wait.

    In both places for a moment, in none never. Needs a channel that confirms.
    """
    for _ in range(most):
        method, properties, body = channel.basic_get(queue + WAITING)
        if method is None:
            return
        back = (properties.headers or {}).get(BACK)
        if isinstance(back, int) and back > time.time() * 1000:
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
def _told() -> Iterator[None]:
    """Say in our words what the client raises: nobody there, or something that a person has to mend."""
    try:
        yield
    except (ProbableAuthenticationError, ProbableAccessDeniedError) as error:
        # The client suspects either whenever a broker hangs up at that moment, as one that stops does.
        if not REFUSED.search(str(error)):
            raise Away(f"RabbitMQ of connection rabbitmq_loja hung up: {error}") from None
        raise ConfigurationError(
            f"RabbitMQ refused the login or the virtual host of connection rabbitmq_loja: {error}"
        ) from None
    except ChannelClosedByBroker as error:
        if error.reply_code == NOT_AS_DECLARED:
            raise ConfigurationError(
                f"RabbitMQ has a queue that is not as it should be; delete it, once it is empty: {error.reply_text}"
            ) from None
        if error.reply_code == DENIED:
            raise ConfigurationError(
                f"RabbitMQ refused what the login of connection rabbitmq_loja asked for: {error.reply_text}"
            ) from None
        raise Away(f"{error.reply_code} {error.reply_text}") from None
    except (AMQPError, OSError) as error:
        # What it raises for a refused connection has no text.
        said = f"{type(error).__name__} {error}".strip()
        raise Away(f"RabbitMQ of connection rabbitmq_loja does not answer: {said}") from None
