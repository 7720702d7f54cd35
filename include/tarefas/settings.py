"""What can be set of the automations, all from the environment, all read here. Paths are relative to the project.

| variable                     | default              | meaning                                                     |
|------------------------------|----------------------|-------------------------------------------------------------|
| `AUTOMACOES_MODULES_PATH`    | `include/automacoes` | the one folder whose files hold automations                 |
| `AUTOMACOES_TASK_RETRIES`    | `2`                  | how often an automation that raised is tried again          |
| `AUTOMACOES_RETRY_SECONDS`   | `30`                 | the least wait before the first retry; then twice as long   |
| `AUTOMACOES_TIMEOUT_MINUTES` | `60`                 | how long one try may take                                   |
| `AUTOMACOES_REPORTS_PATH`    | `.local/reports`     | where `generate_report` writes                              |
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Settings:
    """The settings, parsed; see the module's table. Both paths are absolute."""

    modules_path: Path
    task_retries: int
    retry: timedelta
    timeout: timedelta
    reports_path: Path


def load() -> Settings:
    """Read the settings; raise ValueError naming the variable that makes no sense."""
    return Settings(
        modules_path=_path("AUTOMACOES_MODULES_PATH", "include/automacoes"),
        task_retries=_number("AUTOMACOES_TASK_RETRIES", 2, 0),
        retry=timedelta(seconds=_number("AUTOMACOES_RETRY_SECONDS", 30, 1)),
        timeout=timedelta(minutes=_number("AUTOMACOES_TIMEOUT_MINUTES", 60, 1)),
        reports_path=_path("AUTOMACOES_REPORTS_PATH", ".local/reports"),
    )


def _number(name: str, default: int, lowest: int) -> int:
    text = os.environ.get(name, str(default))
    if not text.isdecimal() or len(text) > 9 or int(text) < lowest:
        raise ValueError(f"{name} is {text!r}; it must be a whole number of at least {lowest}")
    return int(text)


def _path(name: str, default: str) -> Path:
    text = os.environ.get(name, default)
    if not text:
        raise ValueError(f"{name} is empty; it must be a folder, such as {default}")
    return ROOT / Path(text).expanduser()
