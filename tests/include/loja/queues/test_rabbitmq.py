"""Consumers on a real RabbitMQ and a real MariaDB: killed after each step, with the broker restarted, with poison."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pika
import pymysql
import pytest
from pymysql.connections import Connection

from include.loja.errors import ConfigurationError
from include.loja.queues.consume import LOST, RETRIES, Away, Tally, consume
from include.loja.queues.inbox import Inbox, create_tables
from include.loja.queues.message import QUEUES, key
from include.loja.queues.rabbitmq import RabbitMQ, publish, revive, waiting
from local.servers.mariadb import MariaDB
from local.servers.rabbitmq import RabbitMQ as Server
from local.servers.server import free_port
from tests.include.loja.queues.letters import assert_stored_once, bodies, body, column, ids, name

ROOT = Path(__file__).resolve().parents[4]
QUEUE = "produto-fila"
PATIENCE = timedelta(seconds=90)
SHORT = timedelta(milliseconds=200)


@pytest.fixture
def store(store: Connection[Any]) -> Connection[Any]:
    create_tables(store)
    return store


@pytest.fixture
def broker(rabbitmq_server: Server) -> Iterator[pika.URLParameters]:
    """The broker, with empty queues."""
    with rabbitmq_server.connect() as connection:
        channel = connection.channel()
        for queue in QUEUES:
            for suffix in ("", "-espera", "-mortas"):
                channel.queue_delete(queue + suffix)
    return pika.URLParameters(rabbitmq_server.url())


def drain(broker: pika.URLParameters, store: Connection[Any], run: str = "drain", batch: int = 50) -> Tally:
    """Consume what is there, and what comes back from waiting within two silent seconds."""
    total = Tally()
    silent = 0
    with RabbitMQ(broker, QUEUE, batch, SHORT, PATIENCE) as queue:
        while silent < 3:
            tally = consume(queue, Inbox(store, QUEUE, run), batch)
            silent = 0 if tally.stored or tally.postponed or tally.buried else silent + 1
            total = Tally(
                total.stored + tally.stored, total.postponed + tally.postponed, total.buried + tally.buried
            )
    return total


def dead_letters(broker: pika.URLParameters, queue: str = QUEUE) -> dict[str, tuple[str, int]]:
    """Take the dead letters: reason and tries, by the message's name."""
    found = {}
    with pika.BlockingConnection(broker) as connection:
        channel = connection.channel()
        while True:
            method, properties, text = channel.basic_get(queue + "-mortas", auto_ack=True)
            if method is None:
                return found
            assert properties.headers["fila"] == queue
            found[name(text)] = (properties.headers["motivo"], properties.headers["tentativas"])


def refuse(store: Connection[Any], condition: str) -> None:
    with store.cursor() as cursor:
        cursor.execute(
            f"CREATE TRIGGER refuse BEFORE INSERT ON movimentos FOR EACH ROW "
            f"IF {condition} THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'não hoje'; END IF"
        )


