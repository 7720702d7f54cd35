"""What a message of the store is, and that nothing else gets through as one."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.loja.queues.message import LARGEST, Poison, Priority, key, parse, priority
from tests.include.loja.queues.letters import body


def changed(**changes: Any) -> bytes:
    return json.dumps({**json.loads(body(1)), **changes}).encode()


def data(acao: Any = "criar", origem: Any = "app", prioridade: Any = "alta") -> dict[str, Any]:
    return {"acao": acao, "metadados": {"origem": origem, "prioridade": prioridade}}


def test_a_message_of_each_type_is_read() -> None:
    for tipo in ("produto", "pedido", "usuario"):
        message = parse(body(7, tipo, prioridade="alta", acao="deletar", origem="site"))
        assert (message.tipo, message.id) == (tipo, f"{tipo.upper()}-0007")
        assert (message.dados.acao, message.dados.metadados.origem) == ("deletar", "site")
        assert message.priority is Priority.alta
        assert message.at == datetime(2026, 11, 21, 18)


def test_keys_that_nobody_reads_are_let_through() -> None:
    assert parse(changed(versao=2)).digest == parse(body(1)).digest


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"\xff\xfe", "not UTF-8|not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[]", "a JSON list; it must be an object"),
        (b"null", "a JSON NoneType; it must be an object"),
        (b"x" * (1024 * 1024), f"1048576 bytes; a message has at most {LARGEST}"),
        (b"{}", "tipo: Field required"),
        (
            changed(tipo="cliente"),
            "tipo: Input should be 'produto', 'pedido' or 'usuario' \\(not 'cliente'\\)",
        ),
        (changed(id="PRODUTO-12"), "id: String should match pattern .*\\(not 'PRODUTO-12'\\)"),
        (changed(id="PRODUTO-0001\n"), "id: String should match pattern"),
        (changed(id="PRODUTO-" + "1" * 40), "id: String should have at most 40 characters"),
        (changed(id="PEDIDO-0001"), "id PEDIDO-0001 does not fit tipo produto: it must begin with PRODUTO-"),
        (changed(timestamp="2026-11-21T15:00:00"), "timestamp: Input should have timezone info"),
        (changed(timestamp="yesterday"), "timestamp: Input should be a valid datetime"),
        (changed(timestamp="0001-01-01T00:00:00+14:00"), "timestamp: .* years 1 to 9999 in UTC"),
        (changed(timestamp="9999-12-31T23:59:59-14:00"), "timestamp: .* years 1 to 9999 in UTC"),
        (changed(dados=None), "dados: Input should be a valid dictionary"),
        (changed(dados=data(acao="apagar")), "dados.acao: Input should be 'criar', 'atualizar' or 'deletar'"),
        (changed(dados=data(origem="fax")), "dados.metadados.origem: .*\\(not 'fax'\\)"),
        (changed(dados=data(prioridade=1)), "dados.metadados.prioridade: .*\\(not '1'\\)"),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_poison_names_the_field_and_what_would_be_right(text: bytes, reason: str) -> None:
    with pytest.raises(Poison, match=reason):
        parse(text)
    assert priority(text) is Priority.baixa
    assert key(text).startswith("sha256:")


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.binary(max_size=200) | anything.map(lambda value: json.dumps(value).encode()))
def test_nothing_else_is_raised_whatever_comes(text: bytes) -> None:
    with pytest.raises(Poison):
        parse(text)


@given(
    st.dictionaries(st.sampled_from(["tipo", "id", "timestamp", "dados"]), anything, max_size=4),
)
def test_nothing_else_is_raised_whatever_a_field_holds(changes: dict[str, Any]) -> None:
    text = changed(**changes)
    try:
        message = parse(text)
    except Poison as poison:
        assert str(poison)  # noqa: PT017 (either is right; no third thing is)
    else:
        assert message.id.startswith(message.tipo.upper())
