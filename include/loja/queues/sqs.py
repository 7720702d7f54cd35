"""The store's queues on Amazon SQS.

SQS has no priorities. So each of `produto-fila`, `pedido-fila` and `usuario-fila` is three queues and one for dead
letters. A consumer asks the three in this order, and waits up to a second at the last one if all were empty:

| suffix   | content                                                                                            |
|----------|----------------------------------------------------------------------------------------------------|
| -alta    | urgent messages                                                                                    |
| none     | messages of priority `media`, and those that other programs send, whatever their priority          |
| -baixa   | messages of low priority                                                                           |
| -mortas  | dead letters: the body, attributes `motivo`, `tentativas`, `fila`                                  |

SQS hides received messages for the visibility timeout. A batch must be stored within that time; otherwise its messages
are delivered again, which does no harm: their ids are the same. When a consumer dies, its batch is visible again after
that time. A refused message is visible again after its pause. SQS then reports it as redelivered, so it is also counted
as a delivery that was not finished, twice at most.

There is no redrive policy: it would move messages without a reason, and it counts deliveries, not tries.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from include.conventions.errors import ConfigurationError
from include.conventions.retries import patience
from include.loja.errors import BrokerError
from include.loja.queues.consume import MOST_BYTES, BrokerUnavailableError, Delivery
from include.loja.queues.message import LARGEST, Priority, priority

SUFFIXES = {Priority.alta: "-alta", Priority.media: "", Priority.baixa: "-baixa"}
DEAD = "-mortas"
# SQS takes and returns at most so many messages in one call.
MOST = 10
MISSING = {"NonExistentQueue", "QueueDoesNotExist"}
DENIED = {
    "AccessDenied",
    "AccessDeniedException",
    "InvalidClientTokenId",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
}
THROTTLED = {"Throttling", "ThrottlingException", "RequestThrottled", "TooManyRequestsException"}
# The codes for a receipt that has expired, or whose message is deleted.
OVER = {"InvalidParameterValue", "MessageNotInflight", "ReceiptHandleIsInvalid"}
# The longest retention that SQS offers, in seconds. Its default would delete a dead letter after four days.
KEPT = 14 * 24 * 3600
# Characters that XML, and so SQS, does not allow in an attribute.
NOT_TEXT = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True)
class Handle:
    """Where a message was received, and the receipt that deletes it."""

    url: str
    receipt: str


def declare(client: Any, queue: str) -> dict[str, str]:
    """Create those of a queue's four queues that are missing; return their URLs by name.

    An existing queue keeps its attributes.
    """
    with _translate_errors(queue):
        return {
            name: _url(client, name)
            for name in (*(queue + suffix for suffix in SUFFIXES.values()), queue + DEAD)
        }


def waiting(client: Any, queue: str) -> int:
    """Return about how many messages of all priorities are visible in a queue; hidden ones are not counted."""
    with _translate_errors(queue):
        return sum(
            int(
                client.get_queue_attributes(
                    QueueUrl=client.get_queue_url(QueueName=queue + suffix)["QueueUrl"],
                    AttributeNames=["ApproximateNumberOfMessages"],
                )["Attributes"]["ApproximateNumberOfMessages"]
            )
            for suffix in SUFFIXES.values()
        )


def publish(client: Any, queue: str, bodies: Iterable[bytes]) -> int:
    """Put bodies into the queue of their priority; return how many, once SQS has accepted all of them."""
    urls = declare(client, queue)
    count = 0
    pending: dict[str, list[str]] = {url: [] for url in urls.values()}
    with _translate_errors(queue):
        for body in bodies:
            url = urls[queue + SUFFIXES[priority(body)]]
            if len(pending[url]) == MOST or sum(map(len, pending[url])) + len(body) > LARGEST:
                count += _send(client, url, pending[url])
                pending[url] = []
            pending[url].append(body.decode())
        for url, some in pending.items():
            count += _send(client, url, some)
    return count


class SQS:
    """One consumer's view of one queue: `consume.Queue`."""

    def __init__(
        self, client: Any, queue: str, visibility: timedelta, pause: timedelta, patience: timedelta
    ) -> None:
        self.client = client
        self.queue = queue
        self.visibility = visibility
        self.pause = pause
        self.patience = patience
        self.urls = declare(client, queue)

    def reopen(self) -> None:
        """Retry until SQS answers or `patience` is over. SQS has no lasting connection."""
        for attempt in patience(self.patience, BrokerUnavailableError):
            with attempt:
                self.urls = declare(self.client, self.queue)

    def receive(self, most: int) -> list[Delivery]:
        """Return up to `most` messages of the three queues, the urgent first; no more answers after `MOST_BYTES`."""
        found: list[Delivery] = []
        size = 0
        with _translate_errors(self.queue):
            for suffix in SUFFIXES.values():
                last = suffix == SUFFIXES[Priority.baixa]
                while len(found) < most and size < MOST_BYTES:
                    some = self._receive(suffix, most - len(found), wait=1 if last and not found else 0)
                    found.extend(some)
                    size += sum(len(one.body) for one in some)
                    if not some:
                        break
        return found

    def postpone(self, delivery: Delivery) -> None:
        """Make it visible again after the pause."""
        with _translate_errors(self.queue):
            try:
                self.client.change_message_visibility(
                    QueueUrl=delivery.handle.url,
                    ReceiptHandle=delivery.handle.receipt,
                    VisibilityTimeout=int(self.pause.total_seconds()),
                )
            except ClientError as error:
                # It is visible again already, or another consumer has finished and deleted it.
                if _code(error) not in OVER:
                    raise

    def bury(self, delivery: Delivery, reason: str, tries: int) -> None:
        """Put it among the dead letters. A body above `LARGEST` is cut, so that it fits together with the reason."""
        body = delivery.body.decode()
        attributes = {"motivo": NOT_TEXT.sub("?", reason), "tentativas": str(tries), "fila": self.queue}
        if len(delivery.body) > LARGEST:
            body = delivery.body[:LARGEST].decode(errors="ignore")
            attributes["cortada"] = f"{len(delivery.body)} bytes"
        with _translate_errors(self.queue):
            self.client.send_message(
                QueueUrl=self.urls[self.queue + DEAD],
                MessageBody=body,
                MessageAttributes={
                    name: {"DataType": "String", "StringValue": value} for name, value in attributes.items()
                },
            )

    def acknowledge(self, deliveries: Sequence[Delivery]) -> None:
        """Delete these. A message whose visibility timeout is over may be delivered again."""
        by_url: dict[str, list[str]] = {}
        for delivery in deliveries:
            by_url.setdefault(delivery.handle.url, []).append(delivery.handle.receipt)
        with _translate_errors(self.queue):
            for url, receipts in by_url.items():
                for start in range(0, len(receipts), MOST):
                    self.client.delete_message_batch(
                        QueueUrl=url,
                        Entries=[
                            {"Id": str(number), "ReceiptHandle": receipt}
                            for number, receipt in enumerate(receipts[start : start + MOST])
                        ],
                    )

    def _receive(self, suffix: str, most: int, wait: int) -> list[Delivery]:
        url = self.urls[self.queue + suffix]
        answer = self.client.receive_message(
            QueueUrl=url,
            MaxNumberOfMessages=min(MOST, most),
            WaitTimeSeconds=wait,
            VisibilityTimeout=int(self.visibility.total_seconds()),
            MessageSystemAttributeNames=["ApproximateReceiveCount"],
        )
        found = []
        for message in answer.get("Messages", []):
            again = int(message["Attributes"]["ApproximateReceiveCount"]) > 1
            handle = Handle(url, message["ReceiptHandle"])
            found.append(Delivery(message["Body"].encode(), again, again, handle))
        return found


