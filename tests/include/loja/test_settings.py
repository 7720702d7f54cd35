"""Settings that make no sense name the variable, the value, and what would be right."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from include.loja import settings


@pytest.mark.parametrize(
    ("load", "variable", "value", "reason"),
    [
        (settings.Timetables.load, "LOJA_FUSO", "Brasil", "a time zone, like America/Sao_Paulo"),
        (settings.Timetables.load, "LOJA_FUSO", "../etc/passwd", "a time zone"),
        (settings.Workers.load, "LOJA_TAREFAS_CARGAS", "urgent", "high, default or low"),
        (settings.Creation.load, "LOJA_CRIACAO_LOTES", "21", "a whole number from 1 to 20"),
        (settings.Creation.load, "LOJA_CRIACAO_LOTE", "0", "a whole number of at least 1"),
        (settings.Creation.load, "LOJA_CRIACAO_ESPERA_SEGUNDOS", "-1", "a whole number of at least 0"),
        (settings.Prices.load, "LOJA_PRECOS_FORMATO", "xml", "csv, json or empty"),
        (settings.Prices.load, "LOJA_PRECOS_LIMITE_PERCENTUAL", "NaN", "a number of at least 0"),
        (settings.Prices.load, "LOJA_PRECOS_LIMITE_PERCENTUAL", "many", "a number of at least 0"),
        (settings.Prices.load, "LOJA_PRECOS_ESPERA_HORAS", "24", "a whole number from 1 to 23"),
        (settings.Transfer.load, "LOJA_BALDE", "Loja_1", "the name of an S3 bucket"),
        (settings.Transfer.load, "LOJA_PARTE_LINHAS", "1e6", "a whole number of at least 1"),
        (settings.Transfer.load, "LOJA_PEDIDOS_FOLGA_SEGUNDOS", "0", "a whole number of at least 1"),
    ],
)
def test_what_makes_no_sense_is_named(
    monkeypatch: pytest.MonkeyPatch, load: Callable[[], Any], variable: str, value: str, reason: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(ValueError, match=f"{variable} is '{value}'.*{reason}"):
        load()


def test_a_limit_is_a_share(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOJA_PRECOS_LIMITE_PERCENTUAL", "12.5")
    assert settings.Prices.load().limit == Decimal("0.125")
    assert settings.Creation.load().delay == timedelta(seconds=60)
