"""A consumer as a process of its own, which can be made to die with SIGKILL right after a step of its protocol.

    python -m tests.include.loja.queues.worker < configuration.json

The configuration: `mysql` and `broker` say where, `queue`, `batch`, `run` what, and `die`, if there, at the end of which
method, and of which call to it, counted from one; `deadly` the id of a message that kills whoever applies it, `hungry` of
one that takes more memory than there is.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import pika
import psutil
from pymysql.cursors import DictCursor

from include.loja import mysql
from include.loja.queues import rabbitmq
from include.loja.queues.consume import consume
from include.loja.queues.inbox import Inbox, record_movements
from include.loja.queues.message import Message
from include.loja.queues.rabbitmq import RabbitMQ
from include.loja.queues.sqs import SQS

PATIENCE = timedelta(seconds=90)
ROOM = 64 << 20


def dying(target: Any, method: str, call: int) -> None:
    """Let the process be killed right after a call of a method."""
    original: Callable[..., Any] = getattr(target, method)
    calls = 0

    def replaced(*arguments: Any, **named: Any) -> Any:
        nonlocal calls
        answer = original(*arguments, **named)
        calls += 1
        if calls == call:
            os.kill(os.getpid(), signal.SIGKILL)
        return answer

    setattr(target, method, replaced)


def main() -> None:
    """Consume until there is nothing."""
    given = json.load(sys.stdin)

    def effect(cursor: DictCursor, messages: Sequence[Message]) -> None:
        if given.get("deadly") in {message.id for message in messages}:
            os.kill(os.getpid(), signal.SIGKILL)
        if given.get("hungry") in {message.id for message in messages}:
            # As a container's limit, but without the kernel's choice whom to kill.
            limit = psutil.Process().memory_info().vms + ROOM
            resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
            eaten = []
            while True:
                eaten.append(bytearray(ROOM // 8))
        record_movements(cursor, messages)

    stored = Inbox(mysql.connect(given["mysql"]), given["queue"], given["run"], effect)
    pause = timedelta(seconds=given.get("pause", 0))
    queue: Any
    if "amqp" in given["broker"]:
        parameters = pika.URLParameters(given["broker"]["amqp"])
        queue = RabbitMQ(parameters, given["queue"], given["batch"], pause, PATIENCE)
        queue.reopen()
    else:
        import boto3

        client = boto3.client("sqs", **given["broker"])
        queue = SQS(client, given["queue"], timedelta(seconds=given["visibility"]), pause, PATIENCE)
    if "die" in given:
        step, call = given["die"]
        targets = (stored, queue, rabbitmq)
        dying(next(target for target in targets if hasattr(target, step)), step, call)
    print(consume(queue, stored, given["batch"]))


if __name__ == "__main__":
    main()
