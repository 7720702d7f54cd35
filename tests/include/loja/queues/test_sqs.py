"""Consumers on SQS' own protocol (moto's server) and a real MariaDB, beyond `test_messages_brokers`."""

from __future__ import annotations

from typing import Any

import boto3
import pytest
from botocore.config import Config
from pymysql.connections import Connection

from include.loja.queues.consume import BrokerUnavailableError, Tally, consume
from include.loja.queues.inbox import Inbox
from include.loja.queues.message import LARGEST, key
from include.loja.queues.sqs import DEAD, SUFFIXES, declare, waiting
from local.servers.aws import REGION
from tests.include.loja.queues.brokers import QUEUE, SQS, refuse
from tests.include.loja.queues.letters import assert_stored_once, bodies, body, ids


def test_a_refused_message_that_another_consumer_finished_meanwhile_needs_no_pause(
    sqs: SQS, queues: Connection[Any]
) -> None:
    sqs.publish(bodies(1, 1))
    one, other = (sqs.queue(sqs.visibility) for _ in range(2))
    [held] = one.receive(1)
    other.acknowledge([held])
    one.postpone(held)
    assert sqs.left() == 0


def test_queues_keep_what_they_hold_as_long_as_they_can(sqs: SQS) -> None:
    own = sqs.client.create_queue(QueueName=QUEUE, Attributes={"MessageRetentionPeriod": "600"})["QueueUrl"]
    urls = declare(sqs.client, QUEUE)
    kept = {
        which: sqs.client.get_queue_attributes(QueueUrl=url, AttributeNames=["MessageRetentionPeriod"])[
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


def test_a_large_message_is_revived_whole(sqs: SQS, queues: Connection[Any]) -> None:
    refuse(queues, "TRUE")
    text = body(1)
    large = text[:-1] + b', "nota": "' + b"x" * (LARGEST - len(text) - 12) + b'"}'
    assert LARGEST - 10 < len(large) <= LARGEST
    sqs.publish([large])
    assert sqs.drain(queues).buried == 1
    with queues.cursor() as cursor:
        cursor.execute("DROP TRIGGER refuse")
    stored = Inbox(queues, QUEUE, "revive")
    assert sqs.revive(lambda found: stored.forget(key(found))) == 1
    assert sqs.drain(queues).stored == 1
    assert_stored_once(queues, ids(1, 1))


def test_a_batch_of_large_messages_is_bounded_by_its_bytes(sqs: SQS, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("include.loja.queues.sqs.MOST_BYTES", 2000)
    sqs.publish(b"%03d" % number + b" " * 200 for number in range(40))
    queue = sqs.queue(sqs.visibility)
    # An answer has ten messages at most, and the one that goes beyond the bytes is the last.
    first = queue.receive(40)
    assert 10 <= len(first) < 20
    left = 40 - len(first)
    while left > 0 and (more := queue.receive(40)):
        left -= len(more)
    assert left == 0


def test_a_queue_that_is_gone_is_made_again(sqs: SQS, queues: Connection[Any]) -> None:
    queue = sqs.queue(sqs.visibility)
    for suffix in SUFFIXES.values():
        sqs.client.delete_queue(QueueUrl=queue.urls[QUEUE + suffix])
    assert consume(queue, Inbox(queues, QUEUE, "run"), 10) == Tally()
    assert sqs.waiting() == 0


def test_nobody_there_is_said_in_one_line() -> None:
    nobody = boto3.client(
        "sqs",
        endpoint_url="http://127.0.0.1:9",
        region_name=REGION,
        aws_access_key_id="x",
        aws_secret_access_key="x",
        config=Config(retries={"total_max_attempts": 1}),
    )
    with pytest.raises(BrokerUnavailableError, match="Could not connect to the endpoint URL"):
        waiting(nobody, QUEUE)
