"""criacao_produtos on a real MariaDB: claims, steps, failures per product, deaths, two at once, replay."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pymysql
import pytest
from pymysql.connections import Connection

from include.conventions.errors import RequestError
from include.loja.products import claims as module
from include.loja.products import notices
from include.loja.products.claims import Claims
from tests.include.loja.conftest import Connect
from tests.include.loja.rows import execute, read

AT_ONCE = timedelta()
MINUTE = timedelta(seconds=60)


def pend(connection: Connection[Any], *rows: tuple[Any, ...]) -> None:
    for row in rows:
        execute(
            connection,
            "INSERT INTO produtos_pendentes (nome, categoria, preco, estoque) VALUES (%s, %s, %s, %s)",
            *row,
        )


def states(connection: Connection[Any]) -> list[tuple[Any, ...]]:
    return read(
        connection, "SELECT pendente_id, estado, tentativas FROM produtos_pendentes ORDER BY pendente_id"
    )


def run(connection: Connection[Any], name: str, delay: timedelta = AT_ONCE) -> dict[str, int]:
    claims = Claims(connection, name, delay)
    total: dict[str, int] = {}
    for batch in claims.claim(20, 50):
        for state, count in claims.work(batch).items():
            total[state] = total.get(state, 0) + count
    assert claims.left() == 0
    return total


def test_products_reach_the_catalogue_once_and_downstream_is_told_once(loja: Connection[Any]) -> None:
    pend(loja, ("Camisa ", "Roupas", 10.5, 3), ("Mesa", "Móveis", 99, 0))
    assert run(loja, "one") == {"catalogado": 2}
    assert run(loja, "two") == {}
    assert read(loja, "SELECT nome, categoria, preco, estoque FROM produtos ORDER BY nome") == [
        ("Camisa", "Roupas", pytest.approx(10.5), 3),
        ("Mesa", "Móveis", 99, 0),
    ]
    sent: list[dict[str, Any]] = []
    assert notices.send(loja, sent.extend) == 2
    assert notices.send(loja, sent.extend) == 0
    assert [message["tipo"] for message in sent] == ["produto", "produto"]
    assert len({message["id"] for message in sent}) == 2
    assert sent[0]["dados"] == {"acao": "criar", "metadados": {"origem": "api", "prioridade": "media"}}
    assert sent[0]["timestamp"].endswith("+00:00")


def test_one_bad_product_holds_up_no_other(loja: Connection[Any]) -> None:
    pend(loja, ("A", "Roupas", 1, 1), ("B", "Roupas", -1, 1), ("C", "Roupas", 1, None), ("D", "Roupas", 1, 1))
    assert run(loja, "one", MINUTE) == {"catalogado": 2, "falhou": 1, "adiado": 1}
    assert states(loja) == [
        (1, "catalogado", 0),
        (2, "falhou", 1),
        (3, "processado", 1),
        (4, "catalogado", 0),
    ]
    # The one that waits is not due, and the one that failed is left alone.
    assert run(loja, "two", MINUTE) == {}
    assert Claims(loja, "one", MINUTE).report() == [
        {
            "pendente_id": 2,
            "etapa": "processar",
            "estado": "falhou",
            "motivo": "processar, refused: preco is -1.0000: it must be above 0 and at most 9999999999.99",
        },
        {
            "pendente_id": 3,
            "etapa": "validar",
            "estado": "processado",
            "motivo": "estoque is empty: nobody has counted it yet",
        },
    ]


def test_stock_is_asked_for_three_times_and_a_failed_product_can_be_repeated(loja: Connection[Any]) -> None:
    pend(loja, ("A", "Roupas", 1, None))
    assert [run(loja, name) for name in ("one", "two", "three", "four")] == [
        {"adiado": 1},
        {"adiado": 1},
        {"falhou": 1},
        {},
    ]
    execute(loja, "UPDATE produtos_pendentes SET estoque = 7")
    again = Claims(loja, "five", AT_ONCE)
    assert again.replay([1]) == 1
    # A try of the same run that died after the commit asks once more.
    assert again.replay([1]) == 0
    assert run(loja, "five") == {"catalogado": 1}
    assert read(loja, "SELECT estoque FROM produtos") == [(7,)]
    assert read(loja, "SELECT motivo FROM produtos_eventos WHERE etapa = 'repetir'") == [
        ("validar, 3 tries: estoque is empty: nobody has counted it yet",)
    ]
    # Downstream was told at the first processing, and is not told again.
    assert notices.send(loja, lambda _: None) == 1


def test_only_what_failed_can_be_repeated_and_all_or_nothing(loja: Connection[Any]) -> None:
    pend(loja, ("A", "Roupas", -1, 1), ("B", "Roupas", 1, 1))
    run(loja, "one")
    with pytest.raises(RequestError, match="pending product 2, 9 has not failed"):
        Claims(loja, "two", AT_ONCE).replay([1, 2, 9])
    assert states(loja)[0][1] == "falhou"
    assert Claims(loja, "two", AT_ONCE).replay(None) == 1
    assert states(loja)[0] == (1, "pendente", 0)


def test_at_most_so_many_batches_oldest_first(loja: Connection[Any]) -> None:
    pend(loja, *((f"P{number}", "Roupas", 1, 1) for number in range(7)))
    assert Claims(loja, "one", AT_ONCE).claim(2, 3) == [[1, 2, 3], [4, 5, 6]]


def test_a_retry_of_the_claim_gets_the_same_and_a_later_run_takes_over_from_a_dead_one(
    loja: Connection[Any], connect: Connect
) -> None:
    pend(loja, ("A", "Roupas", 1, 1), ("B", "Roupas", 1, 1))
    dead = Claims(loja, "dead", AT_ONCE)
    assert dead.claim(20, 1) == dead.claim(20, 1) == [[1], [2]]
    assert dead.work([1]) == {"catalogado": 1}
    assert dead.left() == 1
    other = connect()
    assert Claims(other, "next", AT_ONCE).claim(20, 1) == [[2]]
    # The dead one was only silent: it finds its claim gone, and what it had done, done.
    assert dead.work([1, 2]) == {"alheio": 2}
    assert Claims(other, "next", AT_ONCE).work([2]) == {"catalogado": 1}
    assert read(loja, "SELECT COUNT(*), COUNT(DISTINCT nome) FROM produtos") == [(2, 2)]


def test_two_processes_of_one_claim_do_every_step_once(loja: Connection[Any], connect: Connect) -> None:
    pend(loja, *((f"P{number}", "Roupas", 1, 1) for number in range(40)))
    [ids] = Claims(loja, "one", AT_ONCE).claim(1, 40)
    connections = [connect(), connect(), connect()]
    start = threading.Barrier(len(connections))

    def work(connection: Connection[Any]) -> None:
        start.wait()
        Claims(connection, "one", AT_ONCE).work(ids)

    threads = [threading.Thread(target=work, args=(connection,)) for connection in connections]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert read(loja, "SELECT COUNT(*), COUNT(DISTINCT nome) FROM produtos") == [(40, 40)]
    assert read(loja, "SELECT etapa, COUNT(*) FROM produtos_eventos GROUP BY etapa ORDER BY etapa") == [
        ("catalogar", 40),
        ("processar", 40),
        ("validar", 40),
    ]
    assert read(loja, "SELECT COUNT(*) FROM avisos") == [(40,)]


@pytest.mark.parametrize("step", ["_process", "_validate", "_catalogue"])
def test_a_process_killed_in_any_step_leaves_nothing_half_done(
    loja: Connection[Any], connect: Connect, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """The connection is killed on the server in the middle of the transaction, as with a process that dies."""
    pend(loja, ("A", "Roupas", 1, 1))
    doomed = connect()
    claims = Claims(doomed, "one", AT_ONCE)
    [ids] = claims.claim(20, 50)
    real = dict(module.DO)
    names = {"_process": "pendente", "_validate": "processado", "_catalogue": "validado"}

    def dying(cursor: Any, product: Any) -> None:
        if step != "_validate":
            real[product.state](cursor, product)
        execute(loja, f"KILL {doomed.thread_id()}")
        cursor.execute("SELECT 1")

    monkeypatch.setattr(
        module, "DO", {state: dying if state == names[step] else do for state, do in real.items()}
    )
    with pytest.raises(pymysql.MySQLError):
        claims.work(ids)
    monkeypatch.setattr(module, "DO", real)
    assert states(loja)[0] == (1, names[step], 0)
    assert read(loja, "SELECT COUNT(*) FROM produtos") == [(0,)]
    # The task's next try, with a new connection and the same batch.
    assert Claims(connect(), "one", AT_ONCE).work(ids) == {"catalogado": 1}
    assert read(loja, "SELECT COUNT(*) FROM produtos") == [(1,)]
    assert read(loja, "SELECT COUNT(*) FROM avisos") == [(1,)]


def test_a_lock_on_one_product_costs_that_product_a_try_and_no_other(
    loja: Connection[Any], connect: Connect
) -> None:
    execute(
        loja, "INSERT INTO produtos (produto_id, nome, categoria, preco, estoque) VALUES (5, 'A', 'x', 1, 1)"
    )
    pend(loja, ("A", "Roupas", 2, 2), ("B", "Roupas", 2, 2), ("C", "Roupas", 2, 2))
    execute(loja, "UPDATE produtos_pendentes SET produto_id = 5 WHERE pendente_id = 1")
    execute(loja, "UPDATE produtos_pendentes SET produto_id = 999 WHERE pendente_id = 3")
    blocker, worker = connect(), connect()
    blocker.begin()
    execute(blocker, "SELECT * FROM produtos WHERE produto_id = 5 FOR UPDATE")
    execute(worker, "SET innodb_lock_wait_timeout = 1")
    assert run(worker, "one") == {"adiado": 1, "catalogado": 1, "falhou": 1}
    [(_, state, tries), _, (_, failed, _)] = states(loja)
    assert (state, tries, failed) == ("validado", 1, "falhou")
    blocker.rollback()
    assert run(worker, "two") == {"catalogado": 1}
    assert read(loja, "SELECT nome, preco FROM produtos WHERE produto_id = 5") == [("A", 2)]


def test_what_people_change_between_two_steps_is_looked_at_again(loja: Connection[Any]) -> None:
    pend(loja, ("A", "Roupas", 1, None), ("B", "Roupas", 1, None))
    assert run(loja, "one") == {"adiado": 2}
    # What was right when it was processed, and what was counted when it was validated, is so no more.
    execute(loja, "UPDATE produtos_pendentes SET preco = -5, estoque = 1 WHERE pendente_id = 1")
    execute(loja, "UPDATE produtos_pendentes SET estado = 'validado' WHERE pendente_id = 2")
    pend(loja, ("C", "Roupas", 1, 1))
    assert run(loja, "two") == {"falhou": 1, "adiado": 1, "catalogado": 1}
    assert read(loja, "SELECT nome, preco FROM produtos") == [("C", 1)]
    assert [reason for (reason,) in read(loja, "SELECT motivo FROM produtos_pendentes")] == [
        "catalogar, refused: preco is -5.0000: it must be above 0 and at most 9999999999.99",
        "estoque is empty: nobody has counted it yet",
        None,
    ]


def test_a_broker_that_is_away_leaves_the_notices_for_later(loja: Connection[Any]) -> None:
    pend(loja, ("A", "Roupas", 1, 1))
    run(loja, "one")

    def refuse(_: Any) -> None:
        raise ConnectionError("nobody answers")

    with pytest.raises(ConnectionError):
        notices.send(loja, refuse)
    first: list[dict[str, Any]] = []

    def dies_after_publishing(messages: Any) -> None:
        first.extend(messages)
        raise ConnectionError("gone before it could be marked")

    with pytest.raises(ConnectionError):
        notices.send(loja, dies_after_publishing)
    again: list[dict[str, Any]] = []
    assert notices.send(loja, again.extend) == 1
    assert again == first