def revive(client: Any, queue: str, forget: Callable[[bytes], None]) -> int:
    """Put the visible dead letters back into their queue; return how many.

    Calls `forget` with each body first, to delete its failures. If the process dies in between, a body is in both queues.
    """
    urls = declare(client, queue)
    count = 0
    with _translate_errors(queue):
        while some := client.receive_message(
            QueueUrl=urls[queue + DEAD], MaxNumberOfMessages=MOST, WaitTimeSeconds=1
        ).get("Messages"):
            for message in some:
                body = message["Body"].encode()
                forget(body)
                _send(client, urls[queue + SUFFIXES[priority(body)]], [message["Body"]])
                client.delete_message(QueueUrl=urls[queue + DEAD], ReceiptHandle=message["ReceiptHandle"])
                count += 1
    return count


def _url(client: Any, name: str) -> str:
    try:
        url: str = client.get_queue_url(QueueName=name)["QueueUrl"]
    except ClientError as error:
        if _code(error) not in MISSING:
            raise
        attributes = {"MessageRetentionPeriod": str(KEPT)}
        url = client.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
    return url


def _code(error: ClientError) -> str:
    """Return an error's code without its prefix: `QueueDoesNotExist` for `AWS.SimpleQueueService.QueueDoesNotExist`."""
    return str(error.response.get("Error", {}).get("Code")).rpartition(".")[2]


def _send(client: Any, url: str, bodies: Sequence[str]) -> int:
    if not bodies:
        return 0
    answer = client.send_message_batch(
        QueueUrl=url,
        Entries=[{"Id": str(number), "MessageBody": body} for number, body in enumerate(bodies)],
    )
    if failed := answer.get("Failed"):
        raise BrokerUnavailableError(
            f"SQS accepted {len(bodies) - len(failed)} of {len(bodies)}: {failed[0].get('Message')}"
        )
    return len(bodies)


@contextmanager
def _translate_errors(queue: str) -> Iterator[None]:
    """Translate the client's errors.

    BrokerUnavailableError if a retry may help, ConfigurationError if access is denied, else BrokerError.
    """
    try:
        yield
    except ClientError as error:
        code = _code(error)
        if code in DENIED:
            raise ConfigurationError(f"SQS refused connection sqs_loja for {queue}: {error}") from None
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 500)
        # `reopen` creates a missing queue again.
        if code in MISSING or code in THROTTLED or status >= 500:
            raise BrokerUnavailableError(f"queue {queue}: {error}") from None
        raise BrokerError(f"SQS refused a call about {queue}: {error}") from None
    except BotoCoreError as error:
        raise BrokerUnavailableError(str(error)) from None
