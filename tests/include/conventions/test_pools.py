"""What the pools are, as far as that needs no database."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from include.conventions import pools


def test_a_pool_has_its_slots_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FONTE_VENDAS_SLOTS", raising=False)
    monkeypatch.delenv("FONTE_VENDAS_BACKGROUND_SLOTS", raising=False)
    monkeypatch.delenv("AUTOMACOES_SLOTS", raising=False)
    assert {pool.name: pool.slots for pool in pools.load()} == {
        "fonte_vendas": 3,
        "fonte_vendas_background": 3,
        "automacoes": 1024,
    }
    monkeypatch.setenv("FONTE_VENDAS_SLOTS", "5")
    monkeypatch.setenv("AUTOMACOES_SLOTS", "6")
    assert [pool.slots for pool in pools.load()] == [5, 3, 6]


@pytest.mark.parametrize(
    ("conf", "pool", "chosen"),
    [
        (
            {"inicio": "2026-01-01T00:00:00Z", "fim": "2026-01-02T00:00:00Z"},
            "fonte_vendas",
            "fonte_vendas_background",
        ),
        ({"reconstruir": ["venda"]}, "fonte_vendas", "fonte_vendas_background"),
        ({"inicio": None, "tabelas": ["venda"]}, "fonte_vendas", "fonte_vendas"),
        ({}, "fonte_vendas", "fonte_vendas"),
        (None, "fonte_vendas", "fonte_vendas"),
        ({"inicio": "2026-01-01T00:00:00Z"}, "default_pool", "default_pool"),
    ],
)
def test_what_is_read_again_is_in_a_pool_of_its_own(conf: object, pool: str, chosen: str) -> None:
    task: Any = SimpleNamespace(pool=pool)
    run: Any = SimpleNamespace(conf=conf)
    pools.choose_pool(task, run)
    assert task.pool == chosen
    pools.choose_pool(task, run)
    assert task.pool == chosen
    pools.choose_pool(task, None)
    assert task.pool == chosen


@pytest.mark.parametrize(
    "variable", ["FONTE_VENDAS_SLOTS", "FONTE_VENDAS_BACKGROUND_SLOTS", "AUTOMACOES_SLOTS"]
)
@pytest.mark.parametrize("slots", ["0", "-1", "two", ""])
def test_slots_that_make_no_sense_name_the_variable(
    monkeypatch: pytest.MonkeyPatch, variable: str, slots: str
) -> None:
    monkeypatch.setenv(variable, slots)
    with pytest.raises(ValueError, match=f"{variable} is '{slots}'; it must be a whole number of at"):
        pools.load()
