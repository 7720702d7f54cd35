"""What the pools are, as far as that needs no database."""

from __future__ import annotations

import pytest

from include.conventions import pools


def test_a_pool_has_its_slots_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FONTE_VENDAS_SLOTS", raising=False)
    monkeypatch.delenv("AUTOMACOES_SLOTS", raising=False)
    assert [(pool.name, pool.slots) for pool in pools.load()] == [("fonte_vendas", 2), ("automacoes", 1024)]
    monkeypatch.setenv("FONTE_VENDAS_SLOTS", "5")
    monkeypatch.setenv("AUTOMACOES_SLOTS", "6")
    assert [pool.slots for pool in pools.load()] == [5, 6]


@pytest.mark.parametrize("variable", ["FONTE_VENDAS_SLOTS", "AUTOMACOES_SLOTS"])
@pytest.mark.parametrize("slots", ["0", "-1", "two", ""])
def test_slots_that_make_no_sense_name_the_variable(
    monkeypatch: pytest.MonkeyPatch, variable: str, slots: str
) -> None:
    monkeypatch.setenv(variable, slots)
    with pytest.raises(ValueError, match=f"{variable} is '{slots}'; it must be a whole number of at"):
        pools.load()
