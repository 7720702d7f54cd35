"""Messages for tests, and what a database and a queue hold of them afterwards."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from pymysql.connections import Connection

from include.loja.queues.message import key

PRIORITIES = ("alta", "media", "baixa")


def body(number: int, tipo: str = "produto", **changes: Any) -> bytes:
    """Return one message; `changes` are keys of `acao`, `origem`, `prioridade`."""
    metadata = {
        "origem": changes.get("origem", "app"),
        "prioridade": changes.get("prioridade", PRIORITIES[number % 3]),
    }
    message = {
        "tipo": tipo,
        "id": f"{tipo.upper()}-{number:04d}",
        "timestamp": "2026-11-21T15:00:00-03:00",
        "dados": {"acao": changes.get("acao", "criar"), "metadados": metadata},
    }
    return json.dumps(message).encode()


def bodies(first: int, last: int) -> Iterator[bytes]:
    """Return messages numbered from `first` to `last`."""
    return (body(number) for number in range(first, last + 1))


def name(text: bytes) -> str:
    """Return a message's id, or the digest of what has none."""
    return key(text).partition(" ")[0]


def ids(first: int, last: int) -> set[str]:
    """Return the ids of those."""
    return {f"PRODUTO-{number:04d}" for number in range(first, last + 1)}


def column(loja: Connection[Any], statement: str) -> list[Any]:
    """Return the first column of what a statement reads."""
    with loja.cursor() as cursor:
        cursor.execute(statement)
        return [next(iter(row.values())) for row in cursor.fetchall()]


def assert_stored_once(loja: Connection[Any], expected: set[str]) -> None:
    """Fail unless exactly these messages are stored, each with its effect exactly once."""
    stored = column(loja, "SELECT mensagem_id FROM mensagens")
    assert set(stored) == expected
    effects = column(loja, "SELECT mensagem_id FROM movimentos")
    assert sorted(effects) == sorted(expected)
