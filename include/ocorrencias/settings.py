"""The settings of `ocorrencias_cet_rio`. docs/settings.md lists them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from include.conventions.settings import (
    FromEnvironment,
    flag,
    group,
    hours,
    optional_folder,
    text,
    whole,
)

RECORDED = Path(__file__).resolve().parent / "recorded"


@dataclass(frozen=True)
class Policy(FromEnvironment):
    """Retries and time limits of the requests to the service. Times in seconds."""

    attempts: int = whole("OCORRENCIAS_TENTATIVAS", 20, 1, meaning="tries of one request to the service")
    pause: float = whole(
        "OCORRENCIAS_PAUSA_SEGUNDOS",
        2,
        0,
        meaning="pause between tries; up to half of it is added at random",
        of=float,
    )
    limit: float = whole(
        "OCORRENCIAS_LIMITE_SEGUNDOS",
        300,
        1,
        meaning="time limit of all requests of a run together, including pauses",
        of=float,
    )
    silence: float = whole(
        "OCORRENCIAS_ESPERA_SEGUNDOS",
        30,
        1,
        meaning="how long the service may stay silent in one try",
        of=float,
    )
    max_bytes: int = whole(
        "OCORRENCIAS_MAX_MB",
        32,
        1,
        meaning="the largest answer that is read, in MiB",
        of=lambda megabytes: megabytes * 2**20,
    )

    @property
    def jitter(self) -> float:
        """Return the largest random addition to a pause. It keeps clients from retrying all at once after an outage."""
        return self.pause / 2


@dataclass(frozen=True)
class Settings(FromEnvironment):
    """All settings. `folder` is None if it is not set."""

    schedule: str = text(
        "OCORRENCIAS_SCHEDULE", "*/20 * * * *", meaning="cron expression, in America/Sao_Paulo"
    )
    folder: Path | None = optional_folder(
        "OCORRENCIAS_PASTA", meaning="required: folder of the CSV file; every worker must see it"
    )
    policy: Policy = group(Policy)
    cache: timedelta = hours(
        "OCORRENCIAS_CACHE_HORAS",
        24,
        0,
        meaning="how long the service's answer about a POP's agency is cached",
    )
    accept_stale: bool = flag(
        "OCORRENCIAS_ACEITAR_DESATUALIZADOS", meaning="1: accept stale events, and mark the run"
    )
    recordings: Path = optional_folder(
        "OCORRENCIAS_GRAVACOES",
        meaning="folder of recordings; empty: the project's own",
        otherwise=RECORDED,
    )
