"""Compute from the ledger up to which instant the warehouse has all orders. A pure function.

A row's `CURRENT_TIMESTAMP` is the time of the statement that wrote it. Its transaction may commit later, after a run has
already read past that time. So each load notes the instant before which it saw every change: its window's end, or the
start of the oldest transaction that was open during the read, if that is earlier. The next run begins at this instant,
however long ago it is.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from include.conventions.errors import RequestError

BEGINNING = datetime(1970, 1, 2, tzinfo=UTC)


@dataclass(frozen=True)
class Load:
    """A row of the ledger: the load has everything that was changed in [start, end), as of its snapshot.

    `whole` means a load of the whole table. Its `end` is that of its oldest chunk.
    """

    start: datetime
    end: datetime
    whole: bool


def covered_until(loads: Iterable[Load]) -> datetime | None:
    """Return the instant up to which these loads are complete; `loads` are in the order of their publication.

    A load of the whole table sets the instant, even to an earlier one, because it has brought the state of that time.
    Returns None if no load is of the whole table or begins at `BEGINNING`.
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
    requested: tuple[datetime, datetime] | None,
    interval: tuple[datetime | None, datetime | None],
    until: datetime | None,
) -> tuple[datetime, datetime]:
    """Return the [start, end) that a run reads, in times of the rows' last change.

    A run with a range in its conf (`requested`) reads that range. A scheduled run reads from the start of its interval, or
    from the end of what is covered if that is earlier, to its interval's end. Raises RequestError for an empty range,
    and for a run that has neither.
    """
    if requested is not None:
        start, end = requested
        if start >= end:
            raise RequestError(f"inicio {start.isoformat()} is not before fim {end.isoformat()}")
        return start, end
    start_of_interval, end_of_interval = interval
    if start_of_interval is None or end_of_interval is None or start_of_interval >= end_of_interval:
        raise RequestError("the run has no data interval: give inicio and fim in its conf")
    return min(start_of_interval, until or BEGINNING), end_of_interval
