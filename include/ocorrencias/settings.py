"""What can be set of `ocorrencias_cet_rio`, all from the environment, all read here.

| variable                              | default        | meaning                                                  |
|---------------------------------------|----------------|----------------------------------------------------------|
| `OCORRENCIAS_SCHEDULE`                | `*/20 * * * *` | cron expression in the time of São Paulo                 |
| `OCORRENCIAS_PASTA`                   |                | folder of the CSV file; every worker must see the same   |
| `OCORRENCIAS_TENTATIVAS`              | `20`           | tries of one request to the service                      |
| `OCORRENCIAS_PAUSA_SEGUNDOS`          | `2`            | pause between tries; up to half of it is added at random |
| `OCORRENCIAS_LIMITE_SEGUNDOS`         | `300`          | for all requests of a run together, pauses included      |
| `OCORRENCIAS_ESPERA_SEGUNDOS`         | `30`           | how long the service may stay silent in one try          |
| `OCORRENCIAS_MAX_MB`                  | `32`           | the largest answer that is read                          |
| `OCORRENCIAS_CACHE_HORAS`             | `24`           | how long it is known who is responsible for a POP        |
| `OCORRENCIAS_ACEITAR_DESATUALIZADOS`  | `0`            | 1 takes stale events, and marks the run                  |
| `OCORRENCIAS_GRAVACOES`               |                | folder of recordings; those of the project when empty    |
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

RECORDED = Path(__file__).resolve().parent / "recorded"


@dataclass(frozen=True)
class Policy:
    """How often and how long the service is asked; the one place that says so. Times in seconds."""

    attempts: int = 20
    pause: float = 2.0
    limit: float = 300.0
    silence: float = 30.0
    max_bytes: int = 32 * 2**20

    @property
    def jitter(self) -> float:
        """Return how much is added to a pause at most, so that clients of one outage don't come back as one."""
        return self.pause / 2


@dataclass(frozen=True)
class Settings:
    """The settings, parsed; see the module's table. `folder` is None where none is set."""

    schedule: str
    folder: Path | None
    policy: Policy
    cache: timedelta
    accept_stale: bool
    recordings: Path


def _number(name: str, default: int, lowest: int) -> int:
    text = os.environ.get(name, str(default))
    if not (text.isascii() and text.isdecimal()) or int(text) < lowest:
        raise ValueError(f"{name} is {text!r}; it must be a whole number of at least {lowest}")
    return int(text)


def _flag(name: str) -> bool:
    text = os.environ.get(name) or "0"
    if text not in ("0", "1"):
        raise ValueError(f"{name} is {text!r}; it must be 0 or 1")
    return text == "1"


def load() -> Settings:
    """Read the settings; raise ValueError naming the variable that makes no sense."""
    folder = os.environ.get("OCORRENCIAS_PASTA")
    return Settings(
        schedule=os.environ.get("OCORRENCIAS_SCHEDULE", "*/20 * * * *"),
        folder=Path(folder) if folder else None,
        policy=Policy(
            attempts=_number("OCORRENCIAS_TENTATIVAS", 20, 1),
            pause=_number("OCORRENCIAS_PAUSA_SEGUNDOS", 2, 0),
            limit=_number("OCORRENCIAS_LIMITE_SEGUNDOS", 300, 1),
            silence=_number("OCORRENCIAS_ESPERA_SEGUNDOS", 30, 1),
            max_bytes=_number("OCORRENCIAS_MAX_MB", 32, 1) * 2**20,
        ),
        cache=timedelta(hours=_number("OCORRENCIAS_CACHE_HORAS", 24, 0)),
        accept_stale=_flag("OCORRENCIAS_ACEITAR_DESATUALIZADOS"),
        recordings=Path(os.environ.get("OCORRENCIAS_GRAVACOES") or RECORDED),
    )