def worker(mariadb_server: MariaDB, loja: str, broker: Server, **given: Any) -> subprocess.Popen[str]:
    """Start a consumer as a process of its own."""
    configuration = {
        "mysql": mariadb_server.parameters(loja),
        "broker": {"amqp": broker.url()},
        "queue": QUEUE,
        "batch": 50,
        "run": "worker",
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


def test_what_is_published_is_stored_once_and_measured(
    broker: pika.URLParameters, store: Connection[Any]
) -> None:
    assert publish(broker, QUEUE, [*bodies(1, 120), *bodies(100, 130)]) == 151
    assert waiting(broker, QUEUE) == 151
    assert drain(broker, store, "run").stored == 151
    assert_stored_once(store, ids(1, 130))
    assert waiting(broker, QUEUE) == 0
    assert vars(Inbox(store, QUEUE, "run").measure()) == {
        "total": 130,
        "sucessos": 130,
        "falhas": 0,
        "taxa": 1.0,
    }


def test_an_empty_queue_is_a_run_with_nothing_in_it(
    broker: pika.URLParameters, store: Connection[Any]
) -> None:
    assert drain(broker, store, "run") == Tally()
    assert vars(Inbox(store, QUEUE, "run").measure()) == {
        "total": 0,
        "sucessos": 0,
        "falhas": 0,
        "taxa": None,
    }


def test_the_urgent_come_first(broker: pika.URLParameters, store: Connection[Any]) -> None:
    publish(broker, QUEUE, bodies(1, 90))
    with RabbitMQ(broker, QUEUE, 30, SHORT, PATIENCE) as queue:
        for number, expected in enumerate(("alta", "media", "baixa"), start=1):
            consume(queue, Inbox(store, QUEUE, f"batch {number}"), 30, limit=30)
            assert column(
                store, f"SELECT DISTINCT prioridade FROM mensagens WHERE execucao = 'batch {number}'"
            ) == [expected]


def test_no_more_than_a_batch_is_delivered_ahead(
    broker: pika.URLParameters, store: Connection[Any], rabbitmq_server: Server
) -> None:
    publish(broker, QUEUE, bodies(1, 100))
    with RabbitMQ(broker, QUEUE, 10, SHORT, PATIENCE) as queue:
        assert len(queue.receive(10)) == 10
        with rabbitmq_server.connect() as other:
            ready = other.channel().queue_declare(QUEUE, passive=True).method.message_count
        assert ready == 90


def test_a_refused_message_is_tried_three_times_then_set_aside_with_the_reason(
    broker: pika.URLParameters, store: Connection[Any]
) -> None:
    refuse(store, "NEW.mensagem_id IN ('PRODUTO-0002', 'PRODUTO-0005')")
    publish(broker, QUEUE, bodies(1, 6))
    begun = time.monotonic()
    tally = drain(broker, store, "run")
    assert (tally.postponed, tally.buried) == (2 * RETRIES, 2)
    assert time.monotonic() - begun > RETRIES * SHORT.total_seconds()
    assert_stored_once(store, ids(1, 6) - {"PRODUTO-0002", "PRODUTO-0005"})
    assert dead_letters(broker) == {
        "PRODUTO-0002": ("MySQL 1644: não hoje", 3),
        "PRODUTO-0005": ("MySQL 1644: não hoje", 3),
    }
    assert vars(Inbox(store, QUEUE, "run").measure()) == {
        "total": 6,
        "sucessos": 4,
        "falhas": 2,
        "taxa": 4 / 6,
    }


def test_a_message_that_heals_is_stored_by_a_retry(
    broker: pika.URLParameters, store: Connection[Any]
) -> None:
    refuse(store, "(SELECT COUNT(*) FROM mensagens_falhas WHERE tentativas >= 2) = 0")
    publish(broker, QUEUE, bodies(1, 1))
    assert drain(broker, store).postponed == RETRIES
    assert_stored_once(store, ids(1, 1))
    assert dead_letters(broker) == {}


def test_poison_goes_straight_to_the_dead_letters(broker: pika.URLParameters, store: Connection[Any]) -> None:
    unknown = body(1).replace(b'"produto"', b'"cliente"')
    poison = [b"{", b"\xff" * 10, unknown, b"x" * 1024 * 1024]
    publish(broker, QUEUE, [body(1), *poison, body(2)])
    tally = drain(broker, store, "run")
    assert (tally.stored, tally.postponed, tally.buried) == (2, 0, 4)
    letters = dead_letters(broker)
    reasons = [letters[key(one)] for one in poison]
    assert [tries for _, tries in reasons] == [0] * 4
    for (reason, _), start in zip(
        reasons, ["no JSON", "not UTF-8", "tipo: Input should be", "1048576 bytes"], strict=True
    ):
        assert reason.startswith(start)
    assert Inbox(store, QUEUE, "run").measure().falhas == 4


def dead(broker: pika.URLParameters) -> int:
    """Return how many dead letters there are."""
    with pika.BlockingConnection(broker) as connection:
        found: int = connection.channel().queue_declare(QUEUE + "-mortas", passive=True).method.message_count
        return found


def test_what_is_published_anew_after_its_death_is_a_case_of_its_own(
    broker: pika.URLParameters, store: Connection[Any]
) -> None:
    refuse(store, "NEW.acao = 'deletar'")
    publish(broker, QUEUE, [body(1, acao="deletar"), b"{"])
    assert drain(broker, store, "one").buried == 2
    # The same id with what the database takes, and the same rubbish once more, twice.
    publish(broker, QUEUE, [body(1), b"{"])
    drain(broker, store, "two")
    publish(broker, QUEUE, [b"{"])
    drain(broker, store, "two")
    assert_stored_once(store, ids(1, 1))
    assert dead(broker) == 4
    assert [vars(Inbox(store, QUEUE, "two").measure())[which] for which in ("sucessos", "falhas")] == [1, 2]


def test_another_content_of_a_dead_id_that_comes_again_unfinished_is_not_lost(
    broker: pika.URLParameters, store: Connection[Any]
) -> None:
    refuse(store, "NEW.acao = 'deletar'")
    publish(broker, QUEUE, [body(1, acao="deletar")])
    assert drain(broker, store).buried == 1
    publish(broker, QUEUE, [body(1)])
    with RabbitMQ(broker, QUEUE, 50, SHORT, PATIENCE) as queue:
        assert queue.receive(50)
    drain(broker, store)
    assert_stored_once(store, ids(1, 1))


def test_a_fault_of_the_database_is_no_fault_of_a_message_however_long_it_lasts(
    broker: pika.URLParameters, store: Connection[Any]
) -> None:
    publish(broker, QUEUE, bodies(1, 3))
    waiting_room = Inbox(store, QUEUE, "run")
    with store.cursor() as cursor:
        cursor.execute("RENAME TABLE movimentos TO elsewhere")
    for _ in range(LOST + 2):
        with RabbitMQ(broker, QUEUE, 50, SHORT, PATIENCE) as queue, pytest.raises(pymysql.ProgrammingError):
            consume(queue, waiting_room, 50)
    with store.cursor() as cursor:
        cursor.execute("RENAME TABLE elsewhere TO movimentos")
    drain(broker, store)
    assert_stored_once(store, ids(1, 3))
    assert dead_letters(broker) == {}


def test_dead_letters_can_be_revived(broker: pika.URLParameters, store: Connection[Any]) -> None:
    refuse(store, "TRUE")
    publish(broker, QUEUE, bodies(1, 3))
    assert drain(broker, store).buried == 3
    with store.cursor() as cursor:
        cursor.execute("DROP TRIGGER refuse")
    stored = Inbox(store, QUEUE, "revive")
    assert revive(broker, QUEUE, lambda text: stored.forget(key(text))) == 3
    assert drain(broker, store).stored == 3
    assert_stored_once(store, ids(1, 3))
    assert dead_letters(broker) == {}


@pytest.mark.parametrize(
    "step",
    [
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
    ids=lambda step: step[0],
)
def test_a_consumer_killed_after_any_step_loses_and_doubles_nothing(
    step: tuple[str, int],
    broker: pika.URLParameters,
    store: Connection[Any],
    mariadb_server: MariaDB,
    loja: str,
    rabbitmq_server: Server,
) -> None:
    refuse(store, "NEW.mensagem_id = 'PRODUTO-0004'")
    publish(broker, QUEUE, [*bodies(1, 120), b"poison"])
    if step[0] == "count_lost":
        # Delivered, and given back unfinished.
        with RabbitMQ(broker, QUEUE, 50, SHORT, PATIENCE) as queue:
            assert queue.receive(50)
    # Without a pause the worker itself brings back what it sent to wait.
    pause = 0 if step[0] == "_send_back" else 0.2
    process = worker(mariadb_server, loja, rabbitmq_server, die=step, pause=pause)
    said, _ = process.communicate(timeout=120)
    assert process.returncode == -9, said
    drain(broker, store)
    assert_stored_once(store, ids(1, 120) - {"PRODUTO-0004"})
    letters = dead_letters(broker)
    assert letters["PRODUTO-0004"] == ("MySQL 1644: não hoje", 3)
    assert set(letters) == {"PRODUTO-0004", key(b"poison")}
    assert waiting(broker, QUEUE) == 0


def test_a_message_that_kills_every_consumer_is_set_aside_and_those_beside_it_are_not(
    broker: pika.URLParameters,
    store: Connection[Any],
    mariadb_server: MariaDB,
    loja: str,
    rabbitmq_server: Server,
) -> None:
    publish(broker, QUEUE, [body(1, prioridade="alta"), *(body(n, prioridade="baixa") for n in range(2, 12))])
    codes = []
    while not codes or codes[-1] != 0:
        assert len(codes) <= LOST
        process = worker(mariadb_server, loja, rabbitmq_server, deadly="PRODUTO-0001")
        said, _ = process.communicate(timeout=120)
        codes.append(process.returncode)
    assert codes == [-9] * LOST + [0], said
    assert_stored_once(store, ids(2, 11))
    [(dead, (reason, _))] = dead_letters(broker).items()
    assert dead == "PRODUTO-0001"
    assert reason == "delivered 5 times more without an end: its processing may end whoever tries"


def test_another_login_and_another_queue_are_errors_that_say_what_to_mend(
    broker: pika.URLParameters, rabbitmq_server: Server, store: Connection[Any]
) -> None:
    wrong = pika.URLParameters(rabbitmq_server.url().replace(rabbitmq_server.password, "x"))
    with pytest.raises(ConfigurationError, match=r"refused the login .* connection rabbitmq_loja"):
        waiting(wrong, QUEUE)
    elsewhere = pika.URLParameters(rabbitmq_server.url().replace("%2F", "elsewhere"))
    with pytest.raises(ConfigurationError, match=r"the virtual host of connection rabbitmq_loja"):
        waiting(elsewhere, QUEUE)
    with pytest.raises(ConfigurationError, match=r"refused what the login .* asked for: .*amq\.fila"):
        waiting(broker, "amq.fila")
    with rabbitmq_server.connect() as connection:
        channel = connection.channel()
        channel.queue_delete(QUEUE)
        channel.queue_declare(QUEUE, durable=True)
    with pytest.raises(ConfigurationError, match=f"not as it should be.*'{QUEUE}'"):
        waiting(broker, QUEUE)


def test_a_broker_that_stays_away_is_waited_for_and_no_longer(rabbitmq_server: Server) -> None:
    nobody = pika.URLParameters("amqp://loja:x@127.0.0.1:9/%2F")
    begun = time.monotonic()
    with pytest.raises(Away, match=r"ConnectionError|Connection refused"):
        RabbitMQ(nobody, QUEUE, 10, SHORT, timedelta(seconds=1)).reopen()
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
        with pytest.raises(Away, match="hung up"):
            waiting(pika.URLParameters(f"amqp://loja:x@127.0.0.1:{port}/%2F"), QUEUE)


def test_a_broker_that_has_no_disk_left_is_away_and_not_waited_for_without_end(
    rabbitmq_server: Server, tmp_path: Path
) -> None:
    full = Server(tmp_path / "data", free_port(), "secret", tmp_path / "log", rabbitmq_server.tree)
    full.data.mkdir()
    (full.data / "none.config").write_text("[{rabbit, [{disk_free_limit, 1000000000000000}]}].")
    with full, pytest.raises(Away, match="ConnectionBlockedTimeout"):
        publish(pika.URLParameters(f"{full.url()}?blocked_connection_timeout=1"), QUEUE, bodies(1, 2))


def run_two_workers(
    count: int,
    broker: pika.URLParameters,
    store: Connection[Any],
    mariadb_server: MariaDB,
    loja: str,
    rabbitmq_server: Server,
) -> float:
    """Consume `count` messages by two processes: one is killed in the middle, the broker restarted. Return seconds."""
    publish(broker, QUEUE, bodies(1, count))
    begun = time.monotonic()
    one, other = (worker(mariadb_server, loja, rabbitmq_server, run=name) for name in ("one", "other"))

    def stored() -> dict[str, int]:
        with store.cursor() as cursor:
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
        rabbitmq_server.restart()
        said, _ = other.communicate(timeout=400)
    finally:
        for process in (one, other):
            process.kill()
            process.wait()
    seconds = time.monotonic() - begun
    assert one.returncode == -9
    assert other.returncode == 0, said
    assert "the broker is away" in said
    drain(broker, store)
    assert_stored_once(store, ids(1, count))
    assert dead_letters(broker) == {}
    assert Counter(stored())["one"] > 0
    return seconds


def test_two_workers_one_killed_the_broker_restarted(
    broker: pika.URLParameters,
    store: Connection[Any],
    mariadb_server: MariaDB,
    loja: str,
    rabbitmq_server: Server,
) -> None:
    run_two_workers(2000, broker, store, mariadb_server, loja, rabbitmq_server)


@pytest.mark.soak
def test_ten_thousand_messages(
    broker: pika.URLParameters,
    store: Connection[Any],
    mariadb_server: MariaDB,
    loja: str,
    rabbitmq_server: Server,
    capsys: pytest.CaptureFixture[str],
) -> None:
    seconds = run_two_workers(10_000, broker, store, mariadb_server, loja, rabbitmq_server)
    with capsys.disabled():
        print(f"\n10,000 messages, a worker killed, the broker restarted: {10_000 / seconds:,.0f} a second")


@pytest.mark.soak
def test_a_broker_that_is_killed_again_and_again_loses_none_of_those_that_wait(
    broker: pika.URLParameters,
    store: Connection[Any],
    mariadb_server: MariaDB,
    loja: str,
    rabbitmq_server: Server,
) -> None:
    refuse(store, "TRUE")
    publish(broker, QUEUE, bodies(1, 3000))
    # Without a pause each refused message is on its way back at once, twice.
    process = worker(mariadb_server, loja, rabbitmq_server, pause=0)
    try:
        for _ in range(5):
            time.sleep(1)
            assert process.poll() is None
            rabbitmq_server.kill()
            rabbitmq_server.start()
        said, _ = process.communicate(timeout=400)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0, said
    assert "the broker is away" in said
    drain(broker, store)
    assert set(dead_letters(broker)) == ids(1, 3000)
