"""What holds for consumers on either broker: a real RabbitMQ and SQS' own protocol (moto's server), a real MariaDB."""

from __future__ import annotations

import time
from typing import Any

import pytest
from pymysql.connections import Connection

from include.loja.queues.consume import RETRIES, consume
from include.loja.queues.inbox import Inbox
from include.loja.queues.message import LARGEST, key
from local.servers.mariadb import MariaDB
from local.servers.rabbitmq import MAX_MESSAGE
from tests.include.loja.queues.brokers import QUEUE, Broker, DeadLetter, refuse, worker
from tests.include.loja.queues.letters import assert_stored_once, bodies, body, column, ids

STEPS = {
    "rabbitmq": [
        ("receive", 2),
        ("count_lost", 1),
        ("apply", 2),
        ("count_failure", 1),
        ("postpone", 1),
        ("_send_back", 1),
        ("bury", 1),
        ("mark_dead", 1),
        ("acknowledge", 1),
    ],
    "sqs": [("receive", 1), ("apply", 1), ("postpone", 1), ("bury", 1), ("acknowledge", 1)],
}


@pytest.fixture(params=["rabbitmq", "sqs"])
def broker(request: pytest.FixtureRequest) -> Broker:
    """Each of the brokers, with empty queues; only that one is started."""
    broker: Broker = request.getfixturevalue(request.param)
    return broker


def test_what_is_published_is_stored_once_and_measured(broker: Broker, queues: Connection[Any]) -> None:
    assert broker.publish([*bodies(1, 120), *bodies(100, 130)]) == 151
    assert broker.waiting() == 151
    assert broker.drain(queues, "run").stored == 151
    assert_stored_once(queues, ids(1, 130))
    assert broker.waiting() == 0
    measured = Inbox(queues, QUEUE, "run").measure()
    assert vars(measured) == {"total": 130, "sucessos": 130, "falhas": 0, "taxa": 1.0}


def test_the_urgent_come_first(broker: Broker, queues: Connection[Any]) -> None:
    broker.publish(bodies(1, 90))
    with broker.consumer(30) as queue:
        for number, expected in enumerate(("alta", "media", "baixa"), start=1):
            consume(queue, Inbox(queues, QUEUE, f"batch {number}"), 30, limit=30)
            statement = f"SELECT DISTINCT prioridade FROM mensagens WHERE execucao = 'batch {number}'"
            assert column(queues, statement) == [expected]


def test_a_refused_message_is_tried_three_times_then_set_aside_with_the_reason(
    broker: Broker, queues: Connection[Any]
) -> None:
    refuse(queues, "NEW.mensagem_id IN ('PRODUTO-0002', 'PRODUTO-0005')")
    broker.publish(bodies(1, 6))
    begun = time.monotonic()
    tally = broker.drain(queues, "run")
    assert (tally.postponed, tally.buried) == (2 * RETRIES, 2)
    assert time.monotonic() - begun > RETRIES * broker.pause.total_seconds()
    assert_stored_once(queues, ids(1, 6) - {"PRODUTO-0002", "PRODUTO-0005"})
    letter = DeadLetter("MySQL 1644: não hoje", 3)
    assert broker.dead_letters() == {"PRODUTO-0002": letter, "PRODUTO-0005": letter}
    measured = Inbox(queues, QUEUE, "run").measure()
    assert vars(measured) == {"total": 6, "sucessos": 4, "falhas": 2, "taxa": 4 / 6}


@pytest.mark.security("messages", 3)
def test_poison_goes_straight_to_the_dead_letters(broker: Broker, queues: Connection[Any]) -> None:
    unknown = body(1).replace(b'"produto"', '"çliente"'.encode())
    poison = [b"{", unknown, b"x" * MAX_MESSAGE]
    broker.publish([body(1), *poison, body(2)])
    tally = broker.drain(queues, "run")
    assert (tally.stored, tally.postponed, tally.buried) == (2, 0, 3)
    assert_stored_once(queues, ids(1, 2))
    letters = broker.dead_letters()
    reasons = ["not JSON", "tipo: Input should be", f"{MAX_MESSAGE} bytes; a message has at most {LARGEST}"]
    assert len(letters) == len(poison)
    for one, start in zip(poison, reasons, strict=True):
        kept, others = broker.cut(one)
        found = letters[key(kept)]
        assert found.motivo.startswith(start)
        assert (found.tentativas, found.fila, found.others) == (0, QUEUE, others)
    assert Inbox(queues, QUEUE, "run").measure().falhas == 3


def test_dead_letters_can_be_revived(broker: Broker, queues: Connection[Any]) -> None:
    refuse(queues, "TRUE")
    broker.publish(bodies(1, 3))
    assert broker.drain(queues).buried == 3
    with queues.cursor() as cursor:
        cursor.execute("DROP TRIGGER refuse")
    stored = Inbox(queues, QUEUE, "revive")
    assert broker.revive(lambda text: stored.forget(key(text))) == 3
    assert broker.drain(queues).stored == 3
    assert_stored_once(queues, ids(1, 3))
    assert broker.dead_letters() == {}


@pytest.mark.parametrize(
    ("broker", "step"),
    [
        pytest.param(broker, step, id=f"{broker}-{step[0]}")
        for broker, steps in STEPS.items()
        for step in steps
    ],
    indirect=["broker"],
)
def test_a_consumer_killed_after_any_step_loses_and_doubles_nothing(
    broker: Broker, step: tuple[str, int], queues: Connection[Any], mariadb_server: MariaDB, loja_name: str
) -> None:
    refuse(queues, "NEW.mensagem_id = 'PRODUTO-0004'")
    broker.publish([*bodies(1, broker.many), b"poison"])
    if step[0] == "count_lost":
        # Delivered, and given back unfinished.
        with broker.consumer() as queue:
            assert queue.receive(50)
    # Without a pause the worker itself brings back what it sent to wait.
    pause = {"pause": 0} if step[0] == "_send_back" else {}
    process = worker(mariadb_server, loja_name, broker, die=step, **pause)
    said, _ = process.communicate(timeout=120)
    assert process.returncode == -9, said
    broker.drain(queues)
    assert_stored_once(queues, ids(1, broker.many) - {"PRODUTO-0004"})
    letters = broker.dead_letters()
    assert set(letters) == {"PRODUTO-0004", key(b"poison")}
    assert letters["PRODUTO-0004"] == DeadLetter("MySQL 1644: não hoje", 3)
    assert broker.waiting() == 0
