"""How a call is tried again within one try of a task; how tasks are is in `defaults`. The last error is raised as it is.

Two policies: a number of tries for a question, and patience for a server that restarts.
"""

from __future__ import annotations

from datetime import timedelta

from tenacity import (
    Retrying,
    retry_if_exception_type,
    stop_after_attempt,
    stop_after_delay,
    wait_exponential,
    wait_random_exponential,
)


def tries(count: int, on: type[Exception], *, longest: float = 10) -> Retrying:
    """Return what tries `count` times; the waits between grow at random up to `longest` seconds."""
    return Retrying(
        retry=retry_if_exception_type(on),
        stop=stop_after_attempt(count),
        wait=wait_random_exponential(multiplier=0.5, max=longest),
        reraise=True,
    )


def patience(limit: timedelta, on: type[Exception]) -> Retrying:
    """Return what tries until `limit` is over, at least every five seconds."""
    return Retrying(
        retry=retry_if_exception_type(on),
        stop=stop_after_delay(limit.total_seconds()),
        wait=wait_exponential(multiplier=0.2, max=5),
        reraise=True,
    )
