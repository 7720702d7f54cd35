"""Up to when the warehouse has the orders: from its ledger, by a pure function.

`CURRENT_TIMESTAMP` is the time of the statement that writes, and its transaction may commit after a run has read past
that time. So each load says up to when it saw everything: its window's end, or the start of the oldest transaction that
was open when it read, if that is earlier. The next run begins there, however long ago, and whatever runs were missed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from include.conventions.errors import RequestError

BEGINNING = datetime(1970, 1, 2, tzinfo=UTC)


@dataclass(frozen=True)
class Load:
    """A load, as the ledger has it: everything changed in [start, end) as of its snapshot is there.

    `whole` is a load of the whole table, whose `end` is when its oldest chunk was read.
    """

    start: datetime
    end: datetime
    whole: bool


def covered_until(loads: Iterable[Load]) -> datetime | None:
    """Return the instant up to which nothing is missing after these loads, in the order they were published in.

    A load of the whole table sets the instant, also back: it brought the state of then. None without any that counts.
    """
    until: datetime | None = None
    for load in loads:
        if load.whole:
            until = load.end
        elif until is None:
            until = load.end if load.start <= BEGINNING else None
        elif load.start <= until:
            until = max(until, load.end)
    return until


def window(
    asked: tuple[datetime, datetime] | None,
    interval: tuple[datetime | None, datetime | None],
    until: datetime | None,
) -> tuple[datetime, datetime]:
    """Return the [start, end) that a run reads, by when rows were last changed.

    A run that is asked for a range reads that. One of the schedule reads from what is covered to its interval's end.
    Raises RequestError for a range that is empty, and for a run that has neither.
    """
    if asked is not None:
        start, end = asked
        if start >= end:
            raise RequestError(f"inicio {start.isoformat()} is not before fim {end.isoformat()}")
        return start, end
    start_of_interval, end_of_interval = interval
    if start_of_interval is None or end_of_interval is None or start_of_interval >= end_of_interval:
        raise RequestError("the run has no data interval: give inicio and fim in its conf")
    return min(start_of_interval, until or BEGINNING), end_of_interval
