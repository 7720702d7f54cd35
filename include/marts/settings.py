"""The settings of `marts_vendas`. docs/settings.md lists them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from include.conventions.settings import FromEnvironment, minutes


@dataclass(frozen=True)
class Settings(FromEnvironment):
    """How long a run of dbt may take."""

    timeout: timedelta = minutes(
        "MARTS_TIMEOUT_MINUTES",
        60,
        1,
        meaning="time limit of one run of dbt; a run that builds everything anew takes longest",
    )
