"""The settings of `agendar_jobs`. docs/settings.md lists them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from include.conventions.settings import FromEnvironment, seconds, whole


@dataclass(frozen=True)
class Settings(FromEnvironment):
    """All settings. `seconds` is a number of seconds."""

    grace: timedelta = seconds(
        "AGENDAR_JOBS_GRACE_SECONDS", 300, 1, meaning="an older due time counts as missed"
    )
    seconds: int = whole(
        "AGENDAR_JOBS_SECONDS",
        45,
        1,
        meaning="how long one run of the DAG starts jobs; the next run goes on",
    )


def load() -> Settings:
    """Read the settings. Raises ValueError, naming the variable, for a wrong value."""
    return Settings.load()
