"""The source's clock: reading it, and waiting for it."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from include.conventions.errors import RequestError
from include.mirror.errors import SourceUnavailableError
from include.mirror.source.session import Connection, one


def clock(connection: Connection) -> datetime:
    """Return the database's time, in UTC."""
    now: datetime = one(connection, "SELECT clock_timestamp()")[0]
    return now.astimezone(UTC)


def wait_until(
    connection: Connection,
    instant: datetime,
    *,
    limit: timedelta = timedelta(minutes=2),
    sleep: Callable[[float], None] = time.sleep,
) -> datetime:
    """Wait until the database's clock has reached `instant`, and return its time then.

    Raises SourceUnavailableError if that takes more than `limit`.
    """
    now = clock(connection)
    remaining = instant - now
    if remaining > limit:
        raise SourceUnavailableError(
            f"the source's clock is {remaining.total_seconds():.0f} s short of {instant.isoformat()}, more than the "
            f"{limit.total_seconds():.0f} s that a run waits: compare the clocks of the source and the scheduler"
        )
    while remaining > timedelta():
        sleep(min(remaining.total_seconds(), 1.0))
        now = clock(connection)
        remaining = instant - now
    return now


def refuse_future(now: datetime, fim: datetime) -> None:
    """Raise RequestError if `fim` is after `now`, the time of the database's clock."""
    if fim > now:
        raise RequestError(
            f"fim {fim.isoformat()} is in the future (the source's clock shows {now.isoformat()}); "
            "give an interval that is over"
        )
