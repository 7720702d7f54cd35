"""Consumers on a real RabbitMQ and a real MariaDB, beyond `test_messages_brokers`: the broker restarted, refusing, full."""

from __future__ import annotations

import socket
import time
import tracemalloc
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pika
import pymysql
import pytest
from pika.adapters.blocking_connection import BlockingChannel
from pymysql.connections import Connection

from include.conventions.errors import ConfigurationError
from include.loja.queues import rabbitmq as module
from include.loja.queues.consume import LOST, MOST_BYTES, RETRIES, BrokerUnavailableError, Tally, consume
from include.loja.queues.inbox import Inbox
from include.loja.queues.message import key
from include.loja.queues.rabbitmq import publish, waiting
from local.servers.mariadb import MariaDB
from local.servers.rabbitmq import MAX_MESSAGE
from local.servers.rabbitmq import RabbitMQ as Server
from local.servers.server import free_port
from tests.include.loja.queues.brokers import QUEUE, RabbitMQ, refuse, worker
from tests.include.loja.queues.letters import assert_stored_once, bodies, body, ids

ROOT = Path(__file__).resolve().parents[4]
PAUSE = timedelta(seconds=30)


def test_an_empty_queue_is_a_run_with_nothing_in_it(rabbitmq: RabbitMQ, queues: Connection[Any]) -> None:
    assert rabbitmq.drain(queues, "run") == Tally()
    assert vars(Inbox(queues, QUEUE, "run").measure()) == {
        "total": 0,
        "sucessos": 0,
        "falhas": 0,
        "taxa": None,
    }


def test_no_more_than_a_batch_is_delivered_ahead(
    rabbitmq: RabbitMQ, queues: Connection[Any], rabbitmq_server: Server
) -> None:
    rabbitmq.publish(bodies(1, 100))
    with rabbitmq.consumer(10) as queue:
        assert len(queue.receive(10)) == 10
        with rabbitmq_server.connect() as other:
            ready = other.channel().queue_declare(QUEUE, passive=True).method.message_count
        assert ready == 90


def test_a_batch_of_large_messages_is_bounded_by_its_bytes(
    rabbitmq: RabbitMQ, queues: Connection[Any]
) -> None:
    large = 200 * 1024
    rabbitmq.publish(b"%06d" % number + b" " * large for number in range(100))
    with rabbitmq.consumer(100) as queue:
        tracemalloc.start()
        try:
            first = queue.receive(100)
            # A consumer publishes while the broker has delivered more.
            queue.postpone(first[0])
            queue.acknowledge(first[1:])
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert MOST_BYTES <= sum(len(one.body) for one in first) < MOST_BYTES + 2 * large
        assert peak < 2 * MOST_BYTES
        left = 100 - len(first)
        while left > 0 and (more := queue.receive(100)):
            queue.acknowledge(more)
            left -= len(more)
    assert left <= 0


@pytest.mark.parametrize(
    ("done", "answers"),
    [
        ([0, 1, 2, 3, 4, 5], [(6, True)]),
        ([1, 0], [(2, True)]),
        ([1, 3, 5], [(2, False), (4, False), (6, False)]),
        ([0, 1, 3, 5], [(2, True), (4, False), (6, False)]),
    ],
)
def test_what_is_acknowledged_together_is_nothing_else(
    rabbitmq: RabbitMQ,
    queues: Connection[Any],
    monkeypatch: pytest.MonkeyPatch,
    done: list[int],
    answers: list[tuple[int, bool]],
) -> None:
    rabbitmq.publish(bodies(1, 12))
    told: list[tuple[int, bool]] = []
    acknowledge = BlockingChannel.basic_ack

    def watched(channel: BlockingChannel, delivery_tag: int = 0, multiple: bool = False) -> None:
        told.append((delivery_tag, multiple))
        acknowledge(channel, delivery_tag, multiple)

    monkeypatch.setattr(BlockingChannel, "basic_ack", watched)
    with rabbitmq.consumer(12) as queue:
        received = queue.receive(6)
        queue.acknowledge([received[place] for place in done])
    assert told == answers
    # What was not acknowledged is delivered again, also what the broker had sent ahead.
    with rabbitmq.consumer(12) as queue:
        left = {one.body for one in queue.receive(12)}
    assert left == set(bodies(1, 12)) - {received[place].body for place in done}


