"""Consumers on SQS' own protocol (moto's server) and a real MariaDB."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from pymysql.connections import Connection

from include.loja.queues.consume import RETRIES, Away, Tally, consume
from include.loja.queues.inbox import Inbox, create_tables
from include.loja.queues.message import LARGEST, key
from include.loja.queues.sqs import DEAD, SQS, SUFFIXES, declare, publish, revive, waiting
from local.servers.aws import AWS, REGION
from local.servers.mariadb import MariaDB
from tests.include.loja.queues.letters import assert_stored_once, bodies, body, column, ids, name

ROOT = Path(__file__).resolve().parents[4]
QUEUE = "produto-fila"
VISIBILITY = timedelta(seconds=3)
PAUSE = timedelta(seconds=1)
PATIENCE = timedelta(seconds=30)


@pytest.fixture
def store(store: Connection[Any]) -> Connection[Any]:
    create_tables(store)
    return store


@pytest.fixture
def client(aws: AWS) -> Iterator[Any]:
    """A client, with no queue there."""
    client = aws.client("sqs")
    for url in client.list_queues().get("QueueUrls", []):
        client.delete_queue(QueueUrl=url)
    yield client
    client.close()


def left(client: Any) -> int:
    """Return how many messages there are, those that a consumer holds among them."""
    count = 0
    for suffix in SUFFIXES.values():
        url = client.get_queue_url(QueueName=QUEUE + suffix)["QueueUrl"]
        found = client.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
        count += sum(
            int(found[f"ApproximateNumberOfMessages{which}"]) for which in ("", "NotVisible", "Delayed")
        )
    return count


def drain(client: Any, store: Connection[Any], run: str = "drain", batch: int = 50) -> Tally:
    """Consume what is there, and what others hold once they don't."""
    total = Tally()
    queue = SQS(client, QUEUE, VISIBILITY, PAUSE, PATIENCE)
    while left(client):
        tally = consume(queue, Inbox(store, QUEUE, run), batch)
        total = Tally(
            total.stored + tally.stored, total.postponed + tally.postponed, total.buried + tally.buried
        )
    return total


def dead_letters(client: Any) -> dict[str, dict[str, str]]:
    """Take the dead letters: their attributes, by the message's name."""
    url = declare(client, QUEUE)[QUEUE + DEAD]
    found = {}
    while some := client.receive_message(
        QueueUrl=url, MaxNumberOfMessages=10, MessageAttributeNames=["All"]
    ).get("Messages"):
        for message in some:
            attributes = message["MessageAttributes"]
            found[name(message["Body"].encode())] = {
                which: value["StringValue"] for which, value in attributes.items()
            }
            client.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return found


def refuse(store: Connection[Any], condition: str) -> None:
    with store.cursor() as cursor:
        cursor.execute(
            f"CREATE TRIGGER refuse BEFORE INSERT ON movimentos FOR EACH ROW "
            f"IF {condition} THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'não hoje'; END IF"
        )


def test_what_is_published_is_stored_once_and_measured(client: Any, store: Connection[Any]) -> None:
    assert publish(client, QUEUE, [*bodies(1, 60), *bodies(50, 70)]) == 81
    assert waiting(client, QUEUE) == 81
    assert drain(client, store, "run").stored == 81
    assert_stored_once(store, ids(1, 70))
    assert waiting(client, QUEUE) == 0
    measured = Inbox(store, QUEUE, "run").measure()
    assert vars(measured) == {"total": 70, "sucessos": 70, "falhas": 0, "taxa": 1.0}


def test_the_urgent_come_first(client: Any, store: Connection[Any]) -> None:
    publish(client, QUEUE, bodies(1, 30))
    queue = SQS(client, QUEUE, VISIBILITY * 20, PAUSE, PATIENCE)
    for number, expected in enumerate(("alta", "media", "baixa"), start=1):
        consume(queue, Inbox(store, QUEUE, f"batch {number}"), 10, limit=10)
        statement = f"SELECT DISTINCT prioridade FROM mensagens WHERE execucao = 'batch {number}'"
        assert column(store, statement) == [expected]


def test_a_refused_message_is_tried_three_times_then_set_aside_with_the_reason(
    client: Any, store: Connection[Any]
) -> None:
    refuse(store, "NEW.mensagem_id = 'PRODUTO-0002'")
    publish(client, QUEUE, bodies(1, 4))
    tally = drain(client, store, "run")
    assert (tally.postponed, tally.buried) == (RETRIES, 1)
    assert_stored_once(store, ids(1, 4) - {"PRODUTO-0002"})
    assert dead_letters(client) == {
        "PRODUTO-0002": {"motivo": "MySQL 1644: não hoje", "tentativas": "3", "fila": QUEUE}
    }
    measured = Inbox(store, QUEUE, "run").measure()
    assert vars(measured) == {"total": 4, "sucessos": 3, "falhas": 1, "taxa": 0.75}


def test_poison_goes_straight_to_the_dead_letters(client: Any, store: Connection[Any]) -> None:
    poison = [b"{", body(1).replace(b'"produto"', '"\u00e7liente"'.encode()), b"x" * 1024 * 1024]
    publish(client, QUEUE, [body(1), *poison, body(2)])
    assert drain(client, store, "run").buried == 3
    assert_stored_once(store, ids(1, 2))
    letters = dead_letters(client)
    assert letters[key(poison[0])]["motivo"].startswith("no JSON")
    assert letters[key(poison[1])]["motivo"].startswith("tipo: Input should be")
    cut = letters[key(b"x" * 240 * 1024)]
    assert (cut["motivo"], cut["cortada"]) == (
        f"1048576 bytes; a message has at most {LARGEST}",
        "1048576 bytes",
    )


