"""What the pools are, as far as that needs no database."""

from __future__ import annotations

import pytest

from include.conventions import pools


def test_two_extractions_at_once_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FONTE_VENDAS_SLOTS", raising=False)
    assert [(pool.name, pool.slots) for pool in pools.load()] == [("fonte_vendas", 2)]
    monkeypatch.setenv("FONTE_VENDAS_SLOTS", "5")
    assert [pool.slots for pool in pools.load()] == [5]


@pytest.mark.parametrize("slots", ["0", "-1", "two", ""])
def test_slots_that_make_no_sense_name_the_variable(monkeypatch: pytest.MonkeyPatch, slots: str) -> None:
    monkeypatch.setenv("FONTE_VENDAS_SLOTS", slots)
    with pytest.raises(ValueError, match=f"FONTE_VENDAS_SLOTS is '{slots}'; it must be a whole number of at"):
        pools.load()
