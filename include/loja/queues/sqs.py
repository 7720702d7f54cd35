"""The store's queues on Amazon SQS.

SQS knows no priorities. So each of `produto-fila`, `pedido-fila` and `usuario-fila` is three queues, and a consumer asks
them in this order; the last one for a while, so that it does not ask without end:

| queue    | what is in it                                                                                      |
|----------|----------------------------------------------------------------------------------------------------|
| -alta    | what is urgent                                                                                     |
| the name | the rest of the world's messages, whatever their priority                                          |
| -baixa   | what has time                                                                                      |
| -mortas  | dead letters: the body, attributes `motivo`, `tentativas`, `fila`                                  |

What is received stays unseen for the visibility timeout, in which its batch must be stored: else it comes again, and its
id makes that good. A consumer that dies gives its batch back when that time is over. A refused message is made visible
after its pause; it then looks like one whose delivery nobody finished, and is counted as such, twice at most.

There is no redrive policy: it would move messages without a reason, and count deliveries that nobody tried.
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
from include.loja.queues.consume import Away, Delivery
from include.loja.queues.message import LARGEST, Priority, priority

SUFFIXES = {Priority.alta: "-alta", Priority.media: "", Priority.baixa: "-baixa"}
DEAD = "-mortas"
# Messages of one call, as SQS has it.
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
# What SQS answers about a receipt whose time is over, or whose message is deleted.
OVER = {"InvalidParameterValue", "MessageNotInflight", "ReceiptHandleIsInvalid"}
# As long as SQS keeps anything, in seconds. Left to itself, it forgets a dead letter after four days.
KEPT = 14 * 24 * 3600
# What SQS takes in an attribute, as in XML.
NOT_TEXT = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True)
class Handle:
    """Where a message was received, and the receipt that deletes it."""

    url: str
    receipt: str


def declare(client: Any, queue: str) -> dict[str, str]:
    """Create a queue's four queues where they are missing; return their URLs by name.

    One that is there stays as it is, whatever its attributes.
    """
    with _told(queue):
        return {
            name: _url(client, name)
            for name in (*(queue + suffix for suffix in SUFFIXES.values()), queue + DEAD)
        }


def waiting(client: Any, queue: str) -> int:
    """Return about how many messages wait in a queue, of all priorities; those that somebody holds don't count."""
    with _told(queue):
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
    """Put bodies into a queue, each by its priority; return how many, once SQS has taken all of them."""
    urls = declare(client, queue)
    count = 0
    pending: dict[str, list[str]] = {url: [] for url in urls.values()}
    with _told(queue):
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
        """Ask until SQS answers, or patience is over; there is no connection to keep."""
        for attempt in patience(self.patience, Away):
            with attempt:
                self.urls = declare(self.client, self.queue)

    def receive(self, most: int) -> list[Delivery]:
        """Return what the three queues have until there are `most`, the urgent first."""
        found: list[Delivery] = []
        with _told(self.queue):
            for suffix in SUFFIXES.values():
                last = suffix == SUFFIXES[Priority.baixa]
                while len(found) < most:
                    some = self._receive(suffix, most - len(found), wait=1 if last and not found else 0)
                    found.extend(some)
                    if not some:
                        break
        return found

    def postpone(self, delivery: Delivery) -> None:
        """Let it be seen again after the pause."""
        with _told(self.queue):
            try:
                self.client.change_message_visibility(
                    QueueUrl=delivery.handle.url,
                    ReceiptHandle=delivery.handle.receipt,
                    VisibilityTimeout=int(self.pause.total_seconds()),
                )
            except ClientError as error:
                # It is seen by others already, or one of them has brought it to its end.
                if _code(error) not in OVER:
                    raise

    def bury(self, delivery: Delivery, reason: str, tries: int) -> None:
        """Put it among the dead letters; of a body that would be too large with the reason, the beginning."""
        body = delivery.body.decode()
        attributes = {"motivo": NOT_TEXT.sub("?", reason), "tentativas": str(tries), "fila": self.queue}
        if len(delivery.body) > LARGEST:
            body = delivery.body[:LARGEST].decode(errors="ignore")
            attributes["cortada"] = f"{len(delivery.body)} bytes"
        with _told(self.queue):
            self.client.send_message(
                QueueUrl=self.urls[self.queue + DEAD],
                MessageBody=body,
                MessageAttributes={
                    name: {"DataType": "String", "StringValue": value} for name, value in attributes.items()
                },
            )

    def acknowledge(self, deliveries: Sequence[Delivery]) -> None:
        """Delete these; one whose time is over may come again."""
        by_url: dict[str, list[str]] = {}
        for delivery in deliveries:
            by_url.setdefault(delivery.handle.url, []).append(delivery.handle.receipt)
        with _told(self.queue):
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
    """Put the dead letters that are seen now back into their queue; return how many.

    `forget` is told each body first, so that its failures are forgotten. One that dies in between lies in both queues.
    """
    urls = declare(client, queue)
    count = 0
    with _told(queue):
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
    """Return SQS' code of an error, in the short form of its names."""
    return str(error.response.get("Error", {}).get("Code")).rpartition(".")[2]


def _send(client: Any, url: str, bodies: Sequence[str]) -> int:
    if not bodies:
        return 0
    answer = client.send_message_batch(
        QueueUrl=url,
        Entries=[{"Id": str(number), "MessageBody": body} for number, body in enumerate(bodies)],
    )
    if failed := answer.get("Failed"):
        raise Away(f"SQS took {len(bodies) - len(failed)} of {len(bodies)}: {failed[0].get('Message')}")
    return len(bodies)


@contextmanager
def _told(queue: str) -> Iterator[None]:
    """Say in our words what the client raises: nobody there, or something that a person has to mend."""
    try:
        yield
    except ClientError as error:
        code = _code(error)
        if code in DENIED:
            raise ConfigurationError(f"SQS refused connection sqs_loja for {queue}: {error}") from None
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 500)
        # A queue that is gone is made again when the consumer connects anew.
        if code in MISSING or code in THROTTLED or status >= 500:
            raise Away(f"queue {queue}: {error}") from None
        raise BrokerError(f"SQS refused a call about {queue}: {error}") from None
    except BotoCoreError as error:
        raise Away(str(error)) from None