def test_dead_letters_can_be_revived(client: Any, store: Connection[Any]) -> None:
    refuse(store, "TRUE")
    publish(client, QUEUE, bodies(1, 2))
    assert drain(client, store).buried == 2
    with store.cursor() as cursor:
        cursor.execute("DROP TRIGGER refuse")
    stored = Inbox(store, QUEUE, "revive")
    assert revive(client, QUEUE, lambda text: stored.forget(key(text))) == 2
    assert drain(client, store).stored == 2
    assert_stored_once(store, ids(1, 2))


@pytest.mark.parametrize(
    "step",
    [("receive", 1), ("apply", 1), ("postpone", 1), ("bury", 1), ("acknowledge", 1)],
    ids=lambda step: step[0],
)
def test_a_consumer_killed_after_any_step_loses_and_doubles_nothing(
    step: tuple[str, int],
    client: Any,
    store: Connection[Any],
    mariadb_server: MariaDB,
    loja: str,
    aws: AWS,
) -> None:
    refuse(store, "NEW.mensagem_id = 'PRODUTO-0004'")
    publish(client, QUEUE, [*bodies(1, 40), b"poison"])
    configuration = {
        "mysql": mariadb_server.parameters(loja),
        "broker": aws.parameters,
        "queue": QUEUE,
        "batch": 50,
        "run": "worker",
        "visibility": VISIBILITY.total_seconds(),
        "pause": 1,
        "die": step,
    }
    with tempfile.TemporaryFile("w+") as file:
        json.dump(configuration, file)
        file.seek(0)
        done = subprocess.run(
            [sys.executable, "-m", "tests.include.loja.queues.worker"],
            cwd=ROOT,
            stdin=file,
            capture_output=True,
            text=True,
            timeout=120,
        )
    assert done.returncode == -9, done.stderr
    drain(client, store)
    assert_stored_once(store, ids(1, 40) - {"PRODUTO-0004"})
    letters = dead_letters(client)
    assert set(letters) == {"PRODUTO-0004", key(b"poison")}
    assert letters["PRODUTO-0004"]["motivo"] == "MySQL 1644: não hoje"
    assert waiting(client, QUEUE) == 0


def test_a_refused_message_that_another_consumer_finished_meanwhile_needs_no_pause(
    client: Any, store: Connection[Any]
) -> None:
    publish(client, QUEUE, bodies(1, 1))
    one, other = (SQS(client, QUEUE, VISIBILITY, PAUSE, PATIENCE) for _ in range(2))
    [held] = one.receive(1)
    other.acknowledge([held])
    one.postpone(held)
    assert left(client) == 0


def test_queues_keep_what_they_hold_as_long_as_they_can(client: Any) -> None:
    own = client.create_queue(QueueName=QUEUE, Attributes={"MessageRetentionPeriod": "600"})["QueueUrl"]
    urls = declare(client, QUEUE)
    kept = {
        which: client.get_queue_attributes(QueueUrl=url, AttributeNames=["MessageRetentionPeriod"])[
            "Attributes"
        ]
        for which, url in urls.items()
    }
    fortnight = {"MessageRetentionPeriod": "1209600"}
    assert urls[QUEUE] == own
    assert kept == {
        QUEUE: {"MessageRetentionPeriod": "600"},
        **{QUEUE + suffix: fortnight for suffix in ("-alta", "-baixa", DEAD)},
    }


def test_a_large_message_is_revived_whole(client: Any, store: Connection[Any]) -> None:
    refuse(store, "TRUE")
    text = body(1)
    large = text[:-1] + b', "nota": "' + b"x" * (LARGEST - len(text) - 12) + b'"}'
    assert LARGEST - 10 < len(large) <= LARGEST
    publish(client, QUEUE, [large])
    assert drain(client, store).buried == 1
    with store.cursor() as cursor:
        cursor.execute("DROP TRIGGER refuse")
    stored = Inbox(store, QUEUE, "revive")
    assert revive(client, QUEUE, lambda found: stored.forget(key(found))) == 1
    assert drain(client, store).stored == 1
    assert_stored_once(store, ids(1, 1))


def test_a_queue_that_is_gone_is_made_again(client: Any, store: Connection[Any]) -> None:
    queue = SQS(client, QUEUE, VISIBILITY, PAUSE, PATIENCE)
    for suffix in SUFFIXES.values():
        client.delete_queue(QueueUrl=queue.urls[QUEUE + suffix])
    assert consume(queue, Inbox(store, QUEUE, "run"), 10) == Tally()
    assert waiting(client, QUEUE) == 0


def test_nobody_there_is_said_in_one_line() -> None:
    nobody = boto3.client(
        "sqs",
        endpoint_url="http://127.0.0.1:9",
        region_name=REGION,
        aws_access_key_id="x",
        aws_secret_access_key="x",
        config=Config(retries={"total_max_attempts": 1}),
    )
    with pytest.raises(Away, match="Could not connect to the endpoint URL"):
        waiting(nobody, QUEUE)
