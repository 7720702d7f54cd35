"""What runs that are under way have planned: another run of the schedule leaves it to them.

Runs of one mirror may overlap. While one reads a year, the next ones read what is new, and leave the year alone. Nothing
rests on that: reads commute, so one that two runs do is only work done twice. What must not happen is that nobody reads
something because a run that is no more has claimed it.

One run plans at a time, under an advisory lock of the source. A planning notes what it is to read before any of it is read.

| a run dies                       | what the next planning sees                                                   |
|----------------------------------|-------------------------------------------------------------------------------|
| before its claim is noted        | nothing                                                                       |
| after that, and is tried again   | the claim, until the try plans anew: a later claim of a run takes its place    |
| after that, and has failed       | a claim of a run that has ended, which counts for nothing                      |
| with some of its reads done      | the same, and ledger rows of those reads                                      |

Which runs have ended is asked before the ledger is read: what a run has done until then is in the ledger. A claim on a table
does not count where the table is to be read from the start since then, was built anew, or was set aside by that run. Claims
count on what is much work: windows, re-reads, scans, copies and sweeps. What was deleted each run looks for itself, or a run
of hours would keep that waiting.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
from pydantic import TypeAdapter

from include.mirror import names
from include.mirror.errors import SourceAwayError
from include.mirror.ledger import Ledger, WorkKey, identity
from include.mirror.plan import Copy, LedgerState, Read, Scan, Sweep, Work, instant
from include.mirror.source.session import Connection, run
from include.mirror.templates import render
from include.mirror.warehouse.client import utc
from include.mirror.window import Window

TABLE = "cargas_planejadas"

LOCK = 0x706C616E
"""First half of the advisory lock under which runs are planned; the second tells mirrors apart."""

FRESH = timedelta(hours=1)
"""What a run that was asked for a range leaves to the schedule as well: that much before it was planned."""

IsLive = Callable[[str], bool]
"""Whether the run with this id may still do what it has planned."""

_WHOLE = (Scan, Copy, Sweep)

_works: TypeAdapter[tuple[Work, ...]] = TypeAdapter(tuple[Work, ...])


@contextmanager
def planning(source: Connection, mirror: str) -> Iterator[None]:
    """Hold the lock under which a mirror plans, until the block ends; raise SourceAwayError where another run keeps it."""
    # Mirrors whose names have the same hash wait for each other, which harms nothing.
    key = (LOCK, mirror)
    try:
        run(source, "SELECT pg_advisory_lock($1::int, hashtext($2))", key)
    except psycopg.errors.LockNotAvailable:
        raise SourceAwayError(
            f"another run of the mirror {mirror} has been planning for long: run this one again"
        ) from None
    try:
        yield
    finally:
        if not source.closed:
            run(source, "SELECT pg_advisory_unlock($1::int, hashtext($2))", key)


@dataclass(frozen=True)
class Claims:
    """What is being read by runs under way: windows, ledger rows that re-reads settle, and tables otherwise, by kind.

    `over` are the plannings of runs that have ended, or have planned anew.
    """

    windows: tuple[Window, ...] = ()
    settles: frozenset[UUID] = frozenset()
    tables: frozenset[WorkKey] = frozenset()
    over: tuple[UUID, ...] = ()

    def but_for(self, state: LedgerState) -> LedgerState:
        """Return what is known of the ledger as if all of this were done."""
        return replace(
            state,
            coverage=[*state.coverage, *self.windows],
            pending=[row for row in state.pending if row.id not in self.settles],
        )

    def has(self, work: Work) -> bool:
        """Return whether a read other than of windows is being done."""
        return identity(work) in self.tables


def read(ledger: Ledger, run_id: str, is_live: IsLive) -> Claims:
    """Return what other runs are about to read. It has to be called before the ledger's state is read."""
    works: list[Work] = []
    over: list[UUID] = []
    seen = {run_id}
    forgotten: dict[str, datetime] | None = None
    for plan, other, planned_at, reads in _rows(ledger):
        if other in seen or not is_live(other):
            over.append(plan)
            continue
        seen.add(other)
        if forgotten is None:
            forgotten = ledger.forgotten()
        aside, done, at = ledger.refused(plan), ledger.done(plan), utc(planned_at)
        works += [
            work
            for work in _works.validate_json(reads)
            if work.tabela not in aside
            and identity(work) not in done
            and forgotten.get(work.tabela, at) <= at
            and instant(ledger.built.get(work.tabela, 0)) <= at
        ]
    windows = [work for work in works if isinstance(work, Read)]
    return Claims(
        tuple(work.window for work in windows if work.reread is None),
        frozenset(row for work in windows if work.reread for row in work.reread.settles),
        frozenset(identity(work) for work in works if isinstance(work, _WHOLE)),
        tuple(over),
    )


def note(
    ledger: Ledger,
    plan: UUID,
    run_id: str,
    reads: Iterable[Work],
    now: datetime,
    over: Sequence[UUID] = (),
) -> None:
    """Note what a planning is to read, and which others are over. `now` is the source's clock after tables were prepared."""
    rows = [
        (plan, run_id, _works.dump_json(tuple(reads)).decode(), False),
        *((one, "", "", True) for one in over),
    ]
    ledger.warehouse.insert(
        ledger.client,
        TABLE,
        [
            {"plan": one, "run_id": by, "planned_at": now, "reads": works, "has_ended": has_ended}
            for one, by, works, has_ended in rows
        ],
    )


def of_range(reads: Iterable[Work], now: datetime) -> list[Work]:
    """Return what the schedule is to leave to a run that was asked for a range: windows of old times.

    Such a run may take hours, and whatever is new must not wait for it.
    """
    until = now - FRESH
    return [
        Read(replace(read.window, fim=min(read.window.fim, until)))
        for read in reads
        if isinstance(read, Read) and read.reread is None and read.window.inicio < until
    ]


def _rows(ledger: Ledger) -> Sequence[Sequence[Any]]:
    table = names.ch(ledger.warehouse.storage, TABLE)
    if ledger.warehouse.cluster is not None:
        ledger.client.command(f"SYSTEM SYNC REPLICA {table} LIGHTWEIGHT")
    found: Sequence[Sequence[Any]] = ledger.client.query(render("read_claims", claims=table)).result_rows
    return found
