"""Both brokers behind one face, for the tests that hold for either: empty queues, what consumers leave there, a worker."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol

import pika
from pymysql.connections import Connection

from include.loja.queues import rabbitmq, sqs
from include.loja.queues.consume import Queue, Tally, consume
from include.loja.queues.inbox import Inbox
from include.loja.queues.message import LARGEST, QUEUES
from local.servers.aws import AWS
from local.servers.mariadb import MariaDB
from local.servers.rabbitmq import RabbitMQ as Server
from tests.include.loja.queues.letters import name

ROOT = Path(__file__).resolve().parents[4]
QUEUE = "produto-fila"
BATCH = 50


@dataclass(frozen=True)
class DeadLetter:
    """What a broker keeps beside the body of a dead letter."""

    motivo: str
    tentativas: int
    fila: str = QUEUE
    others: dict[str, str] = field(default_factory=dict)


class Broker(Protocol):
    """A broker with empty queues, as tests use it. `pause` is that of a refused message, `many` fill some batches."""

    pause: timedelta
    many: int

    def worker(self) -> dict[str, Any]:
        """Return what `tests.include.loja.queues.worker` is given about the broker."""

    def publish(self, bodies: Iterable[bytes]) -> int:
        """Put bodies into QUEUE; return how many."""

    def waiting(self) -> int:
        """Return how many messages the project counts in QUEUE."""

    @contextmanager
    def consumer(self, batch: int = BATCH) -> Iterator[Queue]:
        """Give a consumer's view of QUEUE."""

    def drain(self, loja: Connection[Any], run: str = "drain") -> Tally:
        """Consume what is there, what waits for its pause, and what a killed consumer held."""

    def dead_letters(self) -> dict[str, DeadLetter]:
        """Take the dead letters, by the message's name."""

    def revive(self, forget: Callable[[bytes], None]) -> int:
        """Put the dead letters back into QUEUE; return how many."""

    def cut(self, body: bytes) -> tuple[bytes, dict[str, str]]:
        """Return what a dead letter keeps of a body, and what it says of the rest."""


class RabbitMQ:
    """The session's RabbitMQ."""

    pause = timedelta(milliseconds=200)
    patience = timedelta(seconds=90)
    many = 120

    def __init__(self, server: Server) -> None:
        self.server = server
        self.parameters = pika.URLParameters(server.url())
        with server.connect() as connection:
            channel = connection.channel()
            for queue in QUEUES:
                for suffix in ("", "-espera", "-mortas"):
                    channel.queue_delete(queue + suffix)

    def worker(self) -> dict[str, Any]:
        return {"broker": {"amqp": self.server.url()}, "pause": self.pause.total_seconds()}

    def publish(self, bodies: Iterable[bytes]) -> int:
        return rabbitmq.publish(self.parameters, QUEUE, bodies)

    def waiting(self) -> int:
        return rabbitmq.waiting(self.parameters, QUEUE, self.pause)

    @contextmanager
    def consumer(self, batch: int = BATCH) -> Iterator[rabbitmq.RabbitMQ]:
        with rabbitmq.RabbitMQ(self.parameters, QUEUE, batch, self.pause, self.patience) as queue:
            yield queue

    def drain(self, loja: Connection[Any], run: str = "drain") -> Tally:
        total = Tally()
        with self.server.connect() as connection, self.consumer() as queue:
            channel = connection.channel()
            while True:
                tally = consume(queue, Inbox(loja, QUEUE, run), BATCH)
                add(total, tally)
                ready, back = (
                    channel.queue_declare(QUEUE + suffix, passive=True).method for suffix in ("", "-espera")
                )
                # A killed consumer counts until the broker has taken back what it held.
                if (
                    tally == Tally()
                    and ready.consumer_count == 1
                    and not ready.message_count + back.message_count
                ):
                    return total

    def dead(self) -> int:
        """Return how many dead letters there are."""
        with self.server.connect() as connection:
            declared = connection.channel().queue_declare(QUEUE + "-mortas", passive=True)
            found: int = declared.method.message_count
            return found

    def dead_letters(self) -> dict[str, DeadLetter]:
        found: dict[str, DeadLetter] = {}
        with self.server.connect() as connection:
            channel = connection.channel()
            while True:
                method, properties, text = channel.basic_get(QUEUE + "-mortas", auto_ack=True)
                if method is None:
                    return found
                found[name(text)] = letter(properties.headers)

    def revive(self, forget: Callable[[bytes], None]) -> int:
        return rabbitmq.revive(self.parameters, QUEUE, forget)

    def cut(self, body: bytes) -> tuple[bytes, dict[str, str]]:
        return body, {}


