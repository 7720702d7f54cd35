"""atualizacao_precos on a real MariaDB: one transaction, its history, deaths, two at once, what changed in between."""

from __future__ import annotations

import html
import re
import threading
from decimal import Decimal
from typing import Any

import pymysql
import pytest
from pymysql.connections import Connection

from include.conventions import sql
from include.conventions.errors import LeftoverError, RequestError
from include.loja.products.price_lists import Decision, apply, catalogue, question, save
from include.loja.products.prices import parse, propose
from tests.include.loja.conftest import Connect
from tests.include.loja.rows import execute, read

LIST = b"produto_id,preco\n1,11.00\n2,40.00\n3,30.00\n9,1.00\n"
NOBODY = Decision(approved=None, by=None)
MARKUP = "B|[x](http://y) https://y.org www.y.org ana@y.org ~~no~~ `c` <b>"
# What GitHub's Markdown makes a link of in a text, also if its characters are escaped.
ADDRESS = re.compile(r"https?://[-.\w]|www\.[-.\w]|[-.\w+]@[-\w]")


@pytest.fixture
def proposed(loja: Connection[Any]) -> Connection[Any]:
    """A catalogue of three products, and a list with one small change, one large, one that is none, one unknown."""
    for name, price in (("A", 10), (MARKUP, 20), ("C", 30)):
        execute(
            loja,
            "INSERT INTO produtos (nome, categoria, preco, estoque) VALUES (%s, 'x', %s, 1)",
            name,
            price,
        )
    propose_list(loja)
    return loja


def propose_list(loja: Connection[Any], content: bytes = LIST) -> None:
    proposals = propose(parse(content, "csv"), catalogue(loja), Decimal("0.2"))
    save(loja, "run", "/lists/today.csv", content, proposals)


def by_ana(loja: Connection[Any]) -> Decision:
    """Ana approves what is asked now."""
    found = question(loja, "run")
    return Decision(None if found is None else found.digest, "ana")


def prices(loja: Connection[Any]) -> list[Decimal]:
    return [price for (price,) in read(loja, "SELECT preco FROM produtos ORDER BY produto_id")]


def history(loja: Connection[Any]) -> list[tuple[Any, ...]]:
    return read(
        loja,
        "SELECT produto_id, preco_antigo, preco_novo, aprovado_por FROM precos_historico ORDER BY produto_id",
    )


def test_what_is_approved_is_applied_with_who_approved_it(proposed: Connection[Any]) -> None:
    report = apply(proposed, "run", by_ana(proposed))
    assert report == {"aplicado": 2, "igual": 1, "invalido": 1}
    assert prices(proposed) == [11, 40, 30]
    assert history(proposed) == [(1, 10, 11, None), (2, 20, 40, "ana")]
    # The retry of a task that died after its commit, whatever it is told.
    assert apply(proposed, "run", NOBODY) == report
    assert len(history(proposed)) == 2


def test_what_nobody_approves_stays_and_the_rest_is_applied(proposed: Connection[Any]) -> None:
    assert apply(proposed, "run", NOBODY) == {"aplicado": 1, "recusado": 1, "igual": 1, "invalido": 1}
    assert prices(proposed) == [11, 20, 30]
    assert read(proposed, "SELECT decisao, decidida_por FROM listas_precos") == [("recusada", None)]


@pytest.mark.security("payloads")
def test_a_person_is_asked_what_is_beyond_the_limit_and_nothing_in_it_is_markup(
    proposed: Connection[Any],
) -> None:
    found = question(proposed, "run")
    assert found is not None
    asked = found.text
    assert asked.startswith("1 changes are beyond the limit.")
    assert "| 20.00 | 40.00 |" in asked
    assert not set("[]()~`<>") & set(asked)
    shown = html.unescape(asked)
    assert ADDRESS.search(MARKUP)
    assert not ADDRESS.search(shown)
    # The characters in between are invisible.
    assert MARKUP in shown.replace("\u2060", "")
    execute(proposed, "DELETE FROM precos_propostos WHERE situacao = 'aprovar'")
    assert question(proposed, "run") is None


