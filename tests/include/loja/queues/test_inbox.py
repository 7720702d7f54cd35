"""Messages and their effects in a real MariaDB: once, whoever stores them and however it ends."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pymysql
import pytest
from pymysql.connections import Connection

from include.loja.queues.inbox import Failures, Inbox, create_tables, metrics
from include.loja.queues.message import Message, parse
from tests.include.loja.conftest import Connect
from tests.include.loja.queues.letters import assert_stored_once, bodies, body, column, ids

QUEUE = "produto-fila"


@pytest.fixture
def loja(loja: Connection[Any]) -> Connection[Any]:
    create_tables(loja)
    create_tables(loja)
    return loja


def messages(first: int, last: int) -> list[Message]:
    return [parse(one) for one in bodies(first, last)]


def refuse(loja: Connection[Any], condition: str, statement: str) -> None:
    """Let the database itself refuse some effects, by a trigger."""
    with loja.cursor() as cursor:
        cursor.execute(
            f"CREATE TRIGGER refuse BEFORE INSERT ON movimentos FOR EACH ROW IF {condition} THEN {statement}; END IF"
        )


def test_what_is_stored_again_changes_nothing(loja: Connection[Any]) -> None:
    stored = Inbox(loja, QUEUE, "run 1")
    assert stored.apply(messages(1, 20)) == {}
    assert Inbox(loja, QUEUE, "run 2").apply([*messages(15, 30), *messages(15, 30)]) == {}
    assert_stored_once(loja, ids(1, 30))
    assert column(loja, "SELECT COUNT(*) FROM mensagens WHERE execucao = 'run 2'") == [10]


def questions(loja: Connection[Any]) -> int:
    """Return how many statements the session has sent so far."""
    with loja.cursor() as cursor:
        cursor.execute("SHOW SESSION STATUS LIKE 'Questions'")
        [row] = cursor.fetchall()
    return int(row["Value"])


def test_a_batch_of_new_messages_is_a_few_statements(loja: Connection[Any]) -> None:
    stored, before = Inbox(loja, QUEUE, "run"), questions(loja)
    assert stored.apply(messages(1, 200)) == {}
    # BEGIN, two inserts, COMMIT, and the question itself.
    assert questions(loja) - before == 5
    assert_stored_once(loja, ids(1, 200))


def test_what_one_message_says_is_in_its_row(loja: Connection[Any]) -> None:
    Inbox(loja, QUEUE, "run").apply([parse(body(1, acao="deletar", origem="api", prioridade="alta"))])
    with loja.cursor() as cursor:
        cursor.execute("SELECT fila, tipo, acao, origem, prioridade, criada_em, execucao FROM mensagens")
        [row] = cursor.fetchall()
    assert str(row.pop("criada_em")) == "2026-11-21 18:00:00"
    assert list(row.values()) == [QUEUE, "produto", "deletar", "api", "alta", "run"]


def test_one_refused_message_holds_up_no_other_and_leaves_nothing(loja: Connection[Any]) -> None:
    refuse(
        loja,
        "NEW.mensagem_id IN ('PRODUTO-0003', 'PRODUTO-0007')",
        "SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'não hoje'",
    )
    refused = Inbox(loja, QUEUE, "run").apply(messages(1, 10))
    assert refused == {parse(body(number)).digest: "MySQL 1644: não hoje" for number in (3, 7)}
    assert_stored_once(loja, ids(1, 10) - {"PRODUTO-0003", "PRODUTO-0007"})


def test_a_check_of_the_databases_refuses_its_message_and_no_other(loja: Connection[Any]) -> None:
    with loja.cursor() as cursor:
        cursor.execute("ALTER TABLE movimentos ADD CONSTRAINT no_third CHECK (mensagem_id <> 'PRODUTO-0003')")
    refused = Inbox(loja, QUEUE, "run").apply(messages(1, 5))
    assert list(refused) == [parse(body(3)).digest]
    assert "no_third" in refused[parse(body(3)).digest]
    assert_stored_once(loja, ids(1, 5) - {"PRODUTO-0003"})


def test_the_same_id_with_another_content_is_refused(loja: Connection[Any]) -> None:
    stored = Inbox(loja, QUEUE, "run")
    other = parse(body(1, acao="deletar"))
    reason = {other.digest: "PRODUTO-0001 is stored already, with a different content"}
    assert stored.apply([parse(body(1)), other]) == reason
    assert stored.apply([other]) == reason
    assert column(loja, "SELECT acao FROM movimentos") == ["criar"]


def test_what_is_wrong_with_the_database_is_no_fault_of_a_message(loja: Connection[Any]) -> None:
    with loja.cursor() as cursor:
        cursor.execute("RENAME TABLE movimentos TO elsewhere")
    with pytest.raises(pymysql.ProgrammingError, match="movimentos"):
        Inbox(loja, QUEUE, "run").apply(messages(1, 3))
    assert column(loja, "SELECT COUNT(*) FROM mensagens") == [0]


def test_consumers_with_the_same_messages_store_each_once(loja: Connection[Any], connect: Connect) -> None:
    connections = [connect() for _ in range(4)]

    def work(connection: Connection[Any]) -> None:
        stored = Inbox(connection, QUEUE, "run")
        generator = random.Random(connections.index(connection))
        for start in range(1, 200, 20):
            some = messages(start, start + 39)
            generator.shuffle(some)
            assert stored.apply(some) == {}

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, connections))
    assert_stored_once(loja, ids(1, 220))


def test_failures_are_counted_by_message_and_forgotten(loja: Connection[Any]) -> None:
    stored = Inbox(loja, QUEUE, "run")
    assert [stored.count_failure("PRODUTO-0001", "x" * 900) for _ in range(3)] == [1, 2, 3]
    assert [stored.count_lost("PRODUTO-0001") for _ in range(2)] == [1, 2]
    stored.uncount_lost("PRODUTO-0001")
    stored.mark_dead("PRODUTO-0001", "gave up")
    assert stored.failures(["PRODUTO-0001", "PRODUTO-0002"]) == {"PRODUTO-0001": Failures(3, 1, True)}
    assert Inbox(loja, "pedido-fila", "run").failures(["PRODUTO-0001"]) == {}
    stored.forget("PRODUTO-0001")
    assert stored.failures(["PRODUTO-0001"]) == stored.failures([]) == {}


def test_the_numbers_of_nothing_are_no_rate() -> None:
    assert metrics(0, 0) == type(metrics(0, 0))(0, 0, 0, None)
    assert metrics(3, 1).taxa == 0.75
    assert metrics(0, 2).taxa == 0.0


def test_a_run_is_measured_by_what_is_there(loja: Connection[Any]) -> None:
    stored = Inbox(loja, QUEUE, "run")
    assert vars(stored.measure()) == {"total": 0, "sucessos": 0, "falhas": 0, "taxa": None}
    stored.apply(messages(1, 2))
    stored.count_failure("PRODUTO-0009", "tried again later: no failure of the run yet")
    stored.mark_dead("PRODUTO-0003", "no")
    Inbox(loja, "pedido-fila", "run").apply([parse(body(1, "pedido"))])
    for _ in range(2):
        assert vars(stored.measure()) == {"total": 3, "sucessos": 2, "falhas": 1, "taxa": 2 / 3}
    # What dies again in a later run is that run's; what only fails again is not dead in it.
    later = Inbox(loja, QUEUE, "later")
    later.count_failure("PRODUTO-0003", "no")
    assert later.measure().falhas == 0
    for count in (1, 2):
        later.mark_dead("PRODUTO-0003", "no")
        assert later.measure().falhas == count
    with loja.cursor() as cursor:
        cursor.execute("SELECT total, sucessos, falhas, taxa FROM metricas_filas WHERE execucao = 'run'")
        assert [list(map(str, row.values())) for row in cursor.fetchall()] == [["3", "2", "1", "0.666667"]]


def test_reports_of_a_run_count_each_message_once_also_at_the_same_time(
    loja: Connection[Any], connect: Connect
) -> None:
    inboxes = [Inbox(connect(), QUEUE, "run") for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        counted = list(pool.map(lambda inbox: inbox.count(metrics(3, 2)), inboxes))
    assert sorted(counted, key=lambda one: one.total) == [metrics(0, 0)] * 3 + [metrics(3, 2)]
    # A cleared run stored more, and put a dead letter back.
    assert inboxes[0].count(metrics(5, 1)) == metrics(2, 0)
    assert Inbox(loja, QUEUE, "another").count(metrics(1, 1)) == metrics(1, 1)
