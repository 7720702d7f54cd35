"""Retries of a single call within one try of a task. (Retries of tasks are in `defaults`.) The last error is raised.

There are two policies: `tries`, a number of tries for a request, and `patience`, a time limit for a server that restarts.
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
    """Return a policy of `count` tries. The random waits in between grow up to `longest` seconds."""
    return Retrying(
        retry=retry_if_exception_type(on),
        stop=stop_after_attempt(count),
        wait=wait_random_exponential(multiplier=0.5, max=longest),
        reraise=True,
    )


def patience(limit: timedelta, on: type[Exception]) -> Retrying:
    """Return a policy that tries again until `limit` is over. Waits grow up to five seconds."""
    return Retrying(
        retry=retry_if_exception_type(on),
        stop=stop_after_delay(limit.total_seconds()),
        wait=wait_exponential(multiplier=0.2, max=5),
        reraise=True,
    )