class SQS:
    """The session's SQS: moto's server."""

    visibility = timedelta(seconds=3)
    pause = timedelta(seconds=1)
    patience = timedelta(seconds=30)
    many = 40

    def __init__(self, aws: AWS, client: Any) -> None:
        self.aws = aws
        self.client = client
        for url in client.list_queues().get("QueueUrls", []):
            client.delete_queue(QueueUrl=url)

    def worker(self) -> dict[str, Any]:
        return {
            "broker": self.aws.parameters,
            "visibility": self.visibility.total_seconds(),
            "pause": self.pause.total_seconds(),
        }

    def publish(self, bodies: Iterable[bytes]) -> int:
        return sqs.publish(self.client, QUEUE, bodies)

    def waiting(self) -> int:
        return sqs.waiting(self.client, QUEUE)

    @contextmanager
    def consumer(self, batch: int = BATCH) -> Iterator[sqs.SQS]:
        # Nobody dies, so nothing needs to come again soon.
        yield self.queue(self.visibility * 20)

    def queue(self, visibility: timedelta) -> sqs.SQS:
        """Return a consumer's view that keeps what it receives for so long."""
        return sqs.SQS(self.client, QUEUE, visibility, self.pause, self.patience)

    def drain(self, loja: Connection[Any], run: str = "drain") -> Tally:
        total = Tally()
        queue = self.queue(self.visibility)
        while self.left():
            add(total, consume(queue, Inbox(loja, QUEUE, run), BATCH))
        return total

    def left(self) -> int:
        """Return how many messages there are, those that a consumer holds among them."""
        count = 0
        for suffix in sqs.SUFFIXES.values():
            url = self.client.get_queue_url(QueueName=QUEUE + suffix)["QueueUrl"]
            found = self.client.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
            count += sum(
                int(found[f"ApproximateNumberOfMessages{which}"]) for which in ("", "NotVisible", "Delayed")
            )
        return count

    def dead_letters(self) -> dict[str, DeadLetter]:
        url = sqs.declare(self.client, QUEUE)[QUEUE + sqs.DEAD]
        found: dict[str, DeadLetter] = {}
        while some := self.client.receive_message(
            QueueUrl=url, MaxNumberOfMessages=10, MessageAttributeNames=["All"]
        ).get("Messages"):
            for message in some:
                attributes = message["MessageAttributes"]
                found[name(message["Body"].encode())] = letter(
                    {which: value["StringValue"] for which, value in attributes.items()}
                )
                self.client.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return found

    def revive(self, forget: Callable[[bytes], None]) -> int:
        return sqs.revive(self.client, QUEUE, forget)

    def cut(self, body: bytes) -> tuple[bytes, dict[str, str]]:
        if len(body) <= LARGEST:
            return body, {}
        return body[:LARGEST], {"cortada": f"{len(body)} bytes"}


def letter(kept: dict[str, Any]) -> DeadLetter:
    """Return a dead letter of its headers, or attributes."""
    others = dict(kept)
    return DeadLetter(others.pop("motivo"), int(others.pop("tentativas")), others.pop("fila"), others)


def add(total: Tally, tally: Tally) -> None:
    """Add what one consumer did."""
    total.stored += tally.stored
    total.postponed += tally.postponed
    total.buried += tally.buried


def refuse(loja: Connection[Any], condition: str) -> None:
    """Let the database refuse the effects of messages: `condition` speaks of the row NEW."""
    with loja.cursor() as cursor:
        cursor.execute(
            f"CREATE TRIGGER refuse BEFORE INSERT ON movimentos FOR EACH ROW "
            f"IF {condition} THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'não hoje'; END IF"
        )


def worker(mariadb_server: MariaDB, loja_name: str, broker: Broker, **given: Any) -> subprocess.Popen[str]:
    """Start a consumer as a process of its own."""
    configuration = {
        "mysql": mariadb_server.parameters(loja_name),
        "queue": QUEUE,
        "batch": BATCH,
        "run": "worker",
        **broker.worker(),
        **given,
    }
    with tempfile.TemporaryFile("w+") as file:
        json.dump(configuration, file)
        file.seek(0)
        return subprocess.Popen(
            [sys.executable, "-m", "tests.include.loja.queues.worker"],
            cwd=ROOT,
            stdin=file,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
