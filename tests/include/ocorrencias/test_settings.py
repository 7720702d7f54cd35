"""The settings: the old flow's pace by default; one that makes no sense is named with its value."""

from __future__ import annotations

import pytest

from include.ocorrencias import settings


def test_the_defaults_are_twenty_tries_two_seconds_apart(monkeypatch):
    for name in ("TENTATIVAS", "PAUSA_SEGUNDOS", "LIMITE_SEGUNDOS", "PASTA"):
        monkeypatch.delenv(f"OCORRENCIAS_{name}", raising=False)
    found = settings.Settings.load()
    assert (found.policy.attempts, found.policy.pause, found.policy.jitter, found.policy.limit) == (
        20,
        2,
        1,
        300,
    )
    assert (found.folder, found.accept_stale) == (None, False)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("OCORRENCIAS_TENTATIVAS", "0", "is '0'; it must be a whole number of at least 1"),
        ("OCORRENCIAS_PAUSA_SEGUNDOS", "-2", "is '-2'; it must be a whole number of at least 0"),
        ("OCORRENCIAS_LIMITE_SEGUNDOS", "²", "is '²'"),
        ("OCORRENCIAS_CACHE_HORAS", "um dia", "is 'um dia'"),
        ("OCORRENCIAS_ACEITAR_DESATUALIZADOS", "sim", "is 'sim'; it must be 0 or 1"),
    ],
)
def test_a_setting_that_makes_no_sense_is_named(monkeypatch, name, value, said):
    monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=f"{name} {said}"):
        settings.Settings.load()