def test_a_list_that_is_read_again_replaces_its_proposals_until_it_is_applied(
    proposed: Connection[Any],
) -> None:
    propose_list(proposed, b"produto_id,preco\n3,31.00\n")
    assert read(proposed, "SELECT produto_id FROM precos_propostos") == [(3,)]
    apply(proposed, "run", NOBODY)
    with pytest.raises(RequestError, match=r"list run was applied at .*: trigger a new run"):
        propose_list(proposed)
    assert prices(proposed) == [10, 20, 31]


def test_an_approval_holds_for_the_changes_that_were_shown(proposed: Connection[Any]) -> None:
    early = by_ana(proposed)
    propose_list(proposed)
    # The same list: the same changes.
    assert by_ana(proposed) == early
    propose_list(proposed, LIST.replace(b"2,40.00", b"2,400.00"))
    with pytest.raises(LeftoverError, match=rf"the changes {early.approved} were approved, but list run was"):
        apply(proposed, "run", early)
    assert prices(proposed) == [10, 20, 30]
    apply(proposed, "run", by_ana(proposed))
    assert prices(proposed) == [11, 400, 30]
    # A retry finds it applied.
    apply(proposed, "run", early)


def test_a_price_that_changed_in_between_is_not_overwritten(proposed: Connection[Any]) -> None:
    asked = by_ana(proposed)
    execute(proposed, "UPDATE produtos SET preco = 12 WHERE produto_id = 1")
    execute(proposed, "DELETE FROM produtos WHERE produto_id = 2")
    assert apply(proposed, "run", asked) == {"conflito": 2, "igual": 1, "invalido": 1}
    assert prices(proposed) == [12, 30]
    assert history(proposed) == []
    assert read(
        proposed, "SELECT motivo FROM precos_propostos WHERE situacao = 'conflito' ORDER BY linha"
    ) == [
        ("the price was 10.00 when the list was read, and is 12.00",),
        ("the price was 20.00 when the list was read, and is no more",),
    ]


def test_a_list_that_was_never_read_is_not_applied(loja: Connection[Any]) -> None:
    with pytest.raises(LeftoverError, match="list other was never read"):
        apply(loja, "other", NOBODY)


@pytest.mark.parametrize(
    "step",
    [
        "refuse_proposals",
        "lock_products",
        "mark_conflicts",
        "insert_history",
        "update_prices",
        "mark_applied",
        "close_list",
    ],
)
def test_killed_at_any_statement_no_price_has_changed(
    proposed: Connection[Any], connect: Connect, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    doomed, approved = connect(), by_ana(proposed)
    real = sql.text

    def dying(folder: str, name: str) -> str:
        if name == step:
            execute(proposed, f"KILL {doomed.thread_id()}")
        return real(folder, name)

    monkeypatch.setattr(sql, "text", dying)
    with pytest.raises(pymysql.MySQLError):
        apply(doomed, "run", approved)
    monkeypatch.setattr(sql, "text", real)
    assert prices(proposed) == [10, 20, 30]
    assert history(proposed) == []
    apply(connect(), "run", approved)
    assert prices(proposed) == [11, 40, 30]


def test_two_at_once_apply_it_once_and_readers_see_all_of_it_or_nothing(
    proposed: Connection[Any], connect: Connect
) -> None:
    reader, stop, seen = connect(), threading.Event(), set()

    def look() -> None:
        while not stop.is_set():
            seen.add(tuple(prices(reader)))

    approved = by_ana(proposed)
    looking = threading.Thread(target=look)
    looking.start()
    threads = [threading.Thread(target=apply, args=(connect(), "run", approved)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    stop.set()
    looking.join()
    assert seen
    assert seen <= {(10, 20, 30), (11, 40, 30)}
    assert len(history(proposed)) == 2
