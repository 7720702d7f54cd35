"""The settings of the automations. docs/settings.md lists them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from include.conventions.settings import FromEnvironment, folder, minutes, seconds, whole


@dataclass(frozen=True)
class Settings(FromEnvironment):
    """All settings. Both paths are absolute."""

    modules_path: Path = folder(
        "AUTOMACOES_MODULES_PATH",
        "include/automacoes",
        meaning="the folder of the automations' files",
    )
    task_retries: int = whole(
        "AUTOMACOES_TASK_RETRIES", 2, 0, meaning="how often a failed automation is retried"
    )
    retry: timedelta = seconds(
        "AUTOMACOES_RETRY_SECONDS",
        30,
        1,
        meaning="shortest pause before the first retry; each further pause is twice as long",
    )
    timeout: timedelta = minutes("AUTOMACOES_TIMEOUT_MINUTES", 60, 1, meaning="how long one try may take")
    reports_path: Path = folder(
        "AUTOMACOES_REPORTS_PATH", ".local/reports", meaning="folder in which `generate_report` writes"
    )


def load() -> Settings:
    """Read the settings. Raises ValueError, naming the variable, for a wrong value."""
    return Settings.load()