@pytest.mark.parametrize("back", [2**62, 2**63 - 1, "never", None, -1, True, [1]])
@pytest.mark.security("messages")
def test_no_waiting_message_holds_up_those_behind_it(
    rabbitmq: RabbitMQ, rabbitmq_server: Server, queues: Connection[Any], back: Any
) -> None:
    with rabbitmq_server.connect() as connection:
        channel = connection.channel()
        module.declare(channel, QUEUE)
        soon = int(time.time() * 1000) + 100
        for number, header in enumerate((back, soon), 1):
            properties = pika.BasicProperties(delivery_mode=2, headers={"volta": header})
            channel.basic_publish("", QUEUE + "-espera", body(number), properties)
    assert rabbitmq.drain(queues).stored == 2
    assert_stored_once(queues, ids(1, 2))


def test_a_waiting_message_waits_at_most_for_the_present_pause(
    rabbitmq: RabbitMQ, rabbitmq_server: Server, queues: Connection[Any]
) -> None:
    """The pause has been shortened since the first one was refused."""
    with rabbitmq_server.connect() as connection:
        channel = connection.channel()
        module.declare(channel, QUEUE)
        now = time.time()
        for number, seconds in enumerate((36_000, 30), 1):
            properties = pika.BasicProperties(headers={"volta": int((now + seconds) * 1000)})
            channel.basic_publish("", QUEUE + "-espera", body(number), properties)
    assert waiting(rabbitmq.parameters, QUEUE, timedelta(hours=10)) == 0
    assert waiting(rabbitmq.parameters, QUEUE, PAUSE) == 1


@pytest.mark.security("messages")
def test_a_large_message_is_refused_by_the_broker(rabbitmq: RabbitMQ, queues: Connection[Any]) -> None:
    rabbitmq.publish([b"x" * MAX_MESSAGE])
    with pytest.raises(ConfigurationError, match=r"refused a message: .*message size 262145 is larger than"):
        rabbitmq.publish([b"x" * (MAX_MESSAGE + 1)])
    assert rabbitmq.waiting() == 1
    assert f"max_message_size = {MAX_MESSAGE}\n" in (ROOT / "deploy/loja/rabbitmq.conf").read_text()


def test_a_message_that_heals_is_stored_by_a_retry(rabbitmq: RabbitMQ, queues: Connection[Any]) -> None:
    refuse(queues, "(SELECT COUNT(*) FROM mensagens_falhas WHERE tentativas >= 2) = 0")
    rabbitmq.publish(bodies(1, 1))
    assert rabbitmq.drain(queues).postponed == RETRIES
    assert_stored_once(queues, ids(1, 1))
    assert rabbitmq.dead_letters() == {}


@pytest.mark.security("messages")
def test_a_body_that_is_no_text_is_poison_too(rabbitmq: RabbitMQ, queues: Connection[Any]) -> None:
    poison = b"\xff" * 10
    rabbitmq.publish([body(1), poison])
    tally = rabbitmq.drain(queues, "run")
    assert (tally.stored, tally.postponed, tally.buried) == (1, 0, 1)
    [(name, letter)] = rabbitmq.dead_letters().items()
    assert name == key(poison)
    assert letter.motivo.startswith("not UTF-8")
    assert letter.tentativas == 0
    assert Inbox(queues, QUEUE, "run").measure().falhas == 1


def test_what_is_published_anew_after_its_death_is_a_case_of_its_own(
    rabbitmq: RabbitMQ, queues: Connection[Any]
) -> None:
    refuse(queues, "NEW.acao = 'deletar'")
    rabbitmq.publish([body(1, acao="deletar"), b"{"])
    assert rabbitmq.drain(queues, "one").buried == 2
    # The same id with what the database takes, and the same rubbish once more, twice.
    rabbitmq.publish([body(1), b"{"])
    rabbitmq.drain(queues, "two")
    rabbitmq.publish([b"{"])
    rabbitmq.drain(queues, "two")
    assert_stored_once(queues, ids(1, 1))
    assert rabbitmq.dead() == 4
    assert [vars(Inbox(queues, QUEUE, "two").measure())[which] for which in ("sucessos", "falhas")] == [1, 2]


