"""What can be set of `agendar_jobs`, all from the environment, all read here.

| variable                       | default | meaning                                                              |
|--------------------------------|---------|----------------------------------------------------------------------|
| `AGENDAR_JOBS_GRACE_SECONDS`   | `300`   | how old a due time may be before it counts as missed                 |
| `AGENDAR_JOBS_SECONDS`         | `45`    | for how long one run of the DAG starts jobs; the next one goes on    |
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True)
class Settings:
    """The settings, parsed; see the module's table."""

    grace: timedelta
    seconds: int


def load() -> Settings:
    """Read the settings; raise ValueError naming the variable that makes no sense."""
    return Settings(
        grace=timedelta(seconds=_seconds("AGENDAR_JOBS_GRACE_SECONDS", 300)),
        seconds=_seconds("AGENDAR_JOBS_SECONDS", 45),
    )


def _seconds(name: str, default: int) -> int:
    text = os.environ.get(name, str(default))
    if not text.isdecimal() or len(text) > 9 or int(text) < 1:
        raise ValueError(f"{name} is {text!r}; it must be a whole number of seconds, at least 1")
    return int(text)
