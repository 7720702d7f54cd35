"""The settings, and how they complain."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from include.tarefas import settings

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(autouse=True)
def unset(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MODULES_PATH", "TASK_RETRIES", "RETRY_SECONDS", "TIMEOUT_MINUTES", "REPORTS_PATH"):
        monkeypatch.delenv(f"AUTOMACOES_{name}", raising=False)


def test_the_defaults() -> None:
    assert settings.load() == settings.Settings(
        modules_path=ROOT / "include" / "automacoes",
        task_retries=2,
        retry=timedelta(seconds=30),
        timeout=timedelta(hours=1),
        reports_path=ROOT / ".local" / "reports",
    )


def test_an_absolute_folder_stays_where_it_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AUTOMACOES_REPORTS_PATH", str(tmp_path))
    assert settings.load().reports_path == tmp_path


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AUTOMACOES_TASK_RETRIES", "two"),
        ("AUTOMACOES_TASK_RETRIES", "-1"),
        ("AUTOMACOES_RETRY_SECONDS", "0"),
        ("AUTOMACOES_TIMEOUT_MINUTES", "9" * 30),
        ("AUTOMACOES_MODULES_PATH", ""),
    ],
)
def test_what_makes_no_sense_names_the_variable(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=f"{name} is"):
        settings.load()