def test_another_content_of_a_dead_id_that_comes_again_unfinished_is_not_lost(
    rabbitmq: RabbitMQ, queues: Connection[Any]
) -> None:
    refuse(queues, "NEW.acao = 'deletar'")
    rabbitmq.publish([body(1, acao="deletar")])
    assert rabbitmq.drain(queues).buried == 1
    rabbitmq.publish([body(1)])
    with rabbitmq.consumer() as queue:
        assert queue.receive(50)
    rabbitmq.drain(queues)
    assert_stored_once(queues, ids(1, 1))


def test_a_fault_of_the_database_is_no_fault_of_a_message_however_long_it_lasts(
    rabbitmq: RabbitMQ, queues: Connection[Any]
) -> None:
    rabbitmq.publish(bodies(1, 3))
    waiting_room = Inbox(queues, QUEUE, "run")
    with queues.cursor() as cursor:
        cursor.execute("RENAME TABLE movimentos TO elsewhere")
    for _ in range(LOST + 2):
        with rabbitmq.consumer() as queue, pytest.raises(pymysql.ProgrammingError):
            consume(queue, waiting_room, 50)
    with queues.cursor() as cursor:
        cursor.execute("RENAME TABLE elsewhere TO movimentos")
    rabbitmq.drain(queues)
    assert_stored_once(queues, ids(1, 3))
    assert rabbitmq.dead_letters() == {}


@pytest.mark.security("messages")
def test_a_message_that_kills_every_consumer_is_set_aside_and_those_beside_it_are_not(
    rabbitmq: RabbitMQ,
    queues: Connection[Any],
    mariadb_server: MariaDB,
    loja_name: str,
) -> None:
    rabbitmq.publish([body(1, prioridade="alta"), *(body(n, prioridade="baixa") for n in range(2, 12))])
    codes: list[int] = []
    while not codes or codes[-1] != 0:
        assert len(codes) <= LOST
        process = worker(mariadb_server, loja_name, rabbitmq, deadly="PRODUTO-0001")
        said, _ = process.communicate(timeout=120)
        codes.append(process.returncode)
    assert codes == [-9] * LOST + [0], said
    assert_stored_once(queues, ids(2, 11))
    [(dead, letter)] = rabbitmq.dead_letters().items()
    assert dead == "PRODUTO-0001"
    assert (
        letter.motivo
        == "redelivered 5 times without being finished: it may crash the process that handles it"
    )


def test_another_login_and_another_queue_are_errors_that_say_what_to_mend(
    rabbitmq: RabbitMQ, rabbitmq_server: Server, queues: Connection[Any]
) -> None:
    wrong = pika.URLParameters(rabbitmq_server.url().replace(rabbitmq_server.password, "x"))
    with pytest.raises(ConfigurationError, match=r"refused the login .* connection rabbitmq_loja"):
        waiting(wrong, QUEUE, PAUSE)
    elsewhere = pika.URLParameters(rabbitmq_server.url().replace("%2F", "elsewhere"))
    with pytest.raises(ConfigurationError, match=r"the virtual host of connection rabbitmq_loja"):
        waiting(elsewhere, QUEUE, PAUSE)
    with pytest.raises(ConfigurationError, match=r"denied a permission to the login .*: .*amq\.fila"):
        waiting(rabbitmq.parameters, "amq.fila", PAUSE)
    with rabbitmq_server.connect() as connection:
        channel = connection.channel()
        channel.queue_delete(QUEUE)
        channel.queue_declare(QUEUE, durable=True)
    with pytest.raises(ConfigurationError, match=f"with other attributes.*'{QUEUE}'"):
        waiting(rabbitmq.parameters, QUEUE, PAUSE)


def test_a_broker_that_stays_away_is_waited_for_and_no_longer(rabbitmq: RabbitMQ) -> None:
    nobody = pika.URLParameters("amqp://loja:x@127.0.0.1:9/%2F")
    begun = time.monotonic()
    with pytest.raises(BrokerUnavailableError, match=r"ConnectionError|Connection refused"):
        module.RabbitMQ(nobody, QUEUE, 10, rabbitmq.pause, timedelta(seconds=1)).reopen()
    assert 0.5 < time.monotonic() - begun < 20


def test_a_broker_that_hangs_up_while_one_logs_in_is_away_and_has_refused_nothing() -> None:
    start = pika.spec.Connection.Start(server_properties={}, mechanisms="PLAIN", locales="en_US")

    def hang_up() -> None:
        client, _ = listener.accept()
        with client:
            client.recv(8)
            client.sendall(pika.frame.Method(0, start).marshal())
            client.recv(4096)

    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as pool:
        pool.submit(hang_up)
        port = listener.getsockname()[1]
        with pytest.raises(BrokerUnavailableError, match="closed the connection"):
            waiting(pika.URLParameters(f"amqp://loja:x@127.0.0.1:{port}/%2F"), QUEUE, PAUSE)


def test_a_broker_that_has_no_disk_left_is_away_and_not_waited_for_without_end(
    rabbitmq_server: Server, tmp_path: Path
) -> None:
    full = Server(tmp_path / "data", free_port(), "secret", tmp_path / "log", rabbitmq_server.tree)
    full.data.mkdir()
    (full.data / "none.config").write_text("[{rabbit, [{disk_free_limit, 1000000000000000}]}].")
    with full, pytest.raises(BrokerUnavailableError, match="ConnectionBlockedTimeout"):
        publish(pika.URLParameters(f"{full.url()}?blocked_connection_timeout=1"), QUEUE, bodies(1, 2))


def run_two_workers(
    count: int,
    rabbitmq: RabbitMQ,
    queues: Connection[Any],
    mariadb_server: MariaDB,
    loja_name: str,
) -> float:
    """Consume `count` messages by two processes: one is killed in the middle, the broker restarted. Return seconds."""
    rabbitmq.publish(bodies(1, count))
    begun = time.monotonic()
    one, other = (worker(mariadb_server, loja_name, rabbitmq, run=name) for name in ("one", "other"))

    def stored() -> dict[str, int]:
        with queues.cursor() as cursor:
            cursor.execute("SELECT execucao, COUNT(*) AS stored FROM mensagens GROUP BY execucao")
            return {row["execucao"]: row["stored"] for row in cursor.fetchall()}

    try:
        while stored().get("one", 0) < count // 5:
            assert one.poll() is None
            time.sleep(0.02)
        one.kill()
        while sum(stored().values()) < count // 2:
            assert other.poll() is None
            time.sleep(0.02)
        rabbitmq.server.restart()
        said, _ = other.communicate(timeout=400)
    finally:
        for process in (one, other):
            process.kill()
            process.wait()
    seconds = time.monotonic() - begun
    assert one.returncode == -9
    assert other.returncode == 0, said
    assert "the broker does not answer" in said
    rabbitmq.drain(queues)
    assert_stored_once(queues, ids(1, count))
    assert rabbitmq.dead_letters() == {}
    assert Counter(stored())["one"] > 0
    return seconds


def test_two_workers_one_killed_the_broker_restarted(
    rabbitmq: RabbitMQ,
    queues: Connection[Any],
    mariadb_server: MariaDB,
    loja_name: str,
) -> None:
    run_two_workers(2000, rabbitmq, queues, mariadb_server, loja_name)


@pytest.mark.soak
def test_ten_thousand_messages(
    rabbitmq: RabbitMQ,
    queues: Connection[Any],
    mariadb_server: MariaDB,
    loja_name: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    seconds = run_two_workers(10_000, rabbitmq, queues, mariadb_server, loja_name)
    with capsys.disabled():
        print(f"\n10,000 messages, a worker killed, the broker restarted: {10_000 / seconds:,.0f} a second")


@pytest.mark.soak
def test_a_broker_that_is_killed_again_and_again_loses_none_of_those_that_wait(
    rabbitmq: RabbitMQ,
    queues: Connection[Any],
    mariadb_server: MariaDB,
    loja_name: str,
) -> None:
    refuse(queues, "TRUE")
    rabbitmq.publish(bodies(1, 3000))
    # Without a pause each refused message is on its way back at once, twice.
    process = worker(mariadb_server, loja_name, rabbitmq, pause=0)
    try:
        for _ in range(5):
            time.sleep(1)
            assert process.poll() is None
            rabbitmq.server.kill()
            rabbitmq.server.start()
        said, _ = process.communicate(timeout=400)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0, said
    assert "the broker does not answer" in said
    rabbitmq.drain(queues)
    assert set(rabbitmq.dead_letters()) == ids(1, 3000)
